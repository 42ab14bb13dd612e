/**
 * What a benchmark is.
 *
 * @module
 */

/** Does something `count` times; a work that measures something itself returns it, several things by their names. */
export type Work = (count: number) => Measured | Promise<Measured>;

/** What a work has measured, if anything. */
export type Measured = void | number | Readonly<Record<string, number>>;

/** Prepares a work against the server at `url`, if there is one, with what its subject says. */
export type Prepare = (url: string, argument: string) => Work | Promise<Work>;

/** One that is compared with others: it can do some of the works, and serve the other side of them. */
export interface Contender {
  /** Its works by name. */
  readonly works: Readonly<Record<string, Prepare>>;
  /** Starts a server for all of its works, and gives its URL. */
  serve?(): Promise<string>;
}

/**
 * How a round of a work becomes a number: operations a second; the median and the 99th percentile of single
 * operations, in microseconds; what the work returns; or how much the server's memory grew, in bytes per operation.
 */
export type Measure = "rate" | "latency" | "value" | "growth";

/** One of the things that a bench measures in turn. */
export interface Subject {
  /** How rows name it. */
  readonly name: string;
  /** The file of the contender that works. */
  readonly client: string;
  /** The file of the contender that serves; none for a work that needs no server. */
  readonly server?: string;
  /** The work's name, if it is not that of the bench. */
  readonly work?: string;
  /** Handed to the work. */
  readonly argument?: string;
}

/** A bound for a ratio, or for a value: the same on all runtimes, or one for each that it is meant for. */
export type Aim = number | Readonly<Partial<Record<string, number>>>;

/** A line of the table: one measured value over another, and what that ratio should be. */
export interface Row {
  /** What is told. */
  readonly title: string;
  /** The subject above the line; with `latency`, followed by `.p50` or `.p99`. */
  readonly value: string;
  /** The subject below the line; none for a value that stands for itself. */
  readonly over?: string;
  /** The most, or the least, that it should be; neither for a row that only tells. */
  readonly most?: Aim;
  /** The least that it should be. */
  readonly least?: Aim;
  /** Whom the row stands beside in the table of the fastest; none for one that is not in it. */
  readonly anchor?: string;
}

/** A group of subjects that are measured in turn, and the rows that come of it. */
export interface Bench {
  /** Chosen by it. */
  readonly name: string;
  /** How rounds become numbers. */
  readonly measure: Measure;
  /** What the numbers count. */
  readonly unit: string;
  /** What numbers are multiplied with to be in that unit. Default: 1. */
  readonly scale?: number;
  /** Operations of a round where time does not decide how many, and with `rate` the least that it may be. */
  readonly count?: number;
  /** Rounds that warm up and are not counted. Default: 2. */
  readonly warmUps?: number;
  /** True for processes of their own in every round, for what only happens once in a process. */
  readonly fresh?: boolean;
  /** Milliseconds that the bytes between client and server take on their way; 0 for none. */
  readonly delayMs?: number;
  /** What is measured. */
  readonly subjects: readonly Subject[];
  /** What is told. */
  readonly rows: readonly Row[];
}

/** Stands for this module where one is to be loaded. */
export const OURS = "ours";
/** The environment variable that lets workers bring programs that are not on this machine. */
export const BRING = "WEBAMQP_BENCH_BRING";
/** Bytes of a small message's body. */
export const SMALL = 200;
/** Bytes of a large message's body. */
export const LARGE = 65_536;
/** Small messages that wait for their outcome at a time. */
export const WINDOW = 1_000;
/** Small messages that wait for their outcome at a time on each of many links. */
export const LINK_WINDOW = 32;
/** Large messages that wait for their outcome at a time. */
export const LARGE_WINDOW = 64;
/** Messages a second where the load is given and the time that each takes is measured. */
export const PACE = 20_000;
/** Connections that are opened in turn for a message each. */
export const FIRST = 300;
/** Milliseconds each way of the slow network. */
export const DELAY_MS = 25;

/** The median and the 99th percentile of times. */
export function quantiles(times: number[]): { p50: number; p99: number } {
  times.sort((a, b) => a - b);
  const quantile = (q: number): number => times[Math.min(times.length - 1, Math.floor(q * times.length))]!;
  return { p50: quantile(0.5), p99: quantile(0.99) };
}

/** A message as applications send them: an id, a type, a handful of properties, a short text. */
export const sample = {
  messageId: "b0a4c1de-5d0c-4b36-8f5e-0f6b6a4f1c11",
  to: "orders",
  subject: "order.created",
  contentType: "application/json",
  applicationProperties: { tenant: "acme", region: "eu-west-1", version: 3, urgent: true },
  body: '{"order":4711,"item":"coffee","count":2}',
} as const;
