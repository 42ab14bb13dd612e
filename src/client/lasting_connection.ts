/**
 * A connection that survives the loss of its attachment: its links and sessions are attached again on the next one, and so
 * are links that the peer ends for a passing reason.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { ignore, part } from "../base/wait.ts";
import { MAX_UINT } from "../codec/codes.ts";
import type { EngineEvent } from "../engine/events.ts";
import type { ReceiverEndpoint, ReceiverEvent } from "../engine/receiver.ts";
import type { SenderEndpoint, SenderEvent } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { isPassing } from "../recovery/retry.ts";
import type { Channel } from "../transport/channel.ts";
import { type Attachment, type AttachmentSettings, ConnectionBase } from "./connection_base.ts";
import { type ConnectionEvent, ConnectionHistory, type ConnectionState } from "./events.ts";
import type { CloseOptions } from "./lifetime.ts";
import type { Link } from "./link.ts";
import type { LinkResumed } from "./recovery.ts";
import { Sender } from "./sender.ts";
import type { SharedSession } from "./session.ts";

// How often in a row a link is attached again at once, without an answer, when its session ended over another link. What is
// beyond shares the fate of that link, so that the attaches sent stay in proportion to the links.
const MAX_SPARED = 16;
// Milliseconds between counts of the waiting messages; one count takes a millisecond or so.
const RECOUNT_MS = 100;

/**
 * A connection whose sessions and links come back after an interruption.
 *
 * @example
 * ```ts
 * import type { LastingConnection } from "@webamqp/amqp";
 *
 * function isWaiting(connection: LastingConnection): boolean {
 *   return connection.state === "connecting" || connection.state === "interrupted";
 * }
 * ```
 */
export class LastingConnection extends ConnectionBase {
  /** @ignore */
  protected readonly history: ConnectionHistory = new ConnectionHistory();
  // An upper bound of what waits for the connection to come back: messages abandoned meanwhile are included.
  #waiting: { messages: number; bytes: number } | undefined;
  #countedAt = 0;

  /** The connection's state: `"interrupted"` while a lost one is dialled again. */
  get state(): ConnectionState {
    if (this.over) return "closed";
    if (!this.open) return "closing";
    if (!this.history.opened) return "connecting";
    return this.attachment?.opened ? "open" : "interrupted";
  }

  /** @ignore Adds a link that the peer attached. */
  addAttached(endpoint: SenderEndpoint | ReceiverEndpoint, link: Link): void {
    this.attachment?.links.set(endpoint, link);
    this.links.set(link, undefined);
    this.wake();
  }

  /** @ignore {@inheritDoc ConnectionBase.endLink} */
  override endLink(link: Link, error?: Error): void {
    const { onsuspended } = this.hooks;
    if (!onsuspended || !link.open || link.endedForGood || !link.recovery || !onsuspended(this, link, error)) {
      return super.endLink(link, error);
    }
    this.links.delete(link);
    link.handleInterrupted(error ?? new AmqpError(condition.detachForced, "Link suspended by peer", { scope: "link" }));
  }

  /** @ignore Attaches a link again, after the peer ended it or on a new attachment; a link that cannot be attached ends. */
  attachAgain(link: Link): void {
    const { attachment } = this;
    const session = this.links.get(link);
    if (session === undefined || attachment === undefined || link.carried) return;
    try {
      this.attachLink(link, session, attachment);
    } catch (error) {
      this.loseLink(link, error as Error);
    }
  }

  /** @ignore {@inheritDoc ConnectionBase.admit} */
  override admit(bytes: number): void {
    const { maxPending } = this.settings;
    if (maxPending !== undefined && this.state === "interrupted") this.#admitWaiting(bytes, maxPending);
  }

