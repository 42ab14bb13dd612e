import { assertEquals, assertInstanceOf, assertLessOrEqual, assertStrictEquals } from "@std/assert";
import { type EncodedMessage, keepMessage } from "../../src/broker/encoded_message.ts";
import { KeptBytes, MessageBlock } from "../../src/broker/kept_bytes.ts";
import { partsOfMessage, QueuedMessage } from "../../src/broker/queued_message.ts";
import { type Ranked, SortedMessages } from "../../src/broker/sorted_messages.ts";
import type { Header } from "../../src/codec/types.ts";
import { random, seed, test } from "../harness.ts";
import { encoded, range } from "./set_up.ts";

const keptBytes = new KeptBytes();

function keep(body: string, header?: Header): EncodedMessage {
  return keepMessage(encoded({ header, body }), 0, undefined, keptBytes);
}

test("a sorted list does what a sorted array does, whatever it keeps of its items", () => {
  const chance = random(seed());
  const pairs = { part: ({ rank }: Ranked) => `${rank}`, place: ({ rank }: Ranked) => 2 * rank };
  const asTheyAre = new SortedMessages<Ranked>();
  const inParts = new SortedMessages<Ranked, string>({
    ...pairs,
    item(part, place, rank) {
      assertEquals([part, place], [`${rank}`, 2 * rank]);
      return { rank };
    },
  });
  const lists = [asTheyAre, inParts] as const;
  let ranks: number[] = [];
  for (let turn = 0; turn < 20_000; turn++) {
    const rank = chance.int(turn < 10_000 ? 4_000 : 300);
    const has = ranks.includes(rank);
    const which = turn % 2_000 === 0 ? 8 : chance.int(8);
    for (const list of lists) {
      if (which < 4) list.insert({ rank });
      else if (which === 4) assertEquals(list.shift()?.rank, ranks[0]);
      else if (which === 5) assertEquals(list.delete(rank), has);
      else if (which === 6) assertEquals(list.get(rank)?.rank, has ? rank : undefined);
      else if (which === 7) assertEquals(list.after(rank)?.rank, ranks.find((other) => other > rank));
    }
    if (which < 4 && !has) ranks = [...ranks, rank].sort((a, b) => a - b);
    else if (which === 4) ranks.shift();
    else if (which === 5) ranks = ranks.filter((other) => other !== rank);
    else if (which === 8) {
      const picked = ranks.filter((rank) => rank % 3 > 0).map((rank) => ({ rank }));
      assertEquals(asTheyAre.extract(({ rank }) => rank % 3 > 0), picked);
      assertEquals(inParts.extract((part) => Number(part) % 3 > 0), picked);
      ranks = ranks.filter((rank) => rank % 3 === 0);
    }
    for (const list of lists) assertEquals([list.size, list.first?.rank], [ranks.length, ranks[0]]);
  }
});

test("a message that waits is kept without an object, unless there is more to it than its bytes", () => {
  const list = new SortedMessages(partsOfMessage);
  const failed = new QueuedMessage(keep("failed"), Infinity);
  failed.fail();
  const grouped = new QueuedMessage(keep("grouped"), Infinity);
  grouped.group = 3;
  const expiring = new QueuedMessage(keep("expiring"), 5_000);
  const first = new QueuedMessage(keep("first", { firstAcquirer: true }), Infinity);
  first.acquire();
  const plain = range(0, 4).map((i) => new QueuedMessage(keep(`plain ${i}`, { priority: i }), Infinity));
  plain[0]!.acquire();
  const messages = [failed, grouped, expiring, first, ...plain];
  messages.forEach((message, i) => {
    message.rank = i;
    list.insert(message);
  });
  const kept: unknown[] = [];
  assertEquals(list.extract((part) => !kept.push(part)), []);
  assertEquals(kept.slice(0, 4), [failed, grouped, expiring, first]);
  for (const part of kept.slice(4)) assertInstanceOf(part, MessageBlock);
  messages.forEach((message, i) => {
    const back = list.shift()!;
    if (i < 4) assertStrictEquals(back, message);
    const { payload, priority, length } = back.encoded;
    assertEquals([back.rank, back.plain, payload, priority, length], [
      i,
      i >= 4,
      message.encoded.payload,
      message.encoded.priority,
      message.encoded.length,
    ]);
  });
});

test("ATK-18: short messages share memory, of which one that stays keeps 4,096 bytes", () => {
  const messages = range(0, 1_000).map((i) => keep("x".repeat(i % 300)));
  const bytes = messages.reduce((sum, { length }) => sum + length + 32, 0);
  const buffers = new Set(messages.map(({ payload }) => payload.buffer));
  for (const { byteLength } of buffers) assertEquals(byteLength, 4_096);
  // The rest of a block is too short for the next message.
  assertLessOrEqual(buffers.size, 1 + Math.ceil(bytes / (4_096 - 332)));
});

test("messages of many sources in one block have each its own", () => {
  const sources = range(0, 200).map((i) => ({ limits: undefined, container: `container ${i % 70}` }));
  const messages = sources.map((source) => keepMessage(encoded({ body: null }), 0, source, keptBytes));
  messages.forEach(({ source }, i) => assertStrictEquals(source, sources[i]));
});
