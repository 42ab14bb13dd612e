/**
 * Runs one worker in workerd, as a separate process: the first line of its input is the configuration, its first line of
 * output the URL, and it stops when the input ends.
 *
 * Separate, because resources that miniflare leaves behind would count as a leak of the test.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

/** The configuration. */
export interface WorkerConfig {
  /** The worker as one ES module. */
  readonly code: string;
  /** Flags beyond those that every edge runtime has, such as `nodejs_compat`. Default: none. */
  readonly compatibilityFlags?: readonly string[];
  /** The worker's `env`. */
  readonly bindings?: Readonly<Record<string, string>>;
  /** Durable Objects in `env`: the names of their exported classes. */
  readonly durableObjects?: Readonly<Record<string, string>>;
}

// A separate folder, since `dispose` does not wait until its files are gone.
const folder = mkdtempSync(join(tmpdir(), "workerd-"));
process.env.TMPDIR = folder;

let miniflare: Miniflare | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const { code, compatibilityFlags = [], ...config }: WorkerConfig = JSON.parse(line);
  miniflare = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.js", contents: code }],
    ...config,
    // Without `nodejs_compat`, unless asked for, as on every edge runtime with WebSockets.
    compatibilityFlags: [...compatibilityFlags],
    compatibilityDate: "2026-04-01",
    host: "127.0.0.1",
    port: 0,
  });
  process.stdout.write(`${await miniflare.ready}\n`);
}
await miniflare?.dispose();
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
// Under deno, timers left by miniflare would keep the process alive for some seconds.
process.exit();
