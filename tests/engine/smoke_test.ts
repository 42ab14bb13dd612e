import { assertEquals } from "@std/assert";
import { Pair, payload, scenario, tag } from "./pair.ts";

scenario("TRF-1: smoke", (terms) => {
  const pair = Pair.opened(terms);
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 10 });
  pair.run();
  assertEquals(sender.sendable, 10);
  const delivery = sender.send(tag(1), payload(10));
  pair.run();
  const arrived = pair.server.one("delivery").delivery;
  assertEquals(arrived.payload, payload(10));
  arrived.update({ kind: "accepted" });
  pair.run();
  assertEquals(delivery.settled, true);
  assertEquals(delivery.remoteState, { kind: "accepted" });
  pair.client.endpoint.close();
  pair.run();
  assertEquals(pair.client.one("closed").error, undefined);
  assertEquals(pair.server.one("closed").error, undefined);
});
