/**
 * A received message and what is told about it.
 *
 * @module
 */

import { checkOptions, describeKind, type Kinds } from "../base/options.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError } from "../base/errors.ts";
import { DecodedMessage, decodeMessage } from "../codec/message.ts";
import type { DeliveryState, ErrorFields, Modified } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import { toErrorFields } from "../engine/fault.ts";
import type { Link } from "./link.ts";
import type { ReceiverRecovery } from "./recovery.ts";

/** The receiver of a delivery: what its user finds there, and what the delivery asks of it. */
export interface DeliveryReceiver extends Link {
  /** True while deliveries can be settled. */
  readonly usable: boolean;
  /** @ignore The node for errors. */
  readonly where: string;
  /** @ignore What takes up deliveries that were not settled, if anything does. */
  readonly recovery: ReceiverRecovery | undefined;
}

/** Who settles the deliveries of that receiver: what a delivery asks there. */
export interface DeliverySettlement {
  /** Whether a delivery can still be settled. */
  holds(incoming: IncomingDelivery): boolean;
  /** Whether a delivery is to be told when it is lost. */
  watch(delivery: Delivery, watched: boolean): void;
  /** The outcome of a delivery is on its way. */
  handleTold(incoming: IncomingDelivery): void;
  /** Nothing more is to be done for a delivery. */
  handleDone(incoming: IncomingDelivery): void;
}

/** What reads the payload of a delivery as it arrives. */
export interface DeliveryPayload {
  /** Whether all of it has come. */
  readonly ended: boolean;
  /** The sections before the body, encoded. */
  readonly head: Uint8Array;
  /** Why the bytes are no message that this side takes, if so. */
  readonly undecodable: AmqpError | undefined;
  /** Reads the body as it arrives. */
  stream(delivery: Delivery): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Reads all of the message, encoded. */
  collect(): Promise<Uint8Array>;
  /** The delivery is settled. */
  settled(): void;
}

const MODIFY_KINDS: Kinds = { deliveryFailed: "boolean", undeliverableHere: "boolean", messageAnnotations: "object" };

/**
 * One message in motion, from its arrival until it is settled.
 *
 * It ends in one of four outcomes, told by {@linkcode accept}, {@linkcode reject}, {@linkcode release} or
 * {@linkcode modify}; the first call counts, and credit goes back to the sender with it.
 *
 * @example
 * ```ts
 * import type { Delivery } from "@webamqp/amqp";
 *
 * function decide(delivery: Delivery, known: Set<string>) {
 *   if (known.has(delivery.message.text())) delivery.accept();
 *   else delivery.modify({ deliveryFailed: true, undeliverableHere: true });
 * }
 * ```
 */
export class Delivery {
  /** The receiver that it came on. */
  readonly receiver: DeliveryReceiver;

  readonly #settlement: DeliverySettlement;
  readonly #incoming: IncomingDelivery;
  readonly #streamed: DeliveryPayload | undefined;
  // Whether only what stands before the body is there.
  #isPart: boolean;
  /** @ignore Whether it is settled by calls, rather than by what a loop or handler does. */
  byHand = false;
  #message: DecodedMessage | undefined;
  #undecodable: AmqpError | undefined;
  #outcome: DeliveryState | undefined;
  #lost: Error | undefined;
  #controller: AbortController | undefined;

  /** Built by its receiver. */
  constructor(
    receiver: DeliveryReceiver,
    settlement: DeliverySettlement,
    incoming: IncomingDelivery,
    streamed?: DeliveryPayload,
  ) {
    this.receiver = receiver;
    this.#settlement = settlement;
    this.#incoming = incoming;
    this.#streamed = streamed;
    this.#isPart = streamed !== undefined;
  }

