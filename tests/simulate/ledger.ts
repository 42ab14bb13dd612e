/**
 * What a simulated program has sent, received and waits for, and the rules that must hold of it at the end.
 *
 * @module
 */

import { OutcomeError } from "../../src/base/errors.ts";
import { MOST_DISK_MS } from "./process.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";

/** One message on its way. */
export interface Sent {
  readonly body: string;
  readonly address: string;
  /** Its sender link, and its place on it; undefined where several links may have carried it. */
  readonly link: number | undefined;
  readonly place: number;
  /** True where it is never sent a second time. */
  readonly once: boolean;
  state: "pending" | "accepted" | "failed";
  /** Since when it may be with the server: when it came to its outcome, if that is known. */
  at: number;
  /** What it failed with. */
  error: unknown;
  /** False when nothing of it has left. */
  left: boolean;
  /** The receiver may have it twice. */
  resent: boolean;
  /** The transaction it belongs to. */
  unit: Unit | undefined;
  /** Names the link of its sender on a disk, where it is kept there until it has its outcome. */
  disk: string | undefined;
  /** True once the process that sent it is dead: another one hears of its outcome, or nobody. */
  orphan: boolean;
}

/** What takes effect together, or not at all. */
export interface Unit {
  outcome: "open" | "committed" | "rolled-back" | "in-doubt";
  readonly members: Sent[];
}

/** A subscription that gets what is accepted while it exists. */
export interface Subscribed {
  readonly address: string;
  readonly arrived: Set<string>;
  /** The first message that the server cannot have missed it for, and when; undefined while that is not known. */
  since: { readonly place: number; readonly at: number } | undefined;
}

/** Messages by their body. */
export class Ledger {
  readonly sent: Map<string, Sent> = new Map();
  /** What has come to any receiver, and how often. */
  readonly arrived: Map<string, number> = new Map();
  /** What was accepted for good: told to the server, on a connection that held from then on. */
  readonly gone: Set<string> = new Set();
  readonly subscriptions: Subscribed[] = [];
  /** What is waited for: by a number, what it is. */
  readonly waiting: Map<number, string> = new Map();
  /** When the server lost what it knew, last. */
  forgot = -1;
  /** The rules that were broken. */
  readonly broken: Error[] = [];
  readonly #now: () => number;
  #next = 0;

  readonly #trace: string[];

  /** Starts with nothing, by the clock `now`; adds to `trace` what happens. */
  constructor(now: () => number, trace: string[]) {
    this.#now = now;
    this.#trace = trace;
  }

  /** Adds a line to the trace. */
  note(line: string): void {
    this.#trace.push(`${this.#now()} ${line}`);
  }

  /** Notes a rule that does not hold. It does not throw: programs handle what is thrown in them. */
  rule(holds: boolean, broken: string): void {
    if (!holds) this.broken.push(new Error(broken));
  }

  /** Notes what must not have failed. */
  readonly fault = (error: unknown): void => {
    this.broken.push(error instanceof Error ? error : new Error(String(error)));
  };

  /** A number that nothing else has. */
  number(): number {
    return this.#next++;
  }

  /** Notes a message; the body is made of its address and a number. */
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
   * Notes the outcome of a message when its promise has one; `link` is that which it was sent on, if that is known, and `keeps`
   * says whether both sides of it have kept what was not settled, so that nothing is there twice.
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

  /** Notes that a message was accepted; of those that are sent together it is known only when all of them are. */
  accepted(sent: Sent, resent: boolean, together = false): void {
    this.rule(sent.state === "pending", `${sent.body} has two outcomes`);
    this.note(`${sent.body} is accepted${resent ? ", maybe twice" : ""}`);
    sent.state = "accepted";
    // One that is kept is told only when it is forgotten.
    if (!together) sent.at = this.#now() - (sent.disk === undefined ? 0 : MOST_DISK_MS);
    sent.resent = resent;
  }

  /** Notes that a message has failed, or at least that nobody knows better. */
  failed(sent: Sent, error: unknown, known = true): void {
    this.rule(sent.state === "pending", `${sent.body} has two outcomes`);
    this.note(`${sent.body} has failed: ${error}`);
    sent.state = "failed";
    sent.at = this.#now();
    sent.error = error;
    sent.resent = !sent.once;
    sent.left = !known || mayHaveLeft(error);
  }

  /** Notes that a container's process is dead; `has` looks at what it has kept on its disk. */
  die(container: string, has: (disk: string, body: string) => "kept" | "erased" | undefined): void {
    for (const sent of this.sent.values()) {
      if (!sent.disk?.startsWith(`${container}/`)) continue;
      const where = has(sent.disk, sent.body);
      // What was given up in the last moment is not forgotten yet.
      if (sent.state === "failed" && where === "kept") sent.left = true;
      if (sent.state !== "pending") continue;
      sent.orphan = true;
      if (where === "kept") continue;
      this.note(`${sent.body} has lost who waits for it`);
      sent.state = "failed";
      sent.at = this.#now();
      // A message leaves only when it is kept.
      sent.left = where === "erased";
    }
  }

  /** Notes that of messages whose process is dead only those will have an outcome whose links, as a disk names them, are `open`. */
  forsake(open: ReadonlySet<string>): void {
    for (const sent of this.sent.values()) {
      if (sent.orphan && sent.state === "pending" && !open.has(sent.disk!)) this.failed(sent, "forsaken", false);
    }
  }

  /** Notes the outcome of a message whose process is dead, as another process is told of it. */
  recovered(body: string, outcome: string | undefined, resent: boolean): void {
    const sent = this.sent.get(body);
    if (sent === undefined) return this.rule(false, `${body} was recovered and was never sent`);
    if (!sent.orphan) return;
    if (outcome === "accepted") this.accepted(sent, resent);
    else this.failed(sent, outcome, false);
  }

  /** Waits for a promise, which must have ended when all is over; passes it on. */
  wait<T>(what: string, promise: Promise<T>): Promise<T> {
    const number = this.#next++;
    this.waiting.set(number, what);
    const done = (): void => void this.waiting.delete(number);
    promise.then(done, done);
    return promise;
  }

  /** Notes a delivery. */
  arrive(body: string): void {
    this.rule(this.sent.has(body), `${body} arrived and was never sent`);
    this.note(`${body} arrives`);
    this.arrived.set(body, (this.arrived.get(body) ?? 0) + 1);
  }

  /** Notes that the server has a subscription from now on. */
  subscribed(subscription: Subscribed): void {
    subscription.since ??= { place: this.#next, at: this.#now() };
  }

  /** Sends that have no outcome yet. */
  pending(): string[] {
    return [...this.sent.values()].filter(({ state }) => state === "pending").map(({ body }) => body);
  }

  /** Holds that what was accepted is there, once all queues are empty. `drained` is what came at the end, in order. */
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
    // A server that lost its memory lost the messages in it.
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

  // What was sent once keeps its place.
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
