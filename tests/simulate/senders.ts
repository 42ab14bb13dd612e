/**
 * The senders of a simulated program, and all the ways in which it sends.
 *
 * @module
 */

import { resume } from "../../src/client/resume.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Message } from "../../src/codec/message.ts";
import type { Random } from "../harness.ts";
import { type ProgramContext, TOPIC } from "./context.ts";
import type { Ledger, Sent } from "./ledger.ts";
import { textOf } from "./process.ts";
import type { SimulatedTime } from "./world.ts";

/** A sender, with the rules that the ledger applies to it. */
export interface Kept {
  readonly sender: Sender;
  readonly link: number;
  readonly once: boolean;
  /** Whether the link resumes when its connection is lost. */
  readonly resumes: boolean;
  /** The sender's name on the disk, if it outlives its process. */
  readonly disk?: string;
}

/** A sender that outlives the process of its program. */
export interface LastingSender {
  readonly address: string;
  readonly link: number;
}

/** The senders of one program. */
export class ProgramSenders {
  readonly #context: ProgramContext;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #time: SimulatedTime;
  #open: Kept[] = [];
  readonly #lasting: LastingSender[] = [];

  /** Continues the senders of the previous process. */
  constructor(context: ProgramContext, legacy: readonly LastingSender[]) {
    this.#context = context;
    this.#random = context.random;
    this.#ledger = context.ledger;
    this.#time = context.time;
    for (const { address, link } of legacy) this.#lastingSender(address, link);
  }

  /** The open senders that outlive this process. */
  get lasting(): LastingSender[] {
    return this.#lasting.filter(({ link }) => this.#open.some((kept) => kept.link === link));
  }

  /** The names on the disk of the senders that still exist. */
  get onDisk(): string[] {
    return this.#open.flatMap(({ disk, sender }) => disk !== undefined && sender.open ? [disk] : []);
  }

  /** Returns a sender to `address`, an existing or a new one, some on a session of their own. */
  pick(address: string): Kept {
    this.#open = this.#open.filter(({ sender }) => sender.open);
    const known = this.#open.find(({ sender }) => sender.address === address && this.#context.chance(2));
    if (known !== undefined) return known;
    if (this.#context.chance(6)) return this.#lastingSender(address, this.#ledger.number());
    const recovery = this.#random.pick(["fail", "resume", "resend", "resend"] as const);
    const link = this.#ledger.number();
    const sender = this.#context.maker().sender({ address, name: `sender ${link}`, recovery });
    const kept = { sender, link, once: recovery === "fail", resumes: recovery === "resume" };
    this.#open.push(kept);
    return kept;
  }

  /** Sends one message. */
  send({ sender, link, once, resumes, disk }: Kept): void {
    const settled = this.#context.chance(20);
    const sent = this.#ledger.add(sender.address!, {
      by: settled ? "send settled" : "send",
      link,
      once: once || settled,
    });
    if (!settled) sent.disk = disk;
    const signal = this.#context.maybeSignal(12, 300);
    const sending = sender.send(this.#context.message(sent), { signal, settled });
    const keeps = (): boolean => resumes && !this.#context.restarted.has(sender);
    if (!settled) return this.#ledger.follow(sent, sending, sender, keeps);
    // The message may or may not arrive.
    const done = (error?: unknown): void => this.#ledger.failed(sent, error, error !== undefined);
    this.#ledger.wait(`settled ${sent.body}`, sending).then(() => done(), done);
  }

  /** Sends many messages at once. */
  burst(kept: Kept): void {
    for (let i = this.#random.int(20); i > 0; i--) if (kept.sender.open) this.send(kept);
  }

  /** Sends by the connection. */
  sendKept(address: string): void {
    const sent = this.#ledger.add(address, { by: "connection.send" });
    this.#ledger.follow(
      sent,
      this.#context.connection.send(address, this.#context.message(sent), {
        signal: this.#context.maybeSignal(12, 300),
      }),
    );
  }

  /** Sends a list or a generator, whose messages keep their own order, and leave when there is room. */
  sendAll({ sender, once }: Kept): void {
    const link = this.#ledger.number();
    const taken: Sent[] = [];
    const count = 1 + this.#random.int(15);
    let over = false;
    const next = (): Message => {
      const sent = this.#ledger.add(sender.address!, { by: "sendAll", link, once });
      // A generator that is waiting when it is abandoned still yields its next value.
      if (over) this.#ledger.failed(sent, undefined);
      else taken.push(sent);
      return this.#context.message(sent);
    };
    const { sleep, random, fails } = {
      sleep: this.#time.sleep.bind(this.#time),
      random: this.#random,
      fails: this.#context.chance(8),
    };
    async function* slow(): AsyncGenerator<Message> {
      for (let i = 0; i < count; i++) {
        if (random.int(3) === 0) await sleep(random.int(100));
        yield next();
      }
      if (fails) throw new Error("no more");
    }
    const messages = this.#context.chance(2) ? slow() : Array.from({ length: count }, next);
    const signal = this.#context.maybeSignal(6, 300);
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

  /** Writes to a stream of messages. */
  async write({ sender, once }: Kept): Promise<void> {
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
        const writing = tell.wait("write", writer.write(this.#context.message(sent)));
        if (this.#context.chance(2)) await writing;
        else writing.catch(() => {});
        if (this.#context.chance(4)) await this.#time.sleep(this.#random.int(100));
      }
      if (this.#context.chance(5)) {
        await tell.wait("abort of a writable", writer.abort(new Error("given up")));
        throw new Error("given up");
      }
      await tell.wait("close of a writable", writer.close());
      for (const sent of taken) tell.accepted(sent, !once, true);
    } catch (error) {
      for (const sent of taken) if (sent.state === "pending") tell.failed(sent, error, false);
    }
  }

  /** Sends a stream, which must not be sent twice, nor arrive if its body has failed. */
  stream({ sender }: Kept): void {
    const sent = this.#ledger.add(sender.address!, { by: "stream", once: true });
    const fails = this.#context.chance(5);
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
    const signal = this.#context.maybeSignal(5, 500);
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

  /** Sends to the topic. */
  publish(): void {
    const sent = this.#ledger.add(TOPIC, { by: "connection.send" });
    this.#ledger.follow(sent, this.#context.connection.send(TOPIC, { body: sent.body }));
  }

  /** Closes a sender. */
  close(): void {
    if (this.#open.length === 0) return;
    const [{ sender }] = this.#open.splice(this.#random.int(this.#open.length), 1) as [Kept];
    const closing = this.#context.chance(3) ? sender.detach() : sender.close();
    this.#ledger.wait("close of a sender", closing).catch(this.#ledger.fault);
  }

  #lastingSender(address: string, link: number): Kept {
    const sender: Sender = this.#context.connection.sender({
      address,
      name: `sender ${link}`,
      recovery: resume({
        store: this.#context.store,
        onrecovered: ({ payload }, outcome) => {
          if (this.#context.store.dead) return;
          this.#ledger.recovered(textOf(payload), outcome?.kind, this.#context.restarted.has(sender));
        },
      }),
    });
    const kept = {
      sender,
      link,
      once: false,
      resumes: true,
      disk: `${this.#context.connection.containerId}/sender/sender ${link}`,
    };
    this.#open.push(kept);
    this.#lasting.push({ address, link });
    return kept;
  }
}
