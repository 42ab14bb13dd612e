import { closeCode } from "../transport/websocket/frames.ts";
import { type ChannelClose, guard, isCloseCode, MAX_BUFFERED_BYTES } from "../transport/channel.ts";
import type { PausableChannel } from "../transport/socket/socket.ts";
import { Deferred } from "../base/wait.ts";

/** `"in"` from the client to its target, `"out"` back. */
export type RelayDirection = "in" | "out";

/** Options of a {@linkcode ChannelRelay}. */
export interface RelayOptions {
  /** Milliseconds to wait for more from one side after the other has ended its half. */
  lingerMs: number;
  /** Bytes that may wait in one side before the other is no longer read. Default: 1 MiB. */
  maxBufferedBytes?: number | undefined;
  /** Milliseconds in which a side has to take some of what waits, while the other is held back. Default: 120,000. */
  stallTimeoutMs?: number | undefined;
  /** Called when a side has not, which ends the relay. */
  onstall?: ((side: "client" | "target") => void) | undefined;
  /** Called with bytes before they are sent on. */
  onbytes: (direction: RelayDirection, bytes: Uint8Array) => void;
  /** Called at the end of each side. */
  onclose?: ((side: "client" | "target", close: ChannelClose, last: boolean) => void) | undefined;
}

// Both peers have been silent for twice AMQP's usual idle time-out by then, as far as each can tell.
export const STALL_TIMEOUT_MS = 120_000;

/** Two joined channels, each held back by the other. */
export class ChannelRelay {
  /** Resolves when both sides have ended. */
  readonly ended: Promise<void>;
  readonly #options: RelayOptions;
  readonly #ended = new Deferred<void>();
  #open = 2;
  #timer: ReturnType<typeof setTimeout> | undefined;
  // Run while a direction is held back.
  readonly #stallTimers: { [direction in RelayDirection]?: ReturnType<typeof setTimeout> } = {};

  /** Joins two channels that are paused, or have just been opened. */
  constructor(client: PausableChannel, target: PausableChannel, options: RelayOptions) {
    this.#options = options;
    this.ended = this.#ended.promise;
    this.#join("in", client, target);
    this.#join("out", target, client);
    client.resume();
  }

  #join(direction: RelayDirection, from: PausableChannel, to: PausableChannel): void {
    const linger = (): void => {
      clearTimeout(this.#timer);
      this.#timer = guard(this.#options.lingerMs, () => {
        from.close();
        to.close();
      });
    };
    const { maxBufferedBytes = MAX_BUFFERED_BYTES } = this.#options;
    const onbytes = (bytes: Uint8Array): void => {
      this.#options.onbytes(direction, bytes);
      to.send(bytes);
      if (this.#timer !== undefined) linger();
      if (to.bufferedAmount <= maxBufferedBytes) return;
      from.pause();
      this.#awaitProgress(direction, to, () => {
        this.#options.onstall?.(direction === "in" ? "target" : "client");
        for (const channel of [to, from]) channel.close(closeCode.policyViolation, "the other side takes no bytes");
      });
      to.ready().then(() => {
        clearTimeout(this.#stallTimers[direction]);
        from.resume();
      });
    };
    const onend = (): void => {
      // A WebSocket has no half-close: its answer is awaited before it is closed.
      to.endHalf();
      linger();
    };
    const onclose = (close: ChannelClose): void => {
      for (const timer of Object.values(this.#stallTimers)) clearTimeout(timer);
      to.close(...passedOn(close));
      this.#open--;
      this.#options.onclose?.(direction === "in" ? "client" : "target", close, this.#open === 0);
      if (this.#open > 0) return;
      clearTimeout(this.#timer);
      this.#ended.resolve();
    };
    Object.assign(from, { onbytes, onend, onclose });
  }

  // A side that is held back does not show its end: without this, one that takes nothing would keep both for ever.
  #awaitProgress(direction: RelayDirection, to: PausableChannel, onstall: () => void): void {
    const { stallTimeoutMs = STALL_TIMEOUT_MS } = this.#options;
    const { bufferedAmount } = to;
    clearTimeout(this.#stallTimers[direction]);
    this.#stallTimers[direction] = guard(stallTimeoutMs, () => {
      if (to.bufferedAmount < bufferedAmount) this.#awaitProgress(direction, to, onstall);
      else onstall();
    });
  }
}

function passedOn({ code, reason }: ChannelClose): [code: number, reason: string] {
  if (isCloseCode(code)) return [code, reason];
  return [code === closeCode.noStatus ? closeCode.normal : closeCode.internalError, ""];
}
