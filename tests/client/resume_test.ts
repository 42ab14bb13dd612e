import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import type { ResumeOptions } from "../../src/client/recovery.ts";
import { resume } from "../../src/client/resume.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { type Faults, faulty } from "../../src/testing/faults.ts";
import { random as randomOf, seed, test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

/** A client, a broker and the network between them, in virtual time. */
interface World {
  readonly time: VirtualTime;
  readonly network: VirtualNetwork;
  readonly broker: Broker;
  readonly frames: FrameTrace[];
  readonly logged: string[];
  readonly events: ConnectionEvent[];
  readonly connection: Connection;
  cut(): void;
}

async function world(body: (world: World) => Promise<void>, options: BrokerOptions = {}): Promise<void> {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const broker = new Broker({ environment: time, log: null, ...options });
  network.up("broker.example", (channel) => broker.accept(channel));
  const frames: FrameTrace[] = [];
  const logged: string[] = [];
  const connection = await time.wait(connect("ws://broker.example", {
    containerId: "client",
    dial: network.dial,
    environment: time,
    trace: (frame) => void frames.push(frame),
    log: ({ code, message }) => void logged.push(`${code}: ${message}`),
  } as ConnectOptions));
  const events: ConnectionEvent[] = [];
  (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  try {
    await body({
      time,
      network,
      broker,
      frames,
      logged,
      events,
      connection,
      cut: () => network.cut("broker.example"),
    });
  } finally {
    await time.wait(connection.close());
    await time.wait(broker.close());
  }
  assertEquals(time.pending, 0);
}

test("resume: a message whose outcome was lost is settled by what the broker has kept of it, and stored once", async () => {
  await world(async ({ time, broker, connection, cut, events }) => {
    const sender = connection.sender({ address: "orders", name: "orders-1", recovery: resume() });
    await time.wait(sender.ready());
    await time.wait(sender.send({ body: "first" }));
    const sending = sender.send({ body: "second" });
    // The message leaves, and the answer never arrives.
    for (let i = 0; i < 2000 && broker.queue("orders")!.messages < 2; i++) await undefined;
    assertEquals(broker.queue("orders")!.messages, 2);
    cut();
    const outcome = await time.wait(sending);
    assertEquals([outcome?.kind, outcome?.resumed, outcome?.resent], ["accepted", true, undefined]);
    assertEquals(broker.queue("orders")!.messages, 2);
    const told = events.find((event) => event.kind === "linkResumed");
    assertEquals(told && { ...told, link: undefined }, {
      kind: "linkResumed",
      link: undefined,
      resumed: 1,
      resent: 0,
      redelivered: 0,
      reason: undefined,
    });
    assert(connection.stats().accepted >= 1);
  });
});

/** What a run has brought about: how each send ended, and what was handled. */
interface Ledger {
  readonly sent: string[];
  readonly handled: number[];
  readonly left: number;
}

/** Sends and receives a few messages, some of many frames, on connections of which the first few break. */
async function run(cuts: readonly Faults[], modes: { sender?: "first"; receiver?: "first" } = {}): Promise<Ledger> {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null });
  const network = new VirtualNetwork();
  network.up("broker.example", (channel) => broker.accept(channel));
  let dialled = 0;
  const connection = await time.wait(connect("ws://broker.example", {
    containerId: "client",
    maxFrameSize: 512,
    environment: time,
    log: null,
    reconnect: { initial: true, initialDelayMs: 10 },
    dial: (url: URL) => faulty(network.dial(url), cuts[dialled++] ?? {}),
  } as ConnectOptions));
  const handled: number[] = [];
  const receiver = connection.receiver({
    address: "orders",
    name: "in",
    credit: 3,
    recovery: resume(),
    rcvSettleMode: modes.receiver ?? "second",
  });
  receiver.serve(({ message }) => void handled.push(Number(message.properties?.subject)), { concurrency: 2 });
  const sender = connection.sender({
    address: "orders",
    name: "out",
    recovery: resume(),
    rcvSettleMode: modes.sender ?? "second",
  });
  const sends = Array.from(
    { length: 7 },
    (_, id) => sender.send({ properties: { subject: `${id}` }, body: "x".repeat(id % 3 === 1 ? 1_300 : 10) }),
  );
  const sent = await time.wait(
    Promise.all(sends.map((one) => one.then((outcome) => outcome!.kind, (error) => String(error)))),
  );
  await time.pass(2_000);
  await time.wait(connection.close());
  const left = broker.queue("orders")!.messages;
  await time.wait(broker.close());
  return { sent, handled, left };
}

const all = { sent: Array(7).fill("accepted"), handled: [0, 1, 2, 3, 4, 5, 6], left: 0 };

test("resume, transport 2.6.13: cut anywhere in what goes out or comes in, a message is accepted once and handled once", async () => {
  const random = randomOf(seed());
  const bytes = { out: 9_000, in: 9_000 };
  for (const direction of ["cutAfterOut", "cutAfterIn"] as const) {
    const total = bytes[direction === "cutAfterOut" ? "out" : "in"];
    for (let at = 1 + random.int(90); at < total; at += 1 + random.int(500)) {
      const again = 200 + random.int(6_000);
      const { sent, handled, left } = await run([{ [direction]: at }, { cutAfterIn: again }, { cutAfterOut: again }]);
      assertEquals({ sent, handled: handled.toSorted(), left }, all, `${direction} ${at}, then ${again}`);
    }
  }
});

