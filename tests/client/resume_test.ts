import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, OutcomeError } from "../../src/base/errors.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import type { ResumeOptions, UnsettledStore } from "../../src/client/recovery.ts";
import { resume } from "../../src/client/resume.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { type Faults, faulty } from "../../src/testing/mod.ts";
import { random as randomOf, seed, test } from "../harness.ts";
import { dialling, HOST, SlowStore, world } from "./resume_world.ts";
import { VirtualTime } from "./virtual.ts";

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

test("resume: what is given up while its link is taken up does not hold up what is behind it", async () => {
  await world(async ({ time, network, broker, connection, cut, frames }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: "resume" });
    await time.wait(sender.ready());
    const controller = new AbortController();
    const given = sender.send({ body: "given up" }, { signal: controller.signal });
    given.catch(() => {});
    while (!frames.some(({ body }) => body?.kind === "transfer")) await undefined;
    // From now on the broker's answers are late.
    network.up(HOST, (channel) => broker.accept(faulty(channel, { delayOutMs: 1_000 }, time)));
    cut();
    const lists = ({ direction, body }: FrameTrace): boolean =>
      direction === "out" && body?.kind === "attach" && body.unsettled?.size === 1;
    while (!frames.some(lists)) await time.pass(10);
    controller.abort(new Error("given up"));
    await assertRejects(() => given, Error, "given up");
    const behind = [sender.send({ body: "behind" }), sender.send({ body: "behind that" })];
    assertEquals((await time.wait(Promise.all(behind))).map((outcome) => outcome?.kind), ["accepted", "accepted"]);
    await time.wait(connection.close());
    await time.pass(2_000);
  });
});

test("resume: what a store cannot keep does not hold up what is behind it", async () => {
  await world(async ({ time, connection }) => {
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const puts = [first.promise, second.promise];
    const store = { load: () => [], put: () => puts.shift(), delete: () => {} };
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    await time.wait(sender.ready());
    const fails = sender.send({ body: "fails" });
    const behind = sender.send({ body: "behind" });
    second.resolve();
    await time.pass(100);
    first.reject(new Error("full"));
    await assertRejects(() => fails, Error, "full");
    assertEquals((await time.wait(behind))?.kind, "accepted");
  });
});

/** The result of a run: how each send ended, and which messages were handled. */
interface Ledger {
  readonly sent: string[];
  readonly handled: number[];
  readonly left: number;
}

interface RunOptions {
  readonly sender?: "first";
  readonly receiver?: "first";
  readonly count?: number;
  readonly broker?: BrokerOptions;
  readonly store?: (time: VirtualTime) => UnsettledStore;
  readonly limits?: { readonly credit: number; readonly concurrency: number };
}

/** Sends and receives a few messages, some of many frames, over connections of which the first few break. */
async function run(cuts: readonly Faults[], options: RunOptions = {}): Promise<Ledger> {
  const { count = 7, limits: { credit, concurrency } = { credit: 3, concurrency: 2 } } = options;
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null, ...options.broker });
  const recovery = resume({ store: options.store?.(time) });
  const settings = { maxFrameSize: 512, reconnect: { initial: true, initialDelayMs: 10 } };
  const { connection } = await dialling(time, (channel) => broker.accept(channel), settings, cuts);
  const handled: number[] = [];
  const receiver = connection.receiver({
    address: "orders",
    name: "in",
    credit,
    recovery,
    rcvSettleMode: options.receiver ?? "second",
  });
  receiver.serve(({ message }) => void handled.push(Number(message.properties?.subject)), { concurrency });
  const sender = connection.sender({
    address: "orders",
    name: "out",
    recovery: resume(),
    rcvSettleMode: options.sender ?? "second",
  });
  const sends = Array.from(
    { length: count },
    (_, id) => sender.send({ properties: { subject: `${id}` }, body: "x".repeat(id % 3 === 1 ? 1_300 : 10) }),
  );
  const sent = await time.wait(
    Promise.all(sends.map((one) => one.then((outcome) => outcome!.kind, (error) => String(error)))),
  );
  await time.pass(2_000);
  await time.wait(connection.close());
  const left = broker.queue("orders")!.messages;
  await time.wait(broker.close());
  return { sent, handled: handled.toSorted((a, b) => a - b), left };
}

