import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, OutcomeError, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect, publish } from "../../src/client/connect.ts";
import type { ConnectionEvent } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";
import { end, scripted, world } from "./reconnect_world.ts";

test("handlers go on across a restart: what was in work comes again", async () => {
  const { time, network, brokers, connection } = await world();
  const done: unknown[] = [];
  const attempts: unknown[] = [];
  let finish = (): void => {};
  const held = new Promise<void>((resolve) => finish = resolve);
  let start = (): void => {};
  const started = new Promise<void>((resolve) => start = resolve);
  void connection.receiver("orders").serve(async ({ message }) => {
    attempts.push(message.body);
    start();
    if (attempts.length === 1) await held;
    done.push(message.body);
  });
  const sender = connection.sender("orders");
  await time.wait(Promise.all([sender.send({ body: "a" }), sender.send({ body: "b" }), started]));
  assertEquals(attempts, ["a"]);
  // The broker goes on, the network does not.
  network.cut("a");
  await time.pass(2_000);
  finish();
  await time.pass(1_000);
  assertEquals(attempts.toSorted(), ["a", "a", "b"]);
  assertEquals(done.toSorted(), ["a", "a", "b"]);
  assertEquals(brokers.get("a")!.messages, 0);
  await end(connection, time);
});

test("what is done with messages while the connection is interrupted frees no credit: they are counted no more", async () => {
  const { time, network, connection } = await world();
  const receiver = connection.receiver("orders", { credit: 4 });
  const finish: (() => void)[] = [];
  let most = 0;
  const handler = (): Promise<void> => {
    most = Math.max(most, receiver.unsettled + receiver.credit);
    return new Promise((resolve) => void finish.push(resolve));
  };
  void receiver.serve(handler, { concurrency: 4 });
  const sender = connection.sender("orders");
  await time.wait(Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((body) => sender.send({ body }))));
  await time.pass(10);
  network.cut("a");
  await time.pass(1);
  assertEquals([connection.state, finish.length, receiver.unsettled], ["interrupted", 4, 0]);
  while (finish.length > 0) {
    for (const done of finish.splice(0)) done();
    await time.pass(connection.state === "open" ? 10 : 2_000);
    assert(receiver.unsettled >= 0, `${receiver.unsettled} unsettled`);
  }
  await time.pass(10);
  assertEquals([receiver.unsettled, most], [0, 4]);
  await end(connection, time);
});

test("publish tries again until its time is up, a message that was refused or sent settled but once", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const options = { environment: time, dial: network.dial };
  const publishing = publish("ws://a/", "orders", { body: 1 }, options);
  await time.pass(5_000);
  const broker = new Broker({ queues: { orders: {} } });
  network.up("a", (channel) => broker.accept(channel));
  assertEquals(await time.wait(publishing), { kind: "accepted" });
  assertEquals([broker.messages, time.pending], [1, 0]);
  network.down("a");
  const late = await assertRejects(
    () => time.wait(publish("ws://a/", "orders", { body: 1 }, { ...options, timeoutMs: 3_000 })),
    TransportError,
  );
  assertEquals(late.code === "timeout" || late.code === "connect-failed", true);
  const everywhere = await assertRejects(
    () => time.wait(publish(["ws://a/", "ws://b/"], "orders", { body: 1 }, { ...options, timeoutMs: 3_000 })),
    TransportError,
  );
  for (const host of ["a", "b"]) assertStringIncludes(everywhere.message, `Cannot connect to "${host}": refused`);
  await assertRejects(
    () => time.wait(publish("ws://a/", "orders", { body: 1 }, { ...options, reconnect: false })),
    TransportError,
  );
  let connections = 0;
  const server = acceptor({
    onReceiver: (request) => void request.accept().serve((delivery) => delivery.reject()),
    onConnection: () => void connections++,
  });
  network.up("a", (channel) => server.accept(channel));
  await assertRejects(() => time.wait(publish("ws://a/", "orders", { body: 1 }, options)), OutcomeError, "rejected");
  assertEquals([connections, time.pending], [1, 0]);
});

