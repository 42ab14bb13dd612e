/**
 * What the frames of a hostile peer hold: messages, states, errors, all at random.
 *
 * @module
 */

import { decodeMessage, encodeMessage, type Message } from "../../src/codec/message.ts";
import type { DeliveryState, Fields, MessageId, Source, Target } from "../../src/codec/types.ts";
import { randomValue } from "../codec/random_values.ts";
import type { Random } from "../harness.ts";
import { type Frames, mutated } from "./generate.ts";

/** Numbers at the edges of a uint. */
export const FAR = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] as const;
/** A text that is longer than most. */
const TEXT: string = "x".repeat(64);

const ADDRESSES = [
  "q",
  "q",
  "q",
  "full",
  "topic/a",
  "topic/#",
  "$cbs",
  "$management",
  "",
  "x".repeat(300),
  "none",
] as const;

/** Bytes that are no valid frame of AMQP, or an odd one. */
export const ODD: readonly Uint8Array[] = [
  // Sizes below the header's, a data offset beyond the frame, one below the header's, an unknown type.
  Uint8Array.of(0, 0, 0, 7, 2, 0, 0),
  Uint8Array.of(0, 0, 0, 8, 255, 0, 0, 0),
  Uint8Array.of(0, 0, 0, 8, 1, 0, 0, 0),
  Uint8Array.of(0, 0, 0, 8, 2, 9, 0, 0),
  Uint8Array.of(255, 255, 255, 255, 2, 0, 0, 0),
  // An extended header, which is allowed, and unknown performatives.
  Uint8Array.of(0, 0, 0, 12, 3, 0, 0, 0, 1, 2, 3, 4),
  Uint8Array.of(0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x19, 0x45),
  Uint8Array.of(0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x2f, 0x45),
  Uint8Array.of(0, 0, 0, 9, 2, 0, 0, 0, 0x40),
  Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0),
];

/** Random contents. */
export class HostileContent {
  readonly #random: Random;
  readonly #frames: Frames;
  // What answers are for: message-ids of the other side.
  readonly #asked: (MessageId | undefined)[] = [undefined];

  /** Draws from `random`, and from `frames` what no protocol would send. */
  constructor(random: Random, frames: Frames) {
    this.#random = random;
    this.#frames = frames;
  }

  /** A source and a target of one kind of node. */
  termini(): { source: Source; target: Target } {
    const { int, pick } = this.#random;
    const node = {
      address: int(20) === 0 ? undefined : pick(ADDRESSES),
      dynamic: int(10) === 0,
      durable: pick(["none", "none", "configuration", "unsettled-state"] as const),
      expiryPolicy: pick(["link-detach", "session-end", "connection-close", "never"] as const),
      timeout: pick([0, 0, 10, 0xffff_ffff]),
      capabilities: pick([undefined, ["shared"], ["topic"], ["queue"]]),
    };
    const filter = {
      "apache.org:selector-filter:string": pick(["a = 1", "color LIKE 'b%'", "(((", TEXT]),
      other: randomValue(this.#random, 2).given,
    } as Fields;
    const distributionMode = pick([undefined, undefined, "copy", "move", "odd"]);
    return {
      source: { kind: "source", ...node, distributionMode, filter: int(3) > 0 ? undefined : filter },
      target: { kind: "target", ...node },
    };
  }

  /** A window, as large as may be or shut. */
  window(): number {
    return this.#random.pick([0, 1, 2, 100, 1_000, 1_000, 1_000, 0xffff_ffff]);
  }

  /** A list of unsettled deliveries, few of which exist. */
  unsettled(): Map<Uint8Array, DeliveryState | null> {
    const { int, bytes } = this.#random;
    return new Map(
      Array.from(
        { length: int(4) },
        (_, i) => [int(2) === 0 ? Uint8Array.of(i) : bytes(int(40)), int(3) === 0 ? null : this.state()],
      ),
    );
  }

  /** Learns from a message of the other side what to answer. */
  learn(payload: Uint8Array): void {
    try {
      const { messageId } = decodeMessage(payload).properties ?? {};
      if (messageId !== undefined) this.#asked.push(messageId);
    } catch {
      // A part of a message.
    }
    if (this.#asked.length > 5) this.#asked.shift();
  }

  /** An encoded message, mostly one that can be read. */
  message(): Uint8Array {
    const { int, pick, bytes } = this.#random;
    const message: Message = {
      body: int(3) === 0 ? bytes(int(600)) : pick(["text", 1, null, true, [1, 2], { a: 1 }, TEXT]),
      header: int(4) > 0
        ? undefined
        : { ttl: pick(FAR), priority: int(256), deliveryCount: pick(FAR), durable: int(2) === 0 },
      properties: int(3) > 0 ? undefined : {
        replyTo: pick([undefined, "q", "", TEXT]),
        correlationId: int(4) > 0 ? pick(this.#asked) : pick([undefined, "a", 1n]),
        messageId: pick([undefined, "a", 1n]),
        to: pick([undefined, "q", "none"]),
        groupId: pick([undefined, "g"]),
        groupSequence: pick([undefined, ...FAR]),
        absoluteExpiryTime: pick([undefined, new Date(0), new Date(8.64e15)]),
      },
      messageAnnotations: int(3) > 0 ? undefined : new Map<never, never>([
        [
          pick([
            "x-opt-delivery-delay",
            "__proto__",
            "constructor",
            "toString",
            "x-opt-scheduled-enqueue-time",
            "x-opt-group-id",
          ]),
          randomValue(this.#random, 1).given,
        ],
      ] as never) as never,
      applicationProperties: int(2) > 0 ? undefined : {
        [pick(["a", "__proto__", "constructor", "operation"])]: pick([1, "b", null, "put-token"]),
        "status-code": pick([200, 202, 401, 404, 500, "200", null, -1]),
        statusCode: pick([200, 204, 500, 1e9]),
        "status-description": pick([TEXT, "\u001b[31m", 5]),
      },
    };
    let encoded: Uint8Array;
    try {
      encoded = encodeMessage(message);
    } catch {
      encoded = encodeMessage({ body: message.body });
    }
    return int(12) === 0 ? mutated(this.#random, encoded) : int(30) === 0 ? bytes(int(60)) : encoded;
  }

  /** A delivery state, odd ones at times. */
  state(): DeliveryState {
    const { int } = this.#random;
    if (int(3) > 0) return { kind: this.#random.pick(["accepted", "accepted", "released", "rejected", "modified"]) };
    const kind = this.#random.pick(
      ["received", "accepted", "rejected", "released", "modified", "declared", "transactionalState"] as const,
    );
    return this.#frames.composite(kind) as DeliveryState;
  }

  /** An error in one of `oneOf` cases. */
  error(oneOf: number): { condition: string; description?: string; info?: Record<string, string> } | undefined {
    const { int, pick } = this.#random;
    if (int(oneOf) > 0) return undefined;
    return {
      condition: pick([
        "amqp:not-found",
        "amqp:link:detach-forced",
        "amqp:connection:forced",
        "amqp:link:redirect",
        "amqp:connection:redirect",
        "amqp:link:stolen",
        "amqp:unauthorized-access",
        "com.microsoft:timeout",
        "amqp:resource-limit-exceeded",
        "",
        "\u0000",
      ]),
      description: pick([undefined as never, "because", "\u001b[31m", TEXT]),
      info: pick([undefined as never, { hostname: "evil.example", "network-host": "evil.example", address: "q" }]),
    };
  }
}
