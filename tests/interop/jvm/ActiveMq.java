import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.SimpleAuthenticationPlugin;

/** ActiveMQ Classic in memory: AMQP on one port and WebSocket on another, user "user", password "secret". */
public class ActiveMq {
  public static void main(String[] args) throws Exception {
    String tcp = args[0], ws = args[1], folder = args[2];
    BrokerService broker = new BrokerService();
    broker.setPersistent(false);
    broker.setUseJmx(false);
    broker.setSchedulerSupport(false);
    broker.setDataDirectory(folder);
    broker.addConnector("ws://127.0.0.1:" + ws);
    broker.addConnector("amqp://127.0.0.1:" + tcp);
    broker.setPlugins(new BrokerPlugin[] {new SimpleAuthenticationPlugin(List.of(new AuthenticationUser("user", "secret", "all")))});
    broker.start();
    broker.waitUntilStopped();
  }
}
