/**
 * Targets below AMQP: WebSocket frames, HTTP heads, challenges of proxies. They throw nothing but TransportError, and the
 * size of pieces makes no difference.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { TransportError } from "../../src/base/errors.ts";
import { parseChallenges, parseParams } from "../../src/transport/proxy/challenge.ts";
import { requestParser, responseParser } from "../../src/transport/http/head.ts";
import { opcode, WebSocketFrameDecoder, WebSocketFrameEncoder } from "../../src/transport/websocket/frames.ts";
import { MaskKeys } from "../../src/transport/websocket/mask.ts";
import { pieces } from "../engine/pair.ts";
import type { Random } from "../harness.ts";
import { mutated } from "./generate.ts";

const HEADS = [
  "GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n",
  "HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nA: b\r\nA: c\r\n\r\nrest",
  'HTTP/1.0 407\r\nProxy-Authenticate: Digest realm="a, \\"b\\"", nonce=c, qop="auth,auth-int", Basic realm="d"\r\n\r\n',
] as const;

/** Corrupted WebSocket frames are pieces of messages or a violation, and no more comes out than went in. */
export function fuzzWebSocket(random: Random): void {
  const masked = random.int(2) === 0;
  const encoder = new WebSocketFrameEncoder(masked ? new MaskKeys(crypto) : undefined);
  for (let count = 1 + random.int(5); count > 0; count--) {
    const payload = random.bytes(random.int(random.pick([2, 126, 300])));
    const control = random.int(4) === 0;
    encoder.frame(control ? opcode.ping : opcode.binary, control ? payload.subarray(0, 125) : payload);
  }
  const sent: number[] = [];
  for (let bytes = encoder.take(); bytes !== undefined; bytes = encoder.take()) sent.push(...bytes);
  const bytes = mutated(random, Uint8Array.from(sent));
  const whole = framesOf(masked, pieces(bytes, "whole"));
  assertEquals(framesOf(masked, pieces(bytes, random)), whole);
  assert(whole.bytes <= bytes.length);
}

/** Corrupted heads are heads, incomplete, or a violation. */
export function fuzzHead(random: Random): void {
  const bytes = mutated(random, latin1(random.pick(HEADS)));
  for (const parser of [requestParser, responseParser]) {
    const [whole, cut] = (["whole", random] as const).map((how) => {
      const one = parser();
      return attempt(() => {
        for (const piece of pieces(bytes, how)) {
          const head = one.receive(piece);
          if (head !== undefined) return JSON.stringify(head);
        }
        return "more";
      });
    });
    assertEquals(cut, whole);
  }
}

/** Corrupted challenges are challenges without control characters, or none. */
export function fuzzChallenge(random: Random): void {
  const text = String.fromCharCode(...mutated(random, latin1(HEADS[2].slice(36, -4))));
  for (const { params } of parseChallenges([text, text])) {
    // deno-lint-ignore no-control-regex
    for (const value of params.values()) assert(!/[\x00-\x08\x0a-\x1f\x7f]/.test(value), JSON.stringify(value));
  }
  parseParams(text);
}

function framesOf(masked: boolean, parts: readonly Uint8Array[]): { bytes: number; end: string } {
  const decoder = new WebSocketFrameDecoder(masked, { maxMessageBytes: 500, maxFragments: 10 });
  let bytes = 0;
  const end = attempt(() => {
    for (const part of parts) {
      decoder.push(part);
      for (let piece = decoder.next(); piece !== undefined; piece = decoder.next()) {
        bytes += (piece.kind === "control" ? piece.payload : piece.bytes).length;
      }
    }
    return "more";
  });
  return { bytes, end };
}

function attempt(call: () => string): string {
  try {
    return call();
  } catch (error) {
    if (error instanceof TransportError) return error.message;
    throw error;
  }
}

function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
