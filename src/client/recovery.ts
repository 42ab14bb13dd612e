/**
 * How links take up what was not settled when they were lost: what a link asks of whoever does it, and what is kept for a
 * process that ends.
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

/** A delivery as it is kept: of a sender from the send to the outcome, of a receiver from the outcome to its being heard. */
export interface UnsettledDelivery {
  /** Names it on its link, 1 to 32 bytes; those of a sender are in the order of their bytes. */
  readonly tag: Uint8Array;
  /** The encoded message; its memory is used again, so what is kept in memory is to be copied. */
  readonly payload: Uint8Array;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** Its outcome, encoded; empty while there is none. */
  readonly state: Uint8Array;
}

/**
 * Where deliveries that are not settled outlive the process: a file, a database, the storage of a Durable Object.
 *
 * A promise that it gives says that the change will be there when the process is killed in the next moment. Of one link nothing
 * is called twice for the same delivery before the first has ended. What it throws is told to the log, and a message that
 * could not be kept is not sent.
 */
export interface UnsettledStore {
  /** What is kept of a link, in the order of its tags; called once, before the link is attached. */
  load(link: string): Iterable<UnsettledDelivery> | Promise<Iterable<UnsettledDelivery>>;
  /** Keeps a delivery. A link is named by its container, its role and its name. */
  put(link: string, delivery: UnsettledDelivery): void | Promise<void>;
  /** Forgets a delivery. */
  delete(link: string, tag: Uint8Array): void | Promise<void>;
}

/** What {@linkcode resume} is given. */
export interface ResumeOptions {
  /**
   * Where deliveries that are not settled outlive the process. Default: nowhere, so that they outlive the connection and no
   * more.
   */
  store?: UnsettledStore | undefined;
  /** How long the peer is asked to keep a link that it has lost, in seconds; it may agree to less. Default: 600. */
  timeout?: number | undefined;
  /**
   * Told the outcome of each message that a process before this one had sent, and kept in `store`; undefined if it will never
   * be known. Of one that has none when the link ends a process after this one is told. Default: one that is not accepted is
   * told to the log.
   */
  onrecovered?: (delivery: UnsettledDelivery, outcome: DeliveryState | undefined) => void;
}

/** How links take up what was not settled; made by {@linkcode resume}. */
export interface Recovery {
  /** @ignore For a sender. */
  forSender(sender: RecoveringSender, outgoing: OutgoingLink): SenderRecovery | Promise<SenderRecovery>;
  /** @ignore For a receiver. */
  forReceiver(receiver: RecoveringLink): ReceiverRecovery | Promise<ReceiverRecovery>;
}

/** What became of a link that was attached again. */
export interface LinkResumed {
  /** Deliveries that go on where they were, or have got their outcome by that. */
  readonly resumed: number;
  /** Messages of a sender that go out as new ones; the receiver may have them twice if there is a `reason`. */
  readonly resent: number;
  /** Deliveries of a receiver that come again. */
  readonly redelivered: number;
  /** Why the peer could not take up what was not settled; undefined if it could. */
  readonly reason: string | undefined;
}

/** The connection of a link that takes up what was not settled. */
export interface RecoveringConnection {
  /** The name of this container. */
  readonly containerId: string;
  /** @ignore Whether that is a name of the program's own. */
  readonly isNamed: boolean;
  /** What the peer said of itself when it opened the connection, once it has. */
  readonly remote: Readonly<Open> | undefined;
  /** Whom it is with. */
  readonly host: string | undefined;
  /** Where it runs. */
  readonly environment: Environment;
  /** @ignore Told what no call fails for. */
  readonly logging: LogHolder;
  /** Waits until the peer has opened it. */
  ready(options?: WaitOptions): Promise<void>;
  /** @ignore Something waits to be written. */
  wake(): void;
  /** @ignore Told what became of a link that was attached again. */
  handleResumed?(link: RecoveringLink, what: LinkResumed): void;
  /** @ignore Detaches a link, and attaches it again, or ends it with an error. */
  attachAfresh?(link: RecoveringLink, ending?: Error): void;
}

/** A link that takes up what was not settled, as its recovery sees it. */
export interface RecoveringLink {
  /** The link's name. */
  readonly name: string;
  /** The node's address. */
  readonly address: string | undefined;
  /** The node for errors and the log. */
  readonly where: string;
  /** Whether the peer has accepted it once. */
  readonly attachedBefore: boolean;
  /** @ignore What it is attached with; undefined for a link that the peer has attached. */
  readonly settings: AttachOptions | undefined;
  /** The connection it belongs to. */
  readonly connection: RecoveringConnection;
  /** @ignore Whether it is to be attached again: it is in use, or closes and waits for what is in flight. */
  readonly returns: boolean;
  /** The peer's attach, once it came. */
  readonly remote: Readonly<Attach> | undefined;
}

