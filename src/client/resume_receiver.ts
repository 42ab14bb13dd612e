/**
 * The recovery of a receiver.
 *
 * @module
 */

import { Deferred } from "../base/wait.ts";
import type { Attach, DeliveryState } from "../codec/types.ts";
import { IncomingDelivery, type ReceivingLink } from "../engine/deliveries.ts";
import { tagKey } from "../engine/tags.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import { SuspendedDeliveries, unsettledOf } from "../engine/suspended.ts";
import { arrivedState, isOutcome } from "../recovery/resumption.ts";
import type { ReceiverRecovery, RecoveringLink, ResumeOptions } from "./recovery.ts";
import { decodeState, encodeState, LinkResumption, type ListedSettings } from "./resume_link.ts";

/** Resumes the unsettled deliveries of a receiver. */
export class ReceiverResumption extends LinkResumption<RecoveringLink> implements ReceiverRecovery {
  // Unsettled deliveries while the link is not attached.
  #held: Set<IncomingDelivery> = new Set();
  // Deliveries with a stored outcome.
  readonly #kept: Set<IncomingDelivery> = new Set();
  // Outcomes that are sent once stored.
  readonly #keeping: Set<Promise<void>> = new Set();
  // Deliveries of a lost link whose outcome goes to the sender on the next.
  readonly #unsentOutcomes: Set<IncomingDelivery> = new Set();
  #changed: Deferred<void> | undefined;
  // Deliveries listed in this side's attach, and those for which it has no room, which the sender delivers again.
  #listed: Set<IncomingDelivery> = new Set();
  #dropped: IncomingDelivery[] = [];
  #isListComplete = true;
  // Deliveries lost with a link that the peer closed.
  #lostBefore = 0;
  // After an incomplete list: deliveries to be settled before the link is attached for the rest.
  #round: Set<IncomingDelivery> | undefined;
  #settledSome = false;
  resumed = 0;
  #resumes = false;
  #isAttached = false;
  #endpoint: ReceiverEndpoint | undefined;

  /** Starts with the deliveries that an earlier process stored. */
  constructor(receiver: RecoveringLink, options: ResumeOptions) {
    super(receiver, options);
    if (options.store !== undefined) this.prepared = this.#restore();
  }

