/**
 * What a queue is told, and what it tells of itself.
 *
 * @module
 */

import type { LossCount } from "./consumer.ts";

/** The settings of one queue. */
export interface QueueOptions {
  /**
   * Where rejected and expired messages go: the address of a queue, made when first needed. Without it, and in that queue
   * itself, they are dropped.
   */
  deadLetter?: string | undefined;
  /** Failed attempts after which a message is treated as rejected. Default: no limit. */
  maxDeliveries?: number | undefined;
  /**
   * Which of the messages that a consumer held count as failed attempts when its connection is lost: the oldest of each
   * link, which may be what its process ended over, all, or none. After an orderly end none do. Default: `"oldest"`.
   */
  lossCount?: LossCount | undefined;
  /** Most messages that the queue keeps, those with consumers included. Default: 100,000. */
  maxMessages?: number | undefined;
  /** Most bytes that the queue keeps, those with consumers included, and 256 for each message. Default: 64 MiB. */
  maxBytes?: number | undefined;
}

/** What is in a queue at the moment. */
export interface QueueStatus {
  /** The queue's address. */
  readonly address: string;
  /** Messages that wait for a consumer, or for the time at which they may be delivered. */
  readonly messages: number;
  /** Messages that consumers hold and have not settled. */
  readonly unsettled: number;
  /** Bytes of both, and 256 for each message. */
  readonly bytes: number;
  /** Messages of producers for which the queue has no room yet; they are not accepted yet. */
  readonly waiting: number;
  /** Links that receive, browsers included. */
  readonly consumers: number;
  /** Links that send to this address; those without a fixed target are not counted. */
  readonly producers: number;
  /** Messages that were dropped so far: rejected or expired ones, for which there was no other place. */
  readonly dropped: number;
}

export interface QueueKind {
  /** It goes away when it is unused for a while, or its place is needed. */
  readonly passing?: boolean;
  /** It has this one consumer for all its life: what is not for that one is for nobody. */
  readonly single?: boolean;
  /** The only connection that may receive from it. */
  readonly owner?: object;
}
