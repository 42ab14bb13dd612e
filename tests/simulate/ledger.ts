/**
 * A record of what a simulated program has sent, received and waits for, with the rules that must hold at the end.
 *
 * @module
 */

import { OutcomeError } from "../../src/base/errors.ts";
import { MAX_DISK_MS } from "./process.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";

/** A sent message. */
export interface Sent {
  readonly body: string;
  readonly address: string;
  /** The number of its sender link; undefined if several links may have carried it. */
  readonly link: number | undefined;
  readonly place: number;
  /** True if it is never sent a second time. */
  readonly once: boolean;
  state: "pending" | "accepted" | "failed";
  /** The time since when the server may have it: that of its outcome, if known. */
  at: number;
  error: unknown;
  /** False if no part of it has left. */
  left: boolean;
  /** True if the receiver may have it twice. */
  resent: boolean;
  unit: Unit | undefined;
  /** The name of its sender link on a disk, which keeps it until it has its outcome. */
  disk: string | undefined;
  /** True once the process that sent it is dead: another process learns its outcome, or none does. */
  orphan: boolean;
}

/** Messages that take effect together, or not at all. */
export interface Unit {
  outcome: "open" | "committed" | "rolled-back" | "in-doubt";
  readonly members: Sent[];
}

/** A subscription that gets the messages accepted while it exists. */
export interface Subscribed {
  readonly address: string;
  readonly arrived: Set<string>;
  /** The first message that the server must have delivered to it, with the time; undefined while unknown. */
  since: { readonly place: number; readonly at: number } | undefined;
}

/** Messages by their body. */
export class Ledger {
  readonly sent: Map<string, Sent> = new Map();
  /** The received bodies, each with its count. */
  readonly arrived: Map<string, number> = new Map();
  /** Messages accepted for good: settled with the server, on a connection that held from then on. */
  readonly gone: Set<string> = new Set();
  readonly subscriptions: Subscribed[] = [];
  /** Descriptions of pending promises by number. */
  readonly waiting: Map<number, string> = new Map();
  /** The last time at which the server lost its state. */
  forgot = -1;
  /** The broken rules. */
  readonly broken: Error[] = [];
  readonly #now: () => number;
  #next = 0;

  readonly #trace: string[];

  /** Starts empty; `now` is the clock, and events are added to `trace`. */
  constructor(now: () => number, trace: string[]) {
    this.#now = now;
    this.#trace = trace;
  }

  /** Adds a line to the trace. */
  note(line: string): void {
    this.#trace.push(`${this.#now()} ${line}`);
  }

  /** Records a broken rule. Does not throw, since programs handle errors. */
  rule(holds: boolean, broken: string): void {
    if (!holds) this.broken.push(new Error(broken));
  }

  /** Records an unexpected error. */
  readonly fault = (error: unknown): void => {
    this.broken.push(error instanceof Error ? error : new Error(String(error)));
  };

  /** A unique number. */
  number(): number {
    return this.#next++;
  }

  /** Records a message; its body is made of its address and a number. */
  add(
    address: string,
    { by, link, once = false, unit }: { by: string; link?: number; once?: boolean; unit?: Unit },
  ): Sent {
    const place = this.#next++;
    const body = `${address}/${place}`;
    const sent: Sent = {
      body,
      address,
      link,
      place,
      once,
      unit,
      state: "pending",
      at: this.#now(),
      error: undefined,
      left: true,
      resent: false,
      disk: undefined,
      orphan: false,
    };
    this.sent.set(body, sent);
    unit?.members.push(sent);
    this.note(`${by} ${body}${link === undefined ? "" : ` on link ${link}`}${once ? " once" : ""}`);
    return sent;
  }

  /**
   * Records the outcome of a message when its promise settles; `link` is its link, if known, and `keeps` says whether both
   * sides of the link have kept unsettled messages, so that none is there twice.
   */
  follow(
    sent: Sent,
    promise: Promise<{ readonly resent?: true } | undefined>,
    link?: { readonly open: boolean },
    keeps: () => boolean = () => false,
  ): void {
    this.wait(`outcome of ${sent.body}`, promise).then(
      (outcome) => {
        if (!sent.orphan) this.accepted(sent, outcome?.resent === true && !keeps());
      },
      (error) => {
        if (sent.orphan) return;
        this.failed(sent, error);
        const lost = error instanceof OutcomeError && error.outcome === "lost";
        this.rule(sent.once || !lost || !link?.open, `${sent.body} is lost and its link goes on`);
      },
    ).catch(this.fault);
  }

  /** Records that a message was accepted; for messages sent together it is known only when all of them are. */
  accepted(sent: Sent, resent: boolean, together = false): void {
    this.rule(sent.state === "pending", `${sent.body} has two outcomes`);
    this.note(`${sent.body} is accepted${resent ? ", maybe twice" : ""}`);
    sent.state = "accepted";
    // A kept message is reported only when it is erased.
    if (!together) sent.at = this.#now() - (sent.disk === undefined ? 0 : MAX_DISK_MS);
    sent.resent = resent;
  }

  /** Records that a message has failed, or that its outcome is unknown. */
  failed(sent: Sent, error: unknown, known = true): void {
    this.rule(sent.state === "pending", `${sent.body} has two outcomes`);
    this.note(`${sent.body} has failed: ${error}`);
    sent.state = "failed";
    sent.at = this.#now();
    sent.error = error;
    sent.resent = !sent.once;
    sent.left = !known || mayHaveLeft(error);
  }

