/**
 * A program that uses one connection in all ways, at random, and records in a ledger what must hold at the end.
 *
 * @module
 */

import type { Connection } from "../../src/client/connection.ts";
import type { Message } from "../../src/codec/message.ts";
import type { Random } from "../harness.ts";
import { ASKED, FORBIDDEN, NARROW, ProgramContext, QUEUES, type World } from "./context.ts";
import type { Ledger } from "./ledger.ts";
import { textOf } from "./process.ts";
import { bodyOf, type LastingReceiver, ProgramReceivers } from "./receivers.ts";
import { type LastingSender, ProgramSenders } from "./senders.ts";
import { StreamReaders } from "./stream_readers.ts";
import { transact } from "./transactions.ts";
import type { SimulatedTime } from "./world.ts";

/** The state that a killed program leaves to the next one. */
export interface Legacy {
  readonly senders: readonly LastingSender[];
  readonly receivers: readonly LastingReceiver[];
  /** Settled messages on the disk, by the receiver's name. */
  readonly settled: readonly { readonly body: string; readonly name: string }[];
}

/** A program with one connection. */
export class Program {
  readonly connection: Connection;
  readonly #context: ProgramContext;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #time: SimulatedTime;
  readonly #senders: ProgramSenders;
  readonly #receivers: ProgramReceivers;
  readonly #streams: StreamReaders;

  /** Uses `connection`, and continues the killed program of `legacy`. */
  constructor(connection: Connection, world: World, legacy?: Legacy) {
    this.connection = connection;
    const context = new ProgramContext(connection, world);
    this.#context = context;
    this.#random = context.random;
    this.#ledger = context.ledger;
    this.#time = context.time;
    void this.#watch();
    this.#senders = new ProgramSenders(context, legacy?.senders ?? []);
    this.#receivers = new ProgramReceivers(context, legacy?.receivers ?? [], legacy?.settled ?? []);
    this.#streams = new StreamReaders(context, this.#receivers);
  }

  /** Kills the program with its connection; returns its state for the next one. */
  die(): Legacy {
    const { containerId } = this.connection;
    const { store, world: { disk } } = this.#context;
    store.dead = true;
    this.#ledger.die(containerId, (link, body) => disk.has(link, body));
    const receivers = this.#receivers.lasting;
    return {
      senders: this.#senders.lasting,
      receivers,
      settled: receivers.flatMap(({ name }) =>
        disk.of(`${containerId}/receiver/${name}`).map(({ payload }) => ({ body: textOf(payload), name }))
      ),
    };
  }

  /** The names on the disk of the senders that still exist. */
  get lasting(): string[] {
    return this.#context.store.dead || !this.connection.open ? [] : this.#senders.onDisk;
  }

  /** Does one random action. */
  act(): void {
    const address = this.#context.chance(4) ? NARROW : this.#random.pick(QUEUES);
    const table: readonly (readonly [weight: number, act: () => void])[] = [
      [24, () => this.#senders.send(this.#senders.pick(address))],
      [6, () => this.#senders.burst(this.#senders.pick(address))],
      [5, () => this.#senders.sendKept(address)],
      [4, () => this.#senders.sendAll(this.#senders.pick(address))],
      [3, () => this.#senders.write(this.#senders.pick(address))],
      [3, () => this.#senders.stream(this.#senders.pick(address))],
      [2, () => this.#senders.publish()],
      [3, () => this.#refused()],
      [8, () => this.#receivers.receive(address)],
      [6, () => this.#receivers.serve(address)],
      [3, () => this.#receivers.iterate(address)],
      [4, () => this.#receivers.batch(address)],
      [2, () => this.#receivers.readable(address)],
      [4, () => this.#streams.read(address)],
      [3, () => this.#streams.serve(address)],
      [1, () => this.#receivers.subscribe()],
      [6, () => transact(this.#context, this.#senders, this.#receivers, address)],
      [4, () => this.#request()],
      [2, () => this.#respond()],
      [3, () => this.#receivers.drain()],
      [3, () => this.#senders.close()],
      [4, () => this.#receivers.close()],
      [1, () => this.#context.closeSession()],
    ];
    let choice = this.#random.int(table.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, act] of table) {
      if ((choice -= weight) >= 0) continue;
      if (this.connection.state !== "closed" && this.connection.open) act();
      return;
    }
  }

  /** The addresses of receivers that take all messages. */
  get steady(): Set<string> {
    return this.#receivers.steady;
  }

  /** Closes all receivers. */
  stopReceiving(): void {
    this.#receivers.closeAll();
  }

  /** Records the messages settled for good. */
  conclude(): void {
    this.#receivers.conclude();
  }

  /** Takes all messages of a queue; yields the bodies as they come. */
  async *empty(address: string): AsyncGenerator<string, void, void> {
    const receiver = this.connection.receiver({ address, credit: 50 });
    try {
      for (;;) {
        const delivery = await receiver.receive();
        const body = bodyOf(delivery);
        if (address !== ASKED) this.#ledger.arrive(body);
        yield body;
        delivery.accept();
      }
    } catch {
      // The receiver is closed when nothing more comes.
    }
  }

  // A peer that has lost its side of a link may have messages twice, and the program is told.
  async #watch(): Promise<void> {
    for await (const event of this.connection.events()) {
      if (event.kind !== "linkResumed") continue;
      if (event.reason !== undefined) this.#context.restarted.add(event.link);
      this.#receivers.resumed(event.link, event.redelivered);
    }
  }

  // Links that the server refuses, to send and to receive.
  #refused(): void {
    if (this.#context.chance(2)) {
      const sent = this.#ledger.add(FORBIDDEN, { by: "connection.send" });
      this.#ledger.follow(sent, this.connection.send(FORBIDDEN, { body: sent.body }));
    } else {
      const receiver = this.connection.receiver(FORBIDDEN);
      const signal = this.#context.maybeSignal(2, 200);
      this.#ledger.wait("receive where that is forbidden", receiver.receive({ signal })).then(
        () => this.#ledger.fault(new Error("received what is forbidden")),
        () => {
          this.#ledger.wait("close of a refused receiver", receiver.close()).catch(this.#ledger.fault);
        },
      );
    }
  }

  #request(): void {
    const body = `?${this.#random.int(1_000_000)}`;
    const signal = this.#context.chance(2) ? this.#context.signal(20_000) : undefined;
    this.#ledger.wait("answer", this.connection.request(ASKED, { body }, { signal })).then(
      (answer) => this.#ledger.rule(answer.body === `!${body}`, `${body} was answered with ${answer.body}`),
      () => {},
    );
  }

  #respond(): void {
    const handler = async ({ body }: { readonly body?: unknown }): Promise<Message> => {
      if (this.#context.chance(4)) await this.#time.sleep(this.#random.int(200));
      if (this.#context.chance(10)) throw new Error("no answer");
      return { body: `!${body}` };
    };
    const signal = this.#context.maybeSignal(3, 2_000);
    this.#ledger.wait("respond", this.connection.respond(ASKED, handler, { signal, onerror: () => {} })).catch(
      () => {},
    );
  }
}
