/**
 * Encoded frames, the same bytes for all decoders.
 *
 * @module
 */

import { encodeComposite } from "../../src/codec/composite.ts";
import { beginFrame, endFrame } from "../../src/codec/frame.ts";
import { writeMessage } from "../../src/codec/message.ts";
import type { Performative } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { SMALL } from "./bench.ts";

/** `count` transfers of a small message each. */
export function transferFrame(count: number): Uint8Array {
  const payload = new Writer();
  writeMessage({ body: new Uint8Array(SMALL) }, payload);
  const transfer = (i: number): Performative => ({
    kind: "transfer",
    handle: 0,
    deliveryId: i,
    deliveryTag: Uint8Array.of(0, 0, 0, i),
    messageFormat: 0,
    settled: false,
  });
  return frames(count, transfer, payload.take());
}

/** `count` accepting dispositions. */
export function dispositionFrame(count: number): Uint8Array {
  return frames(count, (first) => ({
    kind: "disposition",
    role: "receiver",
    first: first + 1_000,
    last: first + 1_000,
    settled: true,
    state: { kind: "accepted" },
  }));
}

function frames(count: number, body: (i: number) => Performative, payload = new Uint8Array(0)): Uint8Array {
  const writer = new Writer();
  for (let i = 0; i < count; i++) {
    const start = beginFrame(writer, 0, 0);
    encodeComposite(writer, body(i));
    writer.append(payload);
    endFrame(writer, start);
  }
  return writer.take();
}
