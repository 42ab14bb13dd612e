import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { AmqpError, condition, OutcomeError, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions, publish } from "../../src/client/connect.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { plain } from "../../src/sasl/mechanisms.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

function engineOf(connection: Connection): ConnectionEndpoint {
  return (connection as unknown as { attachment: { endpoint: ConnectionEndpoint } }).attachment.endpoint;
}

/** A client in virtual time, and a broker behind each of two hosts. */
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
  // Sent while no host is reachable.
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

test("a list of servers is tried in turn, from the one after that which was lost", async () => {
  const { time, network, connection, events } = await world({}, ["a", "b", "c"]);
  assertEquals(network.dialled, ["a"]);
  network.down("a");
  network.down("b");
  await time.wait(connection.sender("orders").send({ body: 1 }));
  assertEquals(network.dialled, ["a", "b", "c"]);
  const tried = events.flatMap((event) => event.kind === "reconnecting" ? [`${event.attempt} ${event.url}`] : []);
  assertEquals(tried, ["1 ws://b/", "2 ws://c/"]);
  await end(connection, time);
});

test("connecting tries each server once, and fails with the last error; `initial` goes on", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const options = { environment: time, dial: network.dial };
  await assertRejects(() => time.wait(connect(["ws://a/", "ws://b/"], options)), TransportError, '"b"');
  assertEquals(network.dialled, ["a", "b"]);
  const connecting = connect(["ws://a/", "ws://b/"], { ...options, reconnect: { initial: true } });
  await time.pass(60_000);
  const broker = new Broker();
  network.up("b", (channel) => broker.accept(channel));
  const connection = await time.wait(connecting);
  assertEquals(connection.state, "open");
  // There is a pause between attempts.
  assert(network.dialled.length > 6 && network.dialled.length < 30, `${network.dialled.length}`);
  await end(connection, time);
  await assertRejects(
    () => time.wait(connect("ws://c/", { ...options, reconnect: { initial: true, maxAttempts: 3 } })),
    TransportError,
  );
  await assertRejects(
    () => time.wait(connect("ws://c/", { ...options, reconnect: { initial: true, timeoutMs: 5_000 } })),
    TransportError,
  );
  assertEquals(time.pending, 0);
});

test("a server that takes everybody and drops them at once is called with growing pauses", async () => {
  const { time, network, connection } = await world();
  network.up("a", (channel) => {
    const server = acceptor({
      onConnection: (connection) => void Promise.resolve().then(() => connection.destroy(new Error())),
    });
    server.accept(channel);
  });
  network.cut("a");
  const before = network.dialled.length;
  await time.pass(300_000);
  const calls = network.dialled.length - before;
  assert(calls > 5 && calls < 60, `${calls} calls in five minutes`);
  await end(connection, time);
});

test("credentials that expire are asked for again, and are final only when the fresh ones are refused", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  let valid = "one";
  const server = acceptor({
    environment: time,
    sasl: { users: (_, password) => password === valid },
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  network.up("a", (channel) => server.accept(channel));
  const given: string[] = [];
  let next = ["one"];
  const connection = await time.wait(connect("ws://localhost/", {
    environment: time,
    dial: () => network.dial(new URL("ws://a/")),
    auth: () => {
      given.push(next[0]!);
      return plain("user", next.length > 1 ? next.shift()! : next[0]!);
    },
  }));
  valid = "two";
  next = ["one", "two"];
  network.cut("a");
  await time.wait(connection.sender("q").send({ body: 1 }));
  assertEquals([given, connection.state], [["one", "one", "two"], "open"]);
  valid = "three";
  network.cut("a");
  await time.wait(connection.closed);
  assertEquals(given, ["one", "one", "two", "two", "two"]);
  assert(connection.error instanceof AmqpError);
  assertEquals([connection.error.condition, connection.state], [condition.unauthorizedAccess, "closed"]);
  assertEquals(time.pending, 0);
});

test("closing, or giving up, ends the back-off and everything that waits", async () => {
  for (const how of ["close", "destroy"] as const) {
    const { time, network, connection, kinds } = await world();
    network.down("a");
    await time.pass(100_000);
    const sending = connection.sender("orders").send({ body: 1 });
    sending.catch(() => {});
    const receiving = connection.receiver("orders").receive();
    receiving.catch(() => {});
    if (how === "destroy") connection.destroy(new Error("enough"));
    else await time.wait(connection.close({ timeoutMs: 100 }));
    await assertRejects(() => time.wait(sending));
    await assertRejects(() => time.wait(receiving));
    await time.pass(0);
    assertEquals([connection.state, kinds().at(-1), time.pending], ["closed", "closed", 0]);
    const { length } = network.dialled;
    await time.pass(100_000);
    assertEquals(network.dialled.length, length);
  }
});

test("without reconnecting, and after a goodbye of its own, what is lost stays lost", async () => {
  const { time, network, connection, kinds } = await world({ reconnect: false });
  network.cut("a");
  await time.wait(connection.closed);
  assertEquals([connection.state, kinds()], ["closed", ["closed"]]);
  assert(connection.error instanceof TransportError);
  await time.pass(10_000);
  assertEquals(network.dialled.length, 1);
});

/** A client of a scripted server, whose links the test can end. */
async function scripted(options: AcceptorOptions, more: ConnectOptions = {}) {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, ...options } as AcceptorOptions);
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, ...more }));
  const events: ConnectionEvent[] = [];
  void (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  return { time, network, server, connection, events };
}