  /** Records that a container's process is dead; `has` looks at its disk. */
  die(container: string, has: (disk: string, body: string) => "kept" | "erased" | undefined): void {
    for (const sent of this.sent.values()) {
      if (!sent.disk?.startsWith(`${container}/`)) continue;
      const where = has(sent.disk, sent.body);
      // A message abandoned at the last moment is not erased yet.
      if (sent.state === "failed" && where === "kept") sent.left = true;
      if (sent.state !== "pending") continue;
      sent.orphan = true;
      if (where === "kept") continue;
      this.note(`${sent.body} has lost who waits for it`);
      sent.state = "failed";
      sent.at = this.#now();
      // A message leaves only once it is kept.
      sent.left = where === "erased";
    }
  }

  /** Records which links of dead processes, named as on a disk, are still `open`: only their messages get an outcome. */
  forsake(open: ReadonlySet<string>): void {
    for (const sent of this.sent.values()) {
      if (sent.orphan && sent.state === "pending" && !open.has(sent.disk!)) this.failed(sent, "forsaken", false);
    }
  }

  /** Records the outcome of a dead process's message that another process has received. */
  recovered(body: string, outcome: string | undefined, resent: boolean): void {
    const sent = this.sent.get(body);
    if (sent === undefined) return this.rule(false, `${body} was recovered and was never sent`);
    if (!sent.orphan) return;
    if (outcome === "accepted") this.accepted(sent, resent);
    else this.failed(sent, outcome, false);
  }

  /** Waits for a promise, which must have settled at the end, and passes it on. */
  wait<T>(what: string, promise: Promise<T>): Promise<T> {
    const number = this.#next++;
    this.waiting.set(number, what);
    const done = (): void => void this.waiting.delete(number);
    promise.then(done, done);
    return promise;
  }

  /** Records a delivery. */
  arrive(body: string): void {
    this.rule(this.sent.has(body), `${body} arrived and was never sent`);
    this.note(`${body} arrives`);
    this.arrived.set(body, (this.arrived.get(body) ?? 0) + 1);
  }

  /** Records that the server has a subscription from now on. */
  subscribed(subscription: Subscribed): void {
    subscription.since ??= { place: this.#next, at: this.#now() };
  }

  /** Sends without an outcome. */
  pending(): string[] {
    return [...this.sent.values()].filter(({ state }) => state === "pending").map(({ body }) => body);
  }

  /** Checks that accepted messages are there, once all queues are empty. `drained` are the last bodies, in order. */
  check(drained: readonly string[]): void {
    const copies = new Map<string, number>();
    for (const body of drained) copies.set(body, (copies.get(body) ?? 0) + 1);
    for (const sent of this.sent.values()) this.#checkOne(sent, copies.get(sent.body) ?? 0);
    this.#checkOrder(drained, copies);
    for (const subscription of this.subscriptions) this.#checkSubscription(subscription);
  }

  #checkOne(sent: Sent, copies: number): void {
    const { body, state, error, left, resent, unit } = sent;
    const arrived = this.arrived.has(body);
    // A server that lost its state lost its messages.
    const kept = sent.at > this.forgot && !sent.address.startsWith("topic/");
    if (unit === undefined) {
      if (state === "accepted" && kept) this.rule(arrived, `${body} was accepted and is lost`);
    } else if (state === "accepted") {
      if (unit.outcome === "committed" && kept) this.rule(arrived, `${body} was committed and is lost`);
    }
    if (unit?.outcome === "rolled-back") this.rule(!arrived, `${body} was rolled back and arrived`);
    if (unit?.outcome === "in-doubt" && arrived && this.forgot < 0) {
      for (const other of unit.members) {
        this.rule(other.state !== "accepted" || this.arrived.has(other.body), `${body} arrived, ${other.body} did not`);
      }
    }
    if (!left) this.rule(!arrived, `${body} had not left and arrived`);
    if (error instanceof OutcomeError && error.outcome !== "lost") {
      this.rule(error.remote, `${body} was ${error.outcome} by nobody`);
      this.rule(!arrived, `${body} was ${error.outcome} and arrived`);
    }
    if (!resent) this.rule(copies <= 1, `${body} is there ${copies} times, and was sent once`);
    if (!resent && this.gone.has(body)) this.rule(copies === 0, `${body} was settled and came again`);
  }

  // Messages sent once keep their order.
  #checkOrder(drained: readonly string[], copies: Map<string, number>): void {
    const last = new Map<number, Sent>();
    for (const body of drained) {
      const sent = this.sent.get(body)!;
      if (sent.link === undefined || sent.resent || copies.get(body)! > 1 || sent.unit !== undefined) continue;
      const before = last.get(sent.link);
      this.rule(before === undefined || before.place < sent.place, `${body} came after ${before?.body}`);
      last.set(sent.link, sent);
    }
  }

  #checkSubscription({ address, arrived, since }: Subscribed): void {
    if (since === undefined || since.at <= this.forgot) return;
    for (const sent of this.sent.values()) {
      if (sent.address !== address || sent.state !== "accepted" || sent.place < since.place) continue;
      this.rule(arrived.has(sent.body), `${sent.body} was accepted, and its subscriber did not get it`);
    }
  }
}

function mayHaveLeft(error: unknown): boolean {
  if (error instanceof SendAbortedError) return error.sent;
  return error instanceof OutcomeError;
}
