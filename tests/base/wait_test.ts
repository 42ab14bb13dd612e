import { assertEquals, assertRejects } from "@std/assert";
import { abortable, abortWith, onAbort } from "../../src/base/wait.ts";
import { test } from "../harness.ts";

/** A signal that counts its listeners. */
function counted(): { abort: (reason?: unknown) => void; signal: AbortSignal; listeners: () => number[] } {
  const controller = new AbortController();
  const { signal } = controller;
  const counts = [0, 0];
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = (...args: unknown[]) => {
    counts[0]!++;
    add.apply(signal, args as never);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    counts[1]!++;
    remove.apply(signal, args as never);
  };
  return { abort: (reason) => controller.abort(reason), signal, listeners: () => counts };
}

test("ATK-36: 10,000 waits for one signal share one listener, and end with its reason", async () => {
  const { signal, abort, listeners } = counted();
  const reason = new Error("enough");
  const waits = Array.from({ length: 10_000 }, () => abortable(new Promise<void>(() => {}), signal));
  abort(reason);
  let ended = 0;
  for (const wait of waits) await wait.catch((error) => ended += error === reason ? 1 : 0);
  assertEquals(ended, 10_000);
  assertEquals(listeners(), [1, 1]);
  await assertRejects(() => abortable(Promise.resolve(), signal), Error, "enough");
});

test("a signal loses its listener with the last that waits for it, and gets another with the next", async () => {
  const { signal, abort, listeners } = counted();
  const called: string[] = [];
  const [one, two] = ["one", "two"].map((name) => onAbort(signal, () => called.push(name)));
  assertEquals(await abortable(Promise.resolve(5), signal), 5);
  // The cancellation runs in the next turn.
  for (let i = 0; i < 5; i++) await undefined;
  one!();
  one!();
  assertEquals(listeners(), [1, 0]);
  two!();
  assertEquals(listeners(), [1, 1]);
  onAbort(signal, () => called.push("three"));
  abort();
  assertEquals([called, listeners()], [["three"], [2, 2]]);
});

test("a controller that takes no reason, as React Native's, still tells the one that it is aborted with", async () => {
  // The package `abort-controller`: no `reason`, no `throwIfAborted`.
  class Signal extends EventTarget {
    aborted = false;
  }
  class Controller {
    signal = new Signal();
    abort(): void {
      this.signal.aborted = true;
      this.signal.dispatchEvent(new Event("abort"));
    }
  }
  for (const kind of [Controller, AbortController]) {
    const controller = new kind() as AbortController;
    const waiting = abortable(new Promise<void>(() => {}), controller.signal);
    abortWith(controller, new RangeError("enough"));
    await assertRejects(() => waiting, RangeError, "enough");
    await assertRejects(() => abortable(Promise.resolve(), controller.signal), RangeError, "enough");
  }
});

test("API: a signal that was aborted before the wait began calls those who wait, unless they called it off", async () => {
  const { signal, abort, listeners } = counted();
  const called: string[] = [];
  abort();
  onAbort(signal, () => called.push("one"));
  onAbort(signal, () => called.push("two"))();
  assertEquals(called, []);
  await undefined;
  assertEquals([called, listeners()], [["one"], [1, 1]]);
  onAbort(signal, () => called.push("three"))();
  await undefined;
  assertEquals([called, listeners()], [["one"], [2, 2]]);
});