test("a link that the peer ends for a reason that passes is attached again, one that it refuses ends alone", async () => {
  const senders: Sender[] = [];
  let refuse: AmqpError | undefined = undefined;
  const { time, connection, events } = await scripted({
    onSender: (request) => {
      if (refuse !== undefined && request.address === "orders") throw refuse;
      senders.push(request.accept());
    },
  });
  const receiver = connection.receiver({ address: "orders", name: "mine", credit: 5 });
  const other = connection.receiver("other");
  await time.wait(Promise.all([receiver.ready(), other.ready()]));
  const receiving = receiver.receive();
  const detach = (symbol: string): Promise<void> =>
    senders.at(-1)!.close({ error: new AmqpError(symbol, "Cannot go on: node moves", { scope: "link" }) });
  for (const symbol of [condition.detachForced, condition.resourceDeleted]) {
    const at = senders.length;
    await time.wait(senders.find((sender) => sender.address === "orders" && sender.open)!.close({
      error: new AmqpError(symbol, "Cannot go on: node moves", { scope: "link" }),
    }));
    await time.wait(receiver.ready());
    await time.pass(1);
    assertEquals([senders.length, senders.at(-1)!.name, senders.at(-1)!.credit], [at + 1, "mine", 5]);
  }
  void senders.at(-1)!.send({ body: "still here" });
  assertEquals((await time.wait(receiving)).message.body, "still here");
  refuse = new AmqpError(condition.unauthorizedAccess, "Cannot attach: not any more", { scope: "link" });
  await time.wait(detach(condition.detachForced));
  await time.wait(receiver.closed);
  assertEquals((receiver.error as AmqpError).condition, condition.unauthorizedAccess);
  await time.pass(1);
  assertEquals(events.map(({ kind }) => kind), ["linkLost"]);
  assertEquals([connection.state, other.open], ["open", true]);
  await end(connection, time);
});

test("a link that is refused for a reason that passes when it is first attached: told at once, `initial` goes on", async () => {
  for (const initial of [false, true]) {
    let refusals = 3;
    const { time, connection } = await scripted({
      onReceiver: (request) => {
        if (--refusals >= 0) {
          throw new AmqpError(condition.resourceLimitExceeded, "Cannot attach: busy", { scope: "link" });
        }
        void request.accept().serve(() => {});
      },
    }, { reconnect: { initial } });
    const sending = connection.sender("orders").send({ body: 1 });
    if (initial) assertEquals(await time.wait(sending), { kind: "accepted" });
    else {
      const error = await time.wait(assertRejects(() => sending, AmqpError));
      assertEquals([error.condition, error.retryable, refusals], [condition.resourceLimitExceeded, true, 2]);
      assertMatch(error.message, /busy .*at its first attach; try again, or have reconnect: \{ initial: true \} do so/);
    }
    await end(connection, time);
  }
});

