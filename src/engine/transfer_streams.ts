/**
 * Deliveries that are told at their first frame, and whose payload is read as it arrives: what is not read yet keeps the window
 * of the session shut, which is the one brake within a delivery.
 *
 * A file of its own, which only links with streams load.
 *
 * @module
 */

import type { IncomingDelivery } from "./deliveries.ts";
import type { IncomingTransfers, TransferSink, TransferStreams } from "./incoming_transfers.ts";
import type { ReceiverEndpoint, ReceiverSession } from "./receiver.ts";

/** Transfers that a session has in flight or unread while a link of it has streams; a few megabytes at the most. */
export const STREAM_WINDOW = 16;

// What a delivery that is whole may hold without keeping those behind it waiting: their number is bounded by credit.
const SMALL_BYTES = 65_536;

/** Takes the payload of one delivery. Nothing that it does may throw. */
export interface PayloadSink {
  /** Takes the payload of a frame, which is held until as much of {@linkcode HeldTransfers} is released. */
  write(payload: Uint8Array): void;
  /** The last frame has come. */
  end(): void;
  /** The sender has given the delivery up. */
  abort(): void;
}

/** What a sink gives back of what it was written. */
export interface HeldTransfers {
  /** Notes that so many frames are read, and so many bytes are kept no longer. */
  release(transfers: number, bytes: number): void;
}

/** Makes the sink of a delivery, of which only the first frame is known. */
export type SinkOf = (delivery: IncomingDelivery, held: HeldTransfers) => PayloadSink;

/** The deliveries of one link that are read as they arrive. */
export class DeliveryStreams implements TransferStreams {
  readonly #link: ReceiverEndpoint;
  readonly #sinkOf: SinkOf;
  // Streams that hold something, or will.
  readonly #streams = new Set<HeldPayload>();

  /** Takes over the deliveries of `link`, and has its session send no more than can be kept. */
  constructor(link: ReceiverEndpoint, sinkOf: SinkOf) {
    this.#link = link;
    this.#sinkOf = sinkOf;
    limit(link.session);
  }

  /** Starts with the first transfer of a delivery. */
  begin(transfers: IncomingTransfers): TransferSink {
    const done = () => this.#streams.delete(payload);
    const payload = new HeldPayload(this.#link, transfers, this.#sinkOf, done);
    this.#streams.add(payload);
    return payload;
  }

  /** The link takes no more: what is held counts no longer. */
  stop(): void {
    for (const payload of [...this.#streams]) payload.stop();
  }
}

/** The transfers of one delivery that are not read yet. */
class HeldPayload implements TransferSink, HeldTransfers {
  readonly #link: ReceiverEndpoint;
  readonly #arriving: IncomingTransfers;
  readonly #sinkOf: SinkOf;
  readonly #done: () => void;
  #delivery: IncomingDelivery | undefined;
  #sink: PayloadSink | undefined;
  #transfers = 0;
  #bytes = 0;
  #ended = false;
  #stopped = false;

  constructor(link: ReceiverEndpoint, arriving: IncomingTransfers, sinkOf: SinkOf, done: () => void) {
    this.#link = link;
    this.#arriving = arriving;
    this.#sinkOf = sinkOf;
    this.#done = done;
  }

  take(payload: Uint8Array): boolean {
    const { length } = payload;
    const { unfinished, output } = this.#link.session;
    if (!unfinished.take(length)) return false;
    this.#bytes += length;
    if (this.#sink === undefined) {
      this.#delivery = this.#link.tell(this.#arriving);
      this.#sink = this.#sinkOf(this.#delivery, this);
    }
    if (length === 0) return true;
    this.#transfers++;
    output.windows.held++;
    this.#sink.write(payload);
    return true;
  }

  end(aborted: boolean): void {
    this.#ended = true;
    const delivery = this.#delivery;
    // An aborted delivery is settled on both sides, and the last frame may say the same [transport 2.7.5].
    const { settled, state } = this.#arriving;
    if (delivery !== undefined && (aborted || settled) && !delivery.remoteSettled) {
      this.#link.session.settlement.forget(delivery);
      delivery.settledByPeer();
    }
    if (delivery !== undefined && state !== undefined) delivery.remoteState = state;
    if (aborted) this.#sink?.abort();
    else this.#sink?.end();
    if (this.#bytes <= SMALL_BYTES) this.#open(this.#transfers);
    this.#checkDone();
  }

  release(transfers: number, bytes: number): void {
    if (this.#stopped) return;
    this.#bytes -= bytes;
    this.#link.session.unfinished.give(bytes);
    this.#open(Math.min(transfers, this.#transfers));
    this.#checkDone();
  }

  /** Holds nothing any more, whatever becomes of it. */
  stop(): void {
    this.release(this.#transfers, this.#bytes);
    this.#stopped = true;
    this.#done();
  }

  #open(transfers: number): void {
    this.#transfers -= transfers;
    const { output } = this.#link.session;
    output.windows.held -= transfers;
    if (output.windows.low) output.owe();
  }

  #checkDone(): void {
    if (this.#ended && this.#bytes === 0) this.#done();
  }
}

// Makes the window of a session smaller, unless its settings say how large it is to be. The peer hears of it with the next flow,
// that of the credit of the link at the latest, and may go on by the former window until then.
function limit({ options, output: { windows } }: ReceiverSession): void {
  if (options.incomingWindow !== undefined || windows.window <= STREAM_WINDOW) return;
  windows.window = STREAM_WINDOW;
  const least = Math.max(0, STREAM_WINDOW - windows.held);
  windows.beyond = Math.max(0, windows.incomingWindow - least);
  windows.incomingWindow = Math.min(windows.incomingWindow, least);
}
