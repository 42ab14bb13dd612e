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
  /** The program in the folder `python`, and its checks. */
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

/** Installs the clients, and runs all their checks, which takes longer than one check may. */
export function prepare(): Promise<Suite> {
  return prepared(async () => {
    const interpreter = python("azure", [SERVICE_BUS, EVENT_HUBS, "websocket-client==1.9.2"]);
    const checks: Record<string, () => Promise<void>> = {};
    for (const service of SERVICES) {
      for (const transport of ["tcp", "ws"] as const) {
        const found = await run(interpreter, service, transport);
        for (const check of service.checks) {
          checks[`${service.name}, ${transport}: ${check}`] = () =>
            Promise.resolve(assertEquals([found.has(check), found.get(check)], [true, undefined]));
        }
      }
    }
    return { peer: `${SERVICE_BUS}, ${EVENT_HUBS}`, checks };
  });
}

async function run(
  interpreter: string,
  { program, make }: Service,
  transport: "tcp" | "ws",
): Promise<Map<string, string | undefined>> {
  const service = make();
  const subprotocols = ["AMQPWSB10", "amqp"];
  await using listener = await listen({ port: 0, host: HOST, acceptor: service, subprotocols, origins: "same-host" });
  const file = fileURLToPath(new URL(`python/${program}`, import.meta.url));
  try {
    return await runChecks([interpreter, file, String(listener.port), transport]);
  } finally {
    await service.close({ timeoutMs: 100 });
  }
}
