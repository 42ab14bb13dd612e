/**
 * The part common to senders and receivers with recovery: settings, the store, and reports of a peer that cannot resume.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type LogEntry, logOf } from "../base/log.ts";
import { ignore } from "../base/wait.ts";
import { decodeProvider, encodeComposite, fieldsOf } from "../codec/composite.ts";
import { MIN_MAX_FRAME_SIZE } from "../codec/limits.ts";
import { archetypes } from "../codec/plans.ts";
import { Reader } from "../codec/reader.ts";
import type { Attach, Composite, Coordinator, DeliveryState, Role, Source, Target } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { AttachOptions } from "../engine/link.ts";
import { type TagKey, tagKey } from "../engine/tags.ts";
import { listUnsettled, type UnsettledList } from "../recovery/resumption.ts";
import type { LinkResumed, RecoveringLink, ResumeOptions, UnsettledDelivery } from "./recovery.ts";

/** The default of {@linkcode ResumeOptions.timeout}, in seconds. */
const DEFAULT_EXPIRY_SECONDS = 600;

/** The fields of an attach that list unsettled deliveries. */
export type ListedSettings = Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;

// Room for the frame header, that of the map, and numbers longer than in the trial encoding.
const FRAME_SLACK_BYTES = 48;

/** Rounds in a row without a settled delivery, after which a link whose peer always lists more ends with an error. */
export const MAX_IDLE_ROUNDS = 16;

/** The recovery of a link, without the part of its role. */
export class LinkResumption<L extends RecoveringLink> {
  protected readonly link: L;
  protected readonly options: ResumeOptions;
  /** Resolves when the stored deliveries are loaded. */
  prepared: Promise<unknown> | undefined;
  /** Why the peer refused to resume, so that the link is attached as a new one. */
  protected refusedFor: string | undefined;
  /** Whether the present attach lists deliveries. */
  protected lists = false;
  // True until the peer has refused `rcvSettleMode: "second"`.
  #inTwoSteps = true;
  #idleRounds = 0;
  // The last store call per tag, while unfinished.
  readonly #calls: Map<TagKey, Promise<void>> = new Map();
  // The node of the previous attach.
  #attachedTo: { readonly container: string | undefined; readonly address: string | undefined } | undefined;

  constructor(link: L, options: ResumeOptions) {
    this.link = link;
    this.options = options;
  }

  refused(error: Error): boolean {
    if (!(error instanceof AmqpError) || error.condition !== condition.notImplemented) return false;
    // The refusal may concern two-step settlement, which only recovery asked for.
    const isFirst = !this.link.attachedBefore && this.#inTwoSteps && this.link.settings?.rcvSettleMode === undefined;
    if (isFirst) this.#inTwoSteps = false;
    if (!this.lists) return isFirst;
    this.refusedFor = "the peer does not resume links";
    return true;
  }

  /** The link's key in a store. */
  protected key(role: Role): string {
    return `${this.link.connection.containerId}/${role}/${this.link.name}`;
  }

