/**
 * A receiver that takes up what was not settled.
 *
 * @module
 */

import type { Attach, DeliveryState } from "../codec/types.ts";
import { IncomingDelivery, type ReceivingLink, tagKey } from "../engine/deliveries.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import { arrivedState } from "../recovery/resumption.ts";
import type { ReceiverRecovery, RecoveringLink, ResumeOptions } from "./recovery.ts";
import { decodeState, encodeState, LinkResumption, type ListedTerms } from "./resume_link.ts";

/** What a receiver does when it is lost and attached again. */
export class ReceiverResumption extends LinkResumption<RecoveringLink> implements ReceiverRecovery {
  // Deliveries that nothing carries.
  #held: Set<IncomingDelivery> = new Set();
  #resumes = false;
  #endpoint: ReceiverEndpoint | undefined;

  /** Starts with what is kept of a process before, if anything is. */
  constructor(receiver: RecoveringLink, options: ResumeOptions) {
    super(receiver, options);
    if (options.store !== undefined) this.prepared = this.#restore();
  }

  /** {@inheritDoc ReceiverRecovery.terms} */
  terms(terms: AttachOptions): AttachOptions {
    const resumes = this.#resumes ||= this.link.attachedBefore;
    return this.with(terms, "receiver", resumes ? this.#list() : undefined);
  }

  /** {@inheritDoc ReceiverRecovery.keep} */
  keep(delivery: IncomingDelivery, state: DeliveryState, tell: () => void): boolean {
    if (this.options.store === undefined || state.kind === "received" || delivery.remoteSettled) return false;
    const { tag, payload, messageFormat } = delivery;
    this.put("receiver", { tag, payload, messageFormat, state: encodeState(state) })
      .catch((error) => this.storeFailed(`Cannot keep an outcome for ${this.link.where}: the store failed`, error))
      .then(tell);
    return true;
  }

  /** {@inheritDoc ReceiverRecovery.settled} */
  settled(delivery: IncomingDelivery): void {
    this.#held.delete(delivery);
    if (this.options.store !== undefined && delivery.state !== undefined) this.forget("receiver", delivery.tag);
  }

  /** {@inheritDoc ReceiverRecovery.interrupted} */
  interrupted(endpoint: ReceiverEndpoint): boolean {
    this.#resumes ||= this.link.attachedBefore;
    // One that was closed is gone with what it held.
    this.#held = new Set(endpoint.closed ? [] : endpoint.held());
    for (const delivery of this.#held) {
      delivery.suspended = true;
      endpoint.session.settlement.forget(delivery);
    }
    return !endpoint.closed;
  }

  /** {@inheritDoc ReceiverRecovery.holds} */
  holds(delivery: IncomingDelivery): boolean {
    return delivery.suspended && (this.#held.has(delivery) || delivery.link === this.#endpoint);
  }

  /** {@inheritDoc ReceiverRecovery.attaching} */
  attaching(endpoint: ReceiverEndpoint): void {
    this.#endpoint = endpoint;
    if (this.#resumes) endpoint.suspend(this.#held);
  }

  /** {@inheritDoc ReceiverRecovery.attached} */
  attached(remote: Attach): Iterable<IncomingDelivery> {
    const first = !this.#resumes;
    const reason = this.refusal(remote);
    if (first) return [];
    const held = this.#held;
    this.#held = new Set();
    const lost = reason === undefined ? [] : held;
    for (const delivery of lost) this.settled(delivery);
    const redelivered = reason === undefined ? 0 : held.size;
    this.tell({ resumed: held.size - redelivered, resent: 0, redelivered }, reason);
    return lost;
  }

  /** {@inheritDoc ReceiverRecovery.answer} */
  answer(endpoint: ReceiverEndpoint): ListedTerms {
    this.#endpoint = endpoint;
    endpoint.suspend(this.#held);
    this.#held = new Set();
    return this.list(endpoint.remote!, "receiver", Array.from(endpoint.held(), listedAs));
  }

  // Those with an outcome come first: without the others the sender hands its messages out again, which loses nothing.
  #list(): [Uint8Array, DeliveryState | null][] {
    const listed = [...this.#held];
    return [...listed.filter(({ state }) => state !== undefined), ...listed.filter(({ state }) => state === undefined)]
      .map(listedAs);
  }

  async #restore(): Promise<void> {
    const kept = await this.load("receiver");
    for (const { tag, payload, messageFormat, state } of kept) {
      const delivery = new IncomingDelivery(undefined as unknown as ReceivingLink, {
        id: 0,
        key: tagKey(tag),
        messageFormat,
        resume: false,
        settled: false,
        state: undefined,
        bytes: () => payload,
      });
      delivery.state = decodeState(state);
      delivery.suspended = true;
      this.#held.add(delivery);
    }
    this.#resumes = true;
    if (kept.length > 0) await this.link.connection.ready();
  }
}

function listedAs({ tag, state, payload, messageFormat }: IncomingDelivery): [Uint8Array, DeliveryState | null] {
  return [tag, state ?? arrivedState(payload, messageFormat)];
}