  /**
   * The message, decoded when first asked for. Of a message format other than AMQP's it has the raw bytes as its body.
   *
   * On a receiver with `stream: true` it has the sections before the body, its `body` is undefined and the footer comes with
   * the end of {@linkcode stream}; once {@linkcode text}, {@linkcode json} or {@linkcode bytes} is done, it is whole.
   *
   * A delivery whose message cannot be decoded is rejected with the error, not released, by whatever settles it for you.
   *
   * @throws {AmqpError} With `amqp:decode-error` and scope `"delivery"` if the bytes are no AMQP message.
   */
  get message(): DecodedMessage {
    if (this.#message === undefined) {
      if (this.#undecodable !== undefined) throw this.#undecodable;
      try {
        this.#message = this.decode(this.#isPart ? this.#streamed!.head : this.payload);
        // Null would be the body of a message without one.
        if (this.#isPart) this.#message.body = undefined as never;
      } catch (error) {
        if (error instanceof AmqpError) this.#undecodable = error;
        throw error;
      }
    }
    return this.#message;
  }

  /**
   * The encoded message, for handing on unchanged.
   *
   * @throws {TypeError} If the message is streamed and was not collected.
   */
  get payload(): Uint8Array {
    if (!this.#isPart) return this.#incoming.payload;
    throw new TypeError("Cannot hand out payload: the message is streamed, await bytes() of the delivery before");
  }

  /**
   * The bytes of the body. On a receiver with `stream: true` they come as they arrive, and the session's window, which is
   * that receiver's alone, follows what was read: a slow reader has a few frames in memory, and the sender waits.
   *
   * The delivery can be settled before the end is read. Cancelling the stream drops what still comes; a delivery that is settled
   * by calls is released with it, or rejected if the reason is an {@linkcode AmqpError}. The stream errors with an
   * {@linkcode OutcomeError} `"lost"` when the sender aborts the message or the link is lost, and with an {@linkcode AmqpError}
   * when the bytes are no AMQP message. A body that is no data comes in one piece, as {@linkcode bytes} gives it.
   *
   * @throws {TypeError} If the body is read already.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function download(connection: Connection, file: WritableStream<Uint8Array>) {
   *   await using files = connection.receiver("files", { stream: true });
   *   const delivery = await files.receive();
   *   await delivery.stream().pipeTo(file);
   *   delivery.accept();
   * }
   * ```
   */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    // Which fails where what is there already is no message.
    const { message } = this;
    return this.#streamed?.stream(this) ?? new Response(message.bytes()).body!;
  }

  /** The body as text, once all of it is there; see {@linkcode DecodedMessage.text}. */
  async text(): Promise<string> {
    return (await this.#whole()).text();
  }

  /** What the body says as plain values, once all of it is there; see {@linkcode DecodedMessage.json}. */
  async json(): Promise<unknown> {
    return (await this.#whole()).json();
  }

  /** The body as bytes, once all of it is there; see {@linkcode DecodedMessage.bytes}. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#whole()).bytes();
  }

  /** 0 for an AMQP message; the upper three bytes name the format, the lowest its version. */
  get messageFormat(): number {
    return this.#incoming.messageFormat;
  }

  /** Names the delivery on its link, 1 to 32 bytes of the sender's choice. */
  get tag(): Uint8Array {
    return this.#incoming.tag;
  }

  /** True when the sender sent it settled, or has settled it since: what we tell makes no difference to it. */
  get remoteSettled(): boolean {
    return this.#incoming.remoteSettled;
  }

  /** @ignore True while it can be settled. */
  get usable(): boolean {
    return this.#lost === undefined && this.#settlement.holds(this.#incoming);
  }

  /**
   * Aborted when what is told about the delivery can no longer reach the sender, who hands the message out again: its link
   * is lost, or the sender has settled it by itself. Work on it can stop then.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.usable) this.#settlement.watch(this, true);
      else if (this.#outcome === undefined) this.#controller.abort(this.#lostError());
    }
    return this.#controller.signal;
  }

  /** What the sender told of it last, such as that it belongs to a transaction. */
  get remoteState(): DeliveryState | undefined {
    return this.#incoming.remoteState;
  }

  /** What was told about it, if anything. */
  get outcome(): DeliveryState | undefined {
    return this.#outcome;
  }

  /** Tells the sender that the message was processed. */
  accept(): void {
    this.#settle({ kind: "accepted" });
  }

  /** Tells the sender that the message is invalid, and why: a broker moves it to a dead-letter queue or drops it. */
  reject(error?: AmqpError | ErrorFields): void {
    if (error !== undefined && typeof error?.condition !== "string") {
      throw new TypeError(`Cannot reject delivery: error is ${describeKind(error)}, give { condition, description }`);
    }
    this.#settle({ kind: "rejected", error: error instanceof AmqpError ? toErrorFields(error) : error });
  }

  /** Hands the message back as if it had never been delivered. */
  release(): void {
    this.#settle({ kind: "released" });
  }

  /** Hands the message back changed: `deliveryFailed` counts the attempt, `undeliverableHere` keeps it from coming again. */
  modify(changes: Omit<Modified, "kind"> = {}): void {
    checkOptions("modify delivery", changes, MODIFY_KINDS);
    this.#settle({ kind: "modified", ...changes });
  }

  /**
   * Tells an intermediate or transactional state, without settling when it is not an outcome.
   *
   * @throws {OutcomeError} With outcome `"lost"` if the link has ended.
   * @throws {AmqpError} With `amqp:illegal-state` if an outcome was told already.
   */
  update(state: DeliveryState): void {
    this.#settle(state);
  }

  /** @ignore What `console.log` shows. */
  facts(): Record<string, unknown> {
    let message: unknown;
    try {
      message = this.message;
    } catch (error) {
      message = (error as Error).message;
    }
    const state = this.#outcome?.kind ?? (this.remoteSettled ? "settled" : this.usable ? "unsettled" : "lost");
    return { from: this.receiver.where, state, bytes: this.#incoming.payload.length, message };
  }

  /** @ignore Handed to a caller who settles by calls: one that came settled owes none, and its credit goes back now. */
  handleTaken(): void {
    this.byHand = true;
    if (this.#incoming.remoteSettled) this.#settlement.handleDone(this.#incoming);
  }

  /** @ignore Settles for the user where the user did not; an end of the link in between is no error here. */
  settleByDefault(processed: boolean): void {
    if (this.#outcome !== undefined) return;
    if (!this.usable) {
      this.#unwatch();
      return this.#settlement.handleDone(this.#incoming);
    }
    const undecodable = this.#undecodable ?? this.#streamed?.undecodable;
    if (undecodable !== undefined) this.reject(undecodable);
    else if (processed) this.accept();
    else this.modify({ deliveryFailed: true });
  }

  /** @ignore Whether it can be read to its end, whatever becomes of its link. */
  get isWhole(): boolean {
    return this.#streamed?.ended !== false;
  }

  /** @ignore How often it was tried before, as far as the sender says; 0 for a message that cannot be read. */
  get failedAttempts(): number {
    try {
      return this.message.header?.deliveryCount ?? 0;
    } catch {
      return 0;
    }
  }

  /** @ignore Told by the receiver: nothing that is told from now on reaches the sender. */
  handleLost(cause: Error): void {
    if (this.#outcome !== undefined) return;
    this.#lost = cause;
    this.#unwatch();
    this.#controller?.abort(this.#lostError());
  }

  /** @ignore Decodes a message, or some of its sections. */
  decode(bytes: Uint8Array): DecodedMessage {
    return this.messageFormat === 0 ? decodeMessage(bytes, this.receiver.connection.limits) : rawMessage(bytes);
  }

  async #whole(): Promise<DecodedMessage> {
    if (this.#isPart) {
      const payload = await this.#streamed!.collect();
      if (this.#isPart) {
        this.#incoming.payload = payload;
        this.#isPart = false;
        this.#message = undefined;
      }
    }
    return this.message;
  }

  #unwatch(): void {
    if (this.#controller !== undefined) this.#settlement.watch(this, false);
  }

  #lostError(): OutcomeError {
    const cause = this.#lost ?? this.receiver.error;
    const because = cause === undefined ? "its link has ended" : cause.message;
    return new OutcomeError(
      "lost",
      cause instanceof AmqpError ? cause.condition : condition.illegalState,
      `Cannot settle delivery of ${this.receiver.where}: ${because}; the sender hands the message out again`,
      { cause, retryable: false },
    );
  }

  #settle(state: DeliveryState): void {
    if (this.#outcome !== undefined) {
      throw new AmqpError(
        condition.illegalState,
        `Cannot settle delivery of ${this.receiver.where}: it is ${this.#outcome.kind} already`,
        {
          scope: "delivery",
        },
      );
    }
    if (!this.usable) throw this.#lostError();
    if (state.kind === "received") this.#incoming.update(state, false);
    else {
      const keeps = this.receiver.recovery?.keep(this.#incoming, state, () => this.#tell(state));
      // Which fails for a state that cannot be encoded; another may then be told instead.
      if (!keeps) this.#incoming.update(state);
      this.#outcome = state;
      this.#unwatch();
      this.#streamed?.settled();
      if (keeps) return;
    }
    this.#settlement.handleTold(this.#incoming);
  }

  // What was kept first; by now there may be nobody any more who would hear of it.
  #tell(state: DeliveryState): void {
    if (!this.#settlement.holds(this.#incoming)) return;
    this.#incoming.update(state);
    this.#settlement.handleTold(this.#incoming);
  }
}

// Only its format tells what the bytes mean [messaging 3.2.16].
function rawMessage(payload: Uint8Array): DecodedMessage {
  const message = new DecodedMessage(new Uint8Array(0));
  message.body = payload;
  return message;
}
