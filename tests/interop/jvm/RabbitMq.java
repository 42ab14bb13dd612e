import com.rabbitmq.client.amqp.AmqpException;
import com.rabbitmq.client.amqp.Connection;
import com.rabbitmq.client.amqp.Consumer;
import com.rabbitmq.client.amqp.Environment;
import com.rabbitmq.client.amqp.Management;
import com.rabbitmq.client.amqp.Message;
import com.rabbitmq.client.amqp.Publisher;
import com.rabbitmq.client.amqp.impl.AmqpEnvironmentBuilder;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;

/** Checks the stand-in for RabbitMQ by RabbitMQ's client for Java; prints one line a check. */
public class RabbitMq {
  interface Check {
    void run() throws Exception;
  }

  static Connection connection;
  static Management management;

  static void check(String name, Check check) {
    try {
      check.run();
      System.out.println("ok " + name);
    } catch (Throwable error) {
      System.out.println("FAILED " + name + ": " + String.valueOf(error).replace('\n', ' '));
    }
  }

  static void same(Object actual, Object expected) {
    if (!Objects.equals(actual, expected)) throw new AssertionError("got " + actual + ", not " + expected);
  }

  static void refused(Class<?> kind, Check call) throws Exception {
    try {
      call.run();
    } catch (AmqpException error) {
      same(error.getClass(), kind);
      return;
    }
    throw new AssertionError("not refused");
  }

  static Publisher.Status publish(Publisher publisher, String body, UnaryOperator<Message> to) throws Exception {
    CompletableFuture<Publisher.Status> status = new CompletableFuture<>();
    publisher.publish(to.apply(publisher.message(body.getBytes())), context -> status.complete(context.status()));
    return status.get(20, TimeUnit.SECONDS);
  }

  static Publisher.Status publish(Publisher publisher, String body) throws Exception {
    return publish(publisher, body, message -> message);
  }

  static void queues() throws Exception {
    management.queue("q 1/é").type(Management.QueueType.QUORUM).declare();
    refused(AmqpException.class, () -> management.queue("q 1/é").type(Management.QueueType.CLASSIC).declare());
    refused(AmqpException.class, () -> management.queue("stream").stream().queue().declare());
    refused(AmqpException.AmqpEntityDoesNotExistException.class, () -> management.queueInfo("none"));
    same(publish(connection.publisherBuilder().queue("q 1/é").build(), "one"), Publisher.Status.ACCEPTED);
    same(management.queueInfo("q 1/é").messageCount(), 1L);
    management.queuePurge("q 1/é");
    same(management.queueInfo("q 1/é").messageCount(), 0L);
    management.queue().exclusive(true).autoDelete(true).declare();
    management.queueDelete("q 1/é");
  }

  static void exchanges() throws Exception {
    management.exchange("topic").type(Management.ExchangeType.TOPIC).declare();
    management.exchange("fanout").type(Management.ExchangeType.FANOUT).declare();
    management.queue("bound").declare();
    management.binding().sourceExchange("topic").destinationQueue("bound").key("a.*.#").bind();
    management.binding().sourceExchange("fanout").destinationExchange("topic").key("").bind();
    Publisher topic = connection.publisherBuilder().exchange("topic").key("a.b").build();
    Publisher fanout = connection.publisherBuilder().exchange("fanout").key("a.b.c").build();
    Publisher anywhere = connection.publisherBuilder().build();
    same(publish(topic, "one"), Publisher.Status.ACCEPTED);
    same(publish(fanout, "two"), Publisher.Status.ACCEPTED);
    same(publish(anywhere, "three", message -> message.toAddress().exchange("topic").key("a.c").message()), Publisher.Status.ACCEPTED);
    same(publish(anywhere, "four", message -> message.toAddress().queue("bound").message()), Publisher.Status.ACCEPTED);
    Publisher unbound = connection.publisherBuilder().exchange("topic").key("b").build();
    same(publish(unbound, "five"), Publisher.Status.RELEASED);
  }

  static void consumer() throws Exception {
    BlockingQueue<String> found = new LinkedBlockingQueue<>();
    int[] count = {0};
    Consumer consumer = connection.consumerBuilder().queue("bound").initialCredits(1).messageHandler((context, message) -> {
      found.add(new String(message.body()));
      if (count[0]++ == 0) context.requeue();
      else context.accept();
    }).build();
    for (String body : List.of("one", "one", "two", "three", "four")) same(found.poll(20, TimeUnit.SECONDS), body);
    consumer.close();
    management.unbind().sourceExchange("topic").destinationQueue("bound").key("a.*.#").unbind();
    management.queueDelete("bound");
  }

  public static void main(String[] args) {
    try (Environment environment = new AmqpEnvironmentBuilder().build()) {
      connection = environment.connectionBuilder().uri(args[0]).build();
      management = connection.management();
      check("queues", RabbitMq::queues);
      check("exchanges", RabbitMq::exchanges);
      check("consumer", RabbitMq::consumer);
    }
  }
}
