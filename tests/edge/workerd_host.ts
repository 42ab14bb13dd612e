/**
 * Runs one worker in workerd, as a program of its own: the first line of its input says what to run, its first line of
 * output where, and when the input ends it stops.
 *
 * A program, because what miniflare leaves to be cleaned up after its end would count as a leak of the test.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

/** What to run. */
export interface WorkerConfig {
  /** The worker as one ES module. */
  readonly code: string;
  /** What workerd is to do over what runs on every edge runtime, such as `nodejs_compat`. Default: nothing. */
  readonly compatibilityFlags?: readonly string[];
  /** What the worker finds in its `env`. */
  readonly bindings?: Readonly<Record<string, string>>;
  /** Durable Objects that it finds there too: the classes that it exports for them, by name. */
  readonly durableObjects?: Readonly<Record<string, string>>;
}

// A folder of our own, since `dispose` does not wait until its files are gone.
const folder = mkdtempSync(join(tmpdir(), "workerd-"));
process.env.TMPDIR = folder;

let miniflare: Miniflare | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const { code, compatibilityFlags = [], ...config }: WorkerConfig = JSON.parse(line);
  miniflare = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.js", contents: code }],
    ...config,
    // Without `nodejs_compat`, unless asked for: what runs here runs on every edge runtime with WebSockets.
    compatibilityFlags: [...compatibilityFlags],
    compatibilityDate: "2026-04-01",
    host: "127.0.0.1",
    port: 0,
  });
  process.stdout.write(`${await miniflare.ready}\n`);
}
await miniflare?.dispose();
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
// Under deno, timers that miniflare has left would keep it alive for some seconds.
process.exit();