/** The expected result of a run. */
function once(count: number): Ledger {
  return { sent: Array<string>(count).fill("accepted"), handled: Array.from({ length: count }, (_, i) => i), left: 0 };
}

test("resume, transport 2.6.13: cut anywhere in what goes out or comes in, a message is accepted once and handled once", async () => {
  const random = randomOf(seed());
  const bytes = { out: 9_000, in: 9_000 };
  for (const direction of ["cutAfterOut", "cutAfterIn"] as const) {
    const total = bytes[direction === "cutAfterOut" ? "out" : "in"];
    for (let at = 1 + random.int(90); at < total; at += 1 + random.int(700)) {
      const again = 200 + random.int(6_000);
      const ledger = await run([{ [direction]: at }, { cutAfterIn: again }, { cutAfterOut: again }]);
      assertEquals(ledger, once(7), `${direction} ${at}, then ${again}`);
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
      const { handled, ...ledger } = await run(cuts, modes);
      assertEquals({ ...ledger, handled: [...new Set(handled)] }, once(7), JSON.stringify(cuts));
    }
  });
}

test("resume: a delivery of a lost link is settled on the next one, and its signal is not aborted", async () => {
  await world(async ({ time, network, broker, connection, cut }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume() });
    await time.wait(connection.send("orders", { body: "one" }));
    const delivery = await time.wait(receiver.receive());
    network.down(HOST);
    await time.pass(10);
    assertEquals([connection.state, delivery.signal.aborted], ["interrupted", false]);
    // The outcome is not reported yet.
    delivery.accept();
    network.up(HOST, (channel) => broker.accept(channel));
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

test("resume: a receiver that closes while its connection is cut has what its handlers do heard on the next", async () => {
  for (const rcvSettleMode of ["second", "first"] as const) {
    for (const endsMs of [5, 60_000]) {
      await world(async ({ time, network, broker, connection }) => {
        const receiver = connection.receiver({
          address: "orders",
          name: "in",
          credit: 2,
          recovery: resume(),
          rcvSettleMode,
        });
        const handled: unknown[] = [];
        receiver.serve(async ({ message }) => {
          handled.push(message.body);
          await new Promise<void>((resolve) => time.setTimer(resolve, endsMs));
        });
        await time.wait(connection.send("orders", { body: "one" }));
        await time.pass(1);
        const closing = receiver.close({ timeoutMs: 120_000 });
        network.down(HOST);
        await time.pass(20);
        network.up(HOST, (channel) => broker.accept(channel));
        await time.wait(connection.send("orders", { body: "two" }));
        await time.wait(closing);
        const { messages, unsettled } = broker.queue("orders")!;
        assertEquals([handled, messages, unsettled, receiver.error], [["one"], 1, 0, undefined], `${endsMs}`);
      });
    }
  }
});

for (const role of ["sender", "receiver"] as const) {
  test(`resume, transport 2.6.13: a ${role} that lost the answer "nothing is kept" is told so by the next one`, async () => {
    let doom: (() => void) | undefined;
    const trace = ({ direction, body }: FrameTrace): void => {
      if (direction !== "out" || body?.kind !== "attach") return;
      doom?.();
      doom = undefined;
    };
    await world(async ({ time, network, broker, connection, cut, events }) => {
      const recovery = resume({ timeout: 60 });
      const host = HOST;
      let kind: string | undefined;
      if (role === "sender") {
        const sender = connection.sender({ address: "orders", name: "link", recovery });
        await time.wait(sender.ready());
        sender.send({ body: "one" }).then((outcome) => kind = outcome?.kind);
        for (let i = 0; i < 2000 && broker.queue("orders")!.messages < 1; i++) await undefined;
      } else {
        await time.wait(connection.send("orders", { body: "one" }));
        await time.wait(connection.receiver({ address: "orders", name: "link", credit: 2, recovery }).receive());
      }
      network.down(host);
      await time.pass(61_000);
      let lost = 0;
      doom = () => {
        lost++;
        cut();
      };
      network.up(host, (channel) => broker.accept(channel));
      await time.pass(120_000);
      const told = events.filter((event) => event.kind === "linkResumed")
        .map(({ resumed, resent, redelivered, reason }) => [resumed, resent, redelivered, reason]);
      const counts = role === "sender" ? [0, 1, 0] : [0, 0, 1];
      assertEquals([lost, told], [1, [[...counts, "the peer has kept nothing of it"]]]);
      assertEquals(kind, role === "sender" ? "accepted" : undefined);
      connection.destroy(new Error("enough"));
      // The broker keeps the link until it closes, without a timer.
    }, { trace });
  });
}

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

test("resume with a store that takes its time: cut anywhere, exactly once, and nothing is kept in the end", async () => {
  const random = randomOf(seed());
  for (let i = 0; i < 12; i++) {
    const cuts = Array.from(
      { length: 4 },
      () => ({ [random.pick(["cutAfterOut", "cutAfterIn"])]: 1 + random.int(7_000) }),
    );
    const stores: SlowStore[] = [];
    const store = (time: VirtualTime): SlowStore => {
      stores.push(new SlowStore(time));
      return stores.at(-1)!;
    };
    assertEquals(await run(cuts, { store }), once(7), JSON.stringify(cuts));
    assertEquals(stores[0]!.kept.size, 0, JSON.stringify(cuts));
  }
});

test("LNK-9: a list that does not fit the peer's frames is gone through in rounds, exactly once", async () => {
  const random = randomOf(seed());
  for (let i = 0; i < 6; i++) {
    const cuts = Array.from(
      { length: 3 },
      () => ({ [random.pick(["cutAfterOut", "cutAfterIn"])]: 1_000 + random.int(9_000) }),
    );
    const options = { count: 120, broker: { maxFrameSize: 512 }, limits: { credit: 100, concurrency: 90 } };
    assertEquals(await run(cuts, options), once(120), JSON.stringify(cuts));
  }
});

test("resume: a link that waits before it is attached again, as for a token, goes through its list in rounds", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null, maxFrameSize: 512 });
  const { connection, network } = await dialling(time, (channel) => broker.accept(channel), { maxFrameSize: 512 });
  let attached = 0;
  let fails = false;
  connection.claims = {
    mayReturn: () => false,
    beforeAttach: async ({ name }) => {
      if (name === "out") attached++;
      await Promise.resolve();
      if (fails && attached === 5) {
        throw new AmqpError("amqp:unauthorized-access", "Cannot put token", { scope: "link" });
      }
    },
  };
  for (fails of [false, true]) {
    attached = 0;
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
    await time.wait(sender.ready());
    const sends = Promise.all(Array.from({ length: 120 }, (_, n) => sender.send({ body: n })));
    sends.catch(() => {});
    const before = broker.queue("orders")?.messages ?? 0;
    for (let i = 0; i < 20_000 && broker.queue("orders")!.messages < before + 120; i++) await undefined;
    network.cut(HOST);
    if (fails) await assertRejects(() => time.wait(sends), OutcomeError, "Cannot put token");
    else {
      await time.wait(sends);
      assertEquals(broker.queue("orders")!.messages, 120);
      await time.wait(sender.close());
    }
    assert(attached >= 5, `${attached} times`);
  }
  connection.destroy(new Error("enough"));
  await time.wait(broker.close());
});

test("LNK-9: a sender that closes while its connection is cut goes through its list in rounds, too", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null, maxFrameSize: 512 });
  const { connection, network } = await dialling(time, (channel) => broker.accept(channel), { maxFrameSize: 512 });
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
  await time.wait(sender.ready());
  const sends = Promise.allSettled(Array.from({ length: 120 }, (_, n) => sender.send({ body: n })));
  for (let i = 0; i < 20_000 && broker.queue("orders")!.messages < 120; i++) await undefined;
  const closing = connection.close();
  network.cut(HOST);
  await time.wait(closing);
  const ends = (await sends).map((end) => end.status === "fulfilled" ? end.value.kind : String(end.reason));
  assertEquals([[...new Set(ends)], broker.queue("orders")!.messages], [["accepted"], 120]);
  await time.wait(broker.close());
});
