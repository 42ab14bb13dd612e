import { assert, assertEquals } from "@std/assert";
import { encodeComposite } from "../../src/codec/composite.ts";
import { MAX_UINT } from "../../src/codec/codes.ts";
import { definitions } from "../../src/codec/definitions.ts";
import {
  FastPathReader,
  MAX_TRANSFER_HEAD_BYTES,
  onlyData,
  valuesInOrder,
  writeTransfer,
} from "../../src/codec/fast_path.ts";
import { beginFrame, endFrame } from "../../src/codec/frame.ts";
import { decodeMessage } from "../../src/codec/message.ts";
import type { Performative, Transfer } from "../../src/codec/types.ts";
import { MAX_DELIVERY_TAG_BYTES } from "../../src/codec/limits.ts";
import { Writer } from "../../src/codec/writer.ts";
import { mutated } from "../fuzz/generate.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { amidst, wire } from "./bytes.ts";
import { agree } from "./fast_path.ts";
import { sampleField } from "./samples.ts";

/** Encodings of each type of field: usual, long and wrong ones. */
const forms = {
  uint: ["43", "52 00", "52 ff", "70 00000000", "70 ffffffff", "40", "53 01", "52"],
  binary: ["a0 00", "a0 03 010203", "b0 00000002 0102", "40", "a0 ff 01", "a3 01 61"],
  boolean: ["41", "42", "56 00", "56 01", "40", "56 02", "43"],
  mode: ["40", "50 00", "50 02"],
  state: [
    "00 53 24 45",
    "00 53 24 c0 01 00",
    "00 53 26 45",
    "00 80 0000000000000024 45",
    "00 a3 12 616d71703a61636365707465643a6c697374 45",
    "00 53 23 c0 04 02 52 05 44",
    "40",
    "00 53 75 a0 00",
  ],
} as const;

const fields = {
  14: "uint uint binary uint boolean boolean mode state boolean boolean boolean boolean",
  15: "boolean uint uint boolean state boolean boolean",
} as const;

/** A performative of such encodings, mostly usual ones. */
function performative(source: Random): Uint8Array {
  const code = source.pick(["14", "14", "15", "15"] as const);
  const all = fields[code].split(" ") as (keyof typeof forms)[];
  const nulls = code === "14" && source.int(5) === 0;
  const most = nulls || source.int(10) === 0 ? all.length : code === "14" ? 6 : 5;
  const parts = all.slice(0, source.int(4) > 0 ? most - source.int(2) : source.int(most + 1)).map((type, i) => {
    return nulls && i > 5 ? "40" : source.int(5) > 0 ? forms[type][0] : source.pick<string>(forms[type]);
  });
  const contents = wire(parts.join(""));
  const count = source.int(20) === 0 ? source.int(8) : parts.length;
  const size = source.int(20) === 0 ? source.int(40) : contents.length + 1;
  const head = source.int(3) === 0
    ? Uint8Array.of(0, 0x53, Number.parseInt(code, 16), 0xd0, 0, 0, 0, size + 3, 0, 0, 0, count)
    : Uint8Array.of(0, 0x53, Number.parseInt(code, 16), 0xc0, size, count);
  return Uint8Array.from([...head, ...contents]);
}

test("TYP-1 ATK-33: what is read without the table is what the table gives, for any form of any field", () => {
  const source = random(seed());
  let ordinary = 0;
  for (let i = 0; i < 20_000; i++) {
    const body = performative(source);
    const bytes = Uint8Array.from([...body, ...source.bytes(source.int(3))]);
    if (agree(source.int(3) > 0 ? bytes : mutated(source, bytes))) ordinary++;
  }
  assert(ordinary > 2_000, `only ${ordinary} were ordinary`);
});

test("TYP-1: what this module writes of accepted deliveries is ordinary", () => {
  const deliveryTag = Uint8Array.of(1, 2, 3, 4);
  const accepted = { kind: "accepted" } as const;
  const bodies: Performative[] = [
    { kind: "transfer", handle: 0, deliveryId: 300, deliveryTag, messageFormat: 0 },
    { kind: "transfer", handle: 0, deliveryId: 300, deliveryTag, messageFormat: 0, settled: false },
    {
      kind: "transfer",
      handle: 4_000_000_000,
      deliveryId: 0,
      deliveryTag,
      messageFormat: 0,
      settled: true,
      more: true,
    },
    { kind: "transfer", handle: 7, deliveryId: 0, deliveryTag, messageFormat: 0x800, more: true },
    { kind: "disposition", role: "receiver", first: 0, last: 4_294_967_295, settled: true, state: accepted },
    { kind: "disposition", role: "receiver", first: 7, settled: true, state: accepted },
    { kind: "disposition", role: "sender", first: 7, settled: true, state: accepted },
  ];
  for (const body of bodies) {
    const writer = new Writer();
    encodeComposite(writer, body);
    assert(agree(writer.take()), JSON.stringify(body));
  }
});

