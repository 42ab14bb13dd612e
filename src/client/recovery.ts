/**
 * The interface between links and the recovery of their unsettled deliveries, and the records stored for a later process.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import type { LogHolder } from "../base/log.ts";
import type { WaitOptions } from "../base/wait.ts";
import type { Attach, DeliveryState, Open } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { OutgoingDelivery, OutgoingLink } from "../engine/outgoing.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SendListener } from "./outcome.ts";

/** A stored delivery: of a sender from the send to the outcome, of a receiver from the outcome until the sender settles. */
export interface UnsettledDelivery {
  /** The delivery-tag, 1 to 32 bytes; the tags of a sender are in byte order. */
  readonly tag: Uint8Array;
  /** The encoded message; its memory is reused, so a store in memory must copy it. */
  readonly payload: Uint8Array;
  /** The message format: 0 for an AMQP message. */
  readonly messageFormat: number;
  /** The encoded outcome; empty while there is none. */
  readonly state: Uint8Array;
}

/**
 * Storage in which unsettled deliveries outlive the process: a file, a database, the storage of a Durable Object.
 *
 * A returned promise resolves once the change would survive the process being killed. Calls for the same delivery of one link
 * never overlap. Errors go to the log; a message that could not be stored is not sent.
 */
export interface UnsettledStore {
  /** Returns the stored deliveries of a link in the order of tags; called once, before the link is attached. */
  load(link: string): Iterable<UnsettledDelivery> | Promise<Iterable<UnsettledDelivery>>;
  /** Stores a delivery. `link` consists of the container, the role and the name of the link. */
  put(link: string, delivery: UnsettledDelivery): void | Promise<void>;
  /** Deletes a delivery. */
  delete(link: string, tag: Uint8Array): void | Promise<void>;
}

/** Options of {@linkcode resume}. */
export interface ResumeOptions {
  /** Storage for unsettled deliveries. Default: none, so that they survive a loss of the connection, but not of the process. */
  store?: UnsettledStore | undefined;
  /** Seconds for which the peer is asked to keep a lost link; it may agree to less. Default: 600. */
  timeout?: number | undefined;
  /**
   * Called with the outcome of each message that an earlier process sent and kept in `store`; undefined if it will never be
   * known. A message without one when the link ends is left to a later process. Default: outcomes but accepted are logged.
   */
  onrecovered?: (delivery: UnsettledDelivery, outcome: DeliveryState | undefined) => void;
}

/** Recovery of a link's unsettled deliveries; made by {@linkcode resume}. */
export interface Recovery {
  /** @ignore */
  forSender(sender: RecoveringSender, outgoing: OutgoingLink): SenderRecovery | Promise<SenderRecovery>;
  /** @ignore */
  forReceiver(receiver: RecoveringLink): ReceiverRecovery | Promise<ReceiverRecovery>;
}

/** The result of attaching a link with recovery again. */
export interface LinkResumed {
  /** Deliveries that were resumed, or whose outcome became known. */
  readonly resumed: number;
  /** Messages of a sender that are sent as new ones; with a `reason` the receiver may have them twice. */
  readonly resent: number;
  /** Deliveries of a receiver that the sender delivers again. */
  readonly redelivered: number;
  /** Why the peer did not resume the link; undefined if it did. */
  readonly reason: string | undefined;
}

/** The connection of a link with recovery. */
export interface RecoveringConnection {
  /** The name of this container. */
  readonly containerId: string;
  /** @ignore Whether the program chose that name. */
  readonly isNamed: boolean;
  /** The peer's open, once received. */
  readonly remote: Readonly<Open> | undefined;
  /** The peer's host and port, or its container-id. */
  readonly host: string | undefined;
  /** Clock, timers and randomness. */
  readonly environment: Environment;
  /** @ignore The log. */
  readonly logging: LogHolder;
  /** Waits until the peer has opened the connection. */
  ready(options?: WaitOptions): Promise<void>;
  /** @ignore Called when there is something to write. */
  wake(): void;
  /** @ignore Called when a link with recovery was attached again. */
  handleResumed?(link: RecoveringLink, what: LinkResumed): void;
  /** @ignore Detaches a link, and attaches it again, or ends it with an error. */
  attachNew?(link: RecoveringLink, ending?: Error): void;
}

