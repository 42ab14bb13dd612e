/**
 * The sessions of a connection, by the channels of both sides.
 *
 * @module
 */

import { ChurnMap } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { Attach, Begin } from "../codec/types.ts";
import { type LinkEndpoint, RefusedEndpoint } from "./link.ts";
import { type ConnectionOptions, DEFAULT_MAX_LINKS } from "./options.ts";
import { SessionEndpoint, type SessionEndpointConnection, type SessionOptions } from "./session.ts";

/** The options of a connection that decide on the peer's links. */
export type TakeOptions = Pick<ConnectionOptions, "maxLinks" | "takeLink"> & {
  /** The reason to refuse the link, if any. */
  readonly fault?: AmqpError | undefined;
};

export class Channels {
  readonly #connection: SessionEndpointConnection;
  readonly #local = new ChurnMap<number, SessionEndpoint>();
  readonly #remote = new ChurnMap<number, SessionEndpoint>();
  // The sessions in order; undefined once one has come or gone. A flush would otherwise list them anew for each message.
  #list: readonly SessionEndpoint[] | undefined;
  #turn = 0;
  // The channel of the session that ended last.
  #released: number | undefined;

  constructor(connection: SessionEndpointConnection) {
    this.#connection = connection;
  }

  /** Sessions that are begun, or on their way in or out. */
  get size(): number {
    return this.#local.size;
  }

  get linkCount(): number {
    let count = 0;
    for (const session of this.sessions()) count += session.linkCount;
    return count;
  }

  /** The sessions, as they are now. */
  sessions(): readonly SessionEndpoint[] {
    return this.#list ??= [...this.#local.values()];
  }

  get(remoteChannel: number): SessionEndpoint | undefined {
    return this.#remote.get(remoteChannel);
  }

  /**
   * Begins a session on the lowest channel that is free, the one released last only if there is no other: peers that end a
   * session in their own time, as RabbitMQ 4 does, lose a begin on its channel that comes too soon.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if that channel is above `channelMax`.
   */
  begin(options: SessionOptions, channelMax: number, knownHandleMax: number): SessionEndpoint {
    const released = this.#released;
    const session = this.#create(
      options,
      channelMax,
      knownHandleMax,
      released !== undefined && this.#local.size < channelMax ? released : undefined,
    );
    session.sendBegin();
    this.#add(session);
    return session;
  }

  /** Takes a begin that answers one of ours; a begin that answers none is a violation. */
  answered(begin: Begin, channel: number): void {
    this.#requireFree(channel);
    const session = this.#local.get(begin.remoteChannel!);
    if (session === undefined || session.remoteChannel !== undefined) {
      throw new AmqpError(
        condition.notAllowed,
        `Cannot take begin: we began no session on channel ${begin.remoteChannel}`,
      );
    }
    this.#remote.set(channel, session);
    session.receiveBegin(begin, channel);
  }

  /** Takes a begin of the peer's own, and answers on the lowest channel that is free. */
  begun(begin: Begin, channel: number, options: SessionOptions, channelMax: number): void {
    this.#requireFree(channel);
    const session = this.#create(options, channelMax);
    this.#add(session);
    this.#remote.set(channel, session);
    session.receiveBegin(begin, channel);
  }

  forget(session: SessionEndpoint): void {
    this.#local.delete(session.channel);
    this.#released = session.channel;
    this.#list = undefined;
    if (session.remoteChannel !== undefined) this.#remote.delete(session.remoteChannel);
  }

  /** Ends all sessions along with the connection. */
  drop(): void {
    for (const session of this.sessions()) session.drop();
    this.#local.clear();
    this.#list = undefined;
    this.#remote.clear();
  }

  /** Writes what sessions have deferred; `all` includes sessions that are not dirty. */
  flush(all: boolean): void {
    for (const session of this.sessions()) if (all || session.dirty) session.flush();
  }

  /** Writes transfers until the flush is full. */
  transmit(): void {
    const { output } = this.#connection;
    const sessions = this.sessions();
    for (let i = 0; i < sessions.length && !output.full(0); i++) {
      // The session that filled the last flush comes last in the next.
      const session = sessions[(this.#turn + i) % sessions.length]!;
      try {
        session.output.transmit();
      } catch (error) {
        this.#connection.handleError(error);
      }
    }
    this.#turn++;
  }

  /**
   * Makes our end of a link that the peer attaches. One that this side does not take, or one too many, is refused at once.
   *
   * @throws {AmqpError} The refusal, if as many links again were refused and are still attached.
   */
  takeLink(session: SessionEndpoint, attach: Attach, handle: number, options: TakeOptions): LinkEndpoint {
    const { maxLinks = DEFAULT_MAX_LINKS, takeLink, fault } = options;
    const count = this.linkCount;
    const refusal = takeLink === undefined
      ? new AmqpError(condition.notAllowed, "Cannot take attach: this side takes no links")
      : count >= maxLinks
      ? new AmqpError(condition.resourceLimitExceeded, `Cannot take attach: ${count} links are attached`)
      : fault;
    if (refusal === undefined) return takeLink!(session, attach, handle);
    if (count >= 2 * maxLinks) throw refusal;
    return new RefusedEndpoint(session, attach, handle, refusal);
  }

  #add(session: SessionEndpoint): void {
    this.#local.set(session.channel, session);
    this.#list = undefined;
  }

  #requireFree(channel: number): void {
    if (!this.#remote.has(channel)) return;
    throw new AmqpError(condition.notAllowed, `Cannot take begin: channel ${channel} is in use`);
  }

  #create(options: SessionOptions, channelMax: number, knownHandleMax = 0, avoided?: number): SessionEndpoint {
    let channel = 0;
    while (this.#local.has(channel) || channel === avoided) channel++;
    if (channel > channelMax) {
      throw new AmqpError(condition.resourceLimitExceeded, `Cannot begin session: ${channel} sessions are open`);
    }
    return new SessionEndpoint(this.#connection, channel, options, knownHandleMax);
  }
}