test("TYP-1: a transfer that is written without the table has the bytes that the table gives it", () => {
  const source = random(seed());
  const uints = [0, 1, 255, 256, 65_536, MAX_UINT];
  let ordinary = 0;
  for (let i = 0; i < 5_000; i++) {
    const transfer: Transfer = { kind: "transfer", handle: source.pick(uints) };
    const tag = source.bytes(source.int(34));
    if (source.int(5) > 0) {
      Object.assign(transfer, { deliveryId: source.pick(uints), deliveryTag: tag, messageFormat: source.pick(uints) });
    }
    if (source.int(2) > 0) transfer.settled = source.int(2) > 0;
    if (source.int(2) > 0) transfer.more = source.int(2) > 0;
    if (source.int(9) === 0) transfer[source.pick(["resume", "aborted", "batchable"] as const)] = source.int(2) > 0;
    if (source.int(9) === 0) transfer.rcvSettleMode = source.pick(["first", "second"] as const);
    if (source.int(9) === 0) transfer.state = { kind: "accepted" };
    const [byHand, byTable] = [new Writer(), new Writer()];
    byHand.u32(i);
    byTable.u32(i);
    if (writeTransfer(byHand, transfer)) ordinary++;
    else encodeComposite(byHand, transfer);
    encodeComposite(byTable, transfer);
    assertEquals(byHand.take(), byTable.take(), JSON.stringify(transfer));
  }
  assert(ordinary > 1_500, `only ${ordinary} were ordinary`);
});

test("TYP-1: lists with a size of four bytes and absent fields written as nulls are ordinary", () => {
  for (
    const text of [
      "00 53 14 d0 00000013 00000004 70 00000000 70 00000007 a0 01 07 70 00000000",
      "00 53 14 d0 00000012 0000000b 43 43 a0 01 07 43 42 42 40 40 40 40 40",
      "00 53 14 c0 0d 0b 43 43 a0 01 07 43 42 42 40 40 40 40 40",
      "00 53 15 d0 00000014 00000005 41 70 00000005 70 00000009 41 00 53 24 45",
    ]
  ) {
    const bytes = wire(text);
    // The size is that of what follows it.
    if (bytes[3] === 0xd0) bytes[7] = bytes.length - 8;
    else bytes[4] = bytes.length - 5;
    assert(agree(bytes), text);
    for (let length = 0; length < bytes.length; length++) assertEquals(agree(bytes.subarray(0, length)), false);
  }
});

test("TYP-4: a frame that is cut anywhere is never ordinary", () => {
  for (
    const text of ["00 53 14 c0 0b 05 43 70 00000100 a0 01 07 43 42", "00 53 15 c0 09 05 41 52 05 52 06 41 00 53 24 45"]
  ) {
    const bytes = wire(text);
    for (let length = 0; length < bytes.length; length++) assertEquals(agree(bytes.subarray(0, length)), false);
  }
});

test("MSG-1: a message of one section of data is what its sections are, and no other is read so", () => {
  const source = random(seed());
  const read = (bytes: Uint8Array, maxValues?: number): unknown => {
    try {
      const { body, bare } = decodeMessage(bytes, { maxDepth: 9, maxElements: 9, maxValues });
      return [body, bare];
    } catch (error) {
      return (error as Error).message;
    }
  };
  let alone = 0;
  for (let i = 0; i < 5_000; i++) {
    const content = source.bytes(source.pick([0, 1, 9, 255, 256, 300]));
    const { length } = content;
    const isShort = length < 256 && source.int(2) > 0;
    const head = isShort ? [0xa0, length] : [0xb0, 0, 0, length >> 8, length & 255];
    const whole = Uint8Array.from([0x00, 0x53, 0x75, ...head, ...content]);
    const bytes = source.int(3) > 0 ? whole : mutated(source, whole);
    assertEquals(read(bytes), read(bytes, 1_000), `${bytes}`);
    if (onlyData(amidst(bytes)) !== undefined) alone++;
  }
  assert(alone > 2_500 && alone < 5_000, `${alone} were alone`);
});

test("definitions: the fields that are written out beside the table are those of the table, in its order", () => {
  for (const [kind, inOrder] of Object.entries(valuesInOrder)) {
    const fields = Object.keys(definitions[kind as keyof typeof valuesInOrder].fields);
    const named = Object.fromEntries(fields.map((field) => [field, field]));
    assertEquals(inOrder(named as never), fields);
  }
});

test("definitions: the largest head of a transfer without a state is as large as the table makes it", () => {
  const transfer: Record<string, unknown> = { kind: "transfer" };
  for (const [field, type] of Object.entries(definitions.transfer.fields)) {
    if (field === "deliveryTag") transfer[field] = new Uint8Array(MAX_DELIVERY_TAG_BYTES);
    else if (/^uint/.test(type)) transfer[field] = MAX_UINT;
    else if (field !== "state") transfer[field] = sampleField(type);
  }
  const writer = new Writer();
  const start = beginFrame(writer, 0, 65_535);
  encodeComposite(writer, transfer as unknown as Transfer);
  endFrame(writer, start);
  assertEquals(writer.length, MAX_TRANSFER_HEAD_BYTES);
});

test("FRM-4: what is read without the table is a frame of AMQP, whose type is 0, without an extended header", () => {
  const writer = new Writer();
  const start = beginFrame(writer, 0, 0);
  encodeComposite(writer, {
    kind: "transfer",
    handle: 0,
    deliveryId: 0,
    deliveryTag: Uint8Array.of(1),
    messageFormat: 0,
  });
  endFrame(writer, start);
  const bytes = writer.take();
  const read = (): unknown => new FastPathReader(bytes).frame(0, bytes.length)?.body?.kind;
  assertEquals(read(), "transfer");
  bytes[5] = 1;
  assertEquals(read(), undefined);
  bytes[5] = 0;
  bytes[4] = 3;
  assertEquals(read(), undefined);
});