/** A sender that takes up what was not settled, as its recovery sees it. */
export interface RecoveringSender extends RecoveringLink {
  /** Queues what was kept of a process before. */
  restore(payload: Uint8Array, tag: Uint8Array, messageFormat: number, listener: SendListener): OutgoingDelivery;
  /** Takes an outcome for one that was heard on the link; `kept` once nothing is kept of the delivery any more. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean, kept?: false): void;
  /** Gives up a delivery whose outcome will never be known, or that was never sent. */
  lose(delivery: OutgoingDelivery, error: unknown, left: boolean): void;
  /** Waits until a message has its outcome, or there is credit. */
  change(): Promise<void>;
}

/** What both ends ask of their recovery. */
export interface LinkRecovery {
  /** Resolves when the link may be attached; absent when it may be at once. */
  readonly prepared: Promise<unknown> | undefined;
  /** The settings with which it is attached, for the first time or again. */
  settings(settings: AttachOptions): AttachOptions;
  /** The peer has refused to attach it: true if it may be attached as a new one, of which nothing is known. */
  refused(error: Error): boolean;
  /** What an accepting side answers, as it takes the link up. */
  answer(endpoint: SenderEndpoint | ReceiverEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

/** What a sender asks of its recovery. */
export interface SenderRecovery extends LinkRecovery {
  /** A message was queued. */
  pushed(delivery: OutgoingDelivery): void;
  /** An outcome has come: true if it is told again once nothing is kept of the delivery any more. */
  outcome(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): boolean;
  /** A delivery has no outcome to come: it was given up, refused or lost, or has gone out settled. */
  dropped(delivery: OutgoingDelivery): void;
  /** The link has ended: outcomes that have come are told now, before the rest is lost. */
  ended(): void;
  /** The outcome of a delivery was told. */
  concluded(delivery: OutgoingDelivery): void;
  /** The peer has accepted the link. */
  attached(remote: Attach): void;
  /** What an accepting side answers, as it takes the link up. */
  answer(endpoint: SenderEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

/** What a receiver asks of its recovery. */
export interface ReceiverRecovery extends LinkRecovery {
  /** Keeps an outcome, and calls `tell` then; false if nothing is kept. */
  keep(delivery: IncomingDelivery, state: DeliveryState, tell: () => void): boolean;
  /** The sender has settled a delivery. */
  settled(delivery: IncomingDelivery): void;
  /** What carried the link is gone; false if nothing that it held, `unsettled` deliveries, can be taken up. */
  interrupted(endpoint: ReceiverEndpoint, unsettled: number): boolean;
  /** Deliveries that the peer takes up since its last answer; each uses credit. */
  readonly resumed: number;
  /** Waits until every outcome has been told that is to be kept first. */
  idle(): Promise<void>;
  /** The link has ended. */
  ended(endpoint: ReceiverEndpoint | undefined): void;
  /** Whether a delivery may be taken up again. */
  holds(delivery: IncomingDelivery): boolean;
  /** The link is about to be attached. */
  attaching(endpoint: ReceiverEndpoint): void;
  /** The peer has accepted the link: deliveries that are lost because it has kept nothing of it. */
  attached(remote: Attach): Iterable<IncomingDelivery>;
  /** What an accepting side answers, as it takes the link up. */
  answer(endpoint: ReceiverEndpoint): Pick<AttachOptions, "unsettled" | "incompleteUnsettled">;
}

/**
 * Checks what a link of this side is attached with.
 *
 * @throws {TypeError} If the peer could not know it again.
 */
export function checkLink(role: "sender" | "receiver", { settings, connection }: RecoveringLink): void {
  if (settings === undefined) return;
  const fail = (state: string): never => {
    throw new TypeError(`Cannot attach ${role} that resumes: ${state}`);
  };
  // A link of a name that others may know waits for its answer.
  if (!settings.flowAfterAttach) fail('the link has no "name" of its own, by which the peer would know it again');
  if (!connection.isNamed) {
    fail('the connection has no "containerId" of its own, by which the peer would know it again');
  }
  const node = role === "sender" ? settings.target : settings.source;
  if (node?.kind === "coordinator") fail("it leads to a coordinator");
  else if (node?.dynamic) fail("its node is dynamic, and ends with it");
}
