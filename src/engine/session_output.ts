/**
 * Deferred writes of a session: transfers while windows allow, flows and dispositions once for all that changed.
 *
 * @module
 */

import { add } from "../base/collections.ts";
import { AmqpError } from "../base/errors.ts";
import type { Begin, Disposition, Flow, Performative, Transfer } from "../codec/types.ts";
import type { Costs } from "./budgets.ts";
import { Fault, type FrameEndpoint } from "./fault.ts";
import { tooManyLinks } from "./handles.ts";
import type { LinkEndpoint } from "./link.ts";
import type { OutgoingDelivery } from "./outgoing.ts";
import { writeTag } from "./tags.ts";
import type { SenderEndpoint } from "./sender.ts";
import type { Settlement } from "./settlement.ts";
import { Windows } from "./windows.ts";

/** The part of a connection's output that sessions use. */
export interface FrameOutput {
  /**
   * Writes a frame; one that the peer does not accept ends the endpoint. Before the peer's open only frames that every peer
   * accepts go out, the others wait.
   */
  write(channel: number, body: Performative, endpoint: FrameEndpoint): void;
  /** Writes one transfer with as much of `payload` as fits, and returns the bytes of it that were written. */
  transfer(channel: number, transfer: Transfer, payload: Uint8Array): number;
  /** Checks that the peer accepts a frame with this body. */
  check(body: Performative): void;
  /** Checks that a frame which is to wait can be encoded. */
  checkHeld(body: Performative): void;
  /** True when a transfer of so many bytes does not fit the flush. */
  full(payloadBytes: number): boolean;
}

/** The part of a connection that the output of a session uses. */
export interface OutputConnection {
  /** Frames that wait to be sent. */
  readonly output: FrameOutput;
  readonly costs: Costs;
}

export interface OutputSession extends FrameEndpoint {
  readonly channel: number;
  readonly connection: OutputConnection;
  /** The unsettled deliveries of the session. */
  readonly settlement: Settlement;
  /** Notes that there are deferred writes. */
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
  // The counted tag of the frame that is being written.
  readonly #tag = new Uint8Array(4);
  #nextDeliveryId: number;
  // Frames of links that the peer may not accept, until its begin arrives.
  #held: { readonly body: Performative; readonly link: LinkEndpoint }[] = [];
  readonly #knownHandleMax: number;
  #askedForWindow = false;
  #flowDue = false;

  /** Starts with the settings of our end; frames of links with a handle above `knownHandleMax` wait for the peer's begin. */
  constructor(session: OutputSession, incomingWindow: number, initialOutgoingId: number, knownHandleMax: number) {
    this.#knownHandleMax = knownHandleMax;
    this.#session = session;
    this.windows = new Windows(incomingWindow, initialOutgoingId);
    this.#nextDeliveryId = initialOutgoingId;
  }

  write(body: Performative, endpoint: FrameEndpoint): void {
    const { output } = this.#session.connection;
    if (this.#holds(endpoint)) {
      output.checkHeld(body);
      return void this.#held.push({ body, link: endpoint as LinkEndpoint });
    }
    this.writeDispositions();
    output.write(this.#session.channel, body, endpoint);
  }

  /** Writes the frames that waited for the peer's begin; a link with a handle that the peer does not accept ends instead. */
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
        // A link that the peer does not accept must not end the others.
        if (!(error instanceof AmqpError)) throw error;
        link.abandon(error);
      }
    }
    if (held.length > 0) this.#session.markDirty();
  }

  /** Counts a transfer that arrived. */
  received(): void {
    this.windows.received();
    if (this.windows.low) this.queueWindow();
  }

  /** Takes the session's part of a flow. */
  receiveFlow(flow: Flow): void {
    this.windows.receiveFlow(flow);
    if (this.windows.remoteIncomingWindow > 0) this.#askedForWindow = false;
    if (flow.handle === undefined && flow.echo) this.queueWindow();
  }

  queueOutput(link: SenderEndpoint): void {
    if (link.next() !== undefined) this.#links.add(link);
    else if (link.draining) {
      // With the next flush, so that a user that hears of the credit can use it before it is handed back.
      this.#draining.add(link);
      this.#session.markDirty();
    }
  }

  queueFlow(link: LinkEndpoint): void {
    this.#flows.add(link);
    this.#session.markDirty();
  }

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

  /** Writes what was deferred: dispositions, then one flow for each link whose credit changed. */
  flush(): void {
    this.writeDispositions();
    for (const link of this.#flows) {
      if (!link.flows || this.#holds(link)) continue;
      this.#flows.delete(link);
      this.#writeFlow(link);
    }
    if (this.#flowDue) this.#writeFlow(undefined);
  }

  writeDispositions(): void {
    if (this.#session.state === "mapped") this.#session.settlement.write(this.#writeDisposition);
  }

  /** Writes transfers while the peer's window, the links' credit and the flush allow, one link after the other. */
  transmit(): void {
    const { output } = this.#session.connection;
    for (const link of this.#links) {
      let delivery = link.next();
      const begun = delivery !== undefined;
      while (delivery !== undefined) {
        if (this.windows.remoteIncomingWindow === 0) return this.#askForWindow();
        if (output.full(delivery.payload.length - delivery.offset)) return;
        this.#writeTransfer(link, delivery);
        delivery = link.next();
        // A link that is alone keeps its turn.
        if (this.#links.size > 1) break;
      }
      // A link that cannot go on now is queued again by the flow that brings credit.
      this.#links.delete(link);
      if (delivery !== undefined) this.#links.add(link);
      else if (begun) link.drained();
    }
  }

  /** Queues a flow with the session's windows. */
  queueWindow(): void {
    this.#flowDue = true;
    this.#session.markDirty();
  }

  clear(): void {
    this.#links.clear();
    this.#draining.clear();
    this.#flows.clear();
    this.#held = [];
  }

  // Whether a frame waits for the peer's begin: one of a link, never one of a session.
  #holds(endpoint: FrameEndpoint): boolean {
    return this.#session.remote === undefined && "handle" in endpoint &&
      (endpoint.handle as number) > this.#knownHandleMax;
  }

  readonly #writeDisposition = (body: Disposition): void => {
    this.#session.connection.output.write(this.#session.channel, body, this.#session);
  };

  // Peers built on rhea look at their window only when a delivery is complete or a flow comes: one delivery of more transfers
  // than the window holds would wait for ever. Asked once for each time that the window is found shut.
  #askForWindow(): void {
    if (this.#askedForWindow) return;
    this.#askedForWindow = true;
    this.#writeFlow(undefined, true);
  }

  #writeFlow(link: LinkEndpoint | undefined, echo?: true): void {
    this.#flowDue = false;
    const flow: Flow = {
      kind: "flow",
      ...this.windows.fields(),
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
    connection.costs.refund(whole);
    if (!whole) return;
    link.finish(delivery);
  }
}
