/**
 * Workers in workerd, the runtime of Cloudflare.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { Miniflare } from "miniflare";

/**
 * Starts a worker from a module whose imports begin at the top of the tree. Call it outside of tests: esbuild and miniflare
 * keep threads and timers that deno would report as leaks.
 */
export function startWorker(module: string): Miniflare {
  const { outputFiles } = buildSync({
    stdin: { contents: module, resolveDir: fileURLToPath(new URL("../../../", import.meta.url)) },
    bundle: true,
    format: "esm",
    target: "esnext",
    write: false,
  });
  return new Miniflare({
    modules: [{ type: "ESModule", path: "worker.js", contents: outputFiles[0].text }],
    compatibilityDate: "2026-04-01",
    host: "127.0.0.1",
  });
}