/** A link with recovery. */
export interface RecoveringLink {
  /** The link's name. */
  readonly name: string;
  /** The node's address. */
  readonly address: string | undefined;
  /** The node, for errors and the log. */
  readonly where: string;
  /** Whether the peer has ever attached the link. */
  readonly attachedBefore: boolean;
  /** @ignore The settings to attach with; undefined for a link that the peer attached. */
  readonly settings: AttachOptions | undefined;
  /** The link's connection. */
  readonly connection: RecoveringConnection;
  /** @ignore Whether the link is to be attached again: it is open, or closing with deliveries in flight. */
  readonly returns: boolean;
  /** The peer's attach, once received. */
  readonly remote: Readonly<Attach> | undefined;
}

export interface RecoveringSender extends RecoveringLink {
  /** Queues a message that an earlier process stored. */
  restore(payload: Uint8Array, tag: Uint8Array, messageFormat: number, listener: SendListener): OutgoingDelivery;
  /** Handles an outcome as if received on the link; `kept` is given once the store holds nothing of the delivery. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean, kept?: false): void;
  /** Abandons a delivery whose outcome will never be known, or that was never sent. */
  lose(delivery: OutgoingDelivery, error: unknown, left: boolean): void;
  /** Resolves when a message gets its outcome, or credit comes. */
  change(): Promise<void>;
}

export interface LinkRecovery {
  /** Resolves when the link may be attached; undefined if at once. */
  readonly prepared: Promise<unknown> | undefined;
  /** The settings of the next attach. */
  settings(settings: AttachOptions): AttachOptions;
  /** Called when the peer refused the attach; true if the link may be attached as a new one, without unsettled deliveries. */
  refused(error: Error): boolean;
  /** The list for the attach with which an accepting side answers. */
  answer(endpoint: SenderEndpoint | ReceiverEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

export interface SenderRecovery extends LinkRecovery {
  pushed(delivery: OutgoingDelivery): void;
  /** Called with an outcome; true if it is reported later, once the store holds nothing of the delivery. */
  outcome(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): boolean;
  /** Called when a delivery has no outcome to expect: it was abandoned, refused, lost, or sent settled. */
  dropped(delivery: OutgoingDelivery): void;
  /** Called when the link has ended: pending outcomes are reported now, before the rest is lost. */
  ended(): void;
  /** Called when the outcome of a delivery was reported. */
  concluded(delivery: OutgoingDelivery): void;
  /** Called when the peer has attached the link. */
  attached(remote: Attach): void;
  answer(endpoint: SenderEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

export interface ReceiverRecovery extends LinkRecovery {
  /** Stores an outcome, then calls `send`; false if nothing is stored. */
  keep(delivery: IncomingDelivery, state: DeliveryState, send: () => void): boolean;
  settled(delivery: IncomingDelivery): void;
  /** Called when the link is interrupted; false if none of its `unsettled` deliveries can be resumed. */
  interrupted(endpoint: ReceiverEndpoint, unsettled: number): boolean;
  /** Deliveries that the peer resumes since its last attach; each uses credit. */
  readonly resumed: number;
  /** Resolves when every outcome that is being stored has been sent. */
  idle(): Promise<void>;
  ended(endpoint: ReceiverEndpoint | undefined): void;
  /** Whether a delivery may be resumed. */
  holds(delivery: IncomingDelivery): boolean;
  attaching(endpoint: ReceiverEndpoint): void;
  /** Called when the peer has attached the link; returns the deliveries that are lost because it kept nothing of them. */
  attached(remote: Attach): Iterable<IncomingDelivery>;
  answer(endpoint: ReceiverEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

/**
 * Checks the settings of a client's link.
 *
 * @throws {TypeError} If the peer could not recognise the link again.
 */
export function checkLink(role: "sender" | "receiver", { settings, connection }: RecoveringLink): void {
  if (settings === undefined) return;
  const fail = (state: string): never => {
    throw new TypeError(`Cannot attach ${role} that resumes: ${state}`);
  };
  // Set for a link whose program chose the name: the peer may know the name already.
  if (!settings.flowAfterAttach) fail('the link has no "name" of its own, by which the peer would know it again');
  if (!connection.isNamed) {
    fail('the connection has no "containerId" of its own, by which the peer would know it again');
  }
  const node = role === "sender" ? settings.target : settings.source;
  if (node?.kind === "coordinator") fail("it leads to a coordinator");
  else if (node?.dynamic) fail("its node is dynamic, and ends with it");
}
