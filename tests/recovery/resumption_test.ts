import { assertEquals } from "@std/assert";
import { sequence, writeMessage } from "../../src/codec/message.ts";
import type { DeliveryState, Received } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import {
  arrivedState,
  decideAsSender,
  type ListedState,
  listUnsettled,
  restOf,
  type SenderDecision,
} from "../../src/recovery/resumption.ts";
import { test } from "../harness.ts";

const accepted: DeliveryState = { kind: "accepted" };
const released: DeliveryState = { kind: "released" };
const nothing = received(0, 0);

function received(sectionNumber: number, sectionOffset: number): Received {
  return { kind: "received", sectionNumber, sectionOffset: BigInt(sectionOffset) };
}

// The fourteen cases of the specification's example: the sender's state, the receiver's state, the sender's decision.
const CASES: readonly [DeliveryState | null, ListedState, SenderDecision][] = [
  [null, undefined, { kind: "send" }],
  [null, received(2, 7), { kind: "resume", from: received(2, 7) }],
  [null, accepted, { kind: "settle", state: accepted, reported: false }],
  [null, null, { kind: "resume", from: nothing }],
  [received(3, 1), undefined, { kind: "send" }],
  [received(3, 1), received(3, 9), { kind: "resume", from: received(3, 9) }],
  [received(3, 9), received(3, 1), { kind: "abort" }],
  [received(3, 1), accepted, { kind: "settle", state: accepted, reported: false }],
  [received(3, 1), null, { kind: "abort" }],
  [accepted, undefined, { kind: "settle", state: accepted, reported: true }],
  [accepted, received(1, 0), { kind: "abort" }],
  [accepted, accepted, { kind: "settle", state: accepted, reported: false }],
  [accepted, released, { kind: "restate", state: accepted }],
  [accepted, null, { kind: "abort" }],
];

for (const [i, [local, remote, decision]] of CASES.entries()) {
  const say = (state: ListedState): string => state === undefined ? "absent" : state?.kind ?? "null";
  test(`RES-1, transport 2.6.13, delivery ${i + 1}: sender has ${say(local)}, receiver ${say(remote)}`, () => {
    assertEquals(decideAsSender(local, remote), decision);
  });
}

test("RES-1: an outcome under a transaction, which has ended with its connection, is none", () => {
  const provisional: DeliveryState = {
    kind: "transactionalState",
    txnId: Uint8Array.of(1),
    outcome: { kind: "accepted" },
  };
  assertEquals(decideAsSender(null, provisional), { kind: "abort" });
  assertEquals(decideAsSender(received(0, 0), received(0, 0)), { kind: "resume", from: nothing });
});

function encoded(body: Parameters<typeof writeMessage>[0]): Uint8Array {
  const writer = new Writer();
  writeMessage(body, writer);
  return writer.take();
}

test("transport 2.6.13: the rest of a message begins within the section that its receiver names", () => {
  // A message without a body has an empty one.
  const empty = encoded({}).length;
  const head = encoded({ header: { durable: true } }).length - empty;
  const properties = encoded({ header: { durable: true }, properties: { messageId: "m" } }).length - empty;
  const payload = encoded({
    header: { durable: true },
    properties: { messageId: "m" },
    body: sequence([[1, 2], ["x".repeat(300)]]),
  });
  assertEquals(restOf(payload, 0, nothing), { offset: 0, state: nothing });
  assertEquals(restOf(payload, 0, received(0, 2)).offset, 2);
  assertEquals(restOf(payload, 0, received(1, 0)).offset, head);
  assertEquals(restOf(payload, 0, received(2, 3)), { offset: properties + 3, state: received(2, 3) });
  assertEquals(arrivedState(payload, 0), received(4, 0));
  assertEquals(restOf(payload, 0, received(4, 0)).offset, payload.length);
});

test("transport 2.6.13: a place that the message does not have is its beginning", () => {
  const payload = encoded({ body: "text" });
  for (const place of [received(1, 1), received(2, 0), received(0, 1000), received(4_294_967_295, 0)]) {
    assertEquals(restOf(payload, 0, place), { offset: 0, state: nothing });
  }
  assertEquals(restOf(Uint8Array.of(1, 2, 3), 0, received(1, 0)), { offset: 0, state: nothing });
  // The sections of another format are unknown.
  assertEquals(restOf(payload, 7, received(0, 1)), { offset: 0, state: nothing });
  assertEquals([arrivedState(payload, 7), arrivedState(Uint8Array.of(1), 0)], [null, null]);
});

test("LNK-8, LNK-9: what does not fit the frame is left out of the list, which says so", () => {
  const deliveries = Array.from(
    { length: 100 },
    (_, i) => [Uint8Array.of(0, 0, 0, i), i % 2 ? accepted : null] as const,
  );
  const all = listUnsettled(deliveries, 10_000);
  assertEquals([all.unsettled.size, all.incompleteUnsettled], [100, undefined]);
  const some = listUnsettled(deliveries, 100);
  assertEquals([[...some.unsettled.keys()].map((tag) => tag[3]), some.incompleteUnsettled], [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    true,
  ]);
});
