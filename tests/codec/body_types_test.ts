/**
 * The bodies that the compiler accepts, and those that it refuses; `deno check` proves most of this.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { type DecodedMessage, type Message, uint, value } from "../../mod.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";

interface Line {
  readonly product: string;
  readonly price?: number | undefined;
}

interface Order {
  id: string;
  lines: readonly Line[];
  placed: Date;
  note?: string;
}

const order: Order = { id: "1", lines: [{ product: "coffee", price: 3.2 }, { product: "cake" }], placed: new Date(0) };

function sent(message: Message): DecodedMessage {
  const writer = new Writer();
  writeMessage(message, writer);
  return decodeMessage(writer.take());
}

test("body: what interfaces describe is sent as a map, with all that it holds", () => {
  assertEquals(sent({ body: order }).json(), {
    id: "1",
    lines: [{ product: "coffee", price: 3.2 }, { product: "cake" }],
    placed: new Date(0),
  });
  assertEquals(sent({ body: [order.lines[1]] }).json(), [{ product: "cake" }]);
  assertEquals(sent({ body: value(order) }).json(), sent({ body: order }).json());
});

interface Note {
  readonly region: string;
  readonly rank?: number;
}

test("message: what interfaces describe is taken as application properties, annotations and footer", () => {
  const note: Note = { region: "eu", rank: 2 };
  const message = sent({
    applicationProperties: note,
    messageAnnotations: note,
    deliveryAnnotations: note,
    footer: note,
    body: note,
  });
  const plain: Record<string, unknown> = { region: "eu", rank: 2 };
  assertEquals<unknown>({ ...message.applicationProperties }, plain);
  assertEquals<unknown>({ ...message.messageAnnotations }, plain);
  assertEquals<unknown>({ ...message.deliveryAnnotations }, plain);
  assertEquals<unknown>({ ...message.footer }, plain);
  const messages: Message[] = [
    // @ts-expect-error no simple value
    { applicationProperties: { a: { b: 1 } } },
    // @ts-expect-error a function
    { messageAnnotations: { a: () => 1 } },
    // @ts-expect-error a map has no fields
    { applicationProperties: new Map([["a", 1]]) },
    // @ts-expect-error a list has no names
    { messageAnnotations: [1] },
  ];
  for (const message of messages) assertThrows(() => sent(message), TypeError, "Cannot encode");
});

test("body: readonly arrays and maps are sent, however deep", () => {
  const rows = [["a", "b"], ["c"]] as const;
  assertEquals(sent({ body: rows }).json(), [["a", "b"], ["c"]]);
  assertEquals(sent({ body: { rows, size: uint(2) } }).json(), { rows: [["a", "b"], ["c"]], size: 2 });
  const counts: ReadonlyMap<string, readonly number[]> = new Map([["a", [1, 2]]]);
  assertEquals(sent({ body: counts }).json(), { a: [1, 2] });
});

test("body: what has no form as a map is refused by the compiler already", () => {
  const messages: Message[] = [
    // @ts-expect-error a function
    { body: () => 1 },
    // @ts-expect-error a function further in
    { body: { items: [{ call: () => 1 }] } },
    // @ts-expect-error a promise
    { body: Promise.resolve(1) },
    // @ts-expect-error a set
    { body: new Set([1]) },
    // @ts-expect-error a buffer
    { body: new ArrayBuffer(1) },
    // @ts-expect-error numbers of another width than bytes
    { body: new Float64Array(1) },
    // @ts-expect-error a symbol
    { body: Symbol("a") },
    // @ts-expect-error no field of a message
    { orderId: 1 },
  ];
  assertEquals(messages.length, 8);
});
