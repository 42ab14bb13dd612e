import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.qpid.server.SystemLauncher;

/** Qpid Broker-J in memory: AMQP and WebSocket with PLAIN and SCRAM-SHA-256, user "user"; the last argument has the keys of the password. */
public class BrokerJ {
  public static void main(String[] args) throws Exception {
    String tcp = args[0], ws = args[1], folder = args[2], keys = args[3];
    String host = "{\\\"type\\\":\\\"Memory\\\",\\\"nodeAutoCreationPolicies\\\":[{\\\"pattern\\\":\\\".*\\\",\\\"createdOnPublish\\\":true,"
      + "\\\"createdOnConsume\\\":true,\\\"nodeType\\\":\\\"queue\\\",\\\"attributes\\\":{}}]}";
    String configuration = """
      {"name":"broker","modelVersion":"9.0",
       "authenticationproviders":[{"name":"users","type":"SCRAM-SHA-256","secureOnlyMechanisms":[],
         "users":[{"name":"user","type":"managed","password":"%s"}]}],
       "ports":[
         {"name":"tcp","port":"%s","bindingAddress":"127.0.0.1","protocols":["AMQP_1_0"],"transports":["TCP"],"authenticationProvider":"users",
          "virtualhostaliases":[{"name":"default","type":"defaultAlias"},{"name":"name","type":"nameAlias"},
            {"name":"host","type":"hostnameAlias"}]},
         {"name":"ws","port":"%s","bindingAddress":"127.0.0.1","protocols":["AMQP_1_0"],"transports":["WS"],"authenticationProvider":"users",
          "virtualhostaliases":[{"name":"default","type":"defaultAlias"},{"name":"name","type":"nameAlias"},
            {"name":"host","type":"hostnameAlias"}]}],
       "virtualhostnodes":[{"name":"default","type":"Memory","defaultVirtualHostNode":"true","virtualHostInitialConfiguration":"%s"}]}
      """.formatted(keys, tcp, ws, host);
    Path file = Files.writeString(Path.of(folder, "broker.json"), configuration);
    Map<String, Object> attributes = new HashMap<>();
    attributes.put("type", "Memory");
    attributes.put("initialConfigurationLocation", file.toUri().toString());
    attributes.put("context", Map.of("qpid.work_dir", folder, "QPID_WORK", folder));
    attributes.put("startupLoggedToSystemOut", "true");
    new SystemLauncher().startup(attributes);
    Thread.currentThread().join();
  }
}
