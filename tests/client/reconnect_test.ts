import { assert, assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

/** A client, the time that it lives in, and a broker behind each of two hosts. */
async function world(options: ConnectOptions = {}, hosts: string[] = ["a"]) {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const brokers = new Map<string, Broker>();
  const start = (host: string): Broker => {
    const broker = new Broker({ queues: { orders: {}, done: {} }, environment: time } as object);
    brokers.set(host, broker);
    network.up(host, (channel) => broker.accept(channel));
    return broker;
  };
  hosts.forEach(start);
  const connection = await time.wait(
    connect(hosts.map((host) => `ws://${host}/`), { environment: time, dial: network.dial, ...options }),
  );
  const events: ConnectionEvent[] = [];
  void (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  return { time, network, brokers, start, connection, events, kinds: () => events.map(({ kind }) => kind) };
}

async function end(connection: Connection, time: VirtualTime): Promise<void> {
  await time.wait(connection.close());
  await time.pass(10_000);
  assertEquals(time.pending, 0);
}

test("a consumer survives the restart of its broker, and says what happened", async () => {
  const { time, network, start, connection, kinds } = await world();
  const receiver = connection.receiver("orders", { credit: 4 });
  const bodies: unknown[] = [];
  const loop = (async () => {
    for await (const delivery of receiver) {
      bodies.push(delivery.message.body);
      if (bodies.length === 6) break;
    }
  })();
  const sender = connection.sender("orders");
  for (let i = 0; i < 3; i++) await time.wait(sender.send({ body: i }));
  network.down("a");
  await time.pass(1);
  assertEquals([connection.state, connection.open, receiver.open], ["interrupted", true, true]);
  // Sent while nobody is there.
  const sending = [3, 4, 5].map((body) => sender.send({ body }));
  await time.pass(5_000);
  start("a");
  await time.wait(Promise.all(sending));
  assertEquals(connection.state, "open");
  await time.wait(loop);
  assertEquals(bodies, [0, 1, 2, 3, 4, 5]);
  const told = kinds();
  assertEquals([told[0], told.at(-1)], ["interrupted", "resumed"]);
  assert(told.slice(1, -1).length > 2 && told.slice(1, -1).every((kind) => kind === "reconnecting"));
  await end(connection, time);
  assertEquals(connection.state, "closed");
});
