/**
 * azure-servicebus and azure-eventhub of PyPI, whose AMQP is pyamqp, as clients of the stand-ins of the examples.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { eventHubs } from "../../examples/event_hubs.ts";
import { serviceBus } from "../../examples/service_bus.ts";
import type { Acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { python } from "./python.ts";
import { prepared, type Suite } from "./suite.ts";

const SERVICE_BUS = "azure-servicebus==7.15.0";
const EVENT_HUBS = "azure-eventhub==5.15.1";

interface Service {
  readonly name: string;
  /** The program in the folder `python`, and what it checks. */
  readonly program: string;
  readonly checks: readonly string[];
  readonly make: () => Acceptor;
}

const SERVICES: readonly Service[] = [{
  name: "Service Bus",
  program: "service_bus.py",
  checks: [
    "send, batch, peek",
    "complete, abandon, dead-letter, defer",
    "renew lock",
    "lock that runs out",
    "schedule, cancel",
    "sessions",
    "receive and delete",
    "200 with prefetch",
  ],
  make: () => serviceBus({ queues: { orders: {}, quick: { lockMs: 500 }, talks: { sessions: true } } }),
}, {
  name: "Event Hubs",
  program: "event_hubs.py",
  checks: [
    "properties",
    "single, batch, list",
    "positions",
    "partition key",
    "last enqueued",
    "owners",
    "unknown partition",
    "batch of 1,000",
    "200,000 bytes",
  ],
  make: () => eventHubs({ hubs: { events: {} } }),
}];

/** Brings the clients, and starts the stand-ins. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const interpreter = python("azure", [SERVICE_BUS, EVENT_HUBS, "websocket-client==1.9.2"]);
    const checks = ({ name, program, checks, make }: Service, transport: "tcp" | "ws"): Suite["checks"] => {
      let results: Promise<Map<string, string | undefined>> | undefined;
      const run = async (): Promise<Map<string, string | undefined>> => {
        const service = make();
        running.defer(() => service.close({ timeoutMs: 100 }));
        const subprotocols = ["AMQPWSB10", "amqp"];
        const { port } = running.use(
          await listen({ port: 0, host: HOST, acceptor: service, subprotocols, origins: "same-host" }),
        );
        const file = fileURLToPath(new URL(`python/${program}`, import.meta.url));
        return await runChecks([interpreter, file, String(port), transport]);
      };
      return Object.fromEntries(checks.map((check) => [`${name}, ${transport}: ${check}`, async () => {
        const found = await (results ??= run());
        assertEquals([found.has(check), found.get(check)], [true, undefined]);
      }]));
    };
    const all = SERVICES.flatMap((service) => [checks(service, "tcp"), checks(service, "ws")]);
    return Promise.resolve({ peer: `${SERVICE_BUS}, ${EVENT_HUBS}`, checks: Object.assign({}, ...all) });
  });
}
