/**
 * The npm package @azure/service-bus as client of the stand-in for Service Bus of the examples.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { serviceBus } from "../../examples/service_bus.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { prepared, Skipped, type Suite } from "./suite.ts";

const VERSION = "7.9.5";
const SCRIPT = fileURLToPath(new URL("azure/service_bus.mjs", import.meta.url));

/** Installs the client, and starts the stand-in. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const folder = mkdtempSync(join(tmpdir(), "service-bus-"));
    running.defer(() => rmSync(folder, { recursive: true }));
    install(folder);
    return Promise.resolve({
      peer: `@azure/service-bus ${VERSION}`,
      checks: {
        "TCP: send, batch, settle, dead-letter, defer, sessions, schedule": () => run(folder, "tcp"),
        "WebSocket: the same": () => run(folder, "ws"),
      },
    });
  });
}

function install(folder: string): void {
  writeFileSync(join(folder, "package.json"), "{}");
  copyFileSync(SCRIPT, join(folder, "service_bus.mjs"));
  const packages = [`@azure/service-bus@${VERSION}`, "ws@8.23.0"];
  try {
    execFileSync("npm", ["install", "--no-audit", "--no-fund", ...packages], { cwd: folder, stdio: "ignore" });
  } catch (error) {
    throw new Skipped(`npm cannot install ${packages.join(" ")}: ${error}`);
  }
}

async function run(folder: string, transport: "tcp" | "ws"): Promise<void> {
  const bus = serviceBus({ queues: { orders: {}, talks: { sessions: true } } });
  await using listener = await listen({ port: 0, host: HOST, acceptor: bus, subprotocols: ["AMQPWSB10", "amqp"] });
  try {
    const program = spawn(process.execPath, ["service_bus.mjs", String(listener.port), transport], { cwd: folder });
    let errors = "";
    program.stderr.on("data", (text) => errors += text);
    const code = await new Promise((resolve) => program.on("close", resolve));
    if (code !== 0) throw new Error(errors.slice(-1_000));
  } finally {
    await bus.close({ timeoutMs: 100 });
  }
}
