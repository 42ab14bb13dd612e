/**
 * A broker that goes wrong when a test wants it to.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { checkAddress, checkOptions, describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { ignore } from "../base/wait.ts";
import type { Channel } from "../transport/channel.ts";
import type { Connection } from "../client/connection.ts";
import { checkFaults, type Faults, faulty } from "./faulty_channel.ts";

/** How a broker is started again. */
export interface RestartOptions {
  /** True forgets all messages, queues and subscriptions, as one that keeps nothing on disk. Default: false. */
  forget?: boolean | undefined;
  /** Milliseconds for which it takes no connections. Default: 0. */
  downMs?: number | undefined;
}

/** The broker of faults: what they ask of it. */
export interface FaultyBroker {
  /** Where it runs. */
  readonly environment: Environment;
  /** The connections that have not ended. */
  connections(): ReadonlySet<Connection>;
  /** Forgets all that it keeps. */
  forget(): void;
}

// Tells clients to come back later [rfc6455 11.7].
const TRY_AGAIN_LATER = 1013;

/**
 * What goes wrong at a {@linkcode Broker}, for tests of programs that must live with it. Nothing does until a method is called.
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

  /** @ignore Built by its broker. */
  constructor(broker: FaultyBroker) {
    this.#broker = broker;
  }

  /**
   * Says what goes wrong with connections that come from now on over `accept`: with all of them alike, or with each what a
   * function gives for its number, from 1 since this call; undefined is nothing. `In` is what comes to the broker.
   *
   * @throws {TypeError} If a fault does not exist or is of the wrong kind.
   * @throws {RangeError} If a number is below 0, or `chop` below 1.
   */
  set(faults: Faults | undefined | ((connection: number) => Faults | undefined)): void {
    if (faults !== undefined && typeof faults !== "function") checkFaults(faults);
    this.#count = 0;
    this.#faults = faults === undefined || typeof faults === "function" ? faults : () => faults;
  }

  /** Drops all connections, as a network does that breaks. */
  cut(): void {
    for (const connection of [...this.#broker.connections()]) {
      connection.destroy(new AmqpError(condition.connectionForced, "Cannot keep connection: it is cut for a test"));
    }
  }

  /**
   * Refuses links to `address` from now on, and ends those that there are.
   *
   * @param error What they are refused with. Default: `amqp:link:detach-forced`, after which a client comes back.
   * @throws {TypeError} If the address is none, or the error no AmqpError.
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

  /** Takes links to `address` again. */
  allow(address: string): void {
    this.#refused.delete(address);
  }

  /**
   * Ends all connections with `amqp:connection:forced`, as a broker does that is started again; resolves when they have ended.
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

  /** @ignore For its broker: the carrier of a new connection, undefined for one that it has closed. */
  carry(channel: Channel): Channel | undefined {
    if (this.#downUntil !== undefined) {
      if (this.#broker.environment.now() < this.#downUntil) return void channel.close(TRY_AGAIN_LATER, "Restarting");
      this.#downUntil = undefined;
    }
    const faults = this.#faults?.(++this.#count);
    return faults === undefined ? channel : faulty(channel, faults, this.#broker.environment);
  }

  /**
   * @ignore For its broker: before a link is attached.
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
