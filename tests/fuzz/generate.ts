/**
 * Random frames: well formed by the specification's table, aimed at what an endpoint has open, and then corrupted.
 *
 * @module
 */

import { concat } from "@std/bytes";
import { definitions, enumerations } from "../../src/codec/definitions.ts";
import { encodeComposite } from "../../src/codec/composite.ts";
import { beginFrame, endFrame } from "../../src/codec/frame.ts";
import type { Composite, Kind, Performative } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { randomValue } from "../codec/random_values.ts";
import type { Random } from "../harness.ts";

const PERFORMATIVES = ["open", "begin", "attach", "flow", "transfer", "disposition", "detach", "end", "close"] as const;
const FREQUENT = ["transfer", "transfer", "transfer", "flow", "flow", "disposition", "disposition"] as const;
const SASL = ["saslMechanisms", "saslInit", "saslChallenge", "saslResponse", "saslOutcome"] as const;
const STATES = ["received", "accepted", "rejected", "released", "modified", "declared", "transactionalState"] as const;
const OUTCOMES = ["accepted", "rejected", "released", "modified", "declared"] as const;
// Typical values and off-by-one values of numbers on the wire.
const UINTS = [0, 0, 1, 1, 2, 3, 10, 255, 256, 511, 512, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff] as const;
// Left out on purpose, where undefined would mean a random value.
const ABSENT = null;
const CONSTRUCTORS = [
  0x00,
  0x01,
  0x40,
  0x43,
  0x45,
  0x53,
  0x7f,
  0x80,
  0xa0,
  0xb1,
  0xc0,
  0xd0,
  0xe0,
  0xf0,
  0xff,
] as const;

/** Random frames of a peer that mostly does what is right. */
export class Frames {
  readonly #random: Random;
  #nextDeliveryId = 0;

  /** Draws from `random`. */
  constructor(random: Random) {
    this.#random = random;
  }

  /** The bytes of a few frames, and now and then of something else. */
  some(layer: "sasl" | "amqp"): Uint8Array {
    const { int } = this.#random;
    const writer = new Writer();
    for (let count = 1 + int(6); count > 0; count--) this.#frame(writer, layer);
    const bytes = writer.take();
    switch (int(60)) {
      case 0:
        return this.#random.bytes(int(200));
      case 1:
        return Uint8Array.of(0x41, 0x4d, 0x51, 0x50, int(4), 1, 0, 0);
      case 2:
      case 3:
      case 4:
      case 5:
        return mutated(this.#random, bytes);
      default:
        return bytes;
    }
  }

  #frame(writer: Writer, layer: "sasl" | "amqp"): void {
    const { int, pick, bytes } = this.#random;
    const sasl = (layer === "sasl") !== (int(100) === 0);
    const channel = int(80) === 0 ? pick([2, 255, 256, 65_535]) : int(15) === 0 ? 1 : 0;
    const start = beginFrame(writer, sasl ? 1 : 0, channel);
    if (int(30) > 0) {
      const body = this.composite(sasl ? pick(SASL) : int(4) > 0 ? pick(FREQUENT) : pick(PERFORMATIVES.slice(int(3))));
      encodeComposite(writer, body);
      if (body.kind === "transfer" || int(200) === 0) writer.append(bytes(pick([0, 1, 5, int(300)])));
    }
    endFrame(writer, start);
  }

  /** A composite with random fields. */
  composite(kind: Exclude<Kind, "error" | "header" | "properties">): Composite {
    const { int } = this.#random;
    const composite: Record<string, unknown> = { kind };
    for (const [key, type] of Object.entries(definitions[kind].fields)) {
      const aimed = int(15) === 0 ? undefined : this.#aimed(kind, key);
      const value = aimed === undefined && (type.includes("!") || int(3) === 0) ? this.#field(type) : aimed;
      if (value !== undefined && value !== ABSENT) composite[key] = value;
    }
    if (kind === "transfer") this.#count(composite as unknown as Extract<Performative, { kind: "transfer" }>);
    return composite as unknown as Composite;
  }

  /** The same composite with one field absent, or with a random value of its type. */
  altered<C extends Composite>(composite: C): C {
    const { int, pick } = this.#random;
    const fields: Readonly<Record<string, string>> = definitions[composite.kind].fields;
    const key = pick(Object.keys(fields));
    if (key === undefined) return composite;
    // What is mandatory cannot be left out here: that is left to the changes of bytes.
    const value = int(4) === 0 && !fields[key]!.includes("!") ? undefined : this.#field(fields[key]!);
    return { ...composite, [key]: value ?? undefined };
  }

