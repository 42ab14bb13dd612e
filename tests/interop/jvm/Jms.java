import jakarta.jms.*;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Checks a broker with qpid-jms; prints one line a check. */
public class Jms {
  interface Check {
    void run(Session session) throws Exception;
  }

  static JmsConnectionFactory factory;
  static final long WAIT = 5_000, NOTHING = 500;

  static Connection connect(String id) throws Exception {
    Connection connection = factory.createConnection("user", "secret");
    if (id != null) connection.setClientID(id);
    connection.start();
    return connection;
  }

  static void check(String name, Check check) {
    check(name, Session.AUTO_ACKNOWLEDGE, check);
  }

  static void check(String name, int mode, Check check) {
    Connection connection = null;
    try {
      connection = connect(null);
      check.run(connection.createSession(mode));
      System.out.println("ok " + name);
    } catch (Throwable error) {
      StackTraceElement at = error.getStackTrace().length > 0 ? error.getStackTrace()[0] : null;
      for (StackTraceElement one : error.getStackTrace()) if (one.getClassName().startsWith("Jms")) { at = one; break; }
      System.out.println("FAILED " + name + ": " + String.valueOf(error).replace('\n', ' ') + " at " + at);
    } finally {
      try { if (connection != null) connection.close(); } catch (Exception ignored) {}
    }
  }

  static void same(Object actual, Object expected) {
    if (!Objects.equals(actual, expected)) throw new AssertionError("got " + actual + ", not " + expected);
  }

  static String text(MessageConsumer consumer) throws Exception {
    Message message = consumer.receive(WAIT);
    if (message == null) throw new AssertionError("nothing came");
    return ((TextMessage) message).getText();
  }

  static void nothing(MessageConsumer consumer) throws Exception {
    Message message = consumer.receive(NOTHING);
    if (message != null) throw new AssertionError("something came: " + message);
  }

  static void send(Session session, Destination to, String... texts) throws Exception {
    MessageProducer producer = session.createProducer(to);
    for (String text : texts) producer.send(session.createTextMessage(text));
    producer.close();
  }

