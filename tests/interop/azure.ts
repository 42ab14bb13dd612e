/**
 * The npm packages @azure/service-bus and @azure/event-hubs as clients of the stand-ins of the examples.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { eventHubs } from "../../examples/event_hubs.ts";
import { serviceBus } from "../../examples/service_bus.ts";
import type { Acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { prepared, Skipped, type Suite } from "./suite.ts";

const SERVICE_BUS = "@azure/service-bus@7.9.5";
const EVENT_HUBS = "@azure/event-hubs@6.0.4";
const PACKAGES = [SERVICE_BUS, EVENT_HUBS, "ws@8.23.0"];
const SCRIPTS = ["service_bus.mjs", "event_hubs.mjs"];

/** Installs the clients. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const folder = mkdtempSync(join(tmpdir(), "azure-"));
    running.defer(() => rmSync(folder, { recursive: true }));
    install(folder);
    const bus = (): Acceptor => serviceBus({ queues: { orders: {}, talks: { sessions: true } } });
    const hubs = (): Acceptor => eventHubs({ hubs: { events: {} } });
    return Promise.resolve({
      peer: `${SERVICE_BUS}, ${EVENT_HUBS}`,
      checks: {
        "Service Bus, TCP: send, batch, settle, dead-letter, defer, sessions, schedule": () =>
          run(folder, "service_bus.mjs", "tcp", bus()),
        "Service Bus, WebSocket: the same": () => run(folder, "service_bus.mjs", "ws", bus()),
        "Event Hubs, TCP: properties, batches, positions, keys, owners, all partitions": () =>
          run(folder, "event_hubs.mjs", "tcp", hubs()),
        "Event Hubs, WebSocket: the same": () => run(folder, "event_hubs.mjs", "ws", hubs()),
      },
    });
  });
}

function install(folder: string): void {
  writeFileSync(join(folder, "package.json"), "{}");
  for (const script of SCRIPTS) {
    copyFileSync(fileURLToPath(new URL(`azure/${script}`, import.meta.url)), join(folder, script));
  }
  try {
    execFileSync("npm", ["install", "--no-audit", "--no-fund", ...PACKAGES], { cwd: folder, stdio: "ignore" });
  } catch (error) {
    throw new Skipped(`npm cannot install ${PACKAGES.join(" ")}: ${error}`);
  }
}

async function run(folder: string, script: string, transport: "tcp" | "ws", service: Acceptor): Promise<void> {
  await using listener = await listen({
    port: 0,
    host: HOST,
    acceptor: service,
    subprotocols: ["AMQPWSB10", "amqp"],
  });
  try {
    const program = spawn(process.execPath, [script, String(listener.port), transport], { cwd: folder });
    let errors = "";
    program.stderr.on("data", (text) => errors += text);
    const code = await new Promise((resolve) => program.on("close", resolve));
    if (code !== 0) throw new Error(errors.slice(-1_000));
  } finally {
    await service.close({ timeoutMs: 100 });
  }
}
