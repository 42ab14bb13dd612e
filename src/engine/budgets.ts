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

/** The limits of a connection's costs. */
export interface CostOptions extends CostLimits {
  /**
   * Bytes of partly received deliveries on all links; a delivery that exceeds them ends its link. Default: {@linkcode
   * DEFAULT_MAX_UNFINISHED_BYTES}.
   */
  maxUnfinishedBytes?: number;
  /** A limit on such bytes that several connections share. Default: none. */
  unfinished?: Budget;
}

/** The costs of a connection's peer. */
export class Costs {
  /** Memory of the frame that is being received, in bytes. */
  frameBytes = 0;
  readonly #clock: { readonly now: number };
  readonly #options: CostOptions;
  #unfinished: Budget | undefined;
  #kept = 0;
  // Frames that change nothing, less those that were offset until `#at`.
  #work = 0;
  #at = 0;

  constructor(clock: { readonly now: number }, options: CostOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Bytes of partly received deliveries. */
  get unfinished(): Budget {
    const { maxUnfinishedBytes = DEFAULT_MAX_UNFINISHED_BYTES, unfinished } = this.#options;
    return this.#unfinished ??= new Budget(maxUnfinishedBytes, unfinished);
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
    if (this.#work > (this.#options.maxIdleWork ?? DEFAULT_MAX_IDLE_WORK)) throw tooManyFrames("that change nothing");
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
    const kept = this.#kept + this.frameBytes;
    if (kept > (this.#options.maxKeptBytes ?? DEFAULT_MAX_KEPT_BYTES)) throw tooManyFrames("to keep");
    this.#kept = kept;
    return this.frameBytes;
  }

  release(bytes: number): void {
    this.#kept -= bytes;
  }
}

function tooManyFrames(which: string): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, `Cannot go on: too many frames ${which}`);
}
