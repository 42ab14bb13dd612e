import { assertEquals, assertThrows } from "@std/assert";
import { acceptor } from "../../src/server/acceptor.ts";
import { SharedTimers } from "../../src/server/shared_timers.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import { linkUp } from "../client/link_up.ts";
import { random, seed, test } from "../harness.ts";

test("timers that share one of the runtime's run and are cancelled as timers of their own are", async () => {
  const { int } = random(seed());
  const time = new VirtualTime();
  const alone = new VirtualTime();
  const shared = new SharedTimers(time);
  const ran: [number, number][] = [];
  const expected: [number, number][] = [];
  const timers: [unknown, unknown][] = [];
  const set = (): void => {
    // Without two at one time, whose order is open.
    const id = timers.length;
    const ms = int(1_000) + id / 1e6;
    timers.push([
      shared.setTimer(() => ran.push([id, time.now()]), ms),
      alone.setTimer(() => expected.push([id, alone.now()]), ms),
    ]);
  };
  for (let round = 0; round < 200; round++) {
    for (let count = int(8); count > 0; count--) set();
    for (let count = int(5); count > 0; count--) {
      // Some have run, or were cancelled before.
      const [timer, other] = timers[int(timers.length)] ?? [];
      shared.clearTimer(timer);
      alone.clearTimer(other);
    }
    const ms = int(100);
    await Promise.all([time.advance(ms), alone.advance(ms)]);
    assertEquals(ran, expected);
    assertEquals(time.timers, Math.min(1, alone.timers));
  }
  await Promise.all([time.advance(2_000), alone.advance(2_000)]);
  assertEquals(ran, expected);
  assertEquals(time.timers, 0);
});

test("a shared timer that throws, or sets another for now, keeps no other from running", async () => {
  const time = new VirtualTime();
  const shared = new SharedTimers(time);
  const ran: string[] = [];
  shared.setTimer(() => {
    throw new Error("first");
  }, 5);
  shared.setTimer(() => {
    ran.push("second");
    shared.setTimer(() => ran.push("third"), 0);
  }, 5);
  let call: () => void = () => {};
  const { setTimer } = time;
  time.setTimer = (callback, ms) => setTimer.call(time, call = callback, ms);
  shared.setTimer(() => {}, 1);
  await time.advance(4);
  assertEquals(ran, []);
  // What the runtime calls when its timer is due.
  time.now = () => 5;
  assertThrows(call, Error, "first");
  call();
  assertEquals(ran, ["second"]);
  call();
  assertEquals(ran, ["second", "third"]);
});

test("all connections of an acceptor wait on one timer, which ends with the last of them", async () => {
  const time = new VirtualTime();
  const server = acceptor({ environment: time });
  const connections = Array.from({ length: 100 }, () => linkUp(server));
  await Promise.all(connections.map((connection) => connection.ready()));
  assertEquals(server.connections.size, 100);
  assertEquals(time.timers, 1);
  await Promise.all(connections.map((connection) => connection.close()));
  await time.advance(0);
  assertEquals([server.connections.size, time.timers], [0, 0]);
});
