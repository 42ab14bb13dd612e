import { assert, assertEquals } from "@std/assert";
import { randomName, systemEnvironment } from "../../src/base/environment.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

type Globals = Record<string, unknown>;

// What each kind of fake timers replaces, and by which mark its functions are known.
const FAKES: Record<string, { names: string[]; mark: (fake: () => number) => () => number }> = {
  // @sinonjs/fake-timers, which vitest and jest use.
  sinon: {
    names: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate", "queueMicrotask", "setInterval"],
    mark: (fake) => Object.assign(Object.defineProperty(fake, "name", { value: "setImmediate" }), { clock: {} }),
  },
  // MockTimers of Node.
  node: { names: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate"], mark: (fake) => fake.bind(null) },
  // FakeTime of Deno's standard library; Bun's do as much.
  deno: { names: ["setTimeout", "clearTimeout", "setInterval"], mark: (fake) => fake },
};

async function underFakeTimers(kind: string, work: () => Promise<void>): Promise<void> {
  const { names, mark } = FAKES[kind]!;
  const globals = globalThis as unknown as Globals;
  const real = Object.fromEntries(names.map((name) => [name, globals[name]]));
  const { now } = performance;
  try {
    for (const name of names) globals[name] = mark(() => 0);
    performance.now = () => 0;
    await work();
  } finally {
    Object.assign(globals, real);
    performance.now = now;
  }
}

for (const kind of Object.keys(FAKES)) {
  test(`traffic flows under fake timers of the kind of ${kind}, only time-outs wait`, async () => {
    await underFakeTimers(kind, async () => {
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

test("the runtime's own environment tells time and chance, and its timers are the runtime's", async () => {
  const before = systemEnvironment.now();
  await new Promise<void>((resolve) => systemEnvironment.setTimer(resolve, 2));
  assert(systemEnvironment.now() > before);
  const timer = systemEnvironment.setTimer(() => assert(false), -1);
  systemEnvironment.clearTimer(timer);
  assert(randomName() !== randomName());
  assertEquals(randomName({ ...systemEnvironment, random: (bytes) => void bytes.fill(0xa) }), "0a".repeat(16));
});