  #admitWaiting(bytes: number, maxPending: { readonly messages: number; readonly bytes: number }): void {
    const isFull = ({ messages, bytes: held }: { messages: number; bytes: number }): boolean =>
      messages >= maxPending.messages || held + bytes > maxPending.bytes;
    const now = this.environment.now();
    // Recounted once per interval, not for each refused message.
    if (this.#waiting === undefined || isFull(this.#waiting) && now >= this.#countedAt + RECOUNT_MS) {
      this.#countedAt = now;
      this.#waiting = this.countWaiting();
    }
    if (isFull(this.#waiting)) {
      const { messages, bytes: held } = this.#waiting;
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot send: connection is interrupted, and ${messages} messages of ${held} bytes wait for it; ` +
          'wait until it is open again, or raise "maxPending" or "maxPendingBytes"',
      );
    }
    this.#waiting.messages++;
    this.#waiting.bytes += bytes;
  }

  /** @ignore For links with recovery. */
  handleResumed(link: Link, what: LinkResumed): void {
    this.emit({ kind: "linkResumed", link, ...what });
  }

  /** @ignore Detaches a link, and attaches it again, or ends it with `ending`. */
  attachNew(link: Link, ending?: Error): void {
    const session = this.links.get(link);
    if (this.attachment === undefined || session === undefined) return;
    // Events of the former endpoint are void.
    this.attachment.links.delete(link.suspend());
    if (ending !== undefined) return this.loseLink(link, ending);
    this.attachAgain(link);
  }

  /** @ignore Closes the links of one session, or all. */
  async closeLinks(options: CloseOptions, session?: SharedSession): Promise<void> {
    await Promise.all(this.linksOf(session).map((link) => link.close(options)));
  }

  /** @ignore The links of one session, or all. */
  linksOf(session?: SharedSession): Link[] {
    const links: Link[] = [];
    for (const [link, on] of this.links) if (session === undefined || on === session) links.push(link);
    return links;
  }

  /** @ignore Adds an event for the readers of `events`. */
  emit(event: ConnectionEvent): void {
    this.history.emit(event);
  }

  /** @ignore {@inheritDoc ConnectionBase.attach} */
  override attach(channel: Channel, settings?: AttachmentSettings): void {
    super.attach(channel, settings);
    for (const session of [...this.sessions.keys()]) {
      try {
        this.beginSession(session, this.attachment!);
      } catch (error) {
        this.endSession(session, error as Error);
      }
    }
    for (const link of [...this.links.keys()]) this.attachAgain(link);
  }

  /** @ignore {@inheritDoc ConnectionBase.finish} */
  override finish(error: Error | undefined): void {
    if (this.over) return;
    if (this.attachment !== undefined) this.history.handleDetached(this.attachment.driver);
    super.finish(error);
    this.history.handleEnded(error);
  }

  /** {@inheritDoc ConnectionBase.beforeClose} */
  protected override beforeClose(timeoutMs: number | undefined): Promise<void> {
    return this.closeLinks({ timeoutMs });
  }

  /** @ignore {@inheritDoc ConnectionBase.handle} */
  protected override handle(attachment: Attachment, event: EngineEvent): void {
    switch (event.kind) {
      case "opened":
        this.#waiting = undefined;
        this.history.handleOpened(event.open);
        break;
      case "closed":
        this.history.handleDetached(attachment.driver);
        break;
      case "begun":
        return attachment.sessions.get(event.session)?.session?.handleBegun();
      case "attachRequested":
        return this.hooks.onattach?.(event.link, this);
    }
    super.handle(attachment, event);
  }

  /** @ignore {@inheritDoc ConnectionBase.handleLink} */
  protected override handleLink(link: Link, event: SenderEvent | ReceiverEvent): void {
    this.history.count(event);
    super.handleLink(link, event);
  }

  /** @ignore {@inheritDoc ConnectionBase.handleSessionEnded} */
  protected override handleSessionEnded(
    attachment: Attachment,
    endpoint: SessionEndpoint,
    error: AmqpError | undefined,
  ): void {
    const shared = attachment.sessions.get(endpoint);
    if (shared === undefined || shared.session?.open === false) {
      return super.handleSessionEnded(attachment, endpoint, error);
    }
    attachment.sessions.delete(endpoint);
    detach(shared);
    const ending = error ?? new AmqpError(condition.detachForced, "Session ended by peer without an error", {
      scope: "session",
      remote: true,
    });
    const lost: Link[] = [];
    for (const [key, link] of [...attachment.links]) {
      if (key.session !== endpoint) continue;
      attachment.links.delete(key);
      lost.push(link);
    }
    // RabbitMQ ends the session over a link that it refuses or cannot resume, which is no fault of the other links. All are
    // asked, since each keeps the reason.
    const refused = lost.filter((link) => refusesToResume(link, ending)).length > 0;
    const spares = refused || this.hooks.reattaches === true;
    const blamed = refused ? () => false : blame(lost);
    let spared = 0;
    for (const link of lost) {
      if (spares && !blamed(link) && link.returns && link.spared++ < MAX_SPARED) {
        spared++;
        this.#attachInstead(link, ending);
      } else this.loseLink(link, link.attachedAt === undefined ? attachError(link, ending) : ending);
    }
    if (spared > 0 && !refused) this.#logSpared(spared, ending);
    // The session is begun again with the first of its links that is attached again.
    for (const on of this.links.values()) if (on === shared) return shared.session?.handleInterrupted();
    this.endSession(shared, error);
  }

  /** @ignore Keeps a link that the peer ended for a passing reason, if this side's policy allows. */
  protected override loseLink(link: Link, error: Error | undefined): void {
    const ending = link.endingOf(error);
    if (ending !== undefined && refusesToResume(link, ending)) return this.#attachInstead(link, ending);
    const lost = ending !== undefined && link.returns && this.hooks.onlinklost?.(this, link, ending);
    if (lost === true) return this.history.handleInterrupted(link.handleInterrupted(ending!));
    const { open } = link;
    const last = lost || ending;
    this.endLink(link, last);
    if (open && last !== undefined) this.emit({ kind: "linkLost", link, error: last });
  }

  /** @ignore {@inheritDoc ConnectionBase.survives} */
  protected override survives(attachment: Attachment, lost: Error): boolean {
    const error = this.#overshot(lost) ? passing(lost) : lost;
    if (!this.hooks.onlost?.(this, error)) return false;
    this.interrupt();
    if (attachment.opened) this.emit({ kind: "interrupted", cause: error, retryable: isPassing(error) });
    for (const link of [...this.links.keys()]) {
      if (link.returns) this.history.handleInterrupted(link.handleInterrupted(error));
      else this.endLink(link, error);
    }
    for (const shared of [...this.sessions.keys()]) {
      detach(shared);
      // A closing session waits for its links.
      if (shared.session?.open === false && this.linksOf(shared).length === 0) this.endSession(shared, error);
      else shared.session?.handleInterrupted();
    }
    return true;
  }

  // Whether the peer refuses a handle that it accepted before it was started again; the next attach knows better.
  #overshot(error: Error): error is AmqpError {
    if (!(error instanceof AmqpError) || !error.remote || error.condition !== condition.framingError) return false;
    let overshot = false;
    for (const shared of this.sessions.keys()) {
      const { endpoint, knownHandleMax = 0 } = shared;
      const begin = endpoint?.remote;
      if (endpoint === undefined || knownHandleMax <= (begin === undefined ? 0 : begin.handleMax ?? MAX_UINT)) continue;
      shared.knownHandleMax = undefined;
      overshot = true;
    }
    return overshot;
  }

  #attachInstead(link: Link, error: Error): void {
    this.history.handleInterrupted(link.handleInterrupted(error));
    this.attachAgain(link);
  }

  #logSpared(links: number, error: Error): void {
    part("logTexts", () => import("./log_texts.ts")).then(({ sessionLost, writeLog }) =>
      writeLog(this, sessionLost(this.host, links, error))
    ).catch(ignore);
  }

  /** @ignore Counts the messages that wait for credit or for their outcome, and their bytes. */
  protected countWaiting(): { messages: number; bytes: number } {
    const sum = { messages: 0, bytes: 0 };
    for (const link of this.links.keys()) {
      if (!(link instanceof Sender)) continue;
      const { messages, bytes } = link.waiting();
      sum.messages += messages;
      sum.bytes += bytes;
    }
    return sum;
  }
}

// Whose fault the end of a session was: the first link whose attach was not answered, for a peer answers in order; otherwise
// those with messages on their way; otherwise anybody's.
function blame(lost: readonly Link[]): (link: Link) => boolean {
  const attaching = lost.find((link) => link.attachedAt === undefined);
  if (attaching !== undefined) return (link) => link === attaching;
  const sends = (link: Link): boolean => link instanceof Sender && link.pending > 0;
  return lost.some(sends) ? sends : () => true;
}

function attachError(link: Link, error: AmqpError): AmqpError {
  const role = link instanceof Sender ? "sender" : "receiver";
  const message = `Cannot attach ${role} of ${quote(link.address ?? link.name)}: ${error.message}`;
  return new AmqpError(error.condition, message, { ...error, cause: error });
}

// Whether a link that the peer does not resume may be attached as a new one.
function refusesToResume(link: Link, error: Error): boolean {
  return link.returns && link.attachedAt === undefined && (link.recovery?.refused(error) ?? false);
}

function passing(error: AmqpError): AmqpError {
  return new AmqpError(error.condition, error.message, { ...error, cause: error.cause, retryable: true });
}

function detach(shared: SharedSession): void {
  const begin = shared.endpoint?.remote;
  if (begin !== undefined) shared.knownHandleMax = begin.handleMax ?? MAX_UINT;
  shared.endpoint = undefined;
}
