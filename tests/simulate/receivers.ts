/**
 * The receivers of a simulated program, all the ways in which it receives, and the messages settled for good.
 *
 * @module
 */

import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { resume } from "../../src/client/resume.ts";
import type { Random } from "../harness.ts";
import { type ProgramContext, TOPIC } from "./context.ts";
import type { Ledger, Subscribed } from "./ledger.ts";
import { withoutPadding } from "./process.ts";
import type { SimulatedTime } from "./world.ts";

const MAX_RECEIVERS = 4;

/** A receiver that resumes, with the state of deliveries that the program works on. */
interface Resuming {
  /** True if settled deliveries cannot come again. */
  readonly settlesTwice: boolean;
  /** Deliveries lost while the link was kept. */
  lost: number;
  /** Deliveries that the program was told will come again. */
  told: number;
}

/** A receiver that outlives the process of its program. */
export interface LastingReceiver {
  readonly address: string;
  readonly name: string;
}

/** The receivers of one program. */
export class ProgramReceivers {
  readonly #context: ProgramContext;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #time: SimulatedTime;
  readonly #known = new Set<Receiver>();
  // Receivers that take all messages.
  readonly #steady = new Set<Receiver>();
  // Receivers that outlive this process, by name.
  readonly #lasting = new Map<string, Receiver>();
  readonly #resuming = new Map<unknown, Resuming>();
  // Deliveries settled in a transaction, which ends with its connection.
  readonly #inTransaction = new WeakSet<Delivery>();
  // Deliveries accepted while the connection held, with the number of reconnects before.
  readonly #settled: { readonly body: string; readonly reconnects: number; readonly receiver: unknown }[] = [];

  /** Continues the receivers of the previous process, with the bodies that they had settled. */
  constructor(
    context: ProgramContext,
    legacy: readonly LastingReceiver[],
    settled: readonly { readonly body: string; readonly name: string }[],
  ) {
    this.#context = context;
    this.#random = context.random;
    this.#ledger = context.ledger;
    this.#time = context.time;
    for (const { address, name } of legacy) this.#take(this.#lastingReceiver(address, name));
    for (const { body, name } of settled) {
      this.#settled.push({ body, reconnects: -1, receiver: this.#lasting.get(name) });
    }
  }

