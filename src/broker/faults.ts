/**
 * Faults of a broker for tests.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { checkAddress, checkOptions, describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { ignore } from "../base/wait.ts";
import { type Channel, TRY_AGAIN_LATER } from "../transport/channel.ts";
import type { Connection } from "../client/connection.ts";
import { checkFaults, type Faults, faulty } from "./faulty_channel.ts";

/** The settings of {@linkcode BrokerFaults.restart}. */
export interface RestartOptions {
  /** Whether to drop all messages, queues and subscriptions, as a broker without storage does. Default: false. */
  forget?: boolean | undefined;
  /** Milliseconds for which the broker refuses connections. Default: 0. */
  downMs?: number | undefined;
}

/** The part of its broker that the faults act on. */
export interface FaultyBroker {
  readonly environment: Environment;
  /** The connections that have not ended. */
  connections(): ReadonlySet<Connection>;
  /** Drops all messages, queues and subscriptions. */
  forget(): void;
}

/**
 * The faults of a {@linkcode Broker}, for tests of programs that must cope with them. There are none until a method is called.
 *
 * @example A program's connection is lost after ten frames, and the next one holds
 * ```ts
 * import { Broker } from "@webamqp/amqp/broker";
 *
 * const broker = new Broker();
 * broker.faults.set((connection) => connection === 1 ? { cutAfterFramesIn: 10 } : undefined);
 * // … a program connects over broker.accept, and comes back …
 * await broker.close();
 * ```
 */
export class BrokerFaults {
  readonly #broker: FaultyBroker;
  readonly #refused = new Map<string, AmqpError>();
  #faults: ((connection: number) => Faults | undefined) | undefined;
  #count = 0;
  #downUntil: number | undefined;

  /** @ignore Made by the broker. */
  constructor(broker: FaultyBroker) {
    this.#broker = broker;
  }

  /**
   * Sets the faults of the connections that `accept` and `connect` take from now on: the same for all, or per connection by
   * a function of its number, counted from 1 since this call; undefined is no fault. `In` is the direction to the broker.
   *
   * @throws {TypeError} If a fault does not exist or is of the wrong kind.
   * @throws {RangeError} If a number is below 0, or `chop` below 1.
   */
  set(faults: Faults | undefined | ((connection: number) => Faults | undefined)): void {
    if (faults !== undefined && typeof faults !== "function") checkFaults(faults);
    this.#count = 0;
    this.#faults = faults === undefined || typeof faults === "function" ? faults : () => faults;
  }

  /** Drops all connections, as a broken network does. */
  cut(): void {
    for (const connection of [...this.#broker.connections()]) {
      connection.destroy(new AmqpError(condition.connectionForced, "Cannot keep connection: it is cut for a test"));
    }
  }

  /**
   * Refuses links to `address` from now on, and ends its present links.
   *
   * @param error The error that ends and refuses them. Default: `amqp:link:detach-forced`, after which a client comes back.
   * @throws {TypeError} If `address` is not an address, or `error` not an AmqpError.
   */
  refuse(address: string, error?: AmqpError): void {
    checkAddress("refuse links", address);
    error ??= refusal(address);
    if (!(error instanceof AmqpError)) {
      throw new TypeError(`Cannot refuse links: error is ${describeKind(error)}, not an AmqpError`);
    }
    this.#refused.set(address, error);
    for (const connection of this.#broker.connections()) {
      for (const link of connection.linksOf()) if (link.address === address) link.close({ error }).catch(ignore);
    }
  }

  /** Accepts links to `address` again. */
  allow(address: string): void {
    this.#refused.delete(address);
  }

  /**
   * Ends all connections with `amqp:connection:forced`, as a restarting broker does; resolves when they have ended.
   *
   * @throws {TypeError} If an option does not exist or is of the wrong kind.
   */
  async restart(options: RestartOptions = {}): Promise<void> {
    checkOptions("start broker again", options, { forget: "boolean", downMs: "number" });
    const { forget = false, downMs = 0 } = options;
    const { environment } = this.#broker;
    if (downMs > 0) this.#downUntil = environment.now() + downMs;
    const error = new AmqpError(condition.connectionForced, "Cannot keep connection: broker is started again");
    const closing = [...this.#broker.connections()].map((connection) => connection.close({ error, timeoutMs: 0 }));
    if (forget) this.#broker.forget();
    await Promise.all(closing);
  }

  /** @ignore For the broker: the channel to accept, with its faults; undefined if the broker is down and has closed it. */
  carry(channel: Channel): Channel | undefined {
    if (this.#downUntil !== undefined) {
      if (this.#broker.environment.now() < this.#downUntil) return void channel.close(TRY_AGAIN_LATER, "Restarting");
      this.#downUntil = undefined;
    }
    const faults = this.#faults?.(++this.#count);
    return faults === undefined ? channel : faulty(channel, faults, this.#broker.environment);
  }

  /**
   * @ignore For the broker, before it attaches a link.
   *
   * @throws {AmqpError} If links to the address are refused.
   */
  check(address: string): void {
    const error = this.#refused.get(address);
    if (error !== undefined) throw error;
  }
}

function refusal(address: string): AmqpError {
  return new AmqpError(condition.detachForced, `Cannot attach link: ${quote(address)} is refused for a test`, {
    scope: "link",
  });
}
