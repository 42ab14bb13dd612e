/**
 * Fuzz targets that are asynchronous: a whole client, broker and acceptor, with hostile peers in virtual time.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { AmqpError, TransportError } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
// Loaded here, as loading it at first use takes real time, for which a virtual clock does not wait.
import { preload } from "../../src/client/preload.ts";
import { management } from "../../src/management/management.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import type { Random } from "../harness.ts";
import { HostilePeer, type Malice } from "./hostile_peer.ts";

/** The message of the errors that a program throws on purpose. */
export const PLANNED = "the program failed as planned";
// More than the end of a call takes, and fewer than a chain of promises that waits for others.
const MAX_MICROTASKS = 100;
// After this everything that waits for a peer has given up.
const LONG_MS = 900_000;

/** A client whose server is hostile, and whose program uses it in all ways: each of its promises ends, with a typed error if any. */
export async function fuzzClient(random: Random): Promise<void> {
  await preload();
  const { int, pick } = random;
  const time = new VirtualTime(int(2 ** 32));
  const malice = maliceOf(random);
  const watch = new Watch(time);
  let peer: HostilePeer | undefined;
  let dialled = 0;
  let isUp = true;
  const dial = () => {
    if (!isUp || ++dialled > 8) throw new TransportError("connect-failed", "Cannot connect: nothing listens");
    const [near, far] = channelPair();
    peer = new HostilePeer(far, "server", random, malice);
    return near;
  };
  const opening = connect("ws://hostile.example", {
    containerId: "client",
    auth: null,
    dial,
    environment: time,
    log: watch.log,
    reconnect: int(4) === 0 ? false : { initialDelayMs: 10, maxDelayMs: 100, maxAttempts: 10 },
    redirect: "same-host",
    session: { incomingWindow: pick([1, 10, 2_048]) },
    maxFrameSize: pick([512, 4_096, 131_072]),
    ...int(4) > 0 ? {} : {
      claims: {
        token: () => ({ token: "t", type: "jwt", expiresAt: new Date(Date.now() + pick([0, 100, 60_000])) }),
        variant: pick(["put-token", "set-token", "auto"] as const),
        onerror: () => {},
      },
    },
  });
  watch.add("connect", opening);
  await time.advance(60_000);
  const connection = await opening.catch(() => undefined);
  if (connection !== undefined) {
    const program = new Program(connection, random, watch, time);
    for (let steps = 20 + int(150); steps > 0 && connection.state !== "closed"; steps--) {
      if (int(2) === 0) program.act();
      for (let acts = int(4); acts > 0; acts--) peer!.act();
      await time.advance(pick([0, 0, 0, 1, 10, 200, 3_000]));
    }
    isUp = int(2) === 0;
    watch.add("close", connection.close());
  }
  await time.advance(LONG_MS);
  watch.finish();
  assertEquals(time.timers, 0, "timers are left");
}

/** A broker with a hostile client, and an honest one beside it that goes on unharmed; afterwards nothing is left. */
export async function fuzzBroker(random: Random): Promise<void> {
  await preload();
  const { int } = random;
  const time = new VirtualTime(int(2 ** 32));
  const watch = new Watch(time);
  const broker = new Broker({
    environment: time,
    log: watch.log,
    queues: { q: {}, full: {}, honest: {} },
    topics: ["topic/*"],
    maxQueues: 30,
    ...int(2) === 0 ? { maxMessageSize: 1_000 } : {},
  });
  const honest = await quickly(time, broker.connect({ containerId: "honest" }));
  const sender = honest.sender("honest");
  const receiver = honest.receiver({ address: "honest", credit: 2 });
  await quickly(time, honest.sender("full").sendAll(Array.from({ length: 30 }, (_, i) => ({ body: i }))));
  await visit(broker, time, random, async (step) => {
    if (int(20) > 0) return;
    await quickly(time, sender.send({ body: step }));
    const delivery = await quickly(time, receiver.receive());
    assertEquals(delivery.message.body, step);
    delivery.accept();
  });
  assertEquals(broker.connections.size, 1, "a hostile client is still connected");
  await quickly(time, honest.close());
  watch.add("close of the broker", broker.close());
  await time.advance(LONG_MS);
  watch.finish();
  assertEquals(time.timers, 0, "timers are left");
}

