import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.activemq.artemis.api.core.RoutingType;
import org.apache.activemq.artemis.api.core.SimpleString;
import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.config.impl.SecurityConfiguration;
import org.apache.activemq.artemis.core.config.ha.SharedStorePrimaryPolicyConfiguration;
import org.apache.activemq.artemis.core.security.Role;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;
import org.apache.activemq.artemis.core.settings.impl.AddressSettings;
import org.apache.activemq.artemis.spi.core.security.ActiveMQJAASSecurityManager;
import org.apache.activemq.artemis.spi.core.security.jaas.InVMLoginModule;

/** ActiveMQ Artemis on one port for AMQP and WebSocket: user "user", password "secret"; its journal in the folder given. A second one with the same
    folder waits until the first has gone. */
public class Artemis {
  public static void main(String[] args) throws Exception {
    String port = args[0], folder = args[1];
    ConfigurationImpl configuration = new ConfigurationImpl();
    configuration.setPersistenceEnabled(true).setJournalDirectory(folder + "/journal").setBindingsDirectory(folder + "/bindings")
      .setLargeMessagesDirectory(folder + "/large").setPagingDirectory(folder + "/paging").setJournalBufferTimeout_NIO(1000)
      .setJournalType(org.apache.activemq.artemis.core.server.JournalType.NIO).setJournalMinFiles(2).setJournalFileSize(1 << 20);
    configuration.addAcceptorConfiguration("amqp", "tcp://127.0.0.1:" + port + "?protocols=AMQP");
    configuration.setHAPolicyConfiguration(new SharedStorePrimaryPolicyConfiguration());
    configuration.setAddressQueueScanPeriod(200).setMessageExpiryScanPeriod(200);
    AddressSettings settings = new AddressSettings();
    settings.setDefaultAddressRoutingType(RoutingType.ANYCAST).setDefaultQueueRoutingType(RoutingType.ANYCAST);
    settings.setAutoCreateQueues(true).setAutoCreateAddresses(true).setAutoDeleteQueues(false).setAutoDeleteAddresses(false);
    settings.setDeadLetterAddress(SimpleString.of("DLQ")).setExpiryAddress(SimpleString.of("ExpiryQueue"));
    settings.setMaxDeliveryAttempts(3).setRedeliveryDelay(0);
    configuration.addAddressSetting("#", settings);
    Set<Role> roles = Set.of(new Role("all", true, true, true, true, true, true, true, true, true, true, false, false));
    configuration.putSecurityRoles("#", roles);
    SecurityConfiguration users = new SecurityConfiguration();
    users.addUser("user", "secret");
    users.addRole("user", "all");
    EmbeddedActiveMQ broker = new EmbeddedActiveMQ();
    broker.setConfiguration(configuration);
    broker.setSecurityManager(new ActiveMQJAASSecurityManager(InVMLoginModule.class.getName(), users));
    broker.start();
    System.out.println("ready");
    Thread.currentThread().join();
  }
}