  settings(settings: AttachOptions): AttachOptions {
    const resumes = this.#resumes ||= this.link.attachedBefore;
    if (!resumes) return this.with(settings, "receiver", undefined);
    // Deliveries with an outcome come first: the sender delivers the messages of unlisted ones again, which loses nothing.
    const withState = [...this.#held].filter(({ state }) => state !== undefined);
    const held = [...withState, ...[...this.#held].filter(({ state }) => state === undefined)];
    const full = this.with(settings, "receiver", held.map(listedAs));
    const { size } = full.unsettled!;
    this.#listed = new Set(held.slice(0, size));
    this.#dropped = held.slice(Math.max(size, withState.length));
    for (const delivery of this.#dropped) this.#held.delete(delivery);
    this.#isListComplete = size >= withState.length;
    if (this.#isListComplete) full.incompleteUnsettled = undefined;
    return this.lists ? full : { ...full, unsettled: undefined, incompleteUnsettled: undefined };
  }

  keep(delivery: IncomingDelivery, state: DeliveryState, send: () => void): boolean {
    if (delivery.suspended && isOutcome(state)) this.#unsentOutcomes.add(delivery);
    if (this.options.store === undefined || state.kind === "received" || delivery.remoteSettled) return false;
    const { tag, payload, messageFormat, link } = delivery;
    // A sender that settles in one step does not confirm.
    if (link.rcvSettleMode === "first") return false;
    const fitting = link.session.settlement.fit(state);
    this.#kept.add(delivery);
    const keeping = this.put("receiver", { tag, payload, messageFormat, state: encodeState(fitting) })
      .catch((error) => this.storeFailed(`Cannot keep an outcome for ${this.link.where}: the store failed`, error))
      .then(send)
      .catch((error) => this.outcomeUnsent(error))
      .finally(() => this.#keeping.delete(keeping));
    this.#keeping.add(keeping);
    return true;
  }

  async idle(): Promise<void> {
    for (;;) {
      if (this.#keeping.size > 0) await Promise.all(this.#keeping);
      // Only the side that attached a link can attach it again.
      else if (this.#unsentOutcomes.size > 0 && this.link.settings !== undefined) {
        await (this.#changed ??= new Deferred<void>()).promise;
      } else return;
    }
  }

  settled(delivery: IncomingDelivery): void {
    this.#held.delete(delivery);
    if (this.#round?.delete(delivery)) this.#endRound();
    if (this.#kept.delete(delivery)) this.forget("receiver", delivery.tag);
    if (this.#unsentOutcomes.delete(delivery)) this.#notify();
  }

  ended(endpoint: ReceiverEndpoint | undefined): void {
    if (endpoint !== undefined && this.#isGone(endpoint)) this.#forgetAll();
    this.#unsentOutcomes.clear();
    this.#notify();
  }

  interrupted(endpoint: ReceiverEndpoint, unsettled: number): boolean {
    this.#resumes ||= this.link.attachedBefore;
    this.#round = undefined;
    // A closed link loses its deliveries; one that was only refused loses nothing.
    const isGone = this.#isGone(endpoint);
    this.#isAttached = false;
    if (isGone) {
      this.#lostBefore += unsettled;
      this.#forgetAll();
      return false;
    }
    for (const delivery of [...this.#dropped, ...unsettledOf(endpoint)]) this.#held.add(delivery);
    this.#dropped = [];
    for (const delivery of this.#held) {
      if (isOutcome(delivery.state)) this.#unsentOutcomes.add(delivery);
      delivery.suspended = true;
      endpoint.session.settlement.forget(delivery);
    }
    return true;
  }

  holds(delivery: IncomingDelivery): boolean {
    return delivery.suspended && (this.#held.has(delivery) || delivery.link === this.#endpoint);
  }

  attaching(endpoint: ReceiverEndpoint): void {
    this.#endpoint = endpoint;
    if (this.#resumes) endpoint.suspended = new SuspendedDeliveries(endpoint, this.#listed);
  }

  attached(remote: Attach): Iterable<IncomingDelivery> {
    this.#isAttached = true;
    const first = !this.#resumes;
    const reason = this.refusal(remote);
    this.resumed = 0;
    if (first) return [];
    const lost = reason === undefined ? this.#dropped : [...this.#held, ...this.#dropped];
    this.#dropped = [];
    for (const delivery of lost) this.settled(delivery);
    const resumed = reason === undefined ? this.#listed.size : 0;
    this.reportResumed({ resumed, resent: 0, redelivered: lost.length + this.#lostBefore }, reason);
    this.#lostBefore = 0;
    const waiting = [...this.#listed].filter((delivery) => this.#held.delete(delivery));
    this.resumed = waiting.length;
    const settledSome = this.#listed.size > 0;
    this.#listed = new Set();
    if (reason === undefined && (!this.#isListComplete || remote.incompleteUnsettled)) {
      this.#round = new Set(waiting);
      this.#settledSome = settledSome;
      this.#endRound();
    }
    return lost;
  }

  answer(endpoint: ReceiverEndpoint): ListedSettings {
    this.#endpoint = endpoint;
    endpoint.suspended = new SuspendedDeliveries(endpoint, this.#held);
    this.#held = new Set();
    return this.list(endpoint.remote!, "receiver", unsettledOf(endpoint).map(listedAs));
  }

  #isGone({ closed }: ReceiverEndpoint): boolean {
    return closed && this.#isAttached;
  }

  // After the peer closed the link: the tags of the next link begin anew.
  #forgetAll(): void {
    this.#held = new Set();
    this.#endpoint = undefined;
    for (const { tag } of this.#kept) this.forget("receiver", tag);
    this.#kept.clear();
    this.#unsentOutcomes.clear();
    this.#notify();
  }

  #notify(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  // The sender sends nothing new before both lists are complete [transport 2.7.3].
  #endRound(): void {
    if (this.#round?.size !== 0) return;
    this.#round = undefined;
    Promise.resolve().then(() => this.link.returns && this.attachForRest(this.#settledSome));
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
      }, payload);
      delivery.state = decodeState(state);
      delivery.suspended = true;
      this.#held.add(delivery);
      this.#kept.add(delivery);
    }
    this.#resumes = true;
    if (kept.length > 0) await this.link.connection.ready();
  }
}

function listedAs({ tag, state, payload, messageFormat }: IncomingDelivery): [Uint8Array, DeliveryState | null] {
  return [tag, state ?? arrivedState(payload, messageFormat)];
}
