/**
 * What a receiver does with what arrives: its credit, the messages that wait to be taken, and those to be settled. Loaded with the
 * first subscription, so that a program that only sends has none of it.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import { abortable, ignore, part } from "../base/wait.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { ReceiverEndpoint, ReceiverEvent } from "../engine/receiver.ts";
import { Delivery, type DeliveryReceiver } from "./delivery.ts";
import { DeliveryLoop, DeliveryQueue } from "./delivery_queue.ts";
import type { Handlers } from "./handlers.ts";
import type { Interruption } from "./link.ts";
import { DEFAULT_CREDIT, type ReceiveSettings, type ServeOptions, type ValuesOptions } from "./receive_options.ts";
import { type CreditedReceiver, ReceiverCredit } from "./receiver_credit.ts";
import { ReceiverSettlement } from "./receiver_settlement.ts";
import type { ReceiverRecovery } from "./recovery.ts";
import type * as Streams from "./streamed_payload.ts";

/** The receiver for which messages arrive. */
export interface ReceivingOwner
  extends DeliveryReceiver, Pick<CreditedReceiver, "buffered" | "unsettled" | "waiting" | "onsettled"> {
  endpoint: ReceiverEndpoint | undefined;
  readonly recovery: ReceiverRecovery | undefined;
  handlers: Handlers | undefined;
  /** Takes each delivery in a call, so that none is buffered or waited for. */
  readonly ondelivery: ((delivery: Delivery) => void) | undefined;
  /** Called when the link is attached again after an interruption. */
  readonly onreattached: (() => void) | undefined;
}

/** The receiving of one receiver, over all its endpoints. */
export class Receiving {
  readonly credit: ReceiverCredit;
  readonly settlement: ReceiverSettlement;
  readonly queue: DeliveryQueue;
  protected readonly receiver: ReceivingOwner;
  readonly #automatic: boolean;
  #sawSettled = false;
  #interrupted = false;
  // Loads the module for streams; no credit is granted until it is there.
  #loading: Promise<void> | undefined;
  #streams: typeof Streams | undefined;
  // The payload whose last frame may still be to come.
  #arriving: Streams.StreamedPayload | undefined;

  constructor(
    receiver: ReceivingOwner,
    { credit, settle = "auto", stream }: ReceiveSettings,
  ) {
    this.receiver = receiver;
    this.credit = new ReceiverCredit(receiver, credit);
    this.settlement = new ReceiverSettlement(receiver, this.credit);
    this.queue = new DeliveryQueue(receiver, this.credit);
    this.#automatic = settle === "auto";
    if (stream) {
      this.credit.withheld = true;
      this.#loading = this.#load();
    }
  }