/** Promises that must end, and errors that must be typed. */
export class Watch {
  readonly #pending = new Map<object, string>();
  readonly #faults: unknown[] = [];
  readonly #time: VirtualTime;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** Records entries of a log. */
  readonly log = ({ message, error }: LogEntry): void => {
    if (error !== undefined) this.check(`log "${message}"`, error);
  };

  /** Watches a promise. */
  add<T>(what: string, promise: Promise<T>): Promise<T | undefined> {
    const key = {};
    this.#pending.set(key, `${what}, since ${this.#time.now()}`);
    return promise.then((value) => {
      this.#pending.delete(key);
      return value;
    }, (error) => {
      this.#pending.delete(key);
      this.check(what, error);
      return undefined;
    });
  }

  /** Records an error that is none of ours. */
  check(what: string, error: unknown): void {
    if (error instanceof AmqpError || error instanceof TransportError || error instanceof SendAbortedError) return;
    if (error instanceof Error && error.message === PLANNED || error === PLANNED) return;
    // Mistakes of this program.
    if (error instanceof TypeError && error.message.startsWith("Cannot read body as bytes")) return;
    if (error instanceof RangeError && error.message.includes("is above the receiver's credit")) return;
    if (error instanceof DOMException && error.name === "AbortError") return;
    this.#faults.push(new Error(`${what} failed with an error of another kind`, { cause: error }));
  }

  /** What is given up ends at once, whatever others do. */
  givenUp<T>(what: string, signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
    if (signal === undefined) return promise;
    let isPending = true;
    const done = (): void => void (isPending = false);
    promise.then(done, done);
    const check = async (): Promise<void> => {
      await microtasks(MAX_MICROTASKS);
      if (isPending) this.fault(`${what} goes on although its signal was aborted`);
    };
    if (signal.aborted) this.add("check", check());
    // A watched signal counts its own listeners.
    else EventTarget.prototype.addEventListener.call(signal, "abort", () => this.add("check", check()), { once: true });
    return promise;
  }

  /** Records a broken rule. */
  fault(message: string): void {
    this.#faults.push(new Error(message));
  }

