import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deferred } from "../../src/base/wait.ts";
import { Arrivals } from "../../src/client/delivery_queue.ts";
import { random, seed, test } from "../harness.ts";

test("arrivals: whoever is first is served, and who has left is passed over", async () => {
  const arrivals = new Arrivals<string>();
  const [first, second, third] = [arrivals.join(), arrivals.join(), arrivals.join()];
  arrivals.leave(second, () => second.reject(new Error("enough")));
  await assertRejects(() => second.promise, Error, "enough");
  assertEquals(arrivals.waiting, 2);
  assert(arrivals.push("one"));
  // A waiter that has its item leaves nothing behind.
  arrivals.leave(first, () => first.reject(new Error("too late")));
  assertEquals([await first.promise, arrivals.waiting], ["one", 1]);
  assert(arrivals.push("two"));
  assertEquals([await third.promise, arrivals.waiting], ["two", 0]);
  // Without a waiter, the item is kept.
  assert(!arrivals.push("three"));
  assertEquals([arrivals.length, arrivals.shift(), arrivals.shift()], [1, "three", undefined]);
});

test("ATK-36: to leave from anywhere looks at few others, however many wait, and nothing of it stays", () => {
  const source = random(seed());
  const arrivals = new Arrivals<number>();
  const waiting = Array.from({ length: 20_000 }, () => arrivals.join());
  const { get } = Object.getOwnPropertyDescriptor(Deferred.prototype, "settled")!;
  let looks = 0;
  Object.defineProperty(Deferred.prototype, "settled", {
    get() {
      looks++;
      return get!.call(this);
    },
    configurable: true,
  });
  try {
    while (waiting.length > 0) {
      const at = source.int(waiting.length);
      const one = waiting[at]!;
      waiting[at] = waiting.at(-1)!;
      waiting.pop();
      arrivals.leave(one, () => one.resolve(0));
    }
  } finally {
    Object.defineProperty(Deferred.prototype, "settled", { get, configurable: true });
  }
  assertEquals(arrivals.waiting, 0);
  arrivals.end(() => {
    throw new Error("nobody waits");
  });
  assert(looks < 10 * 20_000, `${looks} looks for 20,000 that leave`);
});
