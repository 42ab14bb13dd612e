/**
 * Finds the frames in bytes that pass by.
 *
 * @module
 */

import { type Frame, FrameDecoder } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import type { FrameTrace } from "../engine/events.ts";
import { withoutSaslSecrets } from "../engine/handshake.ts";
import type { Direction } from "./tracked.ts";

// The agreed frame size is unknown; above this one, far beyond what anybody announces, tracing a direction ends. The bytes pass
// on all the same.
const MAX_FRAME_BYTES = 16 * 1_024 * 1_024;

/** Observes both directions of one connection. */
export class FrameTracer {
  readonly #onframe: (frame: FrameTrace) => void;
  readonly #onerror: (direction: Direction, error: Error) => void;
  readonly #streams: Record<Direction, Stream> = { in: newStream(), out: newStream() };

  /** Passes frames to `onframe`, and an error that ends the tracing of a direction to `onerror`. */
  constructor(onframe: (frame: FrameTrace) => void, onerror: (direction: Direction, error: Error) => void) {
    this.#onframe = onframe;
    this.#onerror = onerror;
  }

  /** Takes bytes of one direction, which stay the caller's. Bytes that are not AMQP end the tracing of their direction. */
  read(direction: Direction, bytes: Uint8Array): void {
    const stream = this.#streams[direction];
    if (stream.over) return;
    stream.decoder.push(bytes);
    for (let frame = this.#next(direction); frame !== undefined; frame = this.#next(direction)) {
      if (frame === "header") continue;
      const { channel, payload, body } = frame;
      const shown = body && frame.type === 1 ? withoutSaslSecrets(body as SaslFrameBody) : body;
      this.#onframe({ direction, channel, body: shown, payloadBytes: payload?.length ?? 0 });
    }
  }

  #next(direction: Direction): Frame | "header" | undefined {
    const stream = this.#streams[direction];
    try {
      return next(stream);
    } catch (error) {
      stream.over = true;
      this.#onerror(direction, error as Error);
    }
  }
}

interface Stream {
  readonly decoder: FrameDecoder;
  // The next input: a protocol header, with SASL either a header or a frame, otherwise a frame.
  expects: "header" | "either" | "frame";
  over: boolean;
}

function newStream(): Stream {
  return { decoder: new FrameDecoder({ maxFrameSize: MAX_FRAME_BYTES }), expects: "header", over: false };
}

function next(stream: Stream): Frame | "header" | undefined {
  if (stream.expects === "frame") return stream.decoder.frame();
  if (stream.expects === "either") {
    try {
      return stream.decoder.frame();
    } catch {
      // "AMQP" read as a size is far above the limit: it was the header behind SASL.
    }
  }
  const header = stream.decoder.header();
  if (header === undefined) return undefined;
  stream.expects = header.id === 3 ? "either" : "frame";
  return "header";
}
