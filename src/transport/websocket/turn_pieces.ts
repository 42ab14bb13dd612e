/**
 * What Bun's WebSockets need: the messages of one turn as one piece of bytes, and no compression.
 *
 * @module
 */

import { systemEnvironment } from "../../base/environment.ts";

/** So many messages in one turn make those of the next turn wait for its end. */
export const MANY_MESSAGES = 8;

// While messages come apart, one turn is counted for so many of them: the end of a turn costs as much as a message.
const MESSAGES_PER_COUNT = 32;

// A longer message is delivered by itself: to copy it would cost more than to handle it apart.
const MAX_COPIED_BYTES = 8_192;

// Most bytes that wait for the end of a turn.
const MAX_WAITING_BYTES = 65_536;

/**
 * Joins the messages of a turn. Bun lets all microtasks run behind each message of one read, so a program would wake and answer
 * for each; joined, they cost what they would if the peer had sent them together.
 *
 * Messages that come apart are delivered at once: only a turn behind one of many messages waits for its end.
 */
export class TurnPieces {
  readonly #deliver: (bytes: Uint8Array) => void;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #uncounted = MESSAGES_PER_COUNT;
  #count = 0;
  #counts = false;
  #joins = false;

  constructor(deliver: (bytes: Uint8Array) => void) {
    this.#deliver = deliver;
  }

  /** Delivers a message, now or at the end of the turn. */
  take(message: Uint8Array): void {
    if (!this.#counts && (this.#joins || ++this.#uncounted > MESSAGES_PER_COUNT)) this.#countTurn();
    this.#count++;
    const { length } = message;
    if (!this.#joins || length > MAX_COPIED_BYTES) {
      this.flush();
      return this.#deliver(plain(message));
    }
    if (this.#bytes + length > MAX_WAITING_BYTES) this.flush();
    this.#waiting.push(message);
    this.#bytes += length;
  }

  /** Delivers what waits. */
  flush(): void {
    const messages = this.#waiting;
    if (messages.length === 0) return;
    const piece = new Uint8Array(this.#bytes);
    let at = 0;
    for (const message of messages) {
      piece.set(message, at);
      at += message.length;
    }
    this.#waiting = [];
    this.#bytes = 0;
    this.#deliver(piece);
  }

  #countTurn(): void {
    this.#uncounted = 0;
    this.#count = 0;
    this.#counts = systemEnvironment.endOfTurn(this.#endTurn);
    this.#joins &&= this.#counts;
  }

  readonly #endTurn = (): void => {
    this.#counts = false;
    this.#joins = this.#count >= MANY_MESSAGES;
    this.flush();
  };
}

// Not before it is needed: Bun makes the buffer of a short array when it is asked for, which takes a while.
function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The second argument of Bun's WebSocket. It offers compression unless it is told not to: 300 KB from a server would take 300 MB. */
export function withoutCompression(protocols: readonly string[]): string[] {
  return { protocols, perMessageDeflate: false } as unknown as string[];
}
