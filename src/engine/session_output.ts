/**
 * What a session writes by and by: transfers while windows allow, flows and dispositions once for all that changed.
 *
 * @module
 */

import { AmqpError } from "../base/errors.ts";
import type { Begin, Disposition, Flow, Performative, Transfer } from "../codec/types.ts";
import type { Costs } from "./budgets.ts";
import { Fault, type FrameEndpoint } from "./fault.ts";
import { tooManyLinks } from "./handles.ts";
import type { LinkEndpoint } from "./link.ts";
import { type OutgoingDelivery, writeTag } from "./outgoing.ts";
import type { SenderEndpoint } from "./sender.ts";
import type { Settlement } from "./settlement.ts";
import { add, Windows } from "./windows.ts";

/** What a session asks of its connection's output. */
export interface FrameOutput {
  /**
   * Writes a frame; one that the peer does not take ends the endpoint. Before the peer's open only what every peer takes goes
   * out, the rest waits.
   */
  write(channel: number, body: Performative, endpoint: FrameEndpoint): void;
  /** Writes one transfer with as much of `payload` as fits, and tells how much that was. */
  transfer(channel: number, transfer: Transfer, payload: Uint8Array): number;
  /** Checks that the peer takes a frame with this body. */
  check(body: Performative): void;
}

/** What the output of a session asks of its connection. */
export interface OutputConnection {
  /** Frames that wait to be sent. */
  readonly output: FrameOutput;
  /** What the peer costs. */
  readonly costs: Costs;
}

export interface OutputSession extends FrameEndpoint {
  /** The session's channel. */
  readonly channel: number;
  /** The connection that the session is multiplexed on. */
  readonly connection: OutputConnection;
  /** What is not settled on the session. */
  readonly settlement: Settlement;
  /** Notes that something waits to be written. */
  markDirty(): void;
  /** The peer's begin, once received. */
  readonly remote: Begin | undefined;
}

export class SessionOutput {
  /** Windows and transfer ids, both directions. */
  readonly windows: Windows;

  readonly #session: OutputSession;
  readonly #links = new Set<SenderEndpoint>();
  readonly #draining = new Set<SenderEndpoint>();
  readonly #flows = new Set<LinkEndpoint>();
  // Of the frame that is written now.
  readonly #tag = new Uint8Array(4);
  #nextDeliveryId: number;
  // Of links that the peer may not take, until its begin tells.
  #held: { readonly body: Performative; readonly link: LinkEndpoint }[] = [];
  readonly #knownHandleMax: number;
  #askedForWindow = false;
  #flowDue = false;

  /** Starts with the settings of our end; what links with a handle above `knownHandleMax` write waits for the peer's begin. */
  constructor(session: OutputSession, incomingWindow: number, initialOutgoingId: number, knownHandleMax: number) {
    this.#knownHandleMax = knownHandleMax;
    this.#session = session;
    this.windows = new Windows(incomingWindow, initialOutgoingId);
    this.#nextDeliveryId = initialOutgoingId;
  }

