/**
 * azservicebus and azeventhubs, the Azure clients of Go, as clients of the stand-ins of the examples.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { eventHubs } from "../../examples/event_hubs.ts";
import { serviceBus } from "../../examples/service_bus.ts";
import type { Acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { goProgram } from "./golang.ts";
import { runChecks } from "./maven.ts";
import { prepared, type Suite } from "./suite.ts";

interface Service {
  readonly name: string;
  readonly make: () => Acceptor;
  /** The checks of go_azure/main.go. */
  readonly checks: readonly string[];
}

const SERVICES: Readonly<Record<"sb" | "eh", Service>> = {
  sb: {
    name: "Service Bus",
    make: () => serviceBus({ queues: { orders: {}, quick: { lockMs: 500 }, talks: { sessions: true } } }),
    checks: [
      "send, batch, peek",
      "complete, abandon, dead-letter, defer, renew",
      "schedule, cancel",
      "sessions",
      "receive and delete, 500",
      "lock that runs out",
      "unknown queue",
    ],
  },
  eh: {
    name: "Event Hubs",
    make: () => eventHubs({ hubs: { events: {} } }),
    checks: ["properties", "batch, positions", "partition key", "unknown partition"],
  },
};

/** Builds the program, which is cached, and runs all its checks. */
export function prepare(): Promise<Suite> {
  return prepared(async () => {
    const program = goProgram("go_azure", "azure");
    const checks: Record<string, () => Promise<void>> = {};
    for (const [kind, { name, make, checks: names }] of Object.entries(SERVICES)) {
      for (const transport of ["tcp", "ws"]) {
        const service = make();
        await using listener = await listen({ port: 0, host: HOST, acceptor: service, origins: "same-host" });
        const found = await runChecks([program, String(listener.port), kind, transport]);
        await service.close({ timeoutMs: 100 });
        for (const check of names) {
          checks[`${name}, ${transport}: ${check}`] = () =>
            Promise.resolve(assertEquals([found.has(check), found.get(check)], [true, undefined]));
        }
      }
    }
    return { peer: "azservicebus 1.10, azeventhubs 1.4", checks };
  });
}