  async #load(): Promise<void> {
    const receiver = this.receiver;
    try {
      this.#streams = await part("streams", () => import("./streamed_payload.ts"));
    } catch (error) {
      return receiver.connection.endLink(receiver, error as Error);
    }
    this.#loading = undefined;
    this.credit.withheld = false;
    if (receiver.endpoint === undefined || !receiver.open) return;
    this.#streams.takeStreams(receiver.endpoint, receiver);
    this.credit.grantPending();
  }

  /** A loop over the messages; its first step fails with `ended`, if that is given. */
  loop(options: ValuesOptions, ended: Error | undefined): AsyncGenerator<Delivery, void, void> {
    const { queue } = this;
    const receiver = this.receiver;
    return new DeliveryLoop({
      automatic: this.#automatic,
      shift: () => queue.shift(),
      take: (signal, loop) => {
        if (ended !== undefined) throw ended;
        return queue.take(signal, loop);
      },
      leave: (waiting) => queue.leave(waiting, () => waiting.resolve(undefined)),
      close: () => receiver.open ? receiver.close() : undefined,
    }, options);
  }

  /** Calls `handler` with each message; `concurrency` is that of all calls of `serve`. */
  async serve(
    handler: (delivery: Delivery) => unknown,
    options: ServeOptions,
    concurrency: () => number,
  ): Promise<void> {
    const receiver = this.receiver;
    // No handler is called before `serve` has returned.
    const { Handlers, serveEach } = await part("serve", () => import("./serve.ts"));
    const handlers = receiver.handlers ??= new Handlers(receiver.connection.environment);
    await handlers.prepare(() => part("sockets", () => import("../transport/socket/dial.ts")));
    this.credit.raise(concurrency() + Math.max(1, concurrency() >> 1));
    const report = (error: unknown) => receiver.writeLog("handlerFailed", { automatic: this.#automatic, error });
    await serveEach({ handlers, automatic: this.#automatic, queue: this.queue, report }, handler, options);
  }

  /** Called when a call of `serve` is over, and `concurrency` is that of all others. */
  handleServed(concurrency: number): void {
    const receiver = this.receiver;
    receiver.handlers?.returnDelayed();
    if (!receiver.open || concurrency > 0 || this.queue.waiting > 0) return;
    // Messages fetched ahead go to other receivers.
    this.queue.release();
    this.credit.pause();
  }

  /** Waits for the link to be attached, and drains it; false if it is closed meanwhile. */
  async drain(signal: AbortSignal | undefined): Promise<boolean> {
    const receiver = this.receiver;
    if (this.credit.window === 0) this.credit.raise(DEFAULT_CREDIT);
    await receiver.ready({ signal });
    if (this.#loading !== undefined) await abortable(Promise.race([this.#loading, receiver.closed]), signal);
    if (!receiver.open) return false;
    await this.credit.drain(signal);
    return true;
  }

  /** The class of what is received, for `console.log`. */
  get shown(): Delivery {
    return Delivery.prototype;
  }

  /** Takes the deliveries of `endpoint`, before the peer's attach. */
  protected begin(endpoint: ReceiverEndpoint): void {
    this.receiver.recovery?.attaching(endpoint);
    this.#streams?.takeStreams(endpoint, this.receiver);
  }

  /** The error if the peer's attach is not as it was asked for; a link that the peer attached asked for nothing. */
  checkAttached(): AmqpError | undefined {
    return undefined;
  }

  /** Called when the peer has attached the link of a subscription. */
  handleAttached(): void {
    const receiver = this.receiver;
    const { recovery } = receiver;
    for (const incoming of recovery?.attached(receiver.remote!) ?? []) {
      const lost = this.settlement.lose(incoming);
      if (lost !== undefined) this.queue.remove(lost);
    }
    this.credit.handleAttached(recovery?.resumed ?? 0);
    if (this.#interrupted) receiver.onreattached?.();
  }

  handleInterrupted(error: Error): Interruption {
    const { endpoint, recovery } = this.receiver;
    this.credit.handleInterrupted();
    this.#interrupted = true;
    this.#arriving?.fail(error);
    // Resumable deliveries can still be settled, and their transfers on the next link use up credit.
    if (endpoint !== undefined && recovery?.interrupted(endpoint, this.settlement.unsettled)) return {};
    // The sender delivers unsettled deliveries again, so they no longer count; only those sent settled remain.
    const arrived = this.settlement.clear();
    this.queue.drop();
    this.settlement.abort(error);
    return { redelivered: arrived - this.queue.length };
  }

  /** Resolves when no handler and no drain is under way. */
  async idle(): Promise<void> {
    const receiver = this.receiver;
    const { handlers } = receiver;
    const { drained } = this.credit;
    const warn = () => receiver.writeLog("closeWaits", { running: handlers!.running });
    await (handlers?.idle(drained, warn) ?? drained?.catch(ignore));
    await receiver.recovery?.idle();
  }

  handleClosing(): void {
    const { handlers, usable, endpoint } = this.receiver;
    const { queue, credit } = this;
    handlers?.returnDelayed();
    queue.release();
    if (usable && credit.left > 0 && credit.drained === undefined) {
      queue.finishing = this.#sawSettled || endpoint!.sndSettleMode === "settled";
      if (queue.finishing) credit.startDrain();
      // While handlers run, further messages would only be released.
      else credit.grant(0);
    }
    if (!queue.finishing) queue.finish();
  }

  handleEnded(error: Error): void {
    const receiver = this.receiver;
    this.#arriving?.fail(error);
    // Unsettled deliveries cannot be settled any more: the sender delivers them again, so work on them is wasted.
    this.queue.drop();
    this.settlement.abort(error);
    if (receiver.error === undefined) this.queue.finish();
    else this.queue.end((waiting) => waiting.reject(error));
    this.credit.handleEnded(error);
    this.settlement.handleEnded();
    receiver.handlers?.returnDelayed();
  }

  handleEvent(event: ReceiverEvent): void {
    switch (event.kind) {
      case "delivery":
        return this.#handleDelivery(event.delivery);
      case "disposition":
        if (event.settled) this.settlement.handleSettled(event.delivery);
        break;
      case "drained":
        this.credit.handleDrained();
        if (this.queue.finishing) this.queue.finish();
        return this.credit.topUpLater();
      case "aborted":
        // A delivery that the sender aborted has used its credit.
        return this.credit.topUpLater();
    }
  }

  #handleDelivery(incoming: IncomingDelivery): void {
    const receiver = this.receiver;
    const payload = this.#arriving = incoming.context as Streams.StreamedPayload | undefined;
    const delivery = new Delivery(receiver, this.settlement, incoming, payload);
    this.settlement.add(incoming, delivery);
    if (incoming.remoteSettled) this.#sawSettled = true;
    if (receiver.ondelivery !== undefined && receiver.open) return receiver.ondelivery(delivery);
    // A program may settle only in large batches: credit withheld at its last settlement is granted when the rest is used up.
    if (this.credit.left === 0) this.credit.topUpLater();
    if (payload === undefined) return this.queue.add(delivery);
    const aborted = (error: Error): void => {
      delivery.handleLost(error);
      this.queue.remove(delivery);
      this.settlement.handleDone(incoming);
    };
    payload.listen(() => this.queue.add(delivery), aborted);
  }
}
