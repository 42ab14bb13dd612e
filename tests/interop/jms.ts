/**
 * qpid-jms as a client of our broker, over TCP and WebSocket.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { HOST } from "./daemon.ts";
import { jars, java, runChecks } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "2.7.0";

/** The checks of jvm/Jms.java. */
const CHECKS = [
  "text",
  "bytes",
  "map",
  "large",
  "selector",
  "browser",
  "durable subscriber",
  "shared consumers",
  "commit",
  "rollback",
  "rollback of what was received",
  "recover",
  "temporary queue",
  "temporary topic",
  "priority",
  "expiry",
  "delay",
  "no local",
] as const;

/** Installs qpid-jms and starts our broker. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const classPath = jars(`qpid-jms-${VERSION}`, [
      `org.apache.qpid:qpid-jms-client:${VERSION}`,
      "org.slf4j:slf4j-nop:2.0.16",
    ]);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return Promise.resolve({
      peer: `qpid-jms ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        const over = (scheme: "amqp" | "amqpws"): Suite["checks"] => {
          let results: Promise<Map<string, string | undefined>> | undefined;
          const run = async (): Promise<Map<string, string | undefined>> => {
            const port = await runtime.call("listen", { origins: "any" });
            // A peer on the JVM sends an Origin equal to the host that it dials.
            return await runChecks(java(classPath, "Jms.java", [`${scheme}://${HOST}:${port}`]));
          };
          return Object.fromEntries(CHECKS.map((name) => [`${scheme}: ${name}`, async () => {
            const found = await (results ??= run());
            assertEquals([found.has(name), found.get(name)], [true, undefined]);
          }]));
        };
        return { ...over("amqp"), ...over("amqpws") };
      }),
    });
  });
}
