/**
 * A program that uses one connection in all ways, at random, and notes in a ledger what it should find at the end.
 *
 * @module
 */

import { concat } from "@std/bytes";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { resume } from "../../src/client/resume.ts";
import type { Session } from "../../src/client/session.ts";
import type { Message } from "../../src/codec/message.ts";
import { OutcomeError, TransactionError } from "../../src/base/errors.ts";
import type { Random } from "../harness.ts";
import { type Disk, ProcessStore, textOf, withoutPadding } from "./process.ts";
import type { Ledger, Sent, Subscribed, Unit } from "./ledger.ts";
import type { SimulatedTime } from "./world.ts";

/** Queues that messages are sent to. */
export const QUEUES: readonly string[] = ["q0", "q1"];
/** A queue that holds few messages, so that those who send wait for those who receive. */
export const NARROW = "narrow";
/** The queue of requests. */
export const ASKED = "asked";
/** An address whose links are refused. */
export const FORBIDDEN = "forbidden";
const TOPIC = "topic/news";
const MAX_RECEIVERS = 4;

/** What programs of one simulation share. */
export interface World {
  readonly random: Random;
  readonly time: SimulatedTime;
  readonly ledger: Ledger;
  /** Signals that were handed out. */
  readonly signals: WatchedSignal[];
  /** What outlives programs that are killed. */
  readonly disk: Disk;
}

/** Aborts, and knows who listens for that. */
export class WatchedSignal {
  readonly controller: AbortController = new AbortController();
  /** How many listen. */
  listeners = 0;

  /** Nobody listens yet. */
  constructor() {
    const { signal } = this.controller;
    const { addEventListener, removeEventListener } = signal;
    const known = new Set<unknown>();
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      known.add(args[1]);
      this.listeners = known.size;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      known.delete(args[1]);
      this.listeners = known.size;
      removeEventListener.apply(signal, args);
    };
  }
}

interface Kept {
  readonly sender: Sender;
  readonly link: number;
  readonly once: boolean;
  /** Whether it is taken up where it was when its connection is lost. */
  readonly resumes: boolean;
  /** Names it on the disk, where it outlives its process. */
  readonly disk?: string;
}

/** A receiver that takes up what was not settled, and what becomes of deliveries that the program works on meanwhile. */
interface Resuming {
  /** Whether what was settled cannot come again. */
  readonly settlesTwice: boolean;
  /** Deliveries that were lost while the link lived on. */
  lost: number;
  /** Deliveries of which the program was told that they come again. */
  told: number;
}

/** What a program that was killed leaves to the next one. */
export interface Legacy {
  readonly senders: readonly { readonly address: string; readonly link: number }[];
  readonly receivers: readonly { readonly address: string; readonly name: string }[];
  /** What was settled, by the receiver's name, and is on the disk. */
  readonly settled: readonly { readonly body: string; readonly name: string }[];
}

/** One connection, and what a program does on it. */
export class Program {
  readonly connection: Connection;
  readonly #world: World;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #time: SimulatedTime;
  #senders: Kept[] = [];
  readonly #receivers = new Set<Receiver>();
  // Those of them that take all that comes.
  readonly #steady = new Set<Receiver>();
  // Links whose other side was not kept.
  readonly #restarted = new Set<unknown>();
  readonly #sessions: Session[] = [];
  // Accepted while the connection held, and how often it had been made anew by then.
  readonly #settled: { readonly body: string; readonly reconnects: number; readonly receiver: unknown }[] = [];
  readonly #resuming = new Map<unknown, Resuming>();
  // Deliveries that are settled in a transaction, which ends with its connection.
  readonly #inTransaction = new WeakSet<Delivery>();

  readonly #store: ProcessStore;
  // Links that outlive this process.
  readonly #lasting = { senders: [] as Legacy["senders"][number][], receivers: new Map<string, Receiver>() };