test("a session that the peer ends for a reason that passes is begun again with its links", async () => {
  const accepted: Connection[] = [];
  const { time, connection } = await scripted({
    onConnection: (connection) => void accepted.push(connection),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  const session = connection.session();
  const sender = session.sender("orders");
  await time.wait(sender.send({ body: 1 }));
  for (const endpoint of engineOf(accepted[0]!).sessions()) {
    endpoint.end(new AmqpError(condition.resourceLimitExceeded, "Cannot go on: restarting", { scope: "session" }));
  }
  accepted[0]!.wake();
  await time.pass(1);
  await time.wait(sender.send({ body: 2 }));
  await time.wait(session.ready());
  assertEquals([session.open, sender.open], [true, true]);
  await end(connection, time);
});

test("a dynamic node is made anew", async () => {
  const { time, network, connection } = await world();
  const receiver = connection.receiver({ dynamic: true });
  await time.wait(receiver.ready());
  const first = receiver.address!;
  network.cut("a");
  await time.pass(1);
  await time.wait(receiver.ready());
  assert(receiver.address !== undefined && receiver.address !== first);
  const receiving = receiver.receive();
  await time.wait(connection.sender(receiver.address).send({ body: "here" }));
  assertEquals((await time.wait(receiving)).message.body, "here");
  await end(connection, time);
});

test("what is closed while nothing carries it is closed, and comes back no more", async () => {
  const { time, network, start, connection } = await world();
  const receiver = connection.receiver("orders");
  const session = connection.session();
  const sender = session.sender("orders");
  await time.wait(Promise.all([receiver.ready(), session.ready(), sender.ready()]));
  network.down("a");
  await time.pass(1);
  await Promise.all([receiver.close(), session.close()]);
  assertEquals([receiver.error, session.error, sender.open], [undefined, undefined, false]);
  const broker = start("a");
  await time.wait(connection.ready());
  await time.pass(1);
  assertEquals([broker.connections.size, connection.state], [1, "open"]);
  await end(connection, time);
});

test("what closes while its connection is cut goes on when that is back: every send gets its outcome", async () => {
  for (const closes of ["sender", "session", "connection"] as const) {
    for (const recovery of ["resend", "resume", "fail"] as const) {
      const time = new VirtualTime();
      const network = new VirtualNetwork();
      let connections = 0;
      const server = acceptor({
        environment: time,
        onConnection: () => void connections++,
        onReceiver: (request) => {
          // The first connection gives no outcome, and takes two of the three messages.
          if (connections > 1) void request.accept({ suspendMs: 60_000, credit: 5 }).serve(() => {});
          else request.accept({ credit: 2, settle: "manual" });
        },
      });
      network.up("a", (channel) => server.accept(channel));
      const options = { environment: time, dial: network.dial, containerId: "client", log: null } as const;
      const connection = await time.wait(connect("ws://a/", options));
      const session = connection.session();
      const sender = session.sender({ address: "orders", name: "out", recovery });
      const told: string[] = [];
      for (const body of [1, 2, 3]) {
        sender.send({ body }).then(
          (outcome) => told.push(`${body} ${outcome.kind}${outcome.resent ? " again" : ""}`),
          (error) => told.push(`${body} ${error.outcome}`),
        );
      }
      await time.pass(10);
      const closing = { sender, session, connection }[closes].close();
      await time.pass(10);
      network.cut("a");
      await time.wait(closing);
      const what = `${closes} ${recovery}`;
      const [first, second] = recovery === "fail" ? ["1 lost", "2 lost"] : ["1 accepted again", "2 accepted again"];
      assertEquals(told, [first, second, "3 accepted"], what);
      assertEquals([sender.open, sender.error, session.open], [false, undefined, closes === "sender"], what);
      assertEquals([connection.state, connections], [closes === "connection" ? "closed" : "open", 2], what);
      await end(connection, time);
      await time.wait(server.close());
    }
  }
});

test("what closes while its connection is cut ends when its time is up, and its sends with it", async () => {
  const { time, network, connection, events } = await world();
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  network.down("a");
  await time.pass(10);
  const sending = sender.send({ body: 1 });
  sending.catch(() => {});
  const closing = connection.close({ timeoutMs: 2_000 });
  await time.pass(1_900);
  assertEquals([connection.state, sender.pending], ["closing", 1]);
  await time.pass(200);
  assertEquals([connection.state, sender.pending], ["closed", 0]);
  await closing;
  await assertRejects(() => sending, AmqpError, "is closed");
  assertEquals(events.at(-1)?.kind, "closed");
  await end(connection, time);
});

test("a channel that is open already carries a connection once", async () => {
  const time = new VirtualTime();
  const broker = new Broker();
  const [near, far] = channelPair();
  broker.accept(far);
  const connection = await time.wait(connect(near, { environment: time }));
  await time.wait(connection.sender("q").send({ body: 1 }));
  near.close(1006);
  await time.wait(connection.closed);
  assertEquals(connection.state, "closed");
  const [other] = channelPair();
  await assertRejects(() => connect(other, { reconnect: {} }), TypeError, "cannot be dialled again");
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

test("WSB-32: a redirect is followed where it may be, a few times in a row", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const send = (host: string, to: string): void => {
    const server = acceptor({
      environment: time,
      onConnection: () => {
        throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info: { "network-host": to } });
      },
    });
    network.up(host, (channel) => server.accept(channel));
  };
  send("a", "b");
  send("c", "c");
  const broker = new Broker();
  network.up("b", (channel) => broker.accept(channel));
  const options = { environment: time, dial: network.dial };
  const refused = await time.wait(connect("ws://a/", options));
  await time.wait(refused.closed);
  assertEquals((refused.error as AmqpError).condition, condition.connectionRedirect);
  const connection = await time.wait(connect("ws://a/", { ...options, redirect: () => true }));
  await time.wait(connection.send("q", { body: 1 }));
  assertEquals([network.dialled, connection.state], [["a", "a", "b"], "open"]);
  await end(connection, time);
  const loop = await time.wait(connect("ws://c/", { ...options, redirect: () => true, reconnect: false }));
  await time.wait(loop.closed);
  assert(network.dialled.length < 20);
  assertEquals(time.pending, 0);
});

test("WSB-32: a callback that throws when it is asked for a redirect ends the connection with what it threw", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({
    environment: time,
    onConnection: () => {
      throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info: { "network-host": "b" } });
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const mine = new Error("mine");
  const redirect = (): boolean => {
    throw mine;
  };
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, redirect }));
  await time.pass(1_000);
  assertEquals([connection.state, connection.error, network.dialled], ["closed", mine, ["a"]]);
  await end(connection, time);
});

