/**
 * A WebSocket whose runtime is the test.
 *
 * @module
 */

import type { WebSocketEvent, WebSocketLike } from "../../../src/transport/websocket/standard.ts";

/** The codes that a runtime lets a program send: these on browsers, Deno, Node and Workers, more on Bun and `ws`. */
export const strict = (code: number): boolean => code === 1000 || (code >= 3000 && code < 5000);

/** A socket that does nothing by itself: calls are recorded in its fields, events come from `emit`. */
export class FakeSocket implements WebSocketLike {
  /** The runtime's default differs from the module's setting. */
  binaryType = "blob";
  readyState = 1;
  protocol: string | null = "amqp";
  bufferedAmount = 0;
  /** The payloads sent, uncopied. */
  readonly sent: Uint8Array[] = [];
  /** Every call of `close` that was allowed. */
  readonly closes: unknown[][] = [];
  terminated = 0;
  allows: typeof strict = strict;
  /** Thrown by `send`. */
  refusal: Error | undefined;
  readonly #listeners: Record<string, Array<(event: WebSocketEvent) => void>> = {};

  send(data: Uint8Array): void {
    if (this.refusal !== undefined) throw this.refusal;
    if (this.readyState === 0) throw new DOMException("Socket is not open", "InvalidStateError");
    this.sent.push(data);
  }

  close(...args: [code?: number, reason?: string]): void {
    const [code, reason = ""] = args;
    if (code !== undefined && !this.allows(code)) throw new DOMException("Code is not allowed", "InvalidAccessError");
    if (new TextEncoder().encode(reason).length > 123) throw new DOMException("Reason is too long", "SyntaxError");
    this.closes.push(args.filter((arg) => arg !== undefined));
    if (this.readyState < 2) this.readyState = 2;
  }

  terminate(): void {
    this.terminated++;
  }

  addEventListener(type: string, listener: (event: WebSocketEvent) => void): void {
    (this.#listeners[type] ??= []).push(listener);
  }

  /** Calls the listeners of one event. */
  emit(type: string, fields: Omit<WebSocketEvent, "type"> = {}): void {
    for (const listener of this.#listeners[type] ?? []) listener({ type, ...fields });
  }

  /** The peer's payload arrives. */
  receive(...bytes: number[]): void {
    this.emit("message", { data: Uint8Array.from(bytes).buffer });
  }

  /** The closing handshake is complete, or the connection broke. */
  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.emit("close", { code, reason });
  }
}

/** Waits for a promise that only a timer settles which does not keep the process alive, as a real socket would. */
export async function alive<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1000);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}
