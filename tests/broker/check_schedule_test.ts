import { assertEquals } from "@std/assert";
import { CheckSchedule } from "../../src/broker/check_schedule.ts";
import { DelayedMessages } from "../../src/broker/delayed_messages.ts";
import type { QueuedMessage } from "../../src/broker/queued_message.ts";
import { VirtualTime } from "../client/virtual.ts";
import { random, test } from "../harness.ts";
import { range } from "./set_up.ts";

test("a schedule has each name once, at the earliest time that was given, and nothing for never", () => {
  const schedule = new CheckSchedule();
  for (const [name, time] of [["a", 20], ["b", 10.5], ["a", 5], ["b", 30], ["c", 11], ["d", Infinity]] as const) {
    schedule.add(name, time);
  }
  assertEquals([4, 5, 10.9, 11].map((now) => schedule.take(now)), [[], ["a"], [], ["b", "c"]]);
  schedule.add("a", 40);
  schedule.delete("a");
  schedule.delete("nobody");
  assertEquals(schedule.take(1e15), []);
});

test("a schedule gives what a walk through all names would give", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const numbers = random(seed);
  const schedule = new CheckSchedule();
  const model = new Map<string, number>();
  let now = 0;
  for (const _ of range(0, 20_000)) {
    const [what, which, when] = numbers.bytes(3) as unknown as [number, number, number];
    const name = `${which % 64}`;
    if (what < 160) {
      schedule.add(name, now + when);
      model.set(name, Math.min(model.get(name) ?? Infinity, now + when));
    } else if (what < 200) {
      schedule.delete(name);
      model.delete(name);
    } else {
      now += when % 16;
      const due = [...model].filter(([, time]) => time <= now).map(([name]) => name);
      for (const name of due) model.delete(name);
      assertEquals(schedule.take(now).sort(), due.sort(), `seed ${seed}`);
    }
  }
});

test("EXT-8: of very many messages for one time, or for one years ahead, none is lost, and their order stays", () => {
  const time = new VirtualTime();
  const delayed = new DelayedMessages(time, () => {});
  const tenYears = time.now() + 3.2e11;
  // More than any number that a millisecond could be divided by.
  const messages = range(0, 70_000).map((bytes) => ({ bytes }) as QueuedMessage);
  for (const message of messages) delayed.add(message, tenYears + 0.5);
  delayed.add(messages[0]!, 5_000);
  assertEquals(delayed.size, messages.length + 1);
  assertEquals(delayed.extract().map(({ bytes }) => bytes), [0, ...range(0, 70_000)]);
  assertEquals(delayed.size, 0);
  delayed.close();
});
