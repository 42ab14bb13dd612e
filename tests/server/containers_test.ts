import { assertEquals } from "@std/assert";
import { Broker, type BrokerPeer } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import { resume } from "../../src/client/resume.ts";
import type { Target } from "../../src/codec/types.ts";
import { test } from "../harness.ts";
import { HOST, SlowStore, world } from "../client/resume_world.ts";
import { VirtualTime } from "../client/virtual.ts";

test("RES-3, TRM-1: a link that is not attached again in time ends, and what its consumer held comes back", async () => {
  await world(async ({ time, network, broker, connection }) => {
    const receiver = connection.receiver({
      address: "orders",
      name: "in",
      credit: 2,
      recovery: resume({ timeout: 60 }),
    });
    await time.wait(connection.send("orders", { body: "one" }));
    await time.wait(receiver.receive());
    assertEquals(receiver.remote?.source?.timeout, 60);
    network.down(HOST);
    await time.pass(59_000);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 1]);
    await time.pass(2_000);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [1, 0]);
    connection.destroy(new Error("enough"));
  });
});

test("LNK-1, transport 2.6.1: a new connection of the container takes its link over, with what was not settled on it", async () => {
  await world(async ({ time, network, broker, connection }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume() });
    await time.wait(connection.send("orders", { body: "one" }));
    const held = await time.wait(receiver.receive());
    // The same program, on another connection, while the broker has not noticed that the first is lost.
    const store = new SlowStore(time);
    const other = await time.wait(connect(`ws://${HOST}`, {
      containerId: "client",
      dial: network.dial,
      environment: time,
      log: null,
    } as ConnectOptions));
    const again = other.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
    const delivery = await time.wait(again.receive());
    await time.pass(10);
    assertEquals([delivery.message.body, held.signal.aborted], ["one", true]);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 1]);
    delivery.accept();
    await time.pass(100);
    assertEquals([broker.queue("orders")!.unsettled, store.kept.size], [0, 0]);
    await time.wait(other.close());
    connection.destroy(new Error("enough"));
  });
});

test("ATK-24: messages on a link without a target that was taken up again are asked for with the connection of now", async () => {
  const asked: boolean[] = [];
  const authorize = (_: unknown, action: string, address: string, { connection }: BrokerPeer) =>
    address === "orders" && action === "send" ? asked.push(connection.open) > 0 : true;
  await world(async ({ time, connection, cut }) => {
    const target: Target = { kind: "target", expiryPolicy: "never" };
    const sender = connection.sender({ name: "relay", target, recovery: resume() });
    await time.wait(sender.send({ properties: { to: "orders" }, body: "one" }));
    cut();
    await time.pass(1_000);
    await time.wait(sender.send({ properties: { to: "orders" }, body: "two" }));
    assertEquals(asked, [true, true]);
  }, { authorize });
});

test("ATK-8: links that are lost are kept up to a limit and in fair shares, the others hand back, and the log says so", async () => {
  const time = new VirtualTime();
  const told: string[] = [];
  const broker = new Broker({
    environment: time,
    log: ({ code, message }) => void told.push(`${code}: ${message}`),
    maxSuspendedLinks: 4,
  });
  // A container that loses links at a queue of its own.
  const lose = async (links: number, containerId: string, identity?: string): Promise<void> => {
    const connection = await time.wait(broker.connect({ containerId, ...identity && { identity } }));
    for (let i = 0; i < links; i++) {
      connection.receiver({
        address: containerId,
        name: `link ${i}`,
        credit: 0,
        rcvSettleMode: "second",
        source: { expiryPolicy: "never" },
      });
    }
    await time.pass(1);
    assertEquals(broker.queue(containerId)!.consumers, links);
    connection.destroy(new Error("lost"));
    await time.pass(1);
  };
  const kept = (): (number | undefined)[] => ["a", "b", "x", "y"].map((address) => broker.queue(address)?.consumers);
  await lose(4, "a");
  assertEquals([kept(), told], [[4, undefined, undefined, undefined], []]);
  await lose(1, "b");
  assertEquals(kept(), [3, 1, undefined, undefined]);
  assertEquals(told, [
    'refused: Cannot keep all links that were lost: 4 are kept, as many as "maxSuspendedLinks" allows; raise it',
  ]);
  await lose(3, "b");
  assertEquals(kept(), [2, 2, undefined, undefined]);
  // An authenticated identity has one share, whatever its containers.
  await lose(1, "x", "eve");
  await lose(2, "y", "eve");
  const now = kept();
  assertEquals([now[0]! + now[1]!, now[2]! + now[3]!], [2, 2]);
  await time.pass(600_000);
  assertEquals(kept(), [0, 0, 0, 0]);
  await time.wait(broker.close());
  assertEquals(time.pending, 0);
});
