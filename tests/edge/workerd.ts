/**
 * Workers in workerd, the runtime of Cloudflare Workers.
 *
 * @module
 */

import { start } from "../program.ts";
import type { WorkerConfig } from "./workerd_host.ts";

/** A worker that serves requests. */
export interface Worker extends AsyncDisposable {
  /** The worker's URL. */
  readonly url: URL;
}

/** Starts a worker on loopback; disposal waits until its process has ended. */
export async function startWorker(config: WorkerConfig): Promise<Worker> {
  const host = start("tests/edge/workerd_host.ts");
  host.input.write(`${JSON.stringify(config)}\n`);
  const { value } = await host.lines.next();
  if (value === undefined) throw new Error(`Cannot start worker: host ended with status ${await host.end()}`);
  return {
    url: new URL(value),
    async [Symbol.asyncDispose](): Promise<void> {
      await host.end();
    },
  };
}