for (
  const [modes, name] of [
    [{ sender: "first" }, "a sender that asks for one step"],
    [{ receiver: "first" }, "a receiver that settles in one step"],
  ] as const
) {
  test(`resume: ${name} loses nothing, and may have something twice`, async () => {
    const random = randomOf(seed());
    for (let i = 0; i < 12; i++) {
      const cuts = [{ cutAfterOut: 1 + random.int(9_000) }, { cutAfterIn: 1 + random.int(9_000) }];
      const { sent, handled, left } = await run(cuts, modes);
      const found = { sent, handled: [...new Set(handled)].toSorted(), left };
      assertEquals(found, all, JSON.stringify(cuts));
    }
  });
}

test("resume: where the broker keeps no links, messages are sent again, and events and log say so", async () => {
  await world(async ({ time, broker, connection, cut, events, logged }) => {
    const sender = connection.sender({ address: "orders", name: "orders-1", recovery: "resume" });
    await time.wait(sender.ready());
    const sending = sender.send({ body: "once or twice" });
    for (let i = 0; i < 2000 && broker.queue("orders")!.messages < 1; i++) await undefined;
    cut();
    const outcome = await time.wait(sending);
    assertEquals([outcome?.kind, outcome?.resent, outcome?.resumed], ["accepted", true, undefined]);
    assertEquals(broker.queue("orders")!.messages, 2);
    const resumed = events.find((event) => event.kind === "linkResumed");
    assertEquals(resumed?.kind === "linkResumed" && [resumed.resent, resumed.reason], [
      1,
      "the peer has kept nothing of it",
    ]);
    assert(
      logged.some((line) => /not-resumed: .*"orders" at broker\.example.*sent again/.test(line)),
      logged.join("\n"),
    );
    assert(logged.some((line) => /not-resumed: .*in two steps/.test(line)), logged.join("\n"));
  }, { maxSuspendMs: 0 });
});

test("resume: a delivery of a lost link is settled on the next one, and its signal is not aborted", async () => {
  await world(async ({ time, network, broker, connection, cut }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume() });
    await time.wait(connection.send("orders", { body: "one" }));
    const delivery = await time.wait(receiver.receive());
    network.down("broker.example");
    await time.pass(10);
    assertEquals([connection.state, delivery.signal.aborted], ["interrupted", false]);
    // Told to nobody yet.
    delivery.accept();
    network.up("broker.example", (channel) => broker.accept(channel));
    await time.pass(60_000);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 0]);
    assertEquals([receiver.unsettled, receiver.credit, delivery.outcome?.kind], [0, 2, "accepted"]);
    const second = connection.send("orders", { body: "two" });
    const held = await time.wait(receiver.receive());
    await time.wait(second);
    cut();
    await time.pass(5_000);
    assertEquals([connection.state, receiver.unsettled, held.signal.aborted], ["open", 1, false]);
    held.reject();
    await time.pass(10);
    assertEquals([broker.queue("orders")!.unsettled, broker.queue("orders")!.dropped], [0, 1]);
  });
});

test("resume: without its broker's map a held delivery is lost, comes again, and tells so", async () => {
  await world(async ({ time, broker, connection, cut, events }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume() });
    await time.wait(connection.send("orders", { body: "one" }));
    const delivery = await time.wait(receiver.receive());
    const aborted = delivery.signal;
    cut();
    const again = await time.wait(receiver.receive());
    assertEquals([aborted.aborted, receiver.unsettled], [true, 1]);
    again.accept();
    await time.pass(10);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 0]);
    const told = events.find((event) => event.kind === "linkResumed");
    assertEquals(told?.kind === "linkResumed" && told.redelivered, 1);
  }, { maxSuspendMs: 0 });
});

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
    network.down("broker.example");
    await time.pass(59_000);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 1]);
    await time.pass(2_000);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [1, 0]);
    connection.destroy(new Error("enough"));
  });
});

test("resume: a link without a name, a container or a node of its own is a TypeError that says so", async () => {
  await world(async ({ time, broker, connection }) => {
    const recovery = resume();
    assertThrows(() => connection.sender({ address: "orders", recovery }), TypeError, 'no "name" of its own');
    assertThrows(() => connection.receiver({ address: "orders", recovery }), TypeError, 'no "name" of its own');
    assertThrows(
      () => connection.receiver({ dynamic: true, name: "in", recovery }),
      TypeError,
      "its node is dynamic, and ends with it",
    );
    const unnamed = await broker.connect();
    assertThrows(
      () => unnamed.sender({ address: "orders", name: "out", recovery }),
      TypeError,
      'no "containerId" of its own',
    );
    await assertRejects(
      () => time.wait(unnamed.sender({ address: "orders", name: "out", recovery: "resume" }).ready()),
      TypeError,
      'no "containerId" of its own',
    );
    assertThrows(() => resume({ stores: {} } as unknown as ResumeOptions), TypeError, '"store" is meant');
    await time.wait(unnamed.close());
  });
});