  // Values with which a frame passes the first checks.
  #aimed(kind: Kind, key: string): unknown {
    const { int, pick } = this.#random;
    switch (`${kind}.${key}`) {
      case "open.maxFrameSize":
        return pick([ABSENT, 512, 4_096]);
      case "open.idleTimeOut":
        return pick([ABSENT, 1_000]);
      case "open.channelMax":
      case "begin.handleMax":
        return pick([ABSENT, 3, 255]);
      case "begin.remoteChannel":
        return pick([ABSENT, 0, 1]);
      case "attach.incompleteUnsettled":
      case "transfer.rcvSettleMode":
      case "transfer.state":
      case "disposition.settled":
        return int(4) > 0 ? ABSENT : undefined;
      case "attach.name":
        return pick(["in", "out", "new", "other"]);
      case "attach.handle":
        return 2 + int(2);
      case "detach.handle":
        return int(3);
      case "flow.handle":
        return pick([ABSENT, 1, 1, 1, 0, 2]);
      case "transfer.handle":
        return pick([0, 0, 0, 0, 0, 2]);
      case "attach.initialDeliveryCount":
      case "flow.nextIncomingId":
      case "disposition.first":
        return int(6);
      case "flow.deliveryCount":
        return pick([ABSENT, ABSENT, int(6)]);
      case "disposition.last":
        return pick([ABSENT, int(8)]);
      case "begin.incomingWindow":
      case "flow.incomingWindow":
      case "flow.linkCredit":
        return pick([0, 1, 5, 100]);
      case "transfer.deliveryId":
        return this.#nextDeliveryId;
      case "transfer.deliveryTag":
        return this.#random.bytes(1 + int(4));
      case "transfer.settled":
      case "transfer.more":
      case "transfer.resume":
      case "transfer.aborted":
        return int(6) === 0;
      default:
        return undefined;
    }
  }

  #count(transfer: Extract<Performative, { kind: "transfer" }>): void {
    const { int } = this.#random;
    if (transfer.deliveryId === this.#nextDeliveryId && !transfer.more) this.#nextDeliveryId++;
    else if (int(3) === 0) transfer.deliveryId = transfer.deliveryTag = transfer.messageFormat = undefined;
  }

  #field(field: string): unknown {
    const { int } = this.#random;
    const type = field.replace(/\[\]|!|=.*/g, "");
    if (!field.includes("[]")) return this.#value(type);
    const most = int(4);
    const values = Array.from({ length: most }, () => this.#value(type));
    return values.length === 0 && field.includes("!") ? [this.#value(type)] : values;
  }

  #value(type: string): unknown {
    const { int, pick, bytes } = this.#random;
    if (type in enumerations) return pick(enumerations[type as keyof typeof enumerations].values);
    switch (type) {
      case "boolean":
        return int(2) === 0;
      case "ubyte":
        return int(256);
      case "ushort":
        return pick([0, 1, 255, 65_535]);
      case "uint":
        return pick(UINTS);
      case "ulong":
        return pick([0n, 1n, 100n, 2n ** 63n, 2n ** 64n - 1n]);
      case "string":
      case "*address":
        return pick(["", "text", "\u{10ffff}\u0000", "x".repeat(int(600))]);
      case "symbol":
        return pick(["", "amqp:symbol", "y".repeat(int(300))]);
      case "binary":
      case "*txnId":
        return bytes(pick([0, 1, 32, 33, int(400)]));
      case "timestamp":
        return new Date(int(2 ** 31));
      case "fields":
        return { key: randomValue(this.#random, 2).given, __proto: 1 };
      case "map":
        return new Map(Array.from({ length: int(5) }, () => [bytes(1 + int(3)), int(2) ? null : this.#state(STATES)]));
      case "error":
        return { condition: pick(["amqp:not-found", "x:y"]), description: pick([undefined, "text\u001b[31m"]) };
      case "*source":
        return this.composite("source");
      case "*target":
        return this.composite(pick(["target", "coordinator"] as const));
      case "*deliveryState":
        return this.#state(STATES);
      case "*outcome":
        return this.#state(OUTCOMES);
      default:
        return null;
    }
  }

  #state(kinds: readonly (typeof STATES)[number][]): Composite {
    return this.composite(this.#random.pick(kinds));
  }
}

/** The bytes with a few changes that tend to break decoders. */
export function mutated(random: Random, original: Uint8Array): Uint8Array {
  const { int, pick } = random;
  let bytes = new Uint8Array(original);
  for (let changes = 1 + int(3); changes > 0 && bytes.length > 0; changes--) {
    const at = int(bytes.length);
    switch (int(6)) {
      case 0:
        bytes[at]! ^= 1 << int(8);
        break;
      case 1:
        bytes[at] = pick(CONSTRUCTORS);
        break;
      case 2:
        bytes = concat([bytes.subarray(0, at), bytes.subarray(at + 1 + int(4))]);
        break;
      case 3:
        bytes = concat([bytes.subarray(0, at), random.bytes(1 + int(4)), bytes.subarray(at)]);
        break;
      case 4:
        bytes = concat([bytes.subarray(0, at), bytes.subarray(int(bytes.length))]);
        break;
      case 5: {
        const end = Math.min(bytes.length, at + 4);
        bytes.fill(pick([0, 0x7f, 0x80, 0xff]), at, end);
      }
    }
  }
  return bytes;
}
