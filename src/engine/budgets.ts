/**
 * Limits on the memory and the work that a peer costs.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";

/** Bytes of partly received deliveries on one connection: two of the largest that are accepted by default. */
export const DEFAULT_MAX_UNFINISHED_BYTES = 134_217_728;
/** Memory for the open, begins and attaches of one connection: 4,096 links need a fraction of it. */
export const DEFAULT_MAX_KEPT_BYTES = 16_777_216;
/** Frames that change nothing, beyond those that time and deliveries offset: far more than any honest peer sends. */
export const DEFAULT_MAX_IDLE_WORK = 100_000;

// Offsets a begin, an attach, the flows of both and the states of the delivery.
const DELIVERY_WORK = 20;

/** An amount with a limit, counted for one connection or for several together. */
export class Budget {
  used = 0;
  readonly #limit: number;
  readonly #shared: Budget | undefined;

  /** Starts at 0; what is taken from this budget is taken from `shared` as well. */
  constructor(limit: number, shared?: Budget) {
    this.#limit = limit;
    this.#shared = shared;
  }

  /** Takes `amount`; false, and nothing taken, if that exceeds a limit. */
  take(amount: number): boolean {
    if (this.used + amount > this.#limit || this.#shared?.take(amount) === false) return false;
    this.used += amount;
    return true;
  }

  give(amount: number): void {
    this.used -= amount;
    this.#shared?.give(amount);
  }
}

/** Limits on the costs of a connection's peer. */
export interface CostLimits {
  /**
   * Memory for the peer's open, begins and attaches, in bytes; a connection that exceeds it is closed with
   * `amqp:resource-limit-exceeded`. Default: 16,777,216.
   */
  maxKeptBytes?: number | undefined;
  /**
   * Frames that change nothing, beyond those that time and deliveries offset (one a millisecond); a connection that exceeds it
   * is closed with `amqp:resource-limit-exceeded`. Default: 100,000.
   */
  maxIdleWork?: number | undefined;
}

/** The costs of a connection's peer. */
export class Costs {
  /** Bytes of partly received deliveries. */
  readonly unfinished: Budget;
  /** Memory of the frame that is being received, in bytes. */
  frameBytes = 0;
  readonly #clock: { readonly now: number };
  readonly #kept: Budget;
  readonly #maxIdleWork: number;
  // Frames that change nothing, less those that were offset until `#at`.
  #work = 0;
  #at = 0;

  constructor(clock: { readonly now: number }, unfinished: Budget, { maxKeptBytes, maxIdleWork }: CostLimits) {
    this.#clock = clock;
    this.unfinished = unfinished;
    this.#kept = new Budget(maxKeptBytes ?? DEFAULT_MAX_KEPT_BYTES);
    this.#maxIdleWork = maxIdleWork ?? DEFAULT_MAX_IDLE_WORK;
  }

  /**
   * Counts work that changes nothing; each millisecond offsets one frame.
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
   * Offsets the flows that a frame of a delivery causes; a whole delivery also offsets a session and a link of its own, for
   * clients that send each message over new ones.
   */
  refund(whole: boolean): void {
    this.#work -= whole ? DELIVERY_WORK : 2;
  }

  /**
   * Counts the frame that is being received as kept, and returns its memory in bytes.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if too much is kept.
   */
  keep(): number {
    if (!this.#kept.take(this.frameBytes)) throw tooManyFrames("to keep");
    return this.frameBytes;
  }

  release(bytes: number): void {
    this.#kept.give(bytes);
  }
}

function tooManyFrames(which: string): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, `Cannot go on: too many frames ${which}`);
}