  public static void main(String[] args) throws Exception {
    factory = new JmsConnectionFactory(args[0]);
    check("text", session -> {
      Queue queue = session.createQueue("text");
      TextMessage message = session.createTextMessage("é");
      message.setStringProperty("name", "value");
      message.setIntProperty("n", 5);
      message.setJMSCorrelationID("c");
      message.setJMSReplyTo(session.createQueue("answers"));
      session.createProducer(queue).send(message);
      TextMessage got = (TextMessage) session.createConsumer(queue).receive(WAIT);
      same(List.of(got.getText(), got.getStringProperty("name"), got.getIntProperty("n"), got.getJMSCorrelationID()),
        List.of("é", "value", 5, "c"));
      same(((Queue) got.getJMSReplyTo()).getQueueName(), "answers");
    });
    check("bytes", session -> {
      Queue queue = session.createQueue("bytes");
      BytesMessage message = session.createBytesMessage();
      message.writeBytes(new byte[] {0, (byte) 255});
      session.createProducer(queue).send(message);
      BytesMessage got = (BytesMessage) session.createConsumer(queue).receive(WAIT);
      same(got.getBodyLength(), 2L);
    });
    check("map", session -> {
      Queue queue = session.createQueue("map");
      MapMessage message = session.createMapMessage();
      message.setLong("long", Long.MAX_VALUE);
      message.setString("text", "x");
      session.createProducer(queue).send(message);
      MapMessage got = (MapMessage) session.createConsumer(queue).receive(WAIT);
      same(got.getLong("long"), Long.MAX_VALUE);
    });
    check("large", session -> {
      Queue queue = session.createQueue("large");
      BytesMessage message = session.createBytesMessage();
      message.writeBytes(new byte[5_000_000]);
      session.createProducer(queue).send(message);
      same(((BytesMessage) session.createConsumer(queue).receive(WAIT)).getBodyLength(), 5_000_000L);
    });
    check("selector", session -> {
      Queue queue = session.createQueue("selector");
      MessageProducer producer = session.createProducer(queue);
      for (int n = 1; n <= 4; n++) {
        TextMessage message = session.createTextMessage("" + n);
        message.setIntProperty("n", n);
        message.setStringProperty("colour", n % 2 == 0 ? "red" : "blue");
        producer.send(message);
      }
      MessageConsumer consumer = session.createConsumer(queue, "n BETWEEN 2 AND 9 AND colour LIKE 'r%' AND JMSPriority = 4");
      same(List.of(text(consumer), text(consumer)), List.of("2", "4"));
      nothing(consumer);
      consumer.close();
      consumer = session.createConsumer(queue);
      same(List.of(text(consumer), text(consumer)), List.of("1", "3"));
    });
    check("browser", session -> {
      Queue queue = session.createQueue("browser");
      send(session, queue, "a", "b");
      QueueBrowser browser = session.createBrowser(queue);
      List<String> seen = new ArrayList<>();
      for (Enumeration<?> all = browser.getEnumeration(); all.hasMoreElements();) {
        seen.add(((TextMessage) all.nextElement()).getText());
      }
      same(seen, List.of("a", "b"));
      browser.close();
      MessageConsumer consumer = session.createConsumer(queue);
      same(List.of(text(consumer), text(consumer)), List.of("a", "b"));
    });
    check("durable subscriber", ignored -> {
      Connection connection = connect("subscriber");
      Session session = connection.createSession();
      Topic topic = session.createTopic("topic/news");
      MessageConsumer consumer = session.createDurableSubscriber(topic, "mine");
      send(session, topic, "first");
      same(text(consumer), "first");
      connection.close();
      Connection other = connect(null);
      send(other.createSession(), topic, "while away");
      other.close();
      connection = connect("subscriber");
      session = connection.createSession();
      consumer = session.createDurableSubscriber(topic, "mine");
      same(text(consumer), "while away");
      consumer.close();
      session.unsubscribe("mine");
      connection.close();
    });
    check("shared consumers", session -> {
      Topic topic = session.createTopic("topic/shared");
      MessageConsumer one = session.createSharedConsumer(topic, "together"), two = session.createSharedConsumer(topic, "together");
      for (int n = 0; n < 10; n++) send(session, topic, "" + n);
      Set<String> got = new TreeSet<>();
      for (Message m; (m = one.receive(NOTHING)) != null;) got.add(((TextMessage) m).getText());
      for (Message m; (m = two.receive(NOTHING)) != null;) got.add(((TextMessage) m).getText());
      same(got.size(), 10);
    });
    check("commit", Session.SESSION_TRANSACTED, session -> {
      Queue queue = session.createQueue("commit");
      send(session, queue, "a", "b");
      Connection other = connect(null);
      MessageConsumer watcher = other.createSession().createConsumer(queue);
      nothing(watcher);
      session.commit();
      same(List.of(text(watcher), text(watcher)), List.of("a", "b"));
      other.close();
    });
    check("rollback", Session.SESSION_TRANSACTED, session -> {
      Queue queue = session.createQueue("rollback");
      send(session, queue, "a");
      session.rollback();
      send(session, queue, "b");
      session.commit();
      MessageConsumer consumer = session.createConsumer(queue);
      same(text(consumer), "b");
      session.commit();
    });
    check("rollback of what was received", Session.SESSION_TRANSACTED, session -> {
      Queue queue = session.createQueue("received");
      send(session, queue, "a");
      session.commit();
      MessageConsumer consumer = session.createConsumer(queue);
      same(text(consumer), "a");
      session.rollback();
      Message again = consumer.receive(WAIT);
      same(((TextMessage) again).getText(), "a");
      same(again.getJMSRedelivered(), true);
      session.commit();
      nothing(consumer);
    });
    check("recover", Session.CLIENT_ACKNOWLEDGE, session -> {
      Queue queue = session.createQueue("recover");
      send(session, queue, "a");
      MessageConsumer consumer = session.createConsumer(queue);
      same(text(consumer), "a");
      session.recover();
      Message again = consumer.receive(WAIT);
      same(again.getIntProperty("JMSXDeliveryCount"), 2);
      again.acknowledge();
    });
    check("temporary queue", session -> {
      TemporaryQueue queue = session.createTemporaryQueue();
      MessageConsumer consumer = session.createConsumer(queue);
      send(session, queue, "a");
      same(text(consumer), "a");
      consumer.close();
      queue.delete();
    });
    check("temporary topic", session -> {
      TemporaryTopic topic = session.createTemporaryTopic();
      MessageConsumer one = session.createConsumer(topic), two = session.createConsumer(topic);
      send(session, topic, "a");
      same(List.of(text(one), text(two)), List.of("a", "a"));
    });
    check("priority", session -> {
      Queue queue = session.createQueue("priority");
      MessageProducer producer = session.createProducer(queue);
      for (int priority : new int[] {1, 9, 5}) {
        producer.send(session.createTextMessage("" + priority), DeliveryMode.PERSISTENT, priority, 0);
      }
      MessageConsumer consumer = session.createConsumer(queue);
      same(List.of(text(consumer), text(consumer), text(consumer)), List.of("9", "5", "1"));
    });
    check("expiry", session -> {
      Queue queue = session.createQueue("expiry");
      MessageProducer producer = session.createProducer(queue);
      producer.send(session.createTextMessage("goes"), DeliveryMode.PERSISTENT, 4, 50);
      Thread.sleep(200);
      producer.send(session.createTextMessage("stays"));
      same(text(session.createConsumer(queue)), "stays");
    });
    check("delay", session -> {
      Queue queue = session.createQueue("delay");
      MessageProducer producer = session.createProducer(queue);
      producer.setDeliveryDelay(700);
      producer.send(session.createTextMessage("later"));
      MessageConsumer consumer = session.createConsumer(queue);
      if (consumer.receive(200) != null) throw new AssertionError("it came at once");
      same(text(consumer), "later");
    });
    check("no local", ignored -> {
      Connection connection = connect("local");
      Session session = connection.createSession();
      Topic topic = session.createTopic("topic/local");
      MessageConsumer deaf = session.createConsumer(topic, null, true);
      send(session, topic, "own");
      nothing(deaf);
      Connection other = connect(null);
      send(other.createSession(), topic, "foreign");
      same(text(deaf), "foreign");
      other.close();
      connection.close();
    });
  }
}