test("WSB-32: redirects are in a row only as long as no connection holds", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const accepted: Connection[] = [];
  const server = acceptor({
    environment: time,
    onConnection: (connection) => void accepted.push(connection),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  for (const host of ["a", "b"]) network.up(host, (channel) => server.accept(channel));
  for (const reconnect of [undefined, false] as const) {
    accepted.length = 0;
    const options = { environment: time, dial: network.dial, redirect: () => true, reconnect, log: null } as const;
    const connection = await time.wait(connect("ws://a/", options));
    // A node that is drained now and then.
    for (let turn = 1; turn <= 12; turn++) {
      await time.pass(60_000);
      const to = turn % 2 === 0 ? "a" : "b";
      const error = new AmqpError(condition.connectionRedirect, "Cannot go on", { info: { "network-host": to } });
      await time.wait(accepted.at(-1)!.close({ error }));
      if (turn === 12) break;
      await time.wait(connection.send("orders", { body: turn }));
      assertEquals([connection.state, connection.host], ["open", `${to}:80`]);
    }
    await end(connection, time);
  }
});

test("a link is attached at the address that the peer names instead", async () => {
  const addresses: unknown[] = [];
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({
    environment: time,
    onReceiver: (request) => {
      addresses.push(request.address);
      if (request.address === "old") {
        throw new AmqpError(condition.linkRedirect, "Cannot take here", { scope: "link", info: { address: "new" } });
      }
      void request.accept().serve(() => {});
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(
    connect("ws://a/", { environment: time, dial: network.dial, redirect: "same-host" }),
  );
  assertEquals(await time.wait(connection.sender("old").send({ body: 1 })), { kind: "accepted" });
  assertEquals(addresses, ["old", "new"]);
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

test("a peer that never opens is given up for its time, and says so", async () => {
  const time = new VirtualTime();
  const silent = { environment: time, dial: () => channelPair()[0], limits: { openTimeoutMs: 2_000 } };
  const error = await assertRejects(() => time.wait(connect("ws://a/", silent)), TransportError, "time-out");
  assertEquals([error.code, time.now() >= 3_000, time.pending], ["timeout", true, 0]);
});

test("connect that fails after our open says goodbye", async () => {
  const time = new VirtualTime();
  const frames: string[] = [];
  const ending = new AbortController();
  const dial = () => channelPair()[0];
  const trace = ({ direction, body }: FrameTrace): void => void frames.push(`${direction} ${body?.kind}`);
  const connecting = connect("ws://a/", { environment: time, dial, auth: null, trace, signal: ending.signal });
  await time.pass(1);
  ending.abort(new Error("enough"));
  await assertRejects(() => time.wait(connecting), Error, "enough");
  await time.pass(10_000);
  assertEquals([frames, time.pending], [["out open", "out close"], 0]);
});

test("CON-7: where timers are held back, as in a page in the background, the peer's heartbeats have ours go out", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, idleTimeOut: 60_000 });
  network.up("a", (channel) => server.accept(channel));
  const held = { ...time, now: time.now, setTimer: () => ({}), clearTimer() {}, endOfTurn: () => false };
  const environment = { ...held, random: (bytes: Uint8Array<ArrayBuffer>) => time.random(bytes) };
  const connection = await time.wait(connect("ws://a/", { environment, dial: network.dial, idleTimeOut: 60_000 }));
  await time.pass(1_200_000);
  assertEquals([connection.state, network.dialled.length, server.connections.size], ["open", 1, 1]);
  connection.destroy(new Error("done"));
  await server.close();
});

test("options of reconnecting that do not exist, or are out of range, are refused by name", async () => {
  const connecting = (reconnect: unknown) => () => connect("ws://a/", { reconnect } as ConnectOptions);
  await assertRejects(connecting({ maxAttempt: 3 }), TypeError, '"maxAttempts" is meant');
  await assertRejects(connecting({ initial: 1 }), TypeError, '"reconnect.initial"');
  await assertRejects(connecting({ maxDelayMs: -1 }), RangeError, '"maxDelayMs"');
  await assertRejects(connecting("always"), TypeError, '"reconnect"');
  await assertRejects(() => connect([]), TypeError, "list");
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
