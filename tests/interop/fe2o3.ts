/**
 * fe2o3-amqp and fe2o3-amqp-ws, in Rust: as a client of our broker, and as a container that our client connects to.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { brokerChecks } from "./broker_checks.ts";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, Skipped, type Suite } from "./suite.ts";

const VERSION = "0.18.4";

/** The checks of rust/src/client.rs. */
const CHECKS = [
  "round trip",
  "bodies",
  "5 MB",
  "release, modify, reject",
  "2000 messages",
  "dynamic node",
  "transactions",
  "SCRAM-SHA-256",
  "SCRAM-SHA-512",
  "wrong password",
] as const;

/** Builds the program, which is cached, and starts its container and, on each runtime, our broker. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const program = build();
    const container = spawn(program, ["serve"], { stdio: ["ignore", "pipe", "inherit"] });
    const stop = (): boolean => container.kill("SIGKILL");
    process.once("exit", stop);
    running.defer(() => void stop());
    const [port] = await once(createInterface({ input: container.stdout }), "line") as [string];
    const url = `amqp://${HOST}:${port}`;
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `fe2o3-amqp ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        const clients = (transport: "tcp" | "ws"): Suite["checks"] => {
          let results: Promise<Map<string, string | undefined>> | undefined;
          const run = async (): Promise<Map<string, string | undefined>> =>
            await runChecks([program, "client", `${HOST}:${await runtime.call("listen", {})}`, transport]);
          return Object.fromEntries(CHECKS.map((name) => [`its client over ${transport}: ${name}`, async () => {
            const found = await (results ??= run());
            assertEquals([found.has(name), found.get(name)], [true, undefined]);
          }]));
        };
        const container = brokerChecks(runtime, {
          how: "its container",
          place: (name) => ({ url, address: name, options: { scram: ["user", "secret"] } }),
          redelivers: false,
          // Its queue lasts as long as the connection.
          keeps: false,
          lists: true,
          many: 3_000,
          large: 5_000_000,
        });
        return {
          ...clients("tcp"),
          ...clients("ws"),
          ...container,
          "its container: wrong password": async () => {
            const { code } = await runtime.call("failure", { url, options: { scram: ["user", "guess"] } });
            assertEquals(code, "amqp:unauthorized-access");
          },
        };
      }),
    };
  });
}

function build(): string {
  const folder = join(tmpdir(), `webamqp-interop-rust-${VERSION}`);
  mkdirSync(folder, { recursive: true });
  cpSync(fileURLToPath(new URL("rust/", import.meta.url)), folder, { recursive: true });
  const env = { ...process.env, PATH: `${process.env.PATH}:${join(homedir(), ".cargo", "bin")}` };
  try {
    execFileSync("cargo", ["--version"], { stdio: "ignore", env });
  } catch {
    throw new Skipped("there is no cargo on this machine");
  }
  const cargo = (...args: string[]): void => {
    execFileSync("cargo", [...args, "--quiet"], { cwd: folder, stdio: ["ignore", "inherit", "inherit"], env });
  };
  try {
    cargo("fetch");
  } catch (error) {
    throw new Skipped(`cargo cannot fetch what fe2o3-amqp is built of: ${error}`);
  }
  // Cargo rebuilds only changes. A failed build is a failure.
  cargo("build", "--release");
  return join(folder, "target", "release", "webamqp-interop");
}
