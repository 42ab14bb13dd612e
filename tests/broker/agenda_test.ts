import { assertEquals } from "@std/assert";
import { Agenda } from "../../src/broker/agenda.ts";
import { random, test } from "../harness.ts";
import { range } from "./set_up.ts";

test("an agenda has each name once, at the earliest time that was told, and nothing for never", () => {
  const agenda = new Agenda();
  for (const [name, time] of [["a", 20], ["b", 10.5], ["a", 5], ["b", 30], ["c", 11], ["d", Infinity]] as const) {
    agenda.add(name, time);
  }
  assertEquals([agenda.take(4), agenda.take(5), agenda.take(10.9), agenda.take(11)], [[], ["a"], [], ["b", "c"]]);
  agenda.add("a", 40);
  agenda.delete("a");
  agenda.delete("nobody");
  assertEquals(agenda.take(1e15), []);
});

test("an agenda gives what a walk through all names would give", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const numbers = random(seed);
  const agenda = new Agenda();
  const model = new Map<string, number>();
  let now = 0;
  for (const _ of range(0, 20_000)) {
    const [what, which, when] = numbers.bytes(3) as unknown as [number, number, number];
    const name = `${which % 64}`;
    if (what < 160) {
      agenda.add(name, now + when);
      model.set(name, Math.min(model.get(name) ?? Infinity, now + when));
    } else if (what < 200) {
      agenda.delete(name);
      model.delete(name);
    } else {
      now += when % 16;
      const due = [...model].filter(([, time]) => time <= now).map(([name]) => name);
      for (const name of due) model.delete(name);
      assertEquals(agenda.take(now).sort(), due.sort(), `seed ${seed}`);
    }
  }
});
