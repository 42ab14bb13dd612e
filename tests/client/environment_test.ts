import { assert, assertEquals, assertRejects } from "@std/assert";
import { randomName, systemEnvironment } from "../../src/base/environment.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { linkUp, sending } from "./link_up.ts";

type Globals = Record<string, unknown>;

type Fake = (...args: never[]) => unknown;

const named = (fake: Fake, value: string): Fake => Object.defineProperty(fake, "name", { value });
const clocked = (fake: Fake, name: string): Fake => Object.assign(named(fake, name), { clock: {} });

// The functions that each kind of fake timers replaces, and the mark on them.
const FAKES: Record<string, { names: string[]; mark: (fake: Fake, name: string) => Fake }> = {
  // @sinonjs/fake-timers, which vitest and jest use.
  sinon: {
    names: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate", "queueMicrotask", "setInterval"],
    mark: clocked,
  },
  // MockTimers of Node.
  node: {
    names: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate"],
    mark: (fake) => fake.bind(null) as Fake,
  },
  // FakeTime of Deno's standard library.
  deno: { names: ["setTimeout", "clearTimeout", "setInterval"], mark: (fake, name) => named(fake, `fake ${name}`) },
  // Bun's leave `setImmediate` what it was, but it calls nothing any more.
  bun: {
    names: ["setTimeout", "clearTimeout", "setImmediate"],
    mark: (fake, name) => name === "setImmediate" ? named(fake, name) : clocked(fake, name),
  },
};

async function underFakeTimers(
  kind: string,
  fakes: Record<string, Fake>,
  others: Globals,
  work: () => Promise<void>,
): Promise<void> {
  const { names, mark } = FAKES[kind]!;
  const globals = globalThis as unknown as Globals;
  const real = Object.fromEntries([...names, ...Object.keys(others)].map((name) => [name, globals[name]]));
  try {
    for (const name of names) globals[name] = mark(fakes[name] ?? (() => 0), name);
    Object.assign(globals, others);
    await work();
  } finally {
    Object.assign(globals, real);
  }
}

for (const kind of Object.keys(FAKES)) {
  test(`traffic flows under fake timers of the kind of ${kind}, only time-outs wait`, async () => {
    // All but Deno's and Node's stop this clock too.
    const performance = { now: () => 0 };
    await underFakeTimers(kind, {}, { performance }, async () => {
      const broker = new Broker({ queues: { orders: {} } });
      const connection = linkUp(broker);
      const sender = connection.sender("orders");
      for (let i = 0; i < 50; i++) await sender.send({ body: i });
      assertEquals(await sender.sendAll(Array.from({ length: 500 }, (_, i) => ({ body: i }))), 500);
      let count = 0;
      for await (const delivery of connection.receiver("orders", { credit: 10 })) {
        delivery.accept();
        if (++count === 550) break;
      }
      await connection.close();
      await broker.close();
    });
  });
}

// Timers and a `Date` that move when told to, while `performance` does not.
function fakeClock(start: number) {
  let now = start, ids = 0;
  const timers = new Map<number, { due: number; call: () => void }>();
  const fakes: Record<string, Fake> = {
    setTimeout: (call: () => void, ms: number) => (timers.set(++ids, { due: now + Math.trunc(ms), call }), ids),
    clearTimeout: (id: number) => void timers.delete(id),
  };
  class FakeDate extends Date {
    static override now = () => now;
  }
  // Deno's lets turns of the event loop pass, others promise jobs alone.
  const { setTimeout: turn } = globalThis;
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 2_000; i++) await undefined;
    await new Promise<void>((resolve) => turn(resolve, 0));
  };
  const advance = async (ms: number): Promise<void> => {
    const end = now + ms;
    for (;;) {
      const [id, first] = [...timers].sort(([, a], [, b]) => a.due - b.due)[0] ?? [];
      if (first === undefined || first.due > end) break;
      timers.delete(id!);
      now = Math.max(now, first.due);
      first.call();
      await settled();
    }
    now = end;
  };
  return { fakes, FakeDate, advance, settled };
}