  /** Uses `connection`, and goes on where the program before has left off. */
  constructor(connection: Connection, world: World, legacy?: Legacy) {
    this.connection = connection;
    this.#world = world;
    this.#random = world.random;
    this.#ledger = world.ledger;
    this.#time = world.time;
    this.#store = new ProcessStore(world.disk, world.time, world.random);
    void this.#watch();
    for (const { address, link } of legacy?.senders ?? []) this.#lastingSender(address, link);
    for (const { address, name } of legacy?.receivers ?? []) this.#take(this.#lastingReceiver(address, name));
    for (const { body, name } of legacy?.settled ?? []) {
      this.#settled.push({ body, reconnects: -1, receiver: this.#lasting.receivers.get(name) });
    }
  }

  /** It is killed, and its connection with it; gives what the next one finds. */
  die(): Legacy {
    const { containerId } = this.connection;
    this.#store.dead = true;
    const { disk } = this.#world;
    this.#ledger.die(containerId, (link, body) => disk.has(link, body));
    const receivers = [...this.#lasting.receivers].filter(([, { open }]) => open);
    return {
      senders: this.#lasting.senders.filter(({ link }) => this.#senders.some((kept) => kept.link === link)),
      receivers: receivers.map(([name, { address }]) => ({ name, address: address! })),
      settled: receivers.flatMap(([name]) =>
        disk.of(`${containerId}/receiver/${name}`).map(({ payload }) => ({ body: textOf(payload), name }))
      ),
    };
  }

  /** What a disk calls the senders that are still there. */
  get lasting(): string[] {
    if (this.#store.dead || !this.connection.open) return [];
    return this.#senders.flatMap(({ disk, sender }) => disk !== undefined && sender.open ? [disk] : []);
  }

  #lastingSender(address: string, link: number): Kept {
    const sender: Sender = this.connection.sender({
      address,
      name: `sender ${link}`,
      recovery: resume({
        store: this.#store,
        onrecovered: ({ payload }, outcome) => {
          if (this.#store.dead) return;
          this.#ledger.recovered(textOf(payload), outcome?.kind, this.#restarted.has(sender));
        },
      }),
    });
    const kept = {
      sender,
      link,
      once: false,
      resumes: true,
      disk: `${this.connection.containerId}/sender/sender ${link}`,
    };
    this.#senders.push(kept);
    this.#lasting.senders.push({ address, link });
    return kept;
  }

  #lastingReceiver(address: string, name: string): Receiver {
    const receiver = this.connection.receiver({ address, name, credit: 4, recovery: resume({ store: this.#store }) });
    this.#receivers.add(receiver);
    this.#resuming.set(receiver, { settlesTwice: true, lost: 0, told: 0 });
    this.#lasting.receivers.set(name, receiver);
    return receiver;
  }

  // A peer that has not kept its side of a link may have messages twice, and the program is told.
  async #watch(): Promise<void> {
    for await (const event of this.connection.events()) {
      if (event.kind !== "linkResumed") continue;
      if (event.reason !== undefined) this.#restarted.add(event.link);
      const resuming = this.#resuming.get(event.link);
      if (resuming !== undefined) resuming.told += event.redelivered;
    }
  }

  /** Does something. */
  act(): void {
    const address = this.#chance(4) ? NARROW : this.#random.pick(QUEUES);
    const table: readonly (readonly [weight: number, act: () => void])[] = [
      [24, () => this.#send(this.#sender(address))],
      [6, () => this.#burst(this.#sender(address))],
      [5, () => this.#sendKept(address)],
      [4, () => this.#sendAll(this.#sender(address))],
      [3, () => this.#write(this.#sender(address))],
      [3, () => this.#stream(this.#sender(address))],
      [2, () => this.#publish()],
      [3, () => this.#refused()],
      [8, () => this.#receive(address)],
      [6, () => this.#serve(address)],
      [3, () => this.#iterate(address)],
      [4, () => this.#batch(address)],
      [2, () => this.#readable(address)],
      [4, () => this.#readStreams(address)],
      [3, () => this.#serveStreams(address)],
      [1, () => this.#subscribe()],
      [6, () => this.#transact(address)],
      [4, () => this.#request()],
      [2, () => this.#respond()],
      [3, () => this.#drain()],
      [3, () => this.#closeSender()],
      [4, () => this.#closeReceiver()],
      [1, () => this.#closeSession()],
    ];
    let choice = this.#random.int(table.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, act] of table) {
      if ((choice -= weight) >= 0) continue;
      if (this.connection.state !== "closed" && this.connection.open) act();
      return;
    }
  }

  /** The addresses of receivers that take all that comes. */
  get steady(): Set<string> {
    return new Set([...this.#steady].filter(({ open }) => open).map(({ address }) => address!));
  }

  /** Closes what receives. */
  stopReceiving(): void {
    for (const receiver of this.#receivers) {
      this.#ledger.wait("close of a receiver", receiver.close()).catch(this.#ledger.fault);
    }
  }

  /** Notes what it has settled for good: all since the connection was made last, and before that on links that resume. */
  conclude(): void {
    if (this.connection.state !== "open") return;
    const { reconnects } = this.connection.stats();
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

  /** Takes all that is in a queue; gives the bodies as they come. */
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
      // It is closed when nothing more comes.
    }
  }

  #chance(many: number): boolean {
    return this.#random.int(many) === 0;
  }

  #signal(ms: number): AbortSignal {
    const watched = new WatchedSignal();
    this.#world.signals.push(watched);
    this.#time.setTimer(() => watched.controller.abort(new Error("given up")), this.#random.int(ms));
    return watched.controller.signal;
  }

  #maybeSignal(many: number, ms: number): AbortSignal | undefined {
    return this.#chance(many) ? this.#signal(ms) : undefined;
  }

  // Links are used again, or made anew; some on a session of their own.
  #sender(address: string): Kept {
    this.#senders = this.#senders.filter(({ sender }) => sender.open);
    const known = this.#senders.find(({ sender }) => sender.address === address && this.#chance(2));
    if (known !== undefined) return known;
    if (this.#chance(6)) return this.#lastingSender(address, this.#ledger.number());
    const recovery = this.#random.pick(["fail", "resume", "resend", "resend"] as const);
    const link = this.#ledger.number();
    const sender = this.#maker().sender({ address, name: `sender ${link}`, recovery });
    const kept = { sender, link, once: recovery === "fail", resumes: recovery === "resume" };
    this.#senders.push(kept);
    return kept;
  }

  #maker(): Connection | Session {
    if (this.#chance(10)) {
      const session = this.connection.session(this.#chance(2) ? { incomingWindow: 2 } : {});
      this.#sessions.push(session);
    }
    const open = this.#sessions.filter(({ open }) => open);
    return open.length > 0 && this.#chance(3) ? this.#random.pick(open) : this.connection;
  }

  // Now and then one that takes several frames.
  #message(sent: Sent): Message {
    const padding = this.#chance(8) ? "|".padEnd(1 + this.#random.int(6_000), "x") : "";
    return { body: `${sent.body}${padding}` };
  }

  #send({ sender, link, once, resumes, disk }: Kept): void {
    const settled = this.#chance(20);
    const sent = this.#ledger.add(sender.address!, {
      by: settled ? "send settled" : "send",
      link,
      once: once || settled,
    });
    if (!settled) sent.disk = disk;
    const signal = this.#maybeSignal(12, 300);
    const sending = sender.send(this.#message(sent), { signal, settled });
    const keeps = (): boolean => resumes && !this.#restarted.has(sender);
    if (!settled) return this.#ledger.follow(sent, sending, sender, keeps);
    // Whether it arrives is not known.
    const done = (error?: unknown): void => this.#ledger.failed(sent, error, error !== undefined);
    this.#ledger.wait(`settled ${sent.body}`, sending).then(() => done(), done);
  }

  #burst(kept: Kept): void {
    for (let i = this.#random.int(20); i > 0; i--) if (kept.sender.open) this.#send(kept);
  }

  #sendKept(address: string): void {
    const sent = this.#ledger.add(address, { by: "connection.send" });
    this.#ledger.follow(
      sent,
      this.connection.send(address, this.#message(sent), { signal: this.#maybeSignal(12, 300) }),
    );
  }

  // What is sent so keeps its own order, and leaves when there is room for it.
  #sendAll({ sender, once }: Kept): void {
    const link = this.#ledger.number();
    const taken: Sent[] = [];
    const count = 1 + this.#random.int(15);
    let over = false;
    const next = (): Message => {
      const sent = this.#ledger.add(sender.address!, { by: "sendAll", link, once });
      // A generator that is waiting when it is given up comes to its next value all the same.
      if (over) this.#ledger.failed(sent, undefined);
      else taken.push(sent);
      return this.#message(sent);
    };
    const { sleep, random, fails } = {
      sleep: this.#time.sleep.bind(this.#time),
      random: this.#random,
      fails: this.#chance(8),
    };
    async function* slow(): AsyncGenerator<Message> {
      for (let i = 0; i < count; i++) {
        if (random.int(3) === 0) await sleep(random.int(100));
        yield next();
      }
      if (fails) throw new Error("no more");
    }
    const messages = this.#chance(2) ? slow() : Array.from({ length: count }, next);
    const signal = this.#maybeSignal(6, 300);
    this.#ledger.wait("sendAll", sender.sendAll(messages, { signal })).then(
      (all) => {
        this.#ledger.rule(all === taken.length, "sendAll has counted otherwise");
        this.#ledger.rule(!fails || Array.isArray(messages), "sendAll has not told that its messages failed");
        for (const sent of taken) this.#ledger.accepted(sent, !once, true);
      },
      (error) => {
        over = true;
        for (const sent of taken) this.#ledger.failed(sent, error, false);
      },
    );
  }

  async #write({ sender, once }: Kept): Promise<void> {
    const link = this.#ledger.number();
    const { writable } = sender;
    const writer = writable.getWriter();
    const taken: Sent[] = [];
    const tell = this.#ledger;
    tell.wait("end of a writable", writer.closed).catch(() => {});
    try {
      for (let i = this.#random.int(8); i >= 0; i--) {
        const sent = tell.add(sender.address!, { by: "writable", link, once });
        taken.push(sent);
        const writing = tell.wait("write", writer.write(this.#message(sent)));
        if (this.#chance(2)) await writing;
        else writing.catch(() => {});
        if (this.#chance(4)) await this.#time.sleep(this.#random.int(100));
      }
      if (this.#chance(5)) {
        await tell.wait("abort of a writable", writer.abort(new Error("given up")));
        throw new Error("given up");
      }
      await tell.wait("close of a writable", writer.close());
      for (const sent of taken) tell.accepted(sent, !once, true);
    } catch (error) {
      for (const sent of taken) if (sent.state === "pending") tell.failed(sent, error, false);
    }
  }

  // It may not be sent twice, and not be there if its body has failed.
  #stream({ sender }: Kept): void {
    const sent = this.#ledger.add(sender.address!, { by: "stream", once: true });
    const fails = this.#chance(5);
    const pieces = this.#random.int(6);
    const { sleep, random } = { sleep: this.#time.sleep.bind(this.#time), random: this.#random };
    async function* body(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      yield new TextEncoder().encode(`${sent.body}|`);
      for (let i = 0; i < pieces; i++) {
        if (random.int(2) === 0) await sleep(random.int(200));
        yield new Uint8Array(random.int(9_000)).fill(120);
      }
      if (fails) throw new Error("no more");
    }
    const signal = this.#maybeSignal(5, 500);
    this.#ledger.wait(`outcome of stream ${sent.body}`, sender.stream({ body: body() }, { signal })).then(
      () => {
        this.#ledger.rule(!fails, "stream has not told that its body failed");
        this.#ledger.accepted(sent, false);
      },
      (error) => {
        this.#ledger.failed(sent, error);
        if (fails && error.message === "no more") sent.left = false;
      },
    );
  }

  #publish(): void {
    const sent = this.#ledger.add(TOPIC, { by: "connection.send" });
    this.#ledger.follow(sent, this.connection.send(TOPIC, { body: sent.body }));
  }

  // Links that the server refuses, to send and to receive.
  #refused(): void {
    if (this.#chance(2)) {
      const sent = this.#ledger.add(FORBIDDEN, { by: "connection.send" });
      this.#ledger.follow(sent, this.connection.send(FORBIDDEN, { body: sent.body }));
    } else {
      const receiver = this.connection.receiver(FORBIDDEN);
      const signal = this.#maybeSignal(2, 200);
      this.#ledger.wait("receive where that is forbidden", receiver.receive({ signal })).then(
        () => this.#ledger.fault(new Error("received what is forbidden")),
        () => {
          this.#ledger.wait("close of a refused receiver", receiver.close()).catch(this.#ledger.fault);
        },
      );
    }
  }

  #receiver(address: string, credit?: number, stream?: true): Receiver | undefined {
    const open = [...this.#receivers].filter(({ open }) => open);
    if (open.length >= MAX_RECEIVERS) return undefined;
    const resumes = stream === undefined && this.#chance(3);
    const settlesTwice = resumes && !this.#chance(3);
    const receiver = this.#maker().receiver({
      address,
      ...credit === undefined ? {} : { credit },
      ...resumes ? { name: `receiver ${this.#ledger.number()}`, recovery: "resume" } : {},
      ...resumes && (!settlesTwice || this.#chance(2)) ? { rcvSettleMode: settlesTwice ? "second" : "first" } : {},
      ...stream === undefined ? {} : { stream },
    });
    this.#receivers.add(receiver);
    if (resumes) this.#resuming.set(receiver, { settlesTwice, lost: 0, told: 0 });
    return receiver;
  }

  #receive(address: string): void {
    if (this.#chance(5)) return this.#take(this.#lastingReceiver(address, `receiver ${this.#ledger.number()}`));
    const receiver = this.#receiver(address, 1 + this.#random.int(8));
    if (receiver !== undefined) this.#take(receiver);
  }

  #take(receiver: Receiver): void {
    this.#steady.add(receiver);
    const loop = async (): Promise<void> => {
      for (;;) {
        const signal = this.#maybeSignal(20, 300);
        let delivery: Delivery;
        try {
          delivery = await receiver.receive({ signal });
        } catch {
          if (signal?.aborted) continue;
          return;
        }
        this.#arrive(delivery);
        if (this.#chance(4)) await this.#time.sleep(this.#random.int(200));
        this.#settle(delivery);
      }
    };
    void this.#ledger.wait("receive", loop());
  }

  #arrive(delivery: Delivery): void {
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

  // In one of the ways there are.
  #settle(delivery: Delivery): void {
    const choice = this.#random.int(10);
    try {
      if (choice === 0) delivery.release();
      else if (choice === 1) delivery.modify({ deliveryFailed: true });
      else if (choice === 2) this.#finish(delivery, () => delivery.reject());
      else this.#finish(delivery, () => delivery.accept());
    } catch {
      // Its link is gone: it comes again.
      this.#ledger.rule(delivery.outcome === undefined, "a delivery that could not be settled says that it is");
    }
  }

  #finish(delivery: Delivery, settle: () => void): void {
    settle();
    const { reconnects } = this.connection.stats();
    this.#settled.push({ body: bodyOf(delivery), reconnects, receiver: delivery.receiver });
  }

  #serve(address: string): void {
    const receiver = this.#receiver(address);
    if (receiver === undefined) return;
    const handler = async (delivery: Delivery): Promise<void> => {
      this.#arrive(delivery);
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
      if (choice === 6 && this.#chance(8)) receiver.stop();
    };
    const options = {
      concurrency: 1 + this.#random.int(4),
      signal: this.#maybeSignal(4, 1_000),
      retryDelay: this.#chance(2) ? 50 : 0,
      onerror: () => {},
    };
    if (options.signal === undefined) this.#steady.add(receiver);
    this.#ledger.wait("serve", receiver.serve(handler, options)).then(
      () => receiver.close(),
      () => receiver.close(),
    ).catch(this.#ledger.fault);
  }

  #iterate(address: string): void {
    const receiver = this.#receiver(address, 1 + this.#random.int(4));
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      const last = this.#random.int(20);
      let count = 0;
      for await (const delivery of receiver) {
        this.#arrive(delivery);
        if (this.#chance(5)) await this.#time.sleep(this.#random.int(200));
        if (++count > last) break;
      }
    };
    this.#ledger.wait("loop", loop()).catch(() => {});
  }

  async #batch(address: string): Promise<void> {
    const receiver = this.#receiver(address, this.#chance(2) ? undefined : 5);
    if (receiver === undefined) return;
    try {
      for (let i = this.#random.int(3); i >= 0; i--) {
        const signal = this.#maybeSignal(6, 300);
        const waitMs = this.#random.int(400);
        const batch = receiver.receiveBatch(1 + this.#random.int(10), { waitMs, signal });
        for (const delivery of await this.#ledger.wait("receiveBatch", batch)) {
          this.#arrive(delivery);
          this.#settle(delivery);
        }
      }
    } catch {
      // It was given up, or its link has ended.
    }
    this.#ledger.wait("close after batches", receiver.close()).catch(this.#ledger.fault);
  }

  #readable(address: string): void {
    const receiver = this.#receiver(address, 3);
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      const reader = receiver.readable.getReader();
      for (let i = this.#random.int(10);; i--) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#arrive(value);
        this.#settle(value);
        if (i === 0) return await reader.cancel();
      }
    };
    this.#ledger.wait("readable", loop()).catch(() => {});
  }

  // One after the other, as they come: to the end, or not.
  #readStreams(address: string): void {
    const receiver = this.#receiver(address, 1 + this.#random.int(3), true);
    if (receiver === undefined) return;
    const loop = async (): Promise<void> => {
      for (let i = this.#random.int(12); i >= 0; i--) {
        const delivery = await receiver.receive({ signal: this.#maybeSignal(8, 2_000) });
        const choice = this.#random.int(8);
        // What is settled before it is read is dropped as it comes.
        if (choice === 0) this.#settleUnread(delivery);
        else await this.#read(delivery, choice === 1 ? this.#random.int(3) : Infinity);
      }
    };
    this.#ledger.wait("streams", loop()).catch(() => {}).then(() => receiver.close()).catch(this.#ledger.fault);
  }

  #settleUnread(delivery: Delivery): void {
    try {
      delivery.release();
    } catch {
      // Its link is gone: it comes again.
    }
  }

  // Reads so many pieces, and settles if these were all.
  async #read(delivery: Delivery, most: number): Promise<void> {
    const reader = delivery.stream().getReader();
    const pieces: Uint8Array[] = [];
    try {
      for (;;) {
        if (pieces.length >= most) return await reader.cancel();
        const { done, value } = await this.#ledger.wait("piece of a stream", reader.read());
        if (done) break;
        pieces.push(value);
        if (this.#chance(6)) await this.#time.sleep(this.#random.int(300));
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
      if (this.#chance(8)) return delivery.modify({ deliveryFailed: true });
      delivery.accept();
    } catch {
      // Its link is gone: it comes again.
      return this.#ledger.rule(delivery.outcome === undefined, "a stream that could not be settled says that it is");
    }
    const { reconnects } = this.connection.stats();
    this.#settled.push({ body, reconnects, receiver: delivery.receiver });
  }

  #serveStreams(address: string): void {
    const receiver = this.#receiver(address, undefined, true);
    if (receiver === undefined) return;
    const handler = async (delivery: Delivery): Promise<void> => {
      if (this.#chance(6)) throw new Error("a handler that does not read");
      if (this.#chance(4)) await this.#time.sleep(this.#random.int(500));
      this.#ledger.arrive(withoutPadding(await delivery.text()));
      if (this.#chance(6)) throw new Error("a handler that has read");
    };
    const signal = this.#maybeSignal(3, 3_000);
    const options = { concurrency: 1 + this.#random.int(3), signal, onerror: () => {} };
    if (signal === undefined) this.#steady.add(receiver);
    this.#ledger.wait("serve streams", receiver.serve(handler, options)).then(
      () => receiver.close(),
      () => receiver.close(),
    ).catch(this.#ledger.fault);
  }

  #subscribe(): void {
    const subscription: Subscribed = { address: TOPIC, arrived: new Set(), since: undefined };
    const receiver = this.connection.receiver({
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
          if (this.#chance(5)) await this.#time.sleep(this.#random.int(200));
          if (delivery.outcome === undefined) {
            try {
              delivery.accept();
            } catch {
              // It comes again.
            }
          }
        }
      } catch {
        // With its connection its messages are kept for whoever takes the subscription up.
        if (!receiver.open) subscription.since = undefined;
      }
    };
    void this.#ledger.wait("subscription", loop());
  }

  async #transact(address: string): Promise<void> {
    const unit: Unit = { outcome: "rolled-back", members: [] };
    const signal = this.#maybeSignal(8, 500);
    let transaction;
    try {
      transaction = await this.#ledger.wait("begin of a transaction", this.connection.transaction({ signal }));
      unit.outcome = "in-doubt";
      for (let i = this.#random.int(4); i >= 0; i--) {
        if (!this.connection.open) break;
        const { sender, link, once } = this.#sender(address);
        const sent = this.#ledger.add(address, { by: "transaction.send", link, once, unit });
        try {
          this.#ledger.follow(sent, transaction.send(sender, this.#message(sent)));
        } catch (error) {
          this.#ledger.failed(sent, error);
          throw error;
        }
        if (this.#chance(3)) await this.#time.sleep(this.#random.int(100));
      }
      const accepted: string[] = [];
      const receiver = this.#chance(2) ? this.#receiver(address, 3) : undefined;
      if (receiver !== undefined) {
        for (const delivery of await this.#ledger.wait("batch", receiver.receiveBatch(3, { waitMs: 100 }))) {
          this.#arrive(delivery);
          transaction.accept(delivery);
          this.#inTransaction.add(delivery);
          accepted.push(bodyOf(delivery));
        }
      }
      if (this.#chance(2)) await this.#time.sleep(this.#random.int(200));
      const choice = this.#random.int(5);
      if (choice < 3) {
        const { reconnects } = this.connection.stats();
        await this.#ledger.wait("commit", transaction.commit());
        unit.outcome = "committed";
        for (const body of accepted) this.#settled.push({ body, reconnects, receiver: undefined });
      } else if (choice === 3) {
        await this.#ledger.wait("rollback", transaction.rollback());
        unit.outcome = "rolled-back";
      } else {
        await this.#ledger.wait("end of a transaction", transaction[Symbol.asyncDispose]());
        unit.outcome = "rolled-back";
      }
      if (receiver !== undefined) {
        this.#ledger.wait("close after transaction", receiver.close()).catch(this.#ledger.fault);
      }
    } catch (error) {
      if (error instanceof TransactionError) unit.outcome = error.outcome;
    }
  }

  #request(): void {
    const body = `?${this.#random.int(1_000_000)}`;
    const signal = this.#chance(2) ? this.#signal(20_000) : undefined;
    this.#ledger.wait("answer", this.connection.request(ASKED, { body }, { signal })).then(
      (answer) => this.#ledger.rule(answer.body === `!${body}`, `${body} was answered with ${answer.body}`),
      () => {},
    );
  }

  #respond(): void {
    const handler = async ({ body }: { readonly body?: unknown }): Promise<Message> => {
      if (this.#chance(4)) await this.#time.sleep(this.#random.int(200));
      if (this.#chance(10)) throw new Error("no answer");
      return { body: `!${body}` };
    };
    const signal = this.#maybeSignal(3, 2_000);
    this.#ledger.wait("respond", this.connection.respond(ASKED, handler, { signal, onerror: () => {} })).catch(
      () => {},
    );
  }

  #drain(): void {
    const open = [...this.#receivers].filter(({ open }) => open);
    if (open.length === 0) return;
    const signal = this.#maybeSignal(4, 200);
    this.#ledger.wait("drain", this.#random.pick(open).drain({ signal })).catch(() => {});
  }

  #closeSender(): void {
    if (this.#senders.length === 0) return;
    const [{ sender }] = this.#senders.splice(this.#random.int(this.#senders.length), 1) as [Kept];
    const closing = this.#chance(3) ? sender.detach() : sender.close();
    this.#ledger.wait("close of a sender", closing).catch(this.#ledger.fault);
  }

  #closeReceiver(): void {
    const open = [...this.#receivers].filter(({ open }) => open);
    if (open.length === 0) return;
    const receiver = this.#random.pick(open);
    this.#receivers.delete(receiver);
    const choice = this.#random.int(3);
    if (choice === 0) receiver.stop();
    else {
      const closing = choice === 1 ? receiver.detach() : receiver.close();
      this.#ledger.wait("close of a receiver", closing).catch(this.#ledger.fault);
    }
  }

  #closeSession(): void {
    const session = this.#sessions.pop();
    if (session !== undefined) this.#ledger.wait("close of a session", session.close()).catch(this.#ledger.fault);
  }
}

/** The body without its padding. */
export function bodyOf({ message }: Delivery): string {
  return withoutPadding(message.text());
}
