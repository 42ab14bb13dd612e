/**
 * The seam between AMQP and whatever carries its bytes.
 *
 * @module
 */

/** Bytes that may wait in a channel by default before nothing more is written to it. */
export const MAX_BUFFERED_BYTES = 1_048_576;

/** Why and how a {@linkcode Channel} ended. */
export interface ChannelClose {
  /** The WebSocket close code, 1006 when the carrier broke without one, 1005 when the peer gave none. */
  readonly code: number;
  /** The peer's reason text; untrusted. */
  readonly reason: string;
  /** What broke the carrier, where the runtime tells it. */
  readonly cause?: unknown;
}

/**
 * An ordered, reliable stream of bytes in each direction; how they are cut into pieces means nothing [wsb 2.4].
 *
 * `onbytes` and `onclose` are set once, before the first turn of the event loop after the channel was handed
 * over; what arrived earlier is kept for them. `onclose` is called exactly once, after the last `onbytes`.
 */
export interface Channel {
  /**
   * Queues bytes for sending and takes them over: the caller must not write to them again, unless `copied` tells that it may.
   * Ignored once closed.
   */
  send(bytes: Uint8Array): void;
  /** True when the channel has copied all that it was given to send, whose memory is the caller's again. Default: false. */
  readonly copied?: boolean;
  /** Ends the channel in order: what was sent before still goes out. Calling it again does nothing. */
  close(code?: number, reason?: string): void;
  /** Bytes accepted by `send` that have not left yet. */
  readonly bufferedAmount: number;
  /** Resolves when `bufferedAmount` has fallen to where sending more makes sense, or the channel ended. */
  ready(): Promise<void>;
  /** Takes the bytes that arrive, in order, and owns them. */
  onbytes: ((bytes: Uint8Array) => void) | undefined;
  /** Told once that the channel has ended, whoever ended it. */
  onclose: ((close: ChannelClose) => void) | undefined;
}
