/**
 * A simulated program that reads deliveries as streams: whole or in part, while its connection comes and goes.
 *
 * @module
 */

import { concat } from "@std/bytes";
import { OutcomeError } from "../../src/base/errors.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Random } from "../harness.ts";
import type { ProgramContext } from "./context.ts";
import type { Ledger } from "./ledger.ts";
import { withoutPadding } from "./process.ts";
import type { ProgramReceivers } from "./receivers.ts";
import type { SimulatedTime } from "./world.ts";

/** Reads streams of one program. */
export class StreamReaders {
  readonly #context: ProgramContext;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #time: SimulatedTime;
  readonly #receivers: ProgramReceivers;

  constructor(context: ProgramContext, receivers: ProgramReceivers) {
    this.#context = context;
    this.#random = context.random;
    this.#ledger = context.ledger;
    this.#time = context.time;
    this.#receivers = receivers;
  }

  /** Reads deliveries one after the other, to the end or not. */
  read(address: string): void {
    const receiver = this.#receivers.create(address, 1 + this.#random.int(3), true);
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      for (let i = this.#random.int(12); i >= 0; i--) {
        const delivery = await receiver.receive({ signal: this.#context.maybeSignal(8, 2_000) });
        const choice = this.#random.int(8);
        // A delivery settled before it is read is dropped as it comes.
        if (choice === 0) this.#settleUnread(delivery);
        else await this.#readPieces(delivery, choice === 1 ? this.#random.int(3) : Infinity);
      }
    };
    this.#ledger.wait("streams", loop()).catch(() => {}).then(() => receiver.close()).catch(this.#ledger.fault);
  }

  /** Serves with a handler that reads streams. */
  serve(address: string): void {
    const receiver = this.#receivers.create(address, undefined, true);
    if (receiver === undefined) return;
    const handler = async (delivery: Delivery): Promise<void> => {
      if (this.#context.chance(6)) throw new Error("a handler that does not read");
      if (this.#context.chance(4)) await this.#time.sleep(this.#random.int(500));
      this.#ledger.arrive(withoutPadding(await delivery.text()));
      if (this.#context.chance(6)) throw new Error("a handler that has read");
    };
    const signal = this.#context.maybeSignal(3, 3_000);
    const options = { concurrency: 1 + this.#random.int(3), signal, onerror: () => {} };
    if (signal === undefined) this.#receivers.keep(receiver);
    this.#ledger.wait("serve streams", receiver.serve(handler, options)).then(
      () => receiver.close(),
      () => receiver.close(),
    ).catch(this.#ledger.fault);
  }

  #settleUnread(delivery: Delivery): void {
    try {
      delivery.release();
    } catch {
      // The link is gone: the delivery comes again.
    }
  }

  // Reads up to `most` pieces, and settles if these were all.
  async #readPieces(delivery: Delivery, most: number): Promise<void> {
    const reader = delivery.stream().getReader();
    const pieces: Uint8Array[] = [];
    try {
      for (;;) {
        if (pieces.length >= most) return await reader.cancel();
        const { done, value } = await this.#ledger.wait("piece of a stream", reader.read());
        if (done) break;
        pieces.push(value);
        if (this.#context.chance(6)) await this.#time.sleep(this.#random.int(300));
      }
    } catch (error) {
      this.#ledger.rule(
        error instanceof OutcomeError && error.outcome === "lost",
        `a stream has failed: ${error}`,
      );
      return;
    }
    const body = withoutPadding(new TextDecoder().decode(concat(pieces)));
    this.#ledger.arrive(body);
    try {
      if (this.#context.chance(8)) return delivery.modify({ deliveryFailed: true });
      delivery.accept();
    } catch {
      // The link is gone: the delivery comes again.
      return this.#ledger.rule(delivery.outcome === undefined, "a stream that could not be settled says that it is");
    }
    this.#receivers.settled(body, delivery.receiver);
  }
}