  /** The settings of the link with the defaults of recovery and the list of unsettled deliveries. */
  protected with(
    settings: AttachOptions,
    role: Role,
    listed: Iterable<readonly [Uint8Array, DeliveryState | null]> | undefined,
  ): AttachOptions {
    const { timeout = DEFAULT_EXPIRY_SECONDS } = this.options;
    const lasts = { durable: "unsettled-state", expiryPolicy: "never", timeout } as const;
    const { source, target } = settings;
    const full: AttachOptions = {
      ...settings,
      rcvSettleMode: settings.rcvSettleMode ?? (this.#inTwoSteps ? "second" : "first"),
      source: { ...lasts, ...source } as Source,
      target: { ...lasts, ...target } as Target | Coordinator,
    };
    const list = listed && this.list(full, role, listed);
    this.lists = list !== undefined && this.refusedFor === undefined;
    return list === undefined ? full : { ...full, ...list };
  }

  /** The list for an attach with these settings, as long as the peer's maximum frame size allows. */
  protected list(
    { unsettled: _, incompleteUnsettled: __, ...settings }: AttachOptions | Attach,
    role: Role,
    listed: Iterable<readonly [Uint8Array, DeliveryState | null]>,
  ): UnsettledList {
    const writer = new Writer();
    encodeComposite(writer, {
      ...fieldsOf("attach", settings),
      kind: "attach",
      name: settings.name,
      handle: 1_000,
      role,
    });
    const { maxFrameSize = Infinity } = this.link.connection.remote ?? { maxFrameSize: MIN_MAX_FRAME_SIZE };
    return listUnsettled(listed, maxFrameSize - writer.length - FRAME_SLACK_BYTES);
  }

  /** Why the peer cannot resume the link; undefined if it can. */
  protected refusal(remote: Attach): string | undefined {
    const before = this.#attachedTo;
    const container = this.link.connection.remote?.containerId;
    const { address } = this.link;
    this.#attachedTo = { container, address };
    const { refusedFor } = this;
    this.refusedFor = undefined;
    if (refusedFor !== undefined) return refusedFor;
    if (before !== undefined && before.container !== container) return "the peer is another container";
    if (before !== undefined && before.address !== address) return "it leads to another node";
    return remote.unsettled === undefined ? "the peer has kept nothing of it" : undefined;
  }

  /** Attaches the link again for the rest of a list, unless the list does not end. */
  protected attachForRest(settledSome: boolean): void {
    const { connection, where } = this.link;
    this.#idleRounds = settledSome ? 0 : this.#idleRounds + 1;
    if (this.#idleRounds <= MAX_IDLE_ROUNDS) return connection.attachNew?.(this.link);
    const text = `Cannot resume link of ${where}: the peer's list of unsettled deliveries does not end`;
    connection.attachNew?.(this.link, new AmqpError(condition.notAllowed, text, { scope: "link" }));
  }

  /** Reports the result to events and, if messages may come twice, to the log. */
  protected reportResumed(counts: Omit<LinkResumed, "reason">, reason: string | undefined): void {
    const { connection, where } = this.link;
    connection.handleResumed?.(this.link, { ...counts, reason });
    if (reason === undefined || counts.resent + counts.redelivered === 0) return;
    this.warn(
      `Cannot resume link of ${where}: ${reason}; ` +
        (counts.resent > 0
          ? `${counts.resent} messages are sent again, and the receiver may have them twice`
          : `${counts.redelivered} messages come again, and this side may have worked on them`),
    );
  }

  protected warn(message: string): void {
    this.#log({ level: "warning", code: "not-resumed", message });
  }

  protected storeFailed(message: string, error: unknown): void {
    this.#log({ level: "error", code: "store-failed", message, error });
  }

  /** Logs an error of a callback that has no caller to throw to. */
  protected callbackFailed(callback: string, error: unknown): void {
    const message = `Cannot call "${callback}" for a message of ${this.link.where}: it threw; mend it`;
    this.#log({ level: "error", code: "callback-failed", message, error });
  }

  /** Logs that the peer does not accept an outcome. */
  protected outcomeUnsent(error: unknown): void {
    const message = `Cannot tell an outcome to ${this.link.where}: the message stays unsettled there`;
    this.#log({ level: "error", code: "not-resumed", message, error });
  }

  #log(entry: LogEntry): void {
    const { connection, address } = this.link;
    const { logging, environment, host } = connection;
    // Equal entries of many links count as one.
    logOf(logging, environment).write({ ...entry, address, host }, entry.message.slice(0, 24));
  }

  /** Warns of a peer that settles in one step, with which a message may come twice after a loss. */
  protected checkSettleMode(remote: Attach, asked: string | undefined): void {
    if (asked !== "second" || remote.rcvSettleMode === "second") return;
    this.warn(
      `Cannot settle ${this.link.where} in two steps: the peer settles in one, so that a message may arrive twice when the ` +
        'connection is lost; attach with rcvSettleMode "first" if that will do',
    );
  }

  protected put(role: Role, delivery: UnsettledDelivery): Promise<void> {
    return this.#inOrder(delivery.tag, () => this.options.store!.put(this.key(role), delivery));
  }

  /** Deletes a stored delivery; a failure is logged. */
  protected async forget(role: Role, tag: Uint8Array): Promise<boolean> {
    try {
      await this.#inOrder(tag, () => this.options.store!.delete(this.key(role), tag));
      return true;
    } catch (error) {
      this.storeFailed(`Cannot forget a message of ${this.link.where}: the store failed`, error);
      return false;
    }
  }

  // A delete must not be overtaken by a put: a tag may be used again.
  #inOrder(tag: Uint8Array, call: () => void | Promise<void>): Promise<void> {
    const key = tagKey(tag);
    const called = (this.#calls.get(key) ?? Promise.resolve()).then(call);
    const over = called.catch(ignore).then(() => {
      if (this.#calls.get(key) === over) this.#calls.delete(key);
    });
    this.#calls.set(key, over);
    return called;
  }

  protected async load(role: Role): Promise<readonly UnsettledDelivery[]> {
    return Array.from(await this.options.store!.load(this.key(role)));
  }
}

export function encodeState(state: DeliveryState | undefined): Uint8Array {
  if (state === undefined) return new Uint8Array(0);
  const writer = new Writer();
  encodeComposite(writer, state as Composite);
  return writer.take();
}

/** Decodes a stored outcome; undefined if there was none. */
export function decodeState(bytes: Uint8Array): DeliveryState | undefined {
  return bytes.length === 0 ? undefined : decodeProvider(new Reader(bytes), archetypes.deliveryState) as DeliveryState;
}
