/**
 * A fuzz target: a program that uses the whole client and gives up what it waits for at random moments, while other lanes close
 * what it uses and connections break, against the real broker, whose books must balance afterwards.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { OutcomeError, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect, publish } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { preload } from "../../src/client/preload.ts";
import { resume } from "../../src/client/resume.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Session } from "../../src/client/session.ts";
import type { Transaction } from "../../src/client/transaction.ts";
import type { Message } from "../../src/codec/message.ts";
import { browse } from "../../src/filters/mod.ts";
import { management } from "../../src/management/management.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import type { Random } from "../harness.ts";
import { WatchedSignal } from "../simulate/context.ts";
import { SimulatedNetwork } from "../simulate/world.ts";
import { chunks, drainAll, microtasks, PLANNED, quickly, Watch } from "./whole_targets.ts";

// Longer than a transaction or a suspended link lasts, and than a silent peer is waited for.
const LONG_MS = 900_000;
const MAX_SUSPEND_MS = 30_000;
const TRANSACTION_MS = 60_000;
const WORKING_QUEUES = ["q", "narrow"];
const ANSWERED = "asked";

/** One message of the program. */
interface Sent {
  readonly id: string;
  state: "pending" | "accepted" | "failed" | "unknown";
  /** False if no part of it has left. */
  left: boolean;
  /** Whether it may arrive twice. */
  readonly twice: boolean;
  readonly transaction: Transaction | undefined;
  readonly deliveries: Arrived[];
}

interface Arrived {
  readonly delivery: Delivery;
  transaction: Transaction | undefined;
}

/** Whatever is given up, and whenever: every promise ends, no message is lost, twice or kept, and what is open goes on. */
export async function fuzzCancelled(random: Random): Promise<void> {
  await preload();
  const run = new Run(random);
  await run.act();
  await run.probe();
  await run.end();
}

