/**
 * The settings and the status of a queue.
 *
 * @module
 */

import type { LossCount } from "./consumer.ts";

/** The settings of one queue. */
export interface QueueOptions {
  /**
   * The address of the queue for rejected and expired messages, made when first needed. Without it, and in that queue
   * itself, they are dropped.
   */
  deadLetter?: string | undefined;
  /** Failed attempts after which a message is treated as rejected. Default: no limit. */
  maxDeliveries?: number | undefined;
  /**
   * Which messages of a consumer count as failed attempts when its connection is lost: the oldest of each link, which may
   * have crashed the consumer, all, or none. None count after an orderly end. Default: `"oldest"`.
   */
  lossCount?: LossCount | undefined;
  /** The most messages that the queue keeps, including those that consumers hold. Default: 100,000. */
  maxMessages?: number | undefined;
  /** Most bytes that the queue keeps, including those that consumers hold, and 256 for each message. Default: 64 MiB. */
  maxBytes?: number | undefined;
}

/** The status of a queue at one moment. */
export interface QueueStatus {
  /** The queue's address. */
  readonly address: string;
  /** Messages that wait for a consumer, or for their delivery time. */
  readonly messages: number;
  /** Messages that consumers hold and have not settled. */
  readonly unsettled: number;
  /** Bytes of `messages` and `unsettled`, and 256 for each message. */
  readonly bytes: number;
  /** Producers' messages that wait for room in the queue and are not accepted yet. */
  readonly waiting: number;
  /** Links that receive, browsers included. */
  readonly consumers: number;
  /** Links that send to this address; those without a fixed target are not counted. */
  readonly producers: number;
  /** Messages dropped so far: rejected or expired ones without a dead-letter queue to take them. */
  readonly dropped: number;
}

export interface QueueKind {
  /** The queue is deleted when it is unused for a while, or when its place is needed. */
  readonly passing?: boolean;
  /** The queue has one consumer for life: a message that is undeliverable there is so for everybody. */
  readonly single?: boolean;
  /** The only connection that may receive from it. */
  readonly owner?: object;
}
