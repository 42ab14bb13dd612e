import { assertEquals } from "@std/assert";
import type { Delivery } from "../../src/client/delivery.ts";
import { Deferred } from "../../src/base/wait.ts";
import { DeliveryLoop, type LoopSource, type LoopWait } from "../../src/client/delivery_queue.ts";
import { random, seed, test } from "../harness.ts";

/** The loop as an async generator, the model for its every step; only that leaving it ends its wait. */
function generated(source: LoopSource, preventCancel: boolean): AsyncGenerator<Delivery, void, void> {
  const waiter: LoopWait & { leaving?: boolean } = { waiting: undefined };
  const loop = generate(source, preventCancel, waiter);
  const leave = (): void => {
    waiter.leaving = true;
    if (waiter.waiting !== undefined) source.leave(waiter.waiting);
  };
  return {
    next: () => loop.next(),
    return: () => (leave(), loop.return()),
    throw: (error: unknown) => (leave(), loop.throw(error)),
  } as AsyncGenerator<Delivery, void, void>;
}

async function* generate(
  source: LoopSource,
  preventCancel: boolean,
  waiter: LoopWait & { leaving?: boolean },
): AsyncGenerator<Delivery, void, void> {
  let left = true;
  try {
    for (;;) {
      const delivery = source.shift() ?? (waiter.leaving ? undefined : await source.take(undefined, waiter));
      if (delivery === undefined) {
        left = waiter.leaving === true;
        return;
      }
      if (!source.automatic) delivery.handleTaken();
      let processed = false;
      try {
        yield delivery;
        processed = true;
      } finally {
        if (source.automatic) delivery.settleByDefault(processed);
      }
    }
  } finally {
    if (left && !preventCancel) await source.close();
  }
}

type Step = "next" | "return" | "throw" | "come" | "end" | "fail" | "faulty";

/** The events that a program of these steps sees of a loop, and those of its receiver, each in order. */
async function run(
  steps: readonly Step[],
  automatic: boolean,
  make: (source: LoopSource) => AsyncGenerator<Delivery, void, void>,
): Promise<string[][]> {
  const told: string[] = [];
  const seen: string[] = [];
  const buffer: Delivery[] = [];
  let ended: { readonly error: Error | undefined } | undefined;
  let taken: Deferred<Delivery | undefined> | undefined;
  const loop = make({
    automatic,
    shift: () => buffer.shift(),
    take: (_signal, waiter) => {
      if (ended?.error !== undefined) return Promise.reject(ended.error);
      if (ended !== undefined) return Promise.resolve(undefined);
      return (waiter.waiting = taken = new Deferred()).promise;
    },
    leave: (waiting) => {
      if (waiting.settled) return;
      waiting.resolve(undefined);
      taken = undefined;
    },
    close: () => {
      told.push("closed");
      return Promise.resolve();
    },
  });
  let count = 0;
  const come = (faulty: boolean): void => {
    const name = `${count++}`;
    const delivery = {
      name,
      handleTaken: () => told.push(`${name} taken`),
      settleByDefault: (processed: boolean) => {
        told.push(`${name} ${processed ? "accepted" : "handed back"}`);
        if (faulty) throw new Error(`${name} cannot be settled`);
      },
    } as unknown as Delivery;
    if (taken !== undefined) taken.resolve(delivery);
    else buffer.push(delivery);
    taken = undefined;
  };
  const note = (at: number, promise: Promise<IteratorResult<Delivery, void>>): void =>
    void promise.then(
      ({ done, value }) => seen.push(`${at}: ${done ? "done" : (value as unknown as { name: string }).name}`),
      (error) => seen.push(`${at}: ${error.message}`),
    );
  for (const [at, step] of [...steps, "end"].entries()) {
    // The next step finds the loop at rest: the two differ in how many turns they take to get there.
    if (step !== "next") await rest();
    if (step === "next") note(at, loop.next());
    else if (step === "return") note(at, loop.return());
    else if (step === "throw") note(at, loop.throw(new Error("thrown")));
    else if (step === "come") come(false);
    else if (step === "faulty") come(true);
    else {
      ended ??= { error: step === "fail" ? new Error("lost") : undefined };
      if (ended.error === undefined) taken?.resolve(undefined);
      else taken?.reject(ended.error);
      taken = undefined;
    }
  }
  await rest();
  return [seen, told];
}

async function rest(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

test("loop: whatever the program does, it sees what an async generator would show it", async () => {
  const { int } = random(seed());
  const kinds: readonly Step[] = ["next", "next", "next", "come", "come", "return", "throw", "fail", "faulty"];
  for (let i = 0; i < 600; i++) {
    const steps = Array.from({ length: 1 + int(9) }, () => kinds[int(kinds.length)]!);
    const automatic = int(2) === 0;
    const preventCancel = int(3) === 0;
    const ours = await run(steps, automatic, (source) => new DeliveryLoop(source, { preventCancel }));
    const expected = await run(steps, automatic, (source) => generated(source, preventCancel));
    assertEquals(ours, expected, steps.join(" "));
  }
});

test("loop: leaving it ends its wait for a message, and no message is lost", async () => {
  for (const preventCancel of [true, false]) {
    for (const leave of ["return", "throw"] as const) {
      const [seen, told] = await run(["next", "next", leave, "come"], true, (source) => {
        return new DeliveryLoop(source, { preventCancel });
      });
      assertEquals(seen, ["0: done", "1: done", leave === "return" ? "2: done" : "2: thrown"]);
      assertEquals(told, preventCancel ? [] : ["closed"]);
    }
  }
});

test("loop: a message that is there is handed out in one turn of the microtask queue", async () => {
  const delivery = { handleTaken: () => {} } as Delivery;
  const loop = new DeliveryLoop({
    automatic: false,
    shift: () => delivery,
    take: () => Promise.reject(new Error("asked to wait")),
    leave: () => {},
    close: () => undefined,
  }, {});
  let turns = 0;
  let over = false;
  const count = (): void => {
    turns++;
    if (!over) Promise.resolve().then(count);
  };
  Promise.resolve().then(count);
  for (let i = 0; i < 100; i++) await loop.next();
  over = true;
  assertEquals(turns, 100);
});
