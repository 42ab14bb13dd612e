/**
 * go-amqp as a client of our broker.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { HOST } from "./daemon.ts";
import { goProgram } from "./golang.ts";
import { runChecks } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "1.7.0";

/** The checks of go/main.go. */
const CHECKS = [
  "round trip",
  "sections and values",
  "large",
  "release, modify, reject",
  "receiver settles second",
  "settled sends",
  "drain",
  "selector",
  "dynamic node",
  "2000 messages",
  "wrong password",
] as const;

/** Builds the program, which is cached, and starts our broker on each runtime. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const program = goProgram("go", `go-amqp-${VERSION}`);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return Promise.resolve({
      peer: `go-amqp ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        let results: Promise<Map<string, string | undefined>> | undefined;
        const run = async (): Promise<Map<string, string | undefined>> =>
          await runChecks([program, `amqp://${HOST}:${await runtime.call("listen", {})}`]);
        return Object.fromEntries(CHECKS.map((name) => [name, async () => {
          const found = await (results ??= run());
          assertEquals([found.has(name), found.get(name)], [true, undefined]);
        }]));
      }),
    });
  });
}
