/**
 * azure-servicebus of PyPI, whose AMQP is pyamqp, as client of the stand-in for Service Bus of the examples.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { serviceBus } from "../../examples/service_bus.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { python } from "./python.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "7.15.0";

/** What python/service_bus.py checks. */
const CHECKS = [
  "send, batch, peek",
  "complete, abandon, dead-letter, defer",
  "renew lock",
  "lock that runs out",
  "schedule, cancel",
  "sessions",
  "receive and delete",
  "200 with prefetch",
] as const;

/** Brings the client, and starts the stand-in. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const interpreter = python("azure", [`azure-servicebus==${VERSION}`, "websocket-client==1.9.2"]);
    const program = fileURLToPath(new URL("python/service_bus.py", import.meta.url));
    const checks = (transport: "tcp" | "ws"): Suite["checks"] => {
      let results: Promise<Map<string, string | undefined>> | undefined;
      const run = async (): Promise<Map<string, string | undefined>> => {
        const bus = serviceBus({ queues: { orders: {}, quick: { lockMs: 500 }, talks: { sessions: true } } });
        running.defer(() => bus.close({ timeoutMs: 100 }));
        const subprotocols = ["AMQPWSB10", "amqp"];
        const { port } = running.use(
          await listen({ port: 0, host: HOST, acceptor: bus, subprotocols, origins: "same-host" }),
        );
        return await runChecks([interpreter, program, String(port), transport]);
      };
      return Object.fromEntries(CHECKS.map((name) => [`${transport}: ${name}`, async () => {
        const found = await (results ??= run());
        assertEquals([found.has(name), found.get(name)], [true, undefined]);
      }]));
    };
    return Promise.resolve({
      peer: `azure-servicebus ${VERSION}`,
      checks: { ...checks("tcp"), ...checks("ws") },
    });
  });
}