// Node's clock starts at the epoch.
for (const [kind, start] of [["sinon", Date.now()], ["deno", Date.now()], ["node", 0]] as const) {
  test(`time-outs end when fake timers of the kind of ${kind} say so that leave performance.now() alone`, async () => {
    const { fakes, FakeDate, advance, settled } = fakeClock(start);
    // Own in Bun, which it is elsewhere only once it is a fake.
    if (Object.hasOwn(performance, "now")) return;
    await underFakeTimers(kind, fakes, { Date: FakeDate }, async () => {
      const broker = new Broker({ queues: { orders: {} } });
      const connection = await broker.connect();
      await connection.send("orders", { body: 1, header: { ttl: 30_000 } });
      await advance(20_000);
      assertEquals(broker.queue("orders")!.messages, 1);
      await advance(20_000);
      assertEquals(broker.queue("orders")!.messages, 0);
      let batch: unknown[] | undefined;
      void connection.receiver("orders", { credit: "manual" }).receiveBatch(5, { waitMs: 10_000 }).then((b) =>
        batch = b
      );
      await settled();
      await advance(9_000);
      assertEquals(batch, undefined);
      await advance(2_000);
      assertEquals(batch, []);
      await connection.close();
      await broker.close();
    });
  });
}

test("with a broker in the same process no call needs a turn of the event loop, so a fake clock may leap", async () => {
  const broker = new Broker({ queues: { orders: {} } });
  const connection = await broker.connect({ containerId: "shop" });
  const answered = (work: () => Promise<unknown>) => async (): Promise<boolean> => {
    let done = false;
    work().then(() => done = true);
    // Promise jobs alone: work that waits for a timer, a file or a message is not done afterwards.
    for (let i = 0; i < 20_000 && !done; i++) await undefined;
    return done;
  };
  const bytes = (): ReadableStream<Uint8Array<ArrayBuffer>> =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(Uint8Array.of(5));
        controller.close();
      },
    });
  const stop = new AbortController();
  void connection.respond("prices", (request) => ({ body: request.text() }), { signal: stop.signal });
  const calls: Record<string, () => Promise<unknown>> = {
    send: () => connection.send("orders", { body: 1 }),
    sendAll: () => connection.sender("orders").sendAll([{ body: 2 }, { body: 3 }]),
    writable: () => connection.sender("orders").writable.getWriter().write({ body: 4 }),
    stream: () => connection.sender("orders").stream({ body: bytes() }),
    resume: () => connection.sender({ address: "orders", name: "kept", recovery: "resume" }).send({ body: 6 }),
    receiveBatch: () => connection.receiver("orders").receiveBatch(1),
    serve: () => new Promise((resolve) => void connection.receiver("orders").serve(resolve)),
    request: () => connection.request("prices", { body: "coffee" }),
    transaction: () => connection.transaction().then((transaction) => transaction.rollback()),
    drain: () => connection.receiver("empty").drain(),
  };
  for (const [name, call] of Object.entries(calls)) assert(await answered(call)(), name);
  stop.abort();
  await broker.close();
});

test("the runtime's own environment tells time and chance, and its timers are the runtime's", async () => {
  const before = systemEnvironment.now();
  await new Promise<void>((resolve) => systemEnvironment.setTimer(resolve, 2));
  assert(systemEnvironment.now() > before);
  const timer = systemEnvironment.setTimer(() => assert(false), -1);
  systemEnvironment.clearTimer(timer);
  assert(randomName() !== randomName());
  assertEquals(randomName({ ...systemEnvironment, random: (bytes) => void bytes.fill(0xa) }), "0a".repeat(16));
});

test("a link that ends while its first timer is set, as Deno may run microtasks then, keeps no message", async () => {
  let ending: (() => void) | undefined;
  const timers = new Set<unknown>();
  const { connection } = sending((request) => request.accept({ credit: "manual" }), {
    environment: {
      ...systemEnvironment,
      setTimer(call, ms) {
        ending?.();
        const timer = systemEnvironment.setTimer(call, ms);
        timers.add(timer);
        return timer;
      },
      clearTimer(timer) {
        timers.delete(timer);
        systemEnvironment.clearTimer(timer);
      },
    },
  });
  const sender = connection.sender("orders");
  await sender.ready();
  timers.clear();
  ending = () => sender.handleEnded(new Error("refused"));
  await assertRejects(() => sender.send({ body: 1 }), Error, "refused");
  ending = undefined;
  assertEquals([sender.pending, timers.size], [0, 0]);
  connection.destroy(new Error("done"));
});
