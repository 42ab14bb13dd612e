import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deferred } from "../../src/base/wait.ts";
import { Waiters } from "../../src/client/waiters.ts";
import { random, seed, test } from "../harness.ts";

test("waiters: whoever is first is served, and who has left is passed over", async () => {
  const waiters = new Waiters<string>();
  const [first, second, third] = [waiters.join(), waiters.join(), waiters.join()];
  waiters.leave(second, () => second.reject(new Error("enough")));
  await assertRejects(() => second.promise, Error, "enough");
  assertEquals(waiters.length, 2);
  waiters.shift()!.resolve("one");
  // One that has what it waited for does not leave any more.
  waiters.leave(first, () => first.reject(new Error("too late")));
  assertEquals([await first.promise, waiters.length], ["one", 1]);
  assertEquals([waiters.shift(), waiters.shift(), waiters.length], [third, undefined, 0]);
});

test("ATK-36: to leave from anywhere looks at few others, however many wait, and nothing of it stays", () => {
  const source = random(seed());
  const waiters = new Waiters<number>();
  const waiting = Array.from({ length: 20_000 }, () => waiters.join());
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
      waiters.leave(one, () => one.resolve(0));
    }
  } finally {
    Object.defineProperty(Deferred.prototype, "settled", { get, configurable: true });
  }
  assertEquals(waiters.length, 0);
  assertEquals(waiters.clear(), []);
  assert(looks < 10 * 20_000, `${looks} looks for 20,000 that leave`);
});
