/**
 * The recovery of a sender.
 *
 * @module
 */

import { AmqpError } from "../base/errors.ts";
import * as condition from "../base/condition.ts";
import type { Attach, DeliveryState } from "../codec/types.ts";
import { tagKey } from "../engine/tags.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { OutgoingDelivery, OutgoingLink } from "../engine/outgoing.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import { decideAsSender, isOutcome, type ListedState, restOf, type SenderDecision } from "../recovery/resumption.ts";
import type { RecoveringSender, ResumeOptions, SenderRecovery, UnsettledDelivery } from "./recovery.ts";
import { decodeState, LinkResumption, type ListedSettings } from "./resume_link.ts";

// A tag begins with a counter that no process will ever use up, and that keeps the order of the store.
const COUNTER_BYTES = 8;
// The rest is random for each process: the peer may still hold a delivery that the previous process settled and deleted, and
// would take a message with the same tag for it.
const PROCESS_BYTES = 8;

/** Resumes the unsettled deliveries of a sender. */
export class SenderResumption extends LinkResumption<RecoveringSender> implements SenderRecovery {
  readonly #outgoing: OutgoingLink;
  // Deliveries listed in this side's attach and not decided yet; undefined for the first attach.
  #listed: Set<OutgoingDelivery> | undefined;
  #isListComplete = true;
  // The decision for each delivery whose outcome is known, to be carried out once the outcome is reported.
  readonly #decisions: Map<OutgoingDelivery, SenderDecision> = new Map();
  // Deliveries in the store, or being stored.
  readonly #kept: Set<OutgoingDelivery> = new Set();
  // Reports outcomes that wait until the store has deleted their delivery.
  readonly #pendingOutcomes: Set<(forgotten: boolean) => void> = new Set();
  #lastTag = 0n;
  // The random part of this process's tags.
  #process: Uint8Array | undefined;
  #restored = false;
  #asked: string | undefined;
  // Counts attaches: a round of an earlier attach ends.
  #attaches = 0;
  // Deliveries of the present round that are not settled on both sides.
  #open: Set<OutgoingDelivery> = new Set();
  // True while an attach that lists deliveries has no answer.
  #isAttaching = false;

  /** Starts with the deliveries that an earlier process stored. */
  constructor(sender: RecoveringSender, outgoing: OutgoingLink, options: ResumeOptions) {
    super(sender, options);
    this.#outgoing = outgoing;
    if (options.store !== undefined) this.prepared = this.#restore();
    // Messages that were sent while this module loaded.
    for (const delivery of outgoing) this.pushed(delivery);
  }