test("a message whose outcome was lost is published again", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  let deliveries = 0;
  const server = acceptor({
    onReceiver: (request) => {
      void request.accept({ settle: "manual" }).serve((delivery) => {
        if (++deliveries === 1) network.cut("a");
        else delivery.accept();
      });
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const options = { environment: time, dial: network.dial };
  assertEquals(await time.wait(publish("ws://a/", "orders", { body: 1 }, options)), { kind: "accepted" });
  assertEquals([deliveries, time.pending], [2, 0]);
});

test("a send while interrupted waits, in order, as many as may; what was given up makes room", async () => {
  const reconnect = { maxPending: 5, maxPendingBytes: 1_000 };
  const { time, network, start, connection } = await world({ reconnect });
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  network.down("a");
  await time.pass(1);
  const ending = new AbortController();
  const given = [
    sender.send({ body: "x" }, { signal: ending.signal }),
    sender.send({ body: "y" }, { signal: ending.signal }),
  ];
  const sending = [0, 1, 2].map((body) => sender.send({ body }));
  await assertRejects(() => sender.send({ body: 3 }), AmqpError, "maxPending");
  ending.abort();
  for (const one of given) await assertRejects(() => one);
  await time.pass(200);
  sending.push(sender.send({ body: 3 }));
  await assertRejects(() => sender.send({ body: new Uint8Array(1_000) }), AmqpError, "maxPendingBytes");
  start("a");
  await time.wait(Promise.all(sending));
  const receiver = connection.receiver("orders", { credit: 10 });
  for (let i = 0; i < 4; i++) {
    const delivery = await time.wait(receiver.receive());
    assertEquals(delivery.message.body, i);
    delivery.accept();
  }
  await time.wait(Promise.all(Array.from({ length: 20 }, (_, i) => sender.send({ body: i }))));
  await end(connection, time);
});

test("what had no outcome goes out again, in order, and `resumed` says how many", async () => {
  const bodies: unknown[] = [];
  const deliveries: Delivery[] = [];
  const { time, network, connection, events, server } = await scripted({
    onReceiver: (request) => {
      void request.accept({ settle: "manual", credit: 10 }).serve((delivery) => {
        bodies.push(delivery.message.body);
        deliveries.push(delivery);
      }, { concurrency: 10 });
    },
  });
  const sender = connection.sender("orders");
  const failing = connection.sender({ address: "orders", recovery: "fail" });
  const sending = [0, 1, 2].map((body) => sender.send({ body }));
  const lost = failing.send({ body: "once" });
  lost.catch(() => {});
  await time.pass(1);
  assertEquals(bodies.length, 4);
  network.cut("a");
  bodies.length = deliveries.length = 0;
  const error = await assertRejects(() => time.wait(lost), OutcomeError);
  assertEquals(error.outcome, "lost");
  await time.wait(connection.ready());
  sending.push(sender.send({ body: 3 }));
  await time.pass(1);
  assertEquals(bodies, [0, 1, 2, 3]);
  for (const delivery of deliveries) delivery.accept();
  await time.wait(Promise.all(sending));
  const resumed = events.find(({ kind }) => kind === "resumed") as ConnectionEvent & { kind: "resumed" };
  assertEquals([resumed.resent, resumed.lost, resumed.redelivered], [3, 1, 0]);
  await end(connection, time);
  await server.close();
});

test("sendAll, a writable and a readable go on across a cut", async () => {
  const { time, network, connection } = await world();
  const sender = connection.sender("orders");
  const all = sender.sendAll((async function* () {
    for (let i = 0; i < 50; i++) {
      if (i % 20 === 10) await new Promise<void>((resolve) => time.setTimer(resolve, 10));
      yield { body: i };
    }
  })());
  const seen = new Set<unknown>();
  const reading = (async () => {
    for await (const delivery of connection.receiver("orders", { credit: 5 }).readable) {
      seen.add(delivery.message.body);
      if (delivery.usable) delivery.accept();
      if (seen.size === 60) break;
    }
  })();
  await time.pass(15);
  network.cut("a");
  assertEquals(await time.wait(all), 50);
  const writer = connection.sender("orders").writable.getWriter();
  for (let i = 50; i < 60; i++) {
    if (i === 55) network.cut("a");
    await time.wait(writer.write({ body: i }));
  }
  await time.wait(writer.close());
  await time.wait(reading);
  assertEquals(seen.size, 60);
  await end(connection, time);
});

test("stats count messages, outcomes, bytes and reconnects over all that carried the connection", async () => {
  const { time, network, connection } = await world();
  const sender = connection.sender("orders");
  for (let i = 0; i < 3; i++) await time.wait(sender.send({ body: i }));
  const before = connection.stats();
  network.cut("a");
  await time.wait(connection.ready().then(() => sender.send({ body: 3 })));
  const delivery = await time.wait(connection.receiver("orders").receive());
  delivery.accept();
  const { sent, accepted, rejected, received, reconnects, bytesSent, bytesReceived } = connection.stats();
  assertEquals([sent, accepted, rejected, reconnects], [4, 4, 0, 1]);
  assert(received >= 1 && bytesSent > before.bytesSent && bytesReceived > before.bytesReceived);
  await end(connection, time);
  assert(connection.stats().bytesSent >= bytesSent);
});

test("a request goes on across a cut", async () => {
  const { time, network, connection, brokers } = await world({}, ["a"]);
  const broker = brokers.get("a")!;
  const service = await time.wait(connect("ws://s/", {
    environment: time,
    dial: () => {
      const [near, far] = channelPair();
      broker.accept(far);
      return near;
    },
  }));
  let asked = 0;
  void service.receiver("service").serve(async ({ message }) => {
    if (++asked === 2) network.cut("a");
    await service.send(message.properties!.replyTo!, {
      body: message.body,
      properties: { correlationId: message.properties!.messageId },
    }).catch(() => {});
  });
  for (let i = 0; i < 4; i++) assertEquals((await time.wait(connection.request("service", { body: i }))).body, i);
  await time.wait(service.close());
  await end(connection, time);
});