  /** Writes a frame, after the dispositions that were told before it. */
  write(body: Performative, endpoint: FrameEndpoint): void {
    if (this.#holds(endpoint)) return void this.#held.push({ body, link: endpoint as LinkEndpoint });
    this.writeDispositions();
    this.#session.connection.output.write(this.#session.channel, body, endpoint);
  }

  /** Writes what has waited for the peer's begin, but of links whose handle the peer does not take: those end. */
  release(handleMax: number): void {
    const held = this.#held;
    this.#held = [];
    const { connection, channel } = this.#session;
    for (const { body, link } of held) {
      if (link.state === "detached") continue;
      try {
        if (link.handle > handleMax) throw tooManyLinks(link.name, handleMax + 1);
        connection.output.write(channel, body, link);
      } catch (error) {
        // A link that the peer does not take is none of the others' concern.
        if (!(error instanceof AmqpError)) throw error;
        link.abandon(error);
      }
    }
    if (held.length > 0) this.#session.markDirty();
  }

  /** Counts a transfer that arrived. */
  received(): void {
    this.windows.received();
    if (this.windows.low) this.owe();
  }

  /** Takes the session's part of a flow. */
  heard(flow: Flow): void {
    this.windows.heard(flow);
    if (this.windows.remoteIncomingWindow > 0) this.#askedForWindow = false;
    if (flow.handle === undefined && flow.echo) this.owe();
  }

  /** Queues a sender that has something to write, or may now. */
  queueOutput(link: SenderEndpoint): void {
    if (link.next() !== undefined) this.#links.add(link);
    else if (link.draining) {
      // Only with the next flush, so that whoever hears of the credit can use it before it is handed back.
      this.#draining.add(link);
      this.#session.markDirty();
    }
  }

  /** Queues a flow for a link whose credit or counts the peer must hear of. */
  queueFlow(link: LinkEndpoint): void {
    this.#flows.add(link);
    this.#session.markDirty();
  }

  /** Drops what a link has queued. */
  forget(link: LinkEndpoint): void {
    this.#flows.delete(link);
    this.#links.delete(link as SenderEndpoint);
    this.#draining.delete(link as SenderEndpoint);
  }

  /** Hands back the credit of links that are drained. */
  drain(): void {
    for (const link of this.#draining) link.drained();
    this.#draining.clear();
  }

  /** Writes what has been put off: dispositions, then one flow for each link whose credit changed. */
  flush(): void {
    this.writeDispositions();
    for (const link of this.#flows) {
      if (!link.flows || this.#holds(link)) continue;
      this.#flows.delete(link);
      this.#writeFlow(link);
    }
    if (this.#flowDue) this.#writeFlow(undefined);
  }

  /** Writes the dispositions that wait. */
  writeDispositions(): void {
    if (this.#session.state === "mapped") this.#session.settlement.write(this.#writeDisposition);
  }

  /** Writes transfers while the peer's window, the links' credit and `full` allow, one link after the other. */
  transmit(full: (payloadBytes: number) => boolean): void {
    for (const link of this.#links) {
      let delivery = link.next();
      const begun = delivery !== undefined;
      while (delivery !== undefined) {
        if (this.windows.remoteIncomingWindow === 0) return this.#askForWindow();
        if (full(delivery.payload.length - delivery.offset)) return;
        this.#writeTransfer(link, delivery);
        delivery = link.next();
        // While it is the only one nobody waits for its turn.
        if (this.#links.size > 1) break;
      }
      // A link that cannot go on now is queued again by the flow that brings credit.
      this.#links.delete(link);
      if (delivery !== undefined) this.#links.add(link);
      else if (begun) link.drained();
    }
  }

  /** Tells the peer of the windows. */
  owe(): void {
    this.#flowDue = true;
    this.#session.markDirty();
  }

  clear(): void {
    this.#links.clear();
    this.#draining.clear();
    this.#flows.clear();
    this.#held = [];
  }

  // Whether frames of a link, none of a session, wait for the peer's begin.
  #holds(endpoint: FrameEndpoint): boolean {
    return this.#session.remote === undefined && "handle" in endpoint &&
      (endpoint.handle as number) > this.#knownHandleMax;
  }

  readonly #writeDisposition = (body: Disposition): void => {
    this.#session.connection.output.write(this.#session.channel, body, this.#session);
  };

  // Peers built on rhea look at their window only when a delivery is complete or a flow comes: one delivery of more
  // transfers than the window takes would wait for ever. Asked once for each time that the window was found shut.
  #askForWindow(): void {
    if (this.#askedForWindow) return;
    this.#askedForWindow = true;
    this.#writeFlow(undefined, true);
  }

  #writeFlow(link: LinkEndpoint | undefined, echo?: true): void {
    this.#flowDue = false;
    const flow: Flow = {
      kind: "flow",
      ...this.windows.tell(),
      echo,
    };
    if (link !== undefined) {
      flow.handle = link.handle;
      link.describe(flow);
    }
    this.#session.connection.output.write(this.#session.channel, flow, link ?? this.#session);
  }

  #writeTransfer(link: SenderEndpoint, delivery: OutgoingDelivery): void {
    const { payload, offset, aborted } = delivery;
    const { settlement, connection, channel } = this.#session;
    const transfer: Transfer = { kind: "transfer", handle: link.handle };
    const first = delivery.id === undefined;
    if (first) {
      transfer.deliveryId = this.#nextDeliveryId;
      const tag = delivery.link.number(delivery);
      transfer.deliveryTag = typeof tag === "number" ? writeTag(this.#tag, tag) : tag;
      transfer.messageFormat = delivery.messageFormat;
      transfer.settled = delivery.sentSettled || undefined;
      transfer.state = delivery.state;
      transfer.resume = delivery.resume || undefined;
    }
    if (aborted) transfer.aborted = true;
    else if (!delivery.whole) transfer.more = true;
    const rest = offset === 0 && !aborted ? payload : payload.subarray(aborted ? payload.length : offset);
    let written: number;
    try {
      written = connection.output.transfer(channel, transfer, rest);
    } catch (error) {
      // Nothing was counted yet, so the ids stay without a gap.
      throw error instanceof AmqpError ? new Fault(link, error) : error;
    }
    this.windows.sent();
    if (first) {
      link.begin(delivery, this.#nextDeliveryId);
      this.#nextDeliveryId = add(this.#nextDeliveryId, 1);
      if (!delivery.sentSettled && !aborted) settlement.sent(delivery);
    }
    delivery.offset += written;
    const whole = written === rest.length && (!transfer.more || aborted);
    connection.costs.relieve(whole);
    if (!whole) return;
    link.finish(delivery);
  }
}