  settings(settings: AttachOptions): AttachOptions {
    this.#asked = settings.rcvSettleMode ?? "second";
    this.#attaches++;
    if (!this.link.attachedBefore && !this.#restored) return this.with(settings, "sender", undefined);
    this.#isAttaching = true;
    this.#decisions.clear();
    const waiting = this.#waiting();
    const full = this.with(
      settings,
      "sender",
      waiting.map((delivery) => [delivery.tag, localState(delivery)] as const),
    );
    const listed = new Set(Array.from(full.unsettled!.keys(), tagKey));
    this.#listed = new Set(waiting.filter(({ tag }) => listed.has(tagKey(tag))));
    this.#isListComplete = !full.incompleteUnsettled;
    return this.lists ? full : { ...full, unsettled: undefined, incompleteUnsettled: undefined };
  }

  pushed(delivery: OutgoingDelivery): void {
    const { sentSettled, source, state } = delivery;
    // A transaction ends with its connection, and streams cannot be repeated.
    const isPassing = sentSettled || source !== undefined || state?.kind === "transactionalState";
    if (this.options.store === undefined || isPassing) return;
    delivery.ready = false;
    this.#kept.add(delivery);
    this.#keep(delivery).catch((error) => this.link.lose(delivery, error, false));
  }

  async #keep(delivery: OutgoingDelivery): Promise<void> {
    const { payload, messageFormat } = delivery;
    await this.prepared;
    if (!this.#kept.has(delivery)) return;
    if (delivery.ownTag === undefined) this.#outgoing.name(delivery, this.#nextTag());
    await this.put("sender", { tag: delivery.tag, payload, messageFormat, state: new Uint8Array(0) });
    // The delivery was abandoned meanwhile, and deleted.
    if (!this.#kept.has(delivery)) return;
    delivery.ready = true;
    this.#outgoing.wake();
    this.link.connection.wake();
  }

  #nextTag(): Uint8Array {
    if (this.#process === undefined) {
      const random = new Uint8Array(PROCESS_BYTES);
      this.link.connection.environment.random(random);
      this.#process = random;
    }
    const tag = new Uint8Array(COUNTER_BYTES + PROCESS_BYTES);
    new DataView(tag.buffer).setBigUint64(0, ++this.#lastTag);
    tag.set(this.#process, COUNTER_BYTES);
    return tag;
  }

  dropped(delivery: OutgoingDelivery): void {
    // A delivery without a tag is not stored yet.
    if (this.#kept.delete(delivery) && delivery.ownTag !== undefined) this.forget("sender", delivery.tag);
  }

  outcome(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): boolean {
    if (!this.#kept.delete(delivery)) return false;
    // Listed with its outcome until that is reported.
    if (isOutcome(state)) delivery.state = { kind: state.kind } as DeliveryState;
    const handle = (forgotten: boolean): void => {
      // A delivery still in the store must not be settled: a later process would send it again.
      if (this.#pendingOutcomes.delete(handle)) {
        this.link.handleDisposition(delivery, state, settled || !forgotten, false);
      }
    };
    this.#pendingOutcomes.add(handle);
    this.forget("sender", delivery.tag).then(handle);
    return true;
  }

  ended(): void {
    for (const handle of this.#pendingOutcomes) handle(false);
  }

  concluded(delivery: OutgoingDelivery): void {
    if (delivery.id !== undefined || !delivery.resume) return;
    // The peer may hold a listed delivery until it has read the list; its attach shows whether it does.
    if (this.#isAttaching && this.#listed?.has(delivery)) return;
    const decision = this.#decisions.get(delivery);
    this.#decisions.delete(delivery);
    this.#conclude(delivery, decision);
  }

  #conclude(delivery: OutgoingDelivery, decision: SenderDecision | undefined): void {
    if (decision === undefined || (decision.kind === "settle" && decision.reported)) {
      this.#open.delete(delivery);
      return this.#outgoing.drop(delivery);
    }
    // The receiver still holds the delivery, and learns its end by a transfer: on this link the delivery has no id yet.
    delivery.payload = new Uint8Array(0);
    delivery.offset = 0;
    delivery.settled = true;
    delivery.sentSettled = decision.kind === "settle";
    if (decision.kind === "abort") delivery.aborted = true;
    this.#makeReady(delivery);
  }

  attached(remote: Attach): void {
    this.checkSettleMode(remote, this.#asked);
    const first = this.#listed === undefined;
    const reason = this.refusal(remote);
    if (first) return;
    const counts = { resumed: 0, resent: 0, redelivered: 0 };
    const states = listOf(remote);
    const incomplete = !this.#isListComplete || remote.incompleteUnsettled === true;
    this.#open = new Set();
    this.#isAttaching = false;
    for (const delivery of this.#unsent()) {
      // A peer that kept nothing has no states.
      const state = reason === undefined ? states.get(tagKey(delivery.tag)) : undefined;
      // Nothing is known of a delivery that neither side's incomplete list names.
      const isKnown = this.#listed!.has(delivery) && !(state === undefined && remote.incompleteUnsettled);
      if (reason === undefined && !isKnown) continue;
      const decision = decideAsSender(localState(delivery), state);
      if (decision.kind === "send") counts.resent++;
      else counts.resumed++;
      if (incomplete && decision.kind !== "send") this.#open.add(delivery);
      this.#apply(delivery, decision);
    }
    this.#restored = false;
    this.link.connection.wake();
    this.reportResumed(counts, reason);
    if (incomplete && reason === undefined) this.#nextRound(counts.resumed + counts.resent > 0);
  }

  answer({ remote }: SenderEndpoint): ListedSettings {
    const states = listOf(remote!);
    const listed: OutgoingDelivery[] = [];
    for (const delivery of this.#waiting()) {
      const decision = decideAsSender(localState(delivery), states.get(tagKey(delivery.tag)));
      // A receiver settles the deliveries that this answer does not list.
      this.#apply(delivery, decision.kind === "settle" ? { ...decision, reported: true } : decision);
      if (delivery.resume && !delivery.settled) listed.push(delivery);
    }
    return this.list(remote!, "sender", listed.map((delivery) => [delivery.tag, localState(delivery)] as const));
  }

  // Deliveries of the previous link.
  #unsent(): OutgoingDelivery[] {
    return [...this.#outgoing].filter(({ resume, id, ready }) => resume && id === undefined && !ready);
  }

  // Unsettled deliveries; those settled meanwhile are dropped.
  #waiting(): OutgoingDelivery[] {
    const unsent = this.#unsent();
    for (const delivery of unsent) if (delivery.settled) this.#outgoing.drop(delivery);
    return unsent.filter(({ settled }) => !settled);
  }

  #apply(delivery: OutgoingDelivery, decision: SenderDecision): void {
    if (delivery.settled) return this.#conclude(delivery, decision);
    // The outcome is known, and about to be reported.
    if (isOutcome(delivery.state)) return void this.#decisions.set(delivery, decision);
    switch (decision.kind) {
      case "send":
        return this.#sendAgain(delivery);
      case "resume": {
        const { offset, state } = restOf(delivery.payload, delivery.messageFormat, decision.from);
        delivery.offset = offset;
        delivery.state = state;
        delivery.resumed = true;
        return this.#makeReady(delivery);
      }
      case "settle":
      case "restate":
        delivery.resumed = true;
        this.#decisions.set(delivery, decision);
        return this.link.handleDisposition(delivery, decision.state, false);
      case "abort":
        delivery.aborted = delivery.settled = true;
        this.link.lose(delivery, cannotResume(this.link.where), true);
        return this.#makeReady(delivery);
    }
  }

  #sendAgain(delivery: OutgoingDelivery): void {
    delivery.resume = undefined;
    delivery.resent = true;
    this.#makeReady(delivery);
  }

  #makeReady(delivery: OutgoingDelivery): void {
    delivery.ready = true;
    this.#outgoing.wake();
    this.link.connection.wake();
  }

  // Deliveries left out of an incomplete list follow in another round, once those listed are settled [transport 2.7.3].
  async #nextRound(settledSome: boolean): Promise<void> {
    const attaches = this.#attaches;
    const open = this.#open;
    for (;;) {
      for (const delivery of open) {
        if (!delivery.settled || !delivery.sent) break;
        open.delete(delivery);
      }
      if (open.size === 0) break;
      await this.link.change();
      if (this.#attaches !== attaches) return;
    }
    if (this.link.returns) this.attachForRest(settledSome);
  }

  async #restore(): Promise<void> {
    const kept = await this.load("sender");
    this.#lastTag = kept.reduce((last, { tag }) => numberOf(tag) > last ? numberOf(tag) : last, 0n);
    // Each is queued in front of the previous one.
    for (const delivery of [...kept].reverse()) {
      const { payload, tag, messageFormat } = delivery;
      const report = (state: DeliveryState | undefined): void => this.#reportRecovered(delivery, state);
      const restored = this.link.restore(payload, tag, messageFormat, {
        onoutcome: report,
        onsent: () => {},
        // A delivery still in the store is left to a later process.
        onlost: () => this.#kept.has(restored) || report(undefined),
      });
      this.#kept.add(restored);
      restored.state = decodeState(delivery.state);
    }
    this.#restored = true;
    // The peer's open bounds the length of the list.
    if (kept.length > 0) await this.link.connection.ready();
  }

  #reportRecovered(delivery: UnsettledDelivery, outcome: DeliveryState | undefined): void {
    const { onrecovered } = this.options;
    if (onrecovered !== undefined) {
      const call = async (): Promise<void> => await onrecovered(delivery, outcome);
      return void call().catch((error) => this.callbackFailed("onrecovered", error));
    }
    if (outcome?.kind === "accepted") return;
    this.warn(
      `Cannot send a message of an earlier process to ${this.link.where}: it was ${outcome?.kind ?? "lost"}; ` +
        'option "onrecovered" of resume() is told of each',
    );
  }
}

function localState({ state }: OutgoingDelivery): DeliveryState | null {
  return isOutcome(state) ? state : null;
}

function listOf({ unsettled }: Attach): Map<string | number, ListedState> {
  return new Map(Array.from(unsettled ?? [], ([tag, state]) => [tagKey(tag), state]));
}

// Tags of other lengths are the program's; version 0.2.0 used the counter alone.
function numberOf(tag: Uint8Array): bigint {
  const isCounted = tag.length === COUNTER_BYTES || tag.length === COUNTER_BYTES + PROCESS_BYTES;
  return isCounted ? new DataView(tag.buffer, tag.byteOffset, tag.length).getBigUint64(0) : 0n;
}

function cannotResume(where: string): AmqpError {
  return new AmqpError(condition.illegalState, `Cannot resume a message to ${where}: the peer is ahead of this side`, {
    scope: "delivery",
  });
}