  /** The open receivers that outlive this process. */
  get lasting(): LastingReceiver[] {
    const open = [...this.#lasting].filter(([, { open }]) => open);
    return open.map(([name, { address }]) => ({ name, address: address! }));
  }

  /** The addresses of receivers that take all messages. */
  get steady(): Set<string> {
    return new Set([...this.#steady].filter(({ open }) => open).map(({ address }) => address!));
  }

  /** Records that `receiver` takes all messages. */
  keep(receiver: Receiver): void {
    this.#steady.add(receiver);
  }

  /** Records that a link was resumed, after which `redelivered` deliveries come again. */
  resumed(link: unknown, redelivered: number): void {
    const resuming = this.#resuming.get(link);
    if (resuming !== undefined) resuming.told += redelivered;
  }

  /** Records a delivery settled in a transaction. */
  settleInTransaction(delivery: Delivery): void {
    this.#inTransaction.add(delivery);
  }

  /** Records a delivery that is settled for good if the connection holds, or if its receiver resumes. */
  settled(
    body: string,
    receiver: unknown,
    reconnects: number = this.#context.connection.stats().reconnects,
  ): void {
    this.#settled.push({ body, reconnects, receiver });
  }

  /** Closes all receivers. */
  closeAll(): void {
    for (const receiver of this.#known) {
      this.#ledger.wait("close of a receiver", receiver.close()).catch(this.#ledger.fault);
    }
  }

  /** Records messages settled for good: all since the last reconnect, and before that on links that resume. */
  conclude(): void {
    if (this.#context.connection.state !== "open") return;
    const { reconnects } = this.#context.connection.stats();
    for (const settled of this.#settled) {
      const resuming = this.#resuming.get(settled.receiver);
      const isResumed = resuming?.settlesTwice && resuming.told === 0 && (settled.receiver as Receiver).open;
      if (settled.reconnects === reconnects || isResumed) this.#ledger.gone.add(settled.body);
    }
    for (const [receiver, { lost, told }] of this.#resuming) {
      if (!(receiver as Receiver).open) continue;
      this.#ledger.rule(lost <= told, `${lost} deliveries were lost on a link that resumes, ${told} told`);
    }
  }

  /** Makes a receiver, unless there are enough. */
  create(address: string, credit?: number, stream?: true): Receiver | undefined {
    const open = [...this.#known].filter(({ open }) => open);
    if (open.length >= MAX_RECEIVERS) return undefined;
    const resumes = stream === undefined && this.#context.chance(3);
    const settlesTwice = resumes && !this.#context.chance(3);
    const receiver = this.#context.maker().receiver({
      address,
      ...credit === undefined ? {} : { credit },
      ...resumes ? { name: `receiver ${this.#ledger.number()}`, recovery: "resume" } : {},
      ...resumes && (!settlesTwice || this.#context.chance(2))
        ? { rcvSettleMode: settlesTwice ? "second" : "first" }
        : {},
      ...stream === undefined ? {} : { stream },
    });
    this.#known.add(receiver);
    if (resumes) this.#resuming.set(receiver, { settlesTwice, lost: 0, told: 0 });
    return receiver;
  }

  /** Takes all messages, one after the other. */
  receive(address: string): void {
    if (this.#context.chance(5)) return this.#take(this.#lastingReceiver(address, `receiver ${this.#ledger.number()}`));
    const receiver = this.create(address, 1 + this.#random.int(8));
    if (receiver !== undefined) this.#take(receiver);
  }

  /** Records a delivery, and watches its end. */
  arrive(delivery: Delivery): void {
    const body = bodyOf(delivery);
    this.#ledger.arrive(body);
    const { receiver, signal } = delivery;
    const resuming = this.#resuming.get(receiver);
    if (resuming === undefined) return;
    signal.addEventListener("abort", () => {
      if (!receiver.open || this.#inTransaction.has(delivery)) return;
      this.#ledger.note(`${body} is lost with the program: ${signal.reason}`);
      resuming.lost++;
    }, { once: true });
  }

  /** Serves with a handler. */
  serve(address: string): void {
    const receiver = this.create(address);
    if (receiver === undefined) return;
    const handler = async (delivery: Delivery): Promise<void> => {
      this.arrive(delivery);
      const choice = this.#random.int(12);
      if (choice < 3) await this.#time.sleep(this.#random.int(300));
      if (choice === 3) {
        const lost = new Promise<void>((resolve) => {
          delivery.signal.addEventListener("abort", () => resolve(), { once: true });
          if (delivery.signal.aborted) resolve();
        });
        await Promise.race([lost, this.#time.sleep(2_000)]);
      }
      if (choice === 4) throw new Error("a handler that fails");
      if (choice === 5) this.#settle(delivery);
      if (choice === 6 && this.#context.chance(8)) receiver.stop();
    };
    const options = {
      concurrency: 1 + this.#random.int(4),
      signal: this.#context.maybeSignal(4, 1_000),
      retryDelay: this.#context.chance(2) ? 50 : 0,
      onerror: () => {},
    };
    if (options.signal === undefined) this.#steady.add(receiver);
    this.#ledger.wait("serve", receiver.serve(handler, options)).then(
      () => receiver.close(),
      () => receiver.close(),
    ).catch(this.#ledger.fault);
  }

  /** Receives in a loop that ends. */
  iterate(address: string): void {
    const receiver = this.create(address, 1 + this.#random.int(4));
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      const last = this.#random.int(20);
      let count = 0;
      for await (const delivery of receiver) {
        this.arrive(delivery);
        if (this.#context.chance(5)) await this.#time.sleep(this.#random.int(200));
        if (++count > last) break;
      }
    };
    this.#ledger.wait("loop", loop()).catch(() => {});
  }

  /** Receives batches. */
  async batch(address: string): Promise<void> {
    const receiver = this.create(address, this.#context.chance(2) ? undefined : 5);
    if (receiver === undefined) return;
    try {
      for (let i = this.#random.int(3); i >= 0; i--) {
        const signal = this.#context.maybeSignal(6, 300);
        const waitMs = this.#random.int(400);
        const batch = receiver.receiveBatch(1 + this.#random.int(10), { waitMs, signal });
        for (const delivery of await this.#ledger.wait("receiveBatch", batch)) {
          this.arrive(delivery);
          this.#settle(delivery);
        }
      }
    } catch {
      // The batch was aborted, or the link has ended.
    }
    this.#ledger.wait("close after batches", receiver.close()).catch(this.#ledger.fault);
  }

  /** Reads some of a stream of deliveries. */
  readable(address: string): void {
    const receiver = this.create(address, 3);
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      const reader = receiver.readable.getReader();
      for (let i = this.#random.int(10);; i--) {
        const { done, value } = await reader.read();
        if (done) return;
        this.arrive(value);
        this.#settle(value);
        if (i === 0) return await reader.cancel();
      }
    };
    this.#ledger.wait("readable", loop()).catch(() => {});
  }

  /** Subscribes to the topic, for good. */
  subscribe(): void {
    const subscription: Subscribed = { address: TOPIC, arrived: new Set(), since: undefined };
    const receiver = this.#context.connection.receiver({
      address: TOPIC,
      name: `subscription-${this.#ledger.subscriptions.length}`,
      source: { expiryPolicy: "never" },
      credit: 2,
    });
    this.#ledger.subscriptions.push(subscription);
    receiver.ready().then(() => this.#ledger.subscribed(subscription), () => {});
    const loop = async (): Promise<void> => {
      try {
        for (;;) {
          const delivery = await receiver.receive();
          subscription.arrived.add(bodyOf(delivery));
          if (this.#context.chance(5)) await this.#time.sleep(this.#random.int(200));
          if (delivery.outcome === undefined) {
            try {
              delivery.accept();
            } catch {
              // The delivery comes again.
            }
          }
        }
      } catch {
        // After a lost connection, the messages are kept for the program that resumes the subscription.
        if (!receiver.open) subscription.since = undefined;
      }
    };
    void this.#ledger.wait("subscription", loop());
  }

  /** Drains a receiver. */
  drain(): void {
    const open = [...this.#known].filter(({ open }) => open);
    if (open.length === 0) return;
    const signal = this.#context.maybeSignal(4, 200);
    this.#ledger.wait("drain", this.#random.pick(open).drain({ signal })).catch(() => {});
  }

  /** Closes a receiver. */
  close(): void {
    const open = [...this.#known].filter(({ open }) => open);
    if (open.length === 0) return;
    const receiver = this.#random.pick(open);
    this.#known.delete(receiver);
    const choice = this.#random.int(3);
    if (choice === 0) receiver.stop();
    else {
      const closing = choice === 1 ? receiver.detach() : receiver.close();
      this.#ledger.wait("close of a receiver", closing).catch(this.#ledger.fault);
    }
  }

  #take(receiver: Receiver): void {
    this.#steady.add(receiver);
    const loop = async (): Promise<void> => {
      for (;;) {
        const signal = this.#context.maybeSignal(20, 300);
        let delivery: Delivery;
        try {
          delivery = await receiver.receive({ signal });
        } catch {
          if (signal?.aborted) continue;
          return;
        }
        this.arrive(delivery);
        if (this.#context.chance(4)) await this.#time.sleep(this.#random.int(200));
        this.#settle(delivery);
      }
    };
    void this.#ledger.wait("receive", loop());
  }

  // Settles a delivery in a random way.
  #settle(delivery: Delivery): void {
    const choice = this.#random.int(10);
    try {
      if (choice === 0) delivery.release();
      else if (choice === 1) delivery.modify({ deliveryFailed: true });
      else if (choice === 2) this.#finish(delivery, () => delivery.reject());
      else this.#finish(delivery, () => delivery.accept());
    } catch {
      // The link is gone: the delivery comes again.
      this.#ledger.rule(delivery.outcome === undefined, "a delivery that could not be settled says that it is");
    }
  }

  #finish(delivery: Delivery, settle: () => void): void {
    settle();
    this.settled(bodyOf(delivery), delivery.receiver);
  }

  #lastingReceiver(address: string, name: string): Receiver {
    const receiver = this.#context.connection.receiver({
      address,
      name,
      credit: 4,
      recovery: resume({ store: this.#context.store }),
    });
    this.#known.add(receiver);
    this.#resuming.set(receiver, { settlesTwice: true, lost: 0, told: 0 });
    this.#lasting.set(name, receiver);
    return receiver;
  }
}

/** The body without its padding. */
export function bodyOf({ message }: Delivery): string {
  return withoutPadding(message.text());
}
