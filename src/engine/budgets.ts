/**
 * What a peer may cost: memory that it makes us keep, and work that brings nothing on.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";

/** Bytes of deliveries that have arrived in part on one connection, at a time. Two of the largest that are taken by default. */
export const DEFAULT_MAX_UNFINISHED_BYTES = 134_217_728;
/** Memory of an open, begins and attaches that are kept for one connection: 4,096 links need a fraction of it. */
export const DEFAULT_MAX_KEPT_BYTES = 16_777_216;
/** Frames that change nothing, beyond those that time and deliveries make up for: far above what any honest peer sends. */
export const DEFAULT_MAX_IDLE_WORK = 100_000;

// A begin, an attach, the flows of both and the states of the delivery.
const DELIVERY_WORK = 20;

/** Something of which there is so much, counted for one connection or for several together. */
export class Budget {
  /** How much is taken. */
  used = 0;
  readonly #limit: number;
  readonly #shared: Budget | undefined;

  /** Starts with nothing taken; what is taken of it is taken of `shared` as well. */
  constructor(limit: number, shared?: Budget) {
    this.#limit = limit;
    this.#shared = shared;
  }

  /** Takes some; false, and nothing taken, if there is not as much. */
  take(amount: number): boolean {
    if (this.used + amount > this.#limit || this.#shared?.take(amount) === false) return false;
    this.used += amount;
    return true;
  }

  /** Gives some back. */
  give(amount: number): void {
    this.used -= amount;
    this.#shared?.give(amount);
  }
}

/** Bounds of what the peer of one connection costs. */
export interface CostLimits {
  /**
   * Memory of what is kept of a peer's open, begins and attaches, in bytes; a peer that passes it is closed with
   * `amqp:resource-limit-exceeded`. Default: 16,777,216.
   */
  maxKeptBytes?: number | undefined;
  /**
   * Frames that change nothing, beyond those that time and deliveries make up for (one a millisecond); a peer that passes it is
   * closed with `amqp:resource-limit-exceeded`. Default: 100,000.
   */
  maxIdleWork?: number | undefined;
}

/** What the peer of one connection costs. */
export class Costs {
  /** Bytes of deliveries that have arrived in part. */
  readonly unfinished: Budget;
  /** What the frame that is taken now takes in memory. */
  frameBytes = 0;
  readonly #clock: { readonly now: number };
  readonly #kept: Budget;
  readonly #maxIdleWork: number;
  // Work that brings nothing on, and the time when it was added up.
  #work = 0;
  #at = 0;

  /** Starts with nothing counted, at the time of `clock`. */
  constructor(clock: { readonly now: number }, unfinished: Budget, { maxKeptBytes, maxIdleWork }: CostLimits) {
    this.#clock = clock;
    this.unfinished = unfinished;
    this.#kept = new Budget(maxKeptBytes ?? DEFAULT_MAX_KEPT_BYTES);
    this.#maxIdleWork = maxIdleWork ?? DEFAULT_MAX_IDLE_WORK;
  }

  /**
   * Counts work that brings nothing on; each millisecond makes up for one.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if there was too much of it.
   */
  spend(work: number): void {
    const { now } = this.#clock;
    this.#work = Math.max(0, this.#work - (now - this.#at)) + work;
    this.#at = now;
    if (this.#work > this.#maxIdleWork) throw tooManyFrames("that change nothing");
  }

  /**
   * Notes that a frame of a delivery has come or gone, which makes up for the flow that it takes; a whole delivery also for a
   * session and a link of its own, as clients that send each message over new ones have them.
   */
  relieve(whole: boolean): void {
    this.#work -= whole ? DELIVERY_WORK : 2;
  }

  /**
   * Counts the frame that is taken now as kept, and tells how much that is.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if too much is kept.
   */
  keep(): number {
    if (!this.#kept.take(this.frameBytes)) throw tooManyFrames("to keep");
    return this.frameBytes;
  }

  /** Notes that so much is not kept any more. */
  release(bytes: number): void {
    this.#kept.give(bytes);
  }
}

function tooManyFrames(which: string): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, `Cannot go on: too many frames ${which}`);
}
