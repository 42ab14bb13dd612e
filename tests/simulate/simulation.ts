/**
 * One run of the real client and broker over a simulated network, determined by a seed, with the rules that must hold.
 *
 * @module
 */

import { AmqpError } from "../../src/base/errors.ts";
import * as condition from "../../src/base/condition.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { print } from "../../src/codec/composite.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { anonymous, plain } from "../../src/sasl/client.ts";
import type { SaslMechanism } from "../../src/sasl/mechanism.ts";
import { isRefusedLogin } from "../../src/recovery/retry.ts";
import { type Random, random } from "../harness.ts";
import { Frames } from "./frames.ts";
import { Ledger } from "./ledger.ts";
import { ASKED, FORBIDDEN, NARROW, QUEUES, type WatchedSignal } from "./context.ts";
import { type Legacy, Program } from "./program.ts";
import { Disk } from "./process.ts";
import { SimulatedNetwork, SimulatedTime } from "./world.ts";

const COMMANDS = 60;
const MAX_NARROW = 4;
const NO_ACCOUNT = "no such account";
// Longer than any back-off, idle timeout, open timeout, or stall.
const PATIENCE_MS = 600_000;
// Longer than it takes to detect a dead connection.
const QUIET_MS = 300_000;

/** The result of one run. */
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

  /** Names the seed and the broken rule. */
  constructor(seed: number, cause: unknown, trace: readonly string[]) {
    super(`Seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.trace = trace;
  }
}

/** Runs a seed; throws a {@linkcode Violation} for a broken rule. */
export async function simulate(seed: number): Promise<Report> {
  await loaded();
  const simulation = new Simulation(seed);
  try {
    return await simulation.run();
  } catch (error) {
    throw new Violation(seed, error, simulation.trace);
  }
}

class Simulation {
  readonly trace: string[] = [];
  readonly #random: Random;
  readonly #time: SimulatedTime;
  readonly #network: SimulatedNetwork;
  readonly #ledger: Ledger;
  readonly #signals: WatchedSignal[] = [];
  readonly #programs: Program[] = [];
  readonly #closed = new Set<Connection>();
  readonly #disk = new Disk();
  // The identity of a program, which it keeps when it is killed and started again.
  readonly #users = new Map<Program, { readonly number: number; readonly user: SaslMechanism }>();
  #number = 0;
  #broker: Broker;
  #ending = false;

  constructor(seed: number) {
    this.#random = random(seed);
    this.#time = new SimulatedTime(seed ^ 0x5eed);
    this.#network = new SimulatedNetwork(this.#time, this.#random);
    this.#ledger = new Ledger(this.#time.now, this.trace);
    this.#broker = this.#start();
  }

  async run(): Promise<Report> {
    for (let i = 1 + this.#random.int(2); i > 0; i--) await this.#connect();
    for (let i = 0; i < COMMANDS; i++) {
      await this.#command();
      await this.#time.pass(this.#random.int(60));
      this.#check();
    }
    await this.#settle();
    this.#flow();
    await this.#drain();
    await this.#end();
    const states = [...this.#ledger.sent.values()].map(({ state }) => state);
    return {
      trace: this.trace,
      accepted: states.filter((state) => state === "accepted").length,
      failed: states.filter((state) => state === "failed").length,
      cuts: this.#network.cuts,
    };
  }

  #start(): Broker {
    const broker = new Broker({
      queues: {
        ...Object.fromEntries([...QUEUES, ASKED].map((name) => [name, {}])),
        [NARROW]: { maxMessages: MAX_NARROW },
      },
      sasl: { anonymous: true, users: (_, password) => password === "secret" },
      // Messages of suspended links of dead programs come back within the time that is waited at the end.
      maxSuspendMs: 60_000,
      authorize: (_identity, _action, address) => this.#allows(address),
      environment: this.#time,
      log: null,
    });
    this.#network.accept = (channel) => broker.accept(channel);
    return broker;
  }

  // One address is never allowed; the others are now and then not allowed for a moment.
  #allows(address: string): boolean {
    if (address === FORBIDDEN) return false;
    if (this.#network.faulty && this.#random.int(15) === 0) {
      throw new AmqpError(condition.detachForced, "Cannot attach: node moves", { scope: "link" });
    }
    return true;
  }

  async #connect(before?: Legacy & { readonly number: number; readonly user: SaslMechanism }): Promise<void> {
    const number = before?.number ?? this.#number++;
    const frames = new Frames((holds, broken) => this.#ledger.rule(holds, broken));
    // Subscriptions and links belong to the identity that made them, so it stays the same.
    const user = before?.user ?? (this.#random.int(2) === 0 ? anonymous() : plain("user", "secret"));
    const connecting = connect(["wss://one/", "wss://two/"], {
      environment: this.#time,
      dial: (url: URL) => this.#network.dial(number, url),
      auth: () => this.#login(user),
      containerId: `program ${number}`,
      maxFrameSize: this.#random.pick([512, 1_000, 131_072]),
      trace: (frame: FrameTrace) => {
        this.#note(number, frame);
        frames.check(frame);
      },
      reconnect: { initialDelayMs: 5, maxDelayMs: 500, initial: true },
      log: null,
    });
    try {
      const connection = await this.#wait(connecting, "connect");
      const world = {
        random: this.#random,
        time: this.#time,
        ledger: this.#ledger,
        signals: this.#signals,
        disk: this.#disk,
      };
      const program = new Program(connection, world, before);
      this.#programs.push(program);
      this.#users.set(program, { number, user });
    } catch (error) {
      // The login was refused for good.
      if (this.#ending) throw error;
      await this.#connect(before);
    }
  }

  #login(user: SaslMechanism): SaslMechanism {
    if (this.#network.faulty) {
      const choice = this.#random.int(40);
      if (choice === 0) throw new Error("the service of tokens is down");
      if (choice === 1) throw Object.assign(new Error(NO_ACCOUNT), { retryable: false });
      if (choice === 2) return plain("user", "wrong");
    }
    return user;
  }

  #note(connection: number, { direction, channel, body, payloadBytes }: FrameTrace): void {
    const text = body === undefined ? "empty" : print(body);
    const payload = payloadBytes > 0 ? ` +${payloadBytes}` : "";
    this.trace.push(`${this.#time.now()} #${connection} ${direction} ${channel} ${text}${payload}`);
  }

  // Most commands are a program's, the rest are faults.
  async #command(): Promise<void> {
    const open = this.#programs.filter(({ connection }) => connection.open);
    if (open.length === 0) return await this.#connect();
    const choice = this.#random.int(100);
    if (choice < 78) this.#random.pick(open).act();
    else if (choice < 80) await this.#die(this.#random.pick(open));
    else if (choice < 85) this.#fault("cuts all", () => this.#network.cut());
    else if (choice < 88) this.#fault("damages one", () => this.#network.damage());
    else if (choice < 91) this.#fault("restarts", () => this.#down(false));
    else if (choice < 93) this.#fault("forgets", () => this.#down(true));
    else if (choice < 95) this.#fault("hides", () => this.#hide());
    else if (choice < 97) this.#fault("sleeps", () => this.#time.leap(this.#random.int(200_000)));
    else this.#fault("closes", () => this.#close(this.#random.pick(open)));
    await loaded();
  }

  #fault(what: string, call: () => void): void {
    this.#ledger.note(what);
    call();
  }

  // The server goes down for a while, with or without its state.
  #down(forgets: boolean): void {
    if (this.#network.accept === undefined) return;
    this.#network.accept = undefined;
    this.#network.cut();
    if (forgets) {
      this.#ledger.forgot = this.#time.now();
      this.#ledger.wait("end of a broker", this.#broker.close()).catch(this.#ledger.fault);
    }
    this.#time.setTimer(() => {
      if (forgets) this.#broker = this.#start();
      else this.#network.accept = (channel) => this.#broker.accept(channel);
    }, this.#random.int(2_000));
  }

  // One of the server's hosts is unreachable for a while.
  #hide(): void {
    const host = this.#random.pick(["one", "two"]);
    this.#network.unreachable.add(host);
    this.#time.setTimer(() => this.#network.unreachable.delete(host), this.#random.int(3_000));
  }

  // A program's process is killed, and started again after a while.
  async #die(program: Program): Promise<void> {
    const { connection } = program;
    const { number, user } = this.#users.get(program)!;
    this.#ledger.note(`kills #${number}`);
    this.#closed.add(connection);
    const legacy = program.die();
    this.#network.kill(number);
    // The dead process's further actions have no effect: its channel is gone.
    this.#ledger.wait("end of a process", connection.close({ timeoutMs: 0 })).catch(this.#ledger.fault);
    await this.#time.pass(this.#random.int(2_000));
    await this.#connect({ ...legacy, number, user });
  }

  #close({ connection }: Program): void {
    this.#closed.add(connection);
    const closing = this.#random.int(3) === 0
      ? connection.drain({ timeoutMs: 1_000 })
      : connection.close({ timeoutMs: this.#random.pick([0, 100, 5_000]) });
    this.#ledger.wait("close of a connection", closing).catch(this.#ledger.fault);
  }

  // Ends the faults: every send must get its one outcome.
  async #settle(): Promise<void> {
    this.#ending = true;
    this.#network.faulty = false;
    await this.#time.pass(5_000);
    const program = await this.#open();
    // Messages that wait for room there get their outcome when somebody receives.
    void (async () => {
      for await (const _ of program.empty(NARROW));
    })();
    const isSettled = (): boolean => {
      this.#ledger.forsake(new Set(this.#programs.flatMap(({ lasting }) => lasting)));
      return this.#ledger.pending().length === 0;
    };
    await this.#time.until(isSettled, PATIENCE_MS);
    const pending = this.#ledger.pending();
    this.#ledger.rule(
      pending.length === 0,
      `sends without an outcome: ${pending.join(" ")}; waiting: ${[...this.#ledger.waiting.values()].join(", ")}`,
    );
    await this.#time.pass(QUIET_MS);
    this.#check();
  }

  // Links that survived still work: with a receiver, nothing waits.
  #flow(): void {
    for (const { connection } of this.#programs) {
      const { state, error } = connection;
      this.#ledger.rule(state === "open" || state === "closed", `a connection is ${state}`);
      const refused = error?.message === NO_ACCOUNT || error instanceof AmqpError && isRefusedLogin(error);
      this.#ledger.rule(
        error === undefined || refused || this.#closed.has(connection),
        `a connection has ended: ${error?.message}`,
      );
    }
    const open = this.#programs.filter(({ connection }) => connection.state === "open").length;
    const carried = this.#broker.connections.size;
    this.#ledger.rule(open === carried, `${open} connections are open, the broker has ${carried}`);
    for (const program of this.#programs) {
      for (const address of program.steady) {
        const { messages = 0 } = this.#broker.queue(address) ?? {};
        this.#ledger.rule(messages === 0, `${messages} messages wait in ${address} although somebody receives`);
      }
      program.conclude();
    }
  }

  // Receives all messages of the queues.
  async #drain(): Promise<void> {
    for (const program of this.#programs) program.stopReceiving();
    await this.#time.pass(QUIET_MS);
    const program = await this.#open();
    const drained: string[] = [];
    // The narrow queue has been emptied before, unless that connection has ended since.
    for (const address of [...QUEUES, ASKED, NARROW]) {
      void (async () => {
        for await (const body of program.empty(address)) if (QUEUES.includes(address)) drained.push(body);
      })();
    }
    await this.#time.pass(30_000);
    this.#ledger.check(drained);
    this.#check();
  }

  // A connected program.
  async #open(): Promise<Program> {
    const isOpen = ({ connection }: Program): boolean => connection.state === "open";
    if (!this.#programs.some(isOpen)) await this.#connect();
    return this.#programs.find(isOpen)!;
  }

  async #end(): Promise<void> {
    for (const { connection } of this.#programs) {
      const closing = connection.close();
      await this.#wait(closing, "close a connection");
    }
    await this.#time.pass(QUIET_MS);
    const { ledger, broker, time } = { ledger: this.#ledger, broker: this.#broker, time: this.#time };
    ledger.rule(broker.connections.size === 0, "the broker has connections");
    for (const { address, messages, unsettled, waiting, consumers, producers } of broker.queues()) {
      const left = messages + unsettled + waiting + consumers + producers;
      ledger.rule(left === 0, `queue ${address} holds ${[messages, unsettled, waiting, consumers, producers]}`);
    }
    if (ledger.subscriptions.length === 0) {
      ledger.rule(broker.messages === 0, `the broker holds ${broker.messages} messages`);
      ledger.rule(broker.bytes === 0, `the broker holds ${broker.bytes} bytes`);
    }
    await this.#wait(broker.close(), "close the broker");
    await time.pass(60_000);
    ledger.rule(ledger.waiting.size === 0, `never ended: ${[...ledger.waiting.values()].join(", ")}`);
    ledger.rule(time.pending === 0, `${time.pending} timers are left`);
    for (const { listeners, controller } of this.#signals) {
      ledger.rule(controller.signal.aborted || listeners === 0, `${listeners} listeners are left`);
    }
    this.#check();
  }

  #check(): void {
    const { broken } = this.#ledger;
    if (broken.length > 0) throw broken[0];
  }

  async #wait<T>(promise: Promise<T>, what: string): Promise<T> {
    let settled = false;
    promise.then(() => settled = true, () => settled = true);
    if (!await this.#time.until(() => settled, PATIENCE_MS)) throw new Error(`Cannot ${what}: it never ends`);
    return await promise;
  }
}

// Modules loaded on first use take turns of the runtime: time must not pass meanwhile, or runs would not repeat.
async function loaded(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await Promise.all([
      import("../../src/client/request.ts"),
      import("../../src/client/transaction.ts"),
      import("../../src/client/send_all.ts"),
      import("../../src/client/stream.ts"),
      import("../../src/client/serve.ts"),
      import("../../src/client/receive_batch.ts"),
      import("../../src/client/log_texts.ts"),
      import("../../src/client/resume_links.ts"),
      import("../../src/client/streamed_payload.ts"),
      import("../../src/transport/socket/dial.ts"),
    ]);
  }
}
