/**
 * Deliveries that are reported at their first frame, and whose payload is read as it arrives: unread payload keeps the window
 * of the session shut, which is the only brake within a delivery.
 *
 * This file is loaded for links with streams only.
 *
 * @module
 */

import { IncomingDelivery } from "./deliveries.ts";
import type { IncomingTransfers, TransferSink, TransferStreams } from "./incoming_transfers.ts";
import type { ReceiverEndpoint, ReceiverSession } from "./receiver.ts";

/** Transfers that a session may have in flight or unread while a link of it has streams; a few megabytes at most. */
export const STREAM_WINDOW = 16;

// Bytes that a complete delivery may hold without making those behind it wait: credit bounds their number.
const SMALL_BYTES = 65_536;

/** Takes the payload of one delivery. None of its methods may throw. */
export interface PayloadSink {
  /** Takes the payload of a frame, which is held until {@linkcode HeldTransfers} releases as much. */
  write(payload: Uint8Array): void;
  end(): void;
  abort(): void;
}

/** The held payload of one delivery. */
export interface HeldTransfers {
  /** Notes that so many frames were read, and so many bytes are no longer kept. */
  release(transfers: number, bytes: number): void;
}

/** Creates the sink of a delivery, of which only the first frame has arrived. */
export type SinkOf = (delivery: IncomingDelivery, held: HeldTransfers) => PayloadSink;

/** The deliveries of one link that are read as they arrive. */
export class DeliveryStreams implements TransferStreams {
  readonly #link: ReceiverEndpoint;
  readonly #sinkOf: SinkOf;
  // Payloads that hold bytes, or will.
  readonly #streams = new Set<HeldPayload>();

  /** Takes over the deliveries of `link`, and shrinks the window of its session. */
  constructor(link: ReceiverEndpoint, sinkOf: SinkOf) {
    this.#link = link;
    this.#sinkOf = sinkOf;
    limit(link.session);
  }

  begin(transfers: IncomingTransfers): TransferSink {
    const done = () => this.#streams.delete(payload);
    const payload = new HeldPayload(this.#link, transfers, this.#sinkOf, done);
    this.#streams.add(payload);
    return payload;
  }

  /** Releases everything held, as the link takes no more. */
  stop(): void {
    for (const payload of [...this.#streams]) payload.stop();
  }
}

/** The unread transfers of one delivery. */
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
      this.#delivery = this.#link.deliver(
        new IncomingDelivery(this.#link, this.#arriving, this.#arriving.bytes()),
      );
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

  /** Releases everything, and ignores releases from now on. */
  stop(): void {
    this.release(this.#transfers, this.#bytes);
    this.#stopped = true;
    this.#done();
  }

  #open(transfers: number): void {
    this.#transfers -= transfers;
    const { output } = this.#link.session;
    output.windows.held -= transfers;
    if (output.windows.low) output.queueWindow();
  }

  #checkDone(): void {
    if (this.#ended && this.#bytes === 0) this.#done();
  }
}

// Shrinks the window of a session, unless its settings fix it. The peer learns of that with the next flow, at the latest with
// the link's credit, and may go on by the former window until then.
function limit({ options, output: { windows } }: ReceiverSession): void {
  if (options.incomingWindow !== undefined || windows.window <= STREAM_WINDOW) return;
  windows.window = STREAM_WINDOW;
  const least = Math.max(0, STREAM_WINDOW - windows.held);
  windows.beyond = Math.max(0, windows.incomingWindow - least);
  windows.incomingWindow = Math.min(windows.incomingWindow, least);
}