class Run {
  readonly #random: Random;
  readonly #time: VirtualTime;
  readonly #watch: Watch;
  readonly #broker: Broker;
  readonly #network: SimulatedNetwork;
  // Whether connections break, or are too slow to close in order.
  readonly #breaks: boolean;
  readonly #sent = new Map<string, Sent>();
  readonly #drained = new Map<string, number>();
  readonly #signals: WatchedSignal[] = [];
  readonly #connections: Connection[] = [];
  readonly #sessions: Session[] = [];
  readonly #senders = new Map<Sender, boolean>();
  readonly #receivers = new Set<Receiver>();
  readonly #transactions: Transaction[] = [];
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#time = new VirtualTime(random.int(2 ** 32));
    this.#watch = new Watch(this.#time);
    this.#breaks = random.int(2) === 0;
    this.#broker = new Broker({
      environment: this.#time,
      log: this.#watch.log,
      queues: { q: { deadLetter: "dead" }, narrow: { maxMessages: 3, deadLetter: "dead" }, dead: {} },
      maxSuspendMs: MAX_SUSPEND_MS,
      transactionTimeoutMs: TRANSACTION_MS,
    });
    this.#network = new SimulatedNetwork(this.#time, random);
    this.#network.faulty = this.#breaks;
    this.#network.accept = (channel) => this.#broker.accept(channel);
  }

  async act(): Promise<void> {
    const { int, pick } = this.#random;
    for (let i = 1 + int(2); i > 0; i--) this.#connect();
    await this.#time.advance(200);
    for (let steps = 10 + int(50); steps > 0; steps--) {
      this.#step();
      if (int(3) > 0) await microtasks(int(60));
      else await this.#time.advance(pick([0, 1, 10, 200, 3_000]));
      if (this.#breaks && int(15) === 0) pick([() => this.#network.cut(), () => this.#network.damage()])();
    }
    await this.#time.advance(10_000);
  }

  // What is still open works: sends are accepted once there is room, and a receiver of that connection gets messages.
  async probe(): Promise<void> {
    this.#network.faulty = false;
    await this.#time.advance(LONG_MS);
    for (const receiver of this.#receivers) this.#note("close of a receiver", receiver.close({ timeoutMs: 1_000 }));
    await this.#time.advance(10_000);
    const emptying = await quickly(this.#time, this.#broker.connect({ log: null }));
    const receivers = ["q", "narrow", "dead"].map((address) => this.#empty(emptying.receiver(address)));
    for (const promise of receivers) this.#note("emptying", promise);
    await this.#time.advance(LONG_MS);
    for (const { id, state } of this.#sent.values()) assert(state !== "pending", `${id} has no outcome`);
    for (const [sender, isLost] of this.#senders) {
      if (!sender.open || isLost) continue;
      const sent = this.#sendOn(sender, undefined);
      await this.#time.advance(LONG_MS);
      // Only a connection that cannot come back ends it.
      assert(sent.state === "accepted" || !sender.open, `a sender that is open does not send: ${sent.state}`);
    }
    for (const [i, connection] of this.#connections.entries()) {
      if (!connection.open) continue;
      const receiver = connection.receiver(`probe ${i}`);
      const delivery = receiver.receive();
      await quickly(this.#time, connection.send(`probe ${i}`, { body: "probe" }));
      (await quickly(this.#time, delivery)).accept();
      await quickly(this.#time, receiver.close());
    }
    await this.#time.advance(1_000);
    this.#note("close", emptying.close());
    await this.#time.advance(10_000);
  }

  async end(): Promise<void> {
    for (const connection of this.#connections) this.#note("last close", connection.close());
    await this.#time.advance(LONG_MS);
    this.#watch.finish();
    assertEquals(this.#broker.connections.size, 0, "connections are left");
    for (const { address, messages, unsettled, waiting, consumers, producers } of this.#broker.queues()) {
      const left = { messages, unsettled, waiting, consumers, producers };
      if (WORKING_QUEUES.includes(address)) {
        assertEquals(left, { messages: 0, unsettled: 0, waiting: 0, consumers: 0, producers: 0 }, address);
      } else {assertEquals({ ...left, messages: 0 }, {
          messages: 0,
          unsettled: 0,
          waiting: 0,
          consumers: 0,
          producers: 0,
        });}
    }
    for (const sent of this.#sent.values()) this.#check(sent);
    for (const transaction of this.#transactions) assert(transaction.state !== "open", "a transaction is open");
    for (const { listeners, controller } of this.#signals) {
      assert(controller.signal.aborted || listeners === 0, `${listeners} listeners are left`);
    }
    this.#note("close of the broker", this.#broker.close());
    await this.#time.advance(LONG_MS);
    this.#watch.finish();
    assertEquals(this.#time.timers, 0, "timers are left");
  }

  #check({ id, state, left, twice, transaction, deliveries }: Sent): void {
    const copies = this.#drained.get(id) ?? 0;
    const isUndone = transaction?.state === "rolled-back";
    const isEnded = deliveries.some(({ delivery: { outcome, receiver }, transaction }) => {
      if (transaction !== undefined) return transaction.state !== "rolled-back";
      // A message that is rejected there is dropped.
      return outcome?.kind === "accepted" || outcome?.kind === "rejected" && receiver.address === "dead";
    });
    if (state === "accepted" && !isUndone && transaction?.state !== "in-doubt") {
      assert(copies > 0 || isEnded, `${id} was accepted and is lost`);
    }
    if (!left || isUndone) assert(copies === 0 && deliveries.length === 0, `${id} was not sent and arrived`);
    if (this.#breaks) return;
    if (!twice) assert(copies <= 1, `${id} is there ${copies} times`);
    const isDone = deliveries.some(({ delivery: { outcome }, transaction }) =>
      transaction === undefined ? outcome?.kind === "accepted" : transaction.state === "committed"
    );
    assert(!isDone || copies === 0, `${id} came again after it was accepted`);
  }

  #connect(): void {
    const number = this.#count++;
    const signal = this.#signal();
    const connecting = connect(["ws://one", "ws://two"], {
      auth: null,
      containerId: `client ${number}`,
      dial: (url: URL) => this.#dial(number, url),
      environment: this.#time,
      log: this.#watch.log,
      reconnect: { initialDelayMs: 10, maxDelayMs: 500 },
      maxFrameSize: this.#random.pick([512, 131_072]),
      signal,
    });
    this.#note("connect", this.#givenUp("connect", signal, connecting)).then((connection) => {
      if (connection === undefined) return;
      this.#connections.push(connection);
      this.#note("events", drainAll(connection.events({ signal: this.#signal() })));
    });
  }

  // Directly at the broker, where all happens within microtasks, or over a network that takes time.
  #dial(number: number, url: URL): Channel {
    if (this.#breaks || this.#random.int(2) === 0) return this.#network.dial(number, url);
    const [near, far] = channelPair();
    this.#broker.accept(far);
    return near;
  }

  // A signal that is aborted at once, some microtasks or some milliseconds later, or never.
  #signal(): AbortSignal | undefined {
    const { int } = this.#random;
    if (int(4) === 0) return undefined;
    const watched = new WatchedSignal();
    this.#signals.push(watched);
    const { controller } = watched;
    const abort = () => controller.abort(new Error(PLANNED));
    const choice = int(20);
    if (choice === 0) abort();
    else if (choice < 12) microtasks(int(80)).then(abort);
    else if (choice < 17) this.#time.setTimer(abort, int(3_000));
    return controller.signal;
  }

  #note<T>(what: string, promise: Promise<T>): Promise<T | undefined> {
    return this.#watch.add(what, promise);
  }

  #givenUp<T>(what: string, signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
    return this.#watch.givenUp(what, signal, promise);
  }

  #step(): void {
    const { int, pick } = this.#random;
    const open = this.#connections.filter((connection) => connection.open);
    if (open.length === 0) return int(3) === 0 ? this.#connect() : undefined;
    const connection = pick(open);
    const signal = this.#signal();
    try {
      switch (int(26)) {
        case 0:
        case 1:
          return void this.#sender(connection);
        case 2:
          return void this.#receiver(connection);
        case 3:
        case 4:
        case 5:
        case 6:
          return void this.#sendOn(this.#anySender(connection), signal, int(10) === 0);
        case 7:
          return this.#sendAll(this.#anySender(connection), signal);
        case 8:
          return this.#stream(this.#anySender(connection), signal);
        case 9:
          return void this.#note("write", this.#write(this.#anySender(connection)));
        case 10: {
          const sent = this.#message(false);
          return this.#follow(
            sent,
            connection.send(pick(WORKING_QUEUES), messageOf(sent, this.#random), { signal }),
            signal,
          );
        }
        case 11:
        case 12:
          return void this.#note("receive", this.#receive(this.#anyReceiver(connection), signal));
        case 13:
          return void this.#note("batch", this.#batch(this.#anyReceiver(connection), signal));
        case 14:
          return void this.#note("loop", this.#loop(this.#anyReceiver(connection), signal));
        case 15:
          return void this.#note("serve", this.#serve(this.#anyReceiver(connection), signal));
        case 16:
          return void this.#note("readable", this.#read(this.#anyReceiver(connection)));
        case 17:
          return void this.#note(
            "drain",
            this.#givenUp("drain", signal, this.#anyReceiver(connection).drain({ signal })),
          );
        case 18:
          return void this.#note(
            "request",
            this.#givenUp("request", signal, connection.request(ANSWERED, { body: "?" }, { signal })),
          );
        case 19:
          return void this.#note(
            "respond",
            connection.respond(ANSWERED, () => ({ body: "!" }), { signal, onerror: () => {} }),
          );
        case 20:
        case 21:
          return void this.#note("transaction", this.#transact(connection, signal));
        case 22:
          return void this.#note(
            "management",
            management(connection, "none").request({ operation: "READ" }, { signal }),
          );
        case 23:
          return this.#publish(signal);
        case 24:
          return void this.#note("browse", this.#browse(connection, signal));
        default:
          return this.#close(connection);
      }
    } catch (error) {
      this.#watch.check("a call", error);
    }
  }

  #maker(connection: Connection): Connection | Session {
    const { int } = this.#random;
    if (int(4) > 0) return connection;
    const session = connection.session(int(2) === 0 ? { incomingWindow: 2 } : {});
    this.#sessions.push(session);
    return session;
  }

  #sender(connection: Connection): Sender {
    const { int, pick } = this.#random;
    const recovery = pick(["resend", "fail", "resume", resume({ timeout: 20 })] as const);
    const sender = this.#maker(connection).sender({
      address: pick(WORKING_QUEUES),
      name: `sender ${this.#count++}`,
      recovery,
      maxInFlight: 1 + int(4),
      ...int(3) === 0 ? { rcvSettleMode: "second" } : {},
    });
    this.#senders.set(sender, false);
    const signal = this.#signal();
    this.#note("ready", this.#givenUp("ready", signal, sender.ready({ signal })));
    return sender;
  }

  #receiver(connection: Connection): Receiver {
    const { int, pick } = this.#random;
    const receiver = this.#maker(connection).receiver({
      address: pick([...WORKING_QUEUES, "dead"]),
      name: `receiver ${this.#count++}`,
      ...int(2) === 0 ? { credit: 1 + int(5) } : {},
      ...int(4) === 0 ? { settle: "manual" } : {},
      ...pick([{}, {}, { stream: true }, { recovery: "resume", rcvSettleMode: "second" }] as const),
    });
    this.#receivers.add(receiver);
    return receiver;
  }

  #anySender(connection: Connection): Sender {
    const open = [...this.#senders.keys()].filter((sender) => sender.open);
    return open.length === 0 || open.length < 4 && this.#random.int(3) === 0
      ? this.#sender(connection)
      : this.#random.pick(open);
  }

  #anyReceiver(connection: Connection): Receiver {
    const open = [...this.#receivers].filter((receiver) => receiver.open);
    return open.length === 0 || open.length < 4 && this.#random.int(3) === 0
      ? this.#receiver(connection)
      : this.#random.pick(open);
  }

  #message(twice: boolean, transaction?: Transaction): Sent {
    const sent: Sent = {
      id: `message ${this.#count++}`,
      state: "pending",
      left: true,
      twice,
      transaction,
      deliveries: [],
    };
    this.#sent.set(sent.id, sent);
    return sent;
  }

  #follow(sent: Sent, sending: Promise<unknown>, signal: AbortSignal | undefined): void {
    this.#note(`send of ${sent.id}`, this.#givenUp(`send of ${sent.id}`, signal, sending));
    sending.then(() => sent.state = "accepted", (error) => {
      sent.state = "failed";
      sent.left = error instanceof SendAbortedError ? error.sent : error instanceof OutcomeError;
    });
  }

  #sendOn(sender: Sender, signal: AbortSignal | undefined, settled = false): Sent {
    const sent = this.#message(false);
    const sending = sender.send(messageOf(sent, this.#random), { signal, settled });
    this.#follow(sent, sending, signal);
    // What is sent settled may be lost.
    if (settled && this.#breaks) sending.then(() => sent.state = "unknown", () => {});
    return sent;
  }

  #sendAll(sender: Sender, signal: AbortSignal | undefined): void {
    const taken: Sent[] = [];
    const next = (): Message => {
      const sent = this.#message(false);
      sent.state = "unknown";
      taken.push(sent);
      return messageOf(sent, this.#random);
    };
    const count = this.#random.int(12);
    const waits = (): Promise<void> => microtasks(this.#random.int(30));
    async function* slow(): AsyncGenerator<Message> {
      for (let i = 0; i < count; i++) {
        await waits();
        yield next();
      }
    }
    const all = this.#random.int(2) === 0 ? slow() : Array.from({ length: count }, next);
    this.#note("sendAll", this.#givenUp("sendAll", signal, sender.sendAll(all, { signal }))).then((sum) => {
      if (sum === undefined) return;
      assertEquals(sum, taken.length);
      for (const sent of taken) sent.state = "accepted";
    });
  }

  #stream(sender: Sender, signal: AbortSignal | undefined): void {
    const sent = this.#message(false);
    const body = this.#random.int(3) === 0 ? failing(this.#random.int(4)) : chunks(this.#random.int(8));
    const sending = sender.stream({ properties: { messageId: sent.id }, body }, { signal });
    this.#follow(sent, sending, signal);
    // Its head may have left when its body fails.
    sending.catch(() => sent.left = true);
  }

  async #write(sender: Sender): Promise<void> {
    const { int } = this.#random;
    const writer = sender.writable.getWriter();
    writer.closed.catch(() => {});
    const taken: Sent[] = [];
    for (let i = int(6); i >= 0; i--) {
      const sent = this.#message(false);
      sent.state = "unknown";
      taken.push(sent);
      const writing = writer.write(messageOf(sent, this.#random));
      if (int(2) === 0) await writing;
      else writing.catch(() => {});
      await microtasks(int(20));
    }
    if (int(4) === 0) return await writer.abort(new Error(PLANNED));
    await writer.close().catch(async (error) => {
      // The platform's word for a stream that has failed; why, it tells here.
      if (error instanceof TypeError) await writer.closed;
      throw error;
    });
    for (const sent of taken) sent.state = "accepted";
  }

  #arrive(delivery: Delivery): Arrived {
    const arrived: Arrived = { delivery, transaction: undefined };
    const id = String(delivery.message.properties?.messageId);
    const sent = this.#sent.get(id);
    assert(sent !== undefined, `${id} was never sent`);
    sent.deliveries.push(arrived);
    return arrived;
  }

  async #receive(receiver: Receiver, signal: AbortSignal | undefined): Promise<void> {
    for (let i = this.#random.int(4); i >= 0; i--) {
      await this.#handle(await this.#givenUp("receive", signal, receiver.receive({ signal })));
    }
  }

  async #batch(receiver: Receiver, signal: AbortSignal | undefined): Promise<void> {
    const { int, pick } = this.#random;
    const receiving = receiver.receiveBatch(1 + int(6), { signal, waitMs: pick([0, 10, 1e9]) });
    const batch = await this.#givenUp("batch", signal, receiving);
    for (const delivery of batch) await this.#handle(delivery);
  }

  async #loop(receiver: Receiver, signal: AbortSignal | undefined): Promise<void> {
    const { int } = this.#random;
    let left = int(5);
    for await (const delivery of receiver.values({ signal, preventCancel: int(2) === 0 })) {
      this.#arrive(delivery);
      await microtasks(int(20));
      if (left-- > 0) continue;
      if (int(3) === 0) throw new Error(PLANNED);
      if (int(2) === 0) return;
      break;
    }
  }

  async #serve(receiver: Receiver, signal: AbortSignal | undefined): Promise<void> {
    const { int } = this.#random;
    await receiver.serve(async (delivery) => {
      this.#arrive(delivery);
      await microtasks(int(40));
      if (int(6) === 0) throw new Error(PLANNED);
      if (int(10) === 0) this.#note("close within a handler", receiver.close());
    }, { concurrency: 1 + int(3), signal, onerror: () => {}, retryDelay: int(2) * 100 });
  }

  async #read(receiver: Receiver): Promise<void> {
    const { int } = this.#random;
    const reader = receiver.readable.getReader();
    for (let i = int(4);; i--) {
      if (i === 0) return await reader.cancel();
      const { done, value } = await reader.read();
      if (done) return;
      await this.#handle(value);
    }
  }

  async #browse(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
    const receiver = connection.receiver("q", browse());
    try {
      for (;;) await receiver.receive({ signal });
    } finally {
      await receiver.close();
    }
  }

  async #handle(delivery: Delivery): Promise<void> {
    const { int, pick } = this.#random;
    this.#arrive(delivery);
    const choice = int(8);
    if (choice === 0) await microtasks(int(40));
    if (choice === 1) await delivery.bytes().catch(() => {});
    if (choice === 2) await delivery.stream().cancel();
    const settle = pick(["accept", "accept", "accept", "release", "reject", "modify"] as const);
    delivery[settle]();
  }

  async #transact(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
    const { int } = this.#random;
    const transaction = await this.#givenUp("begin", signal, connection.transaction({ signal }));
    this.#transactions.push(transaction);
    for (let i = int(3); i > 0; i--) {
      const senders = [...this.#senders.keys()].filter((sender) => sender.open && sender.connection === connection);
      const sender = senders.length > 0 ? this.#random.pick(senders) : this.#sender(connection);
      const sent = this.#message(false, transaction);
      const own = this.#signal();
      this.#follow(sent, transaction.send(sender, messageOf(sent, this.#random), { signal: own }), own);
    }
    if (int(3) === 0) await this.#acquire(connection, transaction);
    if (int(2) === 0) {
      const receiver = this.#receiver(connection);
      for (const delivery of await receiver.receiveBatch(2, { signal: this.#signal(), waitMs: 100 })) {
        this.#arrive(delivery).transaction = transaction;
        transaction.accept(delivery);
      }
    }
    await microtasks(int(40));
    const last = this.#signal();
    switch (int(5)) {
      case 0:
        return await this.#givenUp("rollback", last, transaction.rollback({ signal: last }));
      case 1:
        return await transaction[Symbol.asyncDispose]();
      case 2:
        // Left to its time-out.
        return;
      default:
        return await this.#givenUp("commit", last, transaction.commit({ signal: last }));
    }
  }

  async #acquire(connection: Connection, transaction: Transaction): Promise<void> {
    const receiver = connection.receiver({ address: this.#random.pick(WORKING_QUEUES), credit: "manual" });
    this.#receivers.add(receiver);
    const signal = this.#signal();
    const acquiring = transaction.acquire(receiver, 1 + this.#random.int(3), { signal });
    for (const delivery of await this.#givenUp("acquire", signal, acquiring)) {
      this.#arrive(delivery).transaction = transaction;
      transaction.accept(delivery);
    }
  }

  #publish(signal: AbortSignal | undefined): void {
    const sent = this.#message(true);
    const number = this.#count++;
    const options = {
      auth: null,
      environment: this.#time,
      dial: (url: URL) => this.#dial(number, url),
      log: this.#watch.log,
      signal,
    };
    const publishing = publish("ws://one", this.#random.pick(WORKING_QUEUES), messageOf(sent, this.#random), options);
    this.#follow(sent, publishing, signal);
    // What fails for good may have left in an attempt before.
    publishing.catch((error) => sent.left ||= error instanceof TransportError);
  }

  // Ends something that other lanes use.
  #close(connection: Connection): void {
    const { int, pick } = this.#random;
    const signal = this.#signal();
    const options = { timeoutMs: pick([undefined, 0, 10, 5_000]), signal };
    const note = (what: string, closing: Promise<void>): void =>
      void this.#note(what, this.#givenUp(what, signal, closing));
    const choice = int(12);
    if (choice === 0) return note("close", connection.close(options));
    if (choice === 1) return note("drain of a connection", connection.drain(options));
    const session = this.#sessions.pop();
    if (choice < 4 && session !== undefined) return note("end of a session", session.close(options));
    const links = [...this.#senders.keys(), ...this.#receivers].filter((link) => link.open);
    if (links.length === 0) return;
    const link = pick(links);
    if (choice < 6) note("detach", link.detach(options));
    else note("close of a link", link.close(options));
  }

  async #empty(receiver: Receiver): Promise<void> {
    for await (const delivery of receiver) {
      const id = String(delivery.message.properties?.messageId);
      this.#drained.set(id, (this.#drained.get(id) ?? 0) + 1);
    }
  }
}

function messageOf({ id }: Sent, { int }: Random): Message {
  return { properties: { messageId: id }, body: "x".repeat(int(8) === 0 ? int(3_000) : 1) };
}

async function* failing(count: number): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  yield* chunks(count);
  throw new Error(PLANNED);
}
