/**
 * One run of the real client and broker over a simulated network, all of it decided by a seed, and what must hold of it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { OutcomeError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { print } from "../../src/codec/composite.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { type Random, random } from "../harness.ts";
import { SimulatedNetwork, SimulatedTime } from "./world.ts";

const QUEUES = ["q0", "q1"];
const COMMANDS = 60;
// Longer than any back-off, time-out of an open, or stall.
const PATIENCE_MS = 600_000;

/** What one run came to. */
export interface Report {
  /** Every frame that was sent or received, with its time. */
  readonly trace: readonly string[];
  /** Sends that were accepted, and those that were not. */
  readonly accepted: number;
  readonly failed: number;
  /** Connections that were cut. */
  readonly cuts: number;
}

/** A run that broke a rule: the seed that repeats it, and the frames up to there. */
export class Violation extends Error {
  /** The frames, one a line. */
  readonly trace: readonly string[];

  /** Names the seed and what was broken. */
  constructor(seed: number, cause: unknown, trace: readonly string[]) {
    super(`Seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.trace = trace;
  }
}

interface Sent {
  readonly body: string;
  state: "pending" | "accepted" | "failed";
  error?: unknown;
}

/** Runs what the seed says; throws a {@linkcode Violation} for what must not be. */
export async function simulate(seed: number): Promise<Report> {
  const trace: string[] = [];
  try {
    return await new Simulation(seed, trace).run();
  } catch (error) {
    throw new Violation(seed, error, trace);
  }
}

class Simulation {
  readonly #random: Random;
  readonly #time: SimulatedTime;
  readonly #network: SimulatedNetwork;
  readonly #trace: string[];
  readonly #sent = new Map<string, Sent>();
  readonly #arrived = new Map<string, number>();
  readonly #finished = new Set<string>();
  readonly #senders: Sender[] = [];
  readonly #receivers: Receiver[] = [];
  readonly #connections: Connection[] = [];
  #broker: Broker;
  #lostState = false;
  #next = 0;

  constructor(seed: number, trace: string[]) {
    this.#random = random(seed);
    this.#time = new SimulatedTime(seed ^ 0x5eed);
    this.#network = new SimulatedNetwork(this.#time, this.#random);
    this.#trace = trace;
    this.#broker = this.#start();
  }

  async run(): Promise<Report> {
    const count = 1 + this.#random.int(2);
    for (let i = 0; i < count; i++) await this.#connect(i);
    for (let i = 0; i < COMMANDS; i++) {
      this.#command();
      await this.#time.pass(this.#random.int(60));
    }
    await this.#settle();
    await this.#flow();
    await this.#drain();
    this.#check();
    await this.#end();
    const states = [...this.#sent.values()].map(({ state }) => state);
    return {
      trace: this.#trace,
      accepted: states.filter((state) => state === "accepted").length,
      failed: states.filter((state) => state === "failed").length,
      cuts: this.#network.cuts,
    };
  }

  #start(): Broker {
    const broker = new Broker({
      queues: Object.fromEntries(QUEUES.map((name) => [name, {}])),
      environment: this.#time,
      log: null,
    });
    this.#network.accept = (channel) => broker.accept(channel);
    return broker;
  }

  async #connect(number: number): Promise<void> {
    const options = {
      environment: this.#time,
      dial: this.#network.dial,
      trace: (frame: FrameTrace) => this.#note(number, frame),
      reconnect: { initialDelayMs: 5, maxDelayMs: 500, initial: true },
    };
    this.#connections.push(await this.#wait(connect("ws://simulated/", options), "connect"));
  }

  #note(connection: number, { direction, channel, body, payloadBytes }: FrameTrace): void {
    const text = body === undefined ? "empty" : print(body);
    const payload = payloadBytes > 0 ? ` +${payloadBytes}` : "";
    this.#trace.push(`${this.#time.now()} #${connection} ${direction} ${channel} ${text}${payload}`);
  }

  #command(): void {
    const connection = this.#random.pick(this.#connections);
    const address = this.#random.pick(QUEUES);
    const choice = this.#random.int(100);
    if (choice < 45) this.#send(address, connection);
    else if (choice < 60) this.#receive(connection, address);
    else if (choice < 66) { for (let i = this.#random.int(20); i > 0; i--) this.#send(address, connection); }
    else if (choice < 74) this.#network.cut();
    else if (choice < 80) this.#close(this.#random.int(2) === 0 ? this.#senders : this.#receivers);
    else if (choice < 84) this.#down(false);
    else if (choice < 86) this.#down(true);
    else this.#network.accept ??= (channel) => this.#broker.accept(channel);
  }

  #send(address: string, connection: Connection): void {
    let sender = this.#senders.find((sender) => sender.open && sender.address === address && this.#random.int(2) === 0);
    if (sender === undefined) this.#senders.push(sender = connection.sender(address));
    const sent: Sent = { body: `${address}/${this.#next++}`, state: "pending" };
    this.#sent.set(sent.body, sent);
    // Now and then one is given up.
    const signal = this.#random.int(12) === 0 ? this.#abortLater() : undefined;
    const settle = (state: "accepted" | "failed", error?: unknown): void => {
      assertEquals(sent.state, "pending", `${sent.body} has two outcomes`);
      sent.state = state;
      sent.error = error;
    };
    sender.send({ body: sent.body }, { signal }).then(() => settle("accepted"), (error) => settle("failed", error));
  }

  #abortLater(): AbortSignal {
    const controller = new AbortController();
    this.#time.setTimer(() => controller.abort(new Error("given up")), this.#random.int(300));
    return controller.signal;
  }

  #receive(connection: Connection, address: string): void {
    if (this.#receivers.filter(({ open }) => open).length >= 4) return;
    const receiver = connection.receiver({ address, credit: 1 + this.#random.int(8) });
    this.#receivers.push(receiver);
    void this.#consume(receiver, true);
  }

  async #consume(receiver: Receiver, whims: boolean): Promise<void> {
    for (;;) {
      let delivery;
      try {
        delivery = await receiver.receive();
      } catch {
        return;
      }
      const body = String(delivery.message.body);
      this.#arrived.set(body, (this.#arrived.get(body) ?? 0) + 1);
      if (whims && this.#random.int(4) === 0) await this.#pause(this.#random.int(200));
      try {
        const choice = whims ? this.#random.int(10) : 9;
        if (choice === 0) delivery.release();
        else if (choice === 1) delivery.modify({ deliveryFailed: true });
        else {
          this.#finished.add(body);
          if (choice === 2) delivery.reject();
          else delivery.accept();
        }
      } catch {
        // Its link is gone: it comes again.
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#time.setTimer(resolve, ms));
  }

  #close(links: (Sender | Receiver)[]): void {
    if (links.length === 0) return;
    const [link] = links.splice(this.#random.int(links.length), 1);
    link!.close().catch(() => {});
  }

  // The server goes away for a while, with or without what it knows.
  #down(forgets: boolean): void {
    this.#network.accept = undefined;
    this.#network.cut();
    const pause = this.#random.int(2_000);
    if (forgets) {
      this.#lostState = true;
      this.#broker.close().catch(() => {});
    }
    this.#time.setTimer(() => {
      if (forgets) this.#broker = this.#start();
      else this.#network.accept ??= (channel) => this.#broker.accept(channel);
    }, pause);
  }

  // No more faults: every send comes to its one outcome.
  async #settle(): Promise<void> {
    this.#network.faulty = false;
    await this.#time.pass(5_000);
    this.#network.accept ??= (channel) => this.#broker.accept(channel);
    const pending = (): string[] =>
      [...this.#sent.values()].filter(({ state }) => state === "pending").map(({ body }) => body);
    await this.#time.until(() => pending().length === 0, PATIENCE_MS);
    assertEquals(pending(), [], "sends without an outcome");
  }

  // Links that came through all of it still work: where somebody receives, nothing waits.
  async #flow(): Promise<void> {
    await this.#time.pass(60_000);
    if (this.#lostState) return;
    for (const receiver of this.#receivers.filter(({ open }) => open)) {
      for (const { body, state } of this.#sent.values()) {
        const waits = state === "accepted" && body.startsWith(`${receiver.address}/`) && !this.#arrived.has(body);
        assert(!waits, `${body} waits although somebody receives`);
      }
    }
  }

  // What waits in the queues comes, all of it.
  async #drain(): Promise<void> {
    for (const receiver of this.#receivers) receiver.close().catch(() => {});
    await this.#time.pass(30_000);
    for (const address of QUEUES) {
      const receiver = this.#connections[0]!.receiver({ address, credit: 50 });
      this.#receivers.push(receiver);
      void this.#consume(receiver, false);
    }
    await this.#time.pass(30_000);
  }

  #check(): void {
    for (const body of this.#arrived.keys()) assert(this.#sent.has(body), `${body} arrived and was never sent`);
    for (const { body, state, error } of this.#sent.values()) {
      // A broker that lost its memory lost the messages in it.
      if (state === "accepted" && !this.#lostState) assert(this.#arrived.has(body), `${body} was accepted and is lost`);
      if (error instanceof OutcomeError && error.outcome !== "lost") {
        assert(error.outcome !== "rejected" || error.remote, `${body} was rejected by nobody`);
      }
    }
  }

  async #end(): Promise<void> {
    for (const connection of this.#connections) await this.#wait(connection.close(), "close a connection");
    await this.#wait(this.#broker.close(), "close the broker");
    await this.#time.pass(60_000);
    assertEquals(this.#time.pending, 0, "timers are left");
  }

  async #wait<T>(promise: Promise<T>, what: string): Promise<T> {
    let settled = false;
    promise.then(() => settled = true, () => settled = true);
    assert(await this.#time.until(() => settled, PATIENCE_MS), `Cannot ${what}: it never ends`);
    return await promise;
  }
}
