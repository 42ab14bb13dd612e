/**
 * The definition of a benchmark.
 *
 * @module
 */

/** Runs `count` operations; a work that measures something itself returns one value, or several by name. */
export type Work = (count: number) => Measured | Promise<Measured>;

/** The values that a work has measured itself, if any. */
export type Measured = void | number | Readonly<Record<string, number>>;

/** Prepares a work against the server at `url`, if there is one, with the subject's argument. */
export type Prepare = (url: string, argument: string) => Work | Promise<Work>;

/** A library under comparison: it runs some of the works, and serves the other side of them. */
export interface Contender {
  readonly works: Readonly<Record<string, Prepare>>;
  /** Starts a server for all of its works, and returns its URL. */
  serve?(): Promise<string>;
  /** Bytes that the server occupies, where that is a process of its own. */
  residentBytes?(): number;
}

/**
 * The number of a round: operations a second; the median and the 99th percentile of single operations, in microseconds; the
 * value that the work returns; or the growth of the server's memory, in bytes per operation.
 */
export type Measure = "rate" | "latency" | "value" | "growth";

/** One of the subjects that a bench measures in turn. */
export interface Subject {
  /** The name in rows. */
  readonly name: string;
  /** The contender's file for the client. */
  readonly client: string;
  /** The contender's file for the server; none for a work without one. */
  readonly server?: string;
  /** The work's name. Default: that of the bench. */
  readonly work?: string;
  /** The argument of the work. */
  readonly argument?: string;
}

/** A line of the table: the ratio of two measured values, and its goal. */
export type Aim = number | Readonly<Partial<Record<string, number>>>;

/** A line of the table: one measured value over another, and what that ratio should be. */
export interface Row {
  readonly title: string;
  /** The subject of the numerator; with `latency`, followed by `.p50` or `.p99`. */
  readonly value: string;
  /** The subject of the denominator; none for a value that stands alone. */
  readonly over?: string;
  /** The goal as a maximum; without `most` and `least` the row has none. */
  readonly most?: Aim;
  /** The least that it should be. */
  readonly least?: Aim;
  /** Whom the row stands beside in the table of the fastest; none for one that is not in it. */
  readonly anchor?: string;
}

/** A group of subjects that are measured in turn, with their rows. */
export interface Bench {
  readonly name: string;
  /** The group, whose benches run only when its name, or theirs, is asked for. */
  readonly measure: Measure;
  /** The unit of the numbers. */
  readonly unit: string;
  /** The factor from numbers to `unit`. Default: 1. */
  readonly scale?: number;
  /** Operations of a round of fixed length; for `rate`, the least. */
  readonly count?: number;
  /** True for new processes in every round, to measure what happens only once in a process. */
  readonly warmUps?: number;
  /** True for processes of their own in every round, for what only happens once in a process. */
  readonly fresh?: boolean;
  /** Milliseconds that bytes take each way between client and server; 0 for none. */
  readonly delayMs?: number;
  readonly subjects: readonly Subject[];
  readonly rows: readonly Row[];
}

/** The contender's name of this module. */
export const OURS = "ours";
/** The environment variable that lets workers bring programs that are not on this machine. */
export const BRING = "WEBAMQP_BENCH_BRING";
/** Bytes of a small message's body. */
export const SMALL = 200;
/** Bytes of a large message's body. */
export const LARGE = 65_536;
/** Small messages in flight. */
export const WINDOW = 1_000;
/** Small messages in flight on each of many links. */
export const LINK_WINDOW = 32;
/** Large messages in flight. */
export const LARGE_WINDOW = 64;
/** Messages a second where the load is given and the time of each is measured. */
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

/** A typical message of applications: an id, a type, a handful of properties, a short text. */
export const sample = {
  messageId: "b0a4c1de-5d0c-4b36-8f5e-0f6b6a4f1c11",
  to: "orders",
  subject: "order.created",
  contentType: "application/json",
  applicationProperties: { tenant: "acme", region: "eu-west-1", version: 3, urgent: true },
  body: '{"order":4711,"item":"coffee","count":2}',
} as const;
