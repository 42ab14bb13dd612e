/**
 * Runs one worker in workerd, as a program of its own: the first line of its input says what to run, its first line of
 * output where, and when the input ends it stops.
 *
 * A program, because what miniflare leaves to be cleaned up after its end would count as a leak of the test.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

/** What to run. */
export interface WorkerConfig {
  /** The worker as one ES module. */
  readonly code: string;
  /** What the worker finds in its `env`. */
  readonly bindings?: Readonly<Record<string, string>>;
  /** Durable Objects that it finds there too: the classes that it exports for them, by name. */
  readonly durableObjects?: Readonly<Record<string, string>>;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { code, ...config }: WorkerConfig = JSON.parse(line);
  const miniflare = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.js", contents: code }],
    ...config,
    // Without `nodejs_compat`: what runs here runs on every edge runtime with WebSockets.
    compatibilityDate: "2026-04-01",
    host: "127.0.0.1",
    port: 0,
  });
  process.stdout.write(`${await miniflare.ready}\n`);
}
// On the way out miniflare kills workerd and removes its files; `dispose` would not wait for the latter.
process.exit();
