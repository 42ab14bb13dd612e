/**
 * Proton of PyPI as a client of our broker: bodies, outcomes, selectors, browsing, durable subscriptions, transactions; and as a
 * broker that is killed under load.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { restartChecks, startProton } from "./proton.ts";
import { python } from "./python.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "0.40.0";

/** The checks of python/checks.py. */
const CHECKS = [
  "bodies of all kinds",
  "properties",
  "10 MB",
  "outcomes",
  "selector",
  "browse",
  "500 settled",
  "refused address",
  "durable subscription",
  "transactions",
] as const;

/** Installs Proton from PyPI, cached for the next run, and starts our broker. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const interpreter = python("proton", [`python-qpid-proton==${VERSION}`]);
    const program = fileURLToPath(new URL("python/checks.py", import.meta.url));
    const broker = running.use(await startProton(interpreter));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `python-qpid-proton ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        let results: Promise<Map<string, string | undefined>> | undefined;
        const run = async (): Promise<Map<string, string | undefined>> =>
          await runChecks([interpreter, program, `amqp://${HOST}:${await runtime.call("listen")}`]);
        const checks = Object.fromEntries(CHECKS.map((name) => [name, async () => {
          const found = await (results ??= run());
          assertEquals([found.has(name), found.get(name)], [true, undefined]);
        }]));
        return { ...checks, ...restartChecks(runtime, broker, "its example broker") };
      }),
    };
  });
}