  /** Throws the first fault. */
  finish(): void {
    if (this.#faults.length > 0) throw this.#faults[0];
    assertEquals([...this.#pending.values()], [], "promises that never end");
  }
}

/** A program that uses its connection at random. */
class Program {
  readonly #connection: Connection;
  readonly #random: Random;
  readonly #watch: Watch;
  readonly #time: VirtualTime;
  readonly #senders: Sender[] = [];
  readonly #receivers: Receiver[] = [];
  #links = 0;

  constructor(connection: Connection, random: Random, watch: Watch, time: VirtualTime) {
    this.#time = time;
    this.#connection = connection;
    this.#random = random;
    this.#watch = watch;
    watch.add("events", drainAll(connection.events()));
  }

  act(): void {
    const { int, pick } = this.#random;
    const connection = this.#connection;
    const watch = this.#watch;
    const signal = this.#signal();
    const given = <T>(what: string, promise: Promise<T>): void =>
      void watch.add(what, watch.givenUp(what, signal, promise));
    try {
      switch (int(24)) {
        case 0:
        case 1: {
          if (this.#senders.length > 4) return;
          const maker = int(4) === 0 ? connection.session({ incomingWindow: 3 }) : connection;
          const recovery = pick(["resend", "fail", "resume"] as const);
          this.#senders.push(maker.sender({
            ...int(10) === 0 ? { dynamic: true } : { address: "q" },
            name: `s${this.#links++}`,
            recovery,
            rcvSettleMode: pick(["first", "second"] as const),
            sndSettleMode: pick(["mixed", "unsettled", "settled"] as const),
          }));
          return;
        }
        case 2:
        case 3: {
          if (this.#receivers.length > 4) return;
          this.#receivers.push(connection.receiver({
            address: "q",
            name: `r${this.#links++}`,
            credit: 1 + int(10),
            stream: int(4) === 0,
            ...int(3) === 0 ? { maxMessageSize: 100 } : {},
            rcvSettleMode: pick(["first", "second"] as const),
          }));
          return;
        }
        case 4:
        case 5:
        case 6:
        case 7:
          return given(
            "send",
            this.#sender().send({ body: "x".repeat(int(2_000)) }, { signal, settled: int(5) === 0 }),
          );
        case 8:
          return given(
            "sendAll",
            this.#sender().sendAll(Array.from({ length: int(20) }, (_, i) => ({ body: i })), { signal }),
          );
        case 9:
          return given("stream", this.#sender().stream({ body: chunks(int(10)) }, { signal }));
        case 10:
          return given("connection.send", connection.send(`q${int(3)}`, { body: 1 }, { signal }));
        case 11:
        case 12:
        case 13:
          return void watch.add("receive", this.#receive(this.#receiver()));
        case 14:
          return void watch.add("serve", serveAtRandom(this.#receiver(), this.#random));
        case 15:
          return void watch.add("loop", this.#loop(this.#receiver()));
        case 16:
          return given("batch", this.#receiver().receiveBatch(5, { signal, waitMs: 100 }));
        case 17:
          return given("drain", this.#receiver().drain({ signal }));
        case 18:
          return given("request", connection.request("q", { body: "?" }, { signal }));
        case 19:
          return void watch.add("transaction", this.#transact());
        case 20: {
          const link = pick<Sender | Receiver | undefined>([...this.#senders, ...this.#receivers, undefined]);
          if (link !== undefined) watch.add("close of a link", int(2) === 0 ? link.close() : link.detach());
          return;
        }
        case 21:
          return void watch.add("management", management(connection, "$management").read("queue", "q"));
        case 22:
          return void watch.add("query", management(connection, "q", { replyTo: "dynamic" }).query());
        default:
          if (int(6) === 0) watch.add("respond", connection.respond("q", () => ({ body: 1 }), { onerror: () => {} }));
      }
    } catch (error) {
      watch.check("a call", error);
    }
  }

  // A signal that is aborted at once, some promise jobs or some milliseconds later, or never.
  #signal(): AbortSignal | undefined {
    const { int } = this.#random;
    if (int(3) > 0) return undefined;
    const controller = new AbortController();
    const abort = () => controller.abort(new Error(PLANNED));
    if (int(3) > 0) microtasks(int(80)).then(abort);
    else this.#time.setTimer(abort, int(3_000));
    return controller.signal;
  }

  #sender(): Sender {
    const open = this.#senders.filter(({ open }) => open);
    return open.length === 0 ? this.#connection.sender(`q${this.#links++ % 5}`) : this.#random.pick(open);
  }

  #receiver(): Receiver {
    const open = this.#receivers.filter(({ open }) => open);
    return open.length === 0 ? this.#connection.receiver({ address: "q", credit: 3 }) : this.#random.pick(open);
  }

  async #receive(receiver: Receiver): Promise<void> {
    const { int, pick } = this.#random;
    const signal = this.#signal();
    const delivery = await this.#watch.givenUp("receive", signal, receiver.receive({ signal }));
    const read = int(6);
    try {
      if (read === 0) void delivery.message?.body;
      else if (read === 1) await delivery.bytes();
      else if (read === 2) { for await (const _ of delivery.stream()) if (int(4) === 0) break; }
    } finally {
      delivery[pick(["accept", "release", "reject", "modify"] as const)]();
    }
  }

  async #loop(receiver: Receiver): Promise<void> {
    let count = this.#random.int(5);
    for await (const delivery of receiver) {
      if (count-- === 0) break;
      delivery.accept();
    }
  }

  async #transact(): Promise<void> {
    const signals = [this.#signal(), this.#signal()] as const;
    const beginning = this.#connection.transaction({ signal: signals[0] });
    const transaction = await this.#watch.givenUp("begin", signals[0], beginning);
    const sender = this.#sender();
    this.#watch.add("send in a transaction", transaction.send(sender, { body: 1 }));
    const options = { signal: signals[1] };
    const ending = this.#random.int(3) > 0 ? transaction.commit(options) : transaction.rollback(options);
    await this.#watch.givenUp("end of a transaction", signals[1], ending);
  }
}

/** Hostile clients of `server`, one after another, until it has given up whatever they left; `between` follows each step. */
async function visit(
  server: { accept(channel: Channel): unknown },
  time: VirtualTime,
  random: Random,
  between: (step: number) => void | Promise<void>,
): Promise<void> {
  const { int, pick } = random;
  for (let peers = 1 + int(3); peers > 0; peers--) {
    const [near, far] = channelPair();
    server.accept(far);
    const peer = new HostilePeer(near, "client", random, maliceOf(random));
    for (let steps = 20 + int(200); steps > 0 && !peer.over; steps--) {
      for (let acts = int(4); acts > 0; acts--) peer.act();
      await time.advance(pick([0, 0, 0, 1, 10, 200]));
      await between(steps);
    }
    if (int(3) > 0) peer.cut();
  }
  await time.advance(LONG_MS);
}

/** Serves `receiver` by a handler that fails now and then, and reads the bodies of some messages. */
function serveAtRandom(receiver: Receiver, { int }: Random): Promise<void> {
  return receiver.serve(async (delivery) => {
    if (int(4) === 0) throw new Error(PLANNED);
    if (int(3) === 0) await delivery.bytes().catch(() => {});
  }, { concurrency: 1, onerror: () => {} });
}

function maliceOf(random: Random): Malice {
  return random.pick([
    { altered: 0, mutated: 0, dropped: 0 },
    { altered: 5, mutated: 0, dropped: 5 },
    { altered: 10, mutated: 5, dropped: 0 },
    { altered: 60, mutated: 20, dropped: 20 },
  ]);
}

/** What must be there without waiting for a peer. */
export async function quickly<T>(time: VirtualTime, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  promise.then(() => isSettled = true, () => isSettled = true);
  for (let i = 0; i < 20 && !isSettled; i++) await time.advance(10);
  assert(isSettled, "an honest client waits");
  return await promise;
}

/** Takes all values. */
export async function drainAll(iterable: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of iterable);
}

/** Lets promises settle that need so many jobs. */
export async function microtasks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

/** The body of a stream. */
export async function* chunks(count: number): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  for (let i = 0; i < count; i++) {
    await undefined;
    yield new Uint8Array(300);
  }
}

/** An acceptor whose handlers do all they may, with hostile clients: each promise ends, and nothing is left. */
export async function fuzzAcceptor(random: Random): Promise<void> {
  await preload();
  const { int } = random;
  const time = new VirtualTime(int(2 ** 32));
  const watch = new Watch(time);
  const server = acceptor({
    environment: time,
    log: watch.log,
    onSender: (request) => {
      if (int(12) === 0) throw new Error(PLANNED);
      if (int(12) === 0) return request.refuse(new AmqpError("amqp:not-found", "Cannot attach: there is none"));
      if (int(12) === 0) return;
      watch.add("sending", send(request.accept(), random));
    },
    onReceiver: async (request) => {
      if (int(6) === 0) await undefined;
      if (int(12) === 0) throw new Error(PLANNED);
      if (int(12) === 0) return request.refuse(new AmqpError("amqp:not-found", "Cannot attach: there is none"));
      watch.add("receiving", receive(request.accept({ credit: 1 + int(10), stream: int(3) === 0 }), random));
    },
  });
  await visit(server, time, random, () => {});
  assertEquals(server.connections.size, 0, "a hostile client is still connected");
  watch.add("close of the acceptor", server.close());
  await time.advance(LONG_MS);
  watch.finish();
  assertEquals(time.timers, 0, "timers are left");
}

async function send(sender: Sender, { int }: Random): Promise<void> {
  switch (int(4)) {
    case 0:
      await sender.sendAll(Array.from({ length: 20 }, (_, i) => ({ body: i })));
      break;
    case 1:
      await sender.stream({ body: chunks(10) });
      break;
    case 2:
      for (let i = 0; i < 5; i++) await sender.send({ body: "x".repeat(int(2_000)) }, { settled: int(2) === 0 });
      break;
    default:
      await sender.ready();
  }
  await (int(2) === 0 ? sender.close() : sender.closed);
}

async function receive(receiver: Receiver, random: Random): Promise<void> {
  const { int, pick } = random;
  if (int(3) === 0) return await serveAtRandom(receiver, random);
  for await (const delivery of receiver) {
    if (int(20) === 0) break;
    if (int(3) === 0) await delivery.bytes().catch(() => {});
    delivery[pick(["accept", "release", "reject", "modify"] as const)]();
  }
}
