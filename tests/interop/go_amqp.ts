/**
 * go-amqp as a client of our broker.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, Skipped, type Suite } from "./suite.ts";

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
    const program = build();
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

function build(): string {
  const folder = join(tmpdir(), "webamqp-interop-go");
  const program = join(folder, `go-amqp-${VERSION}`);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const source = fileURLToPath(new URL("go/", import.meta.url));
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/local/go/bin` };
  try {
    execFileSync("go", ["version"], { stdio: "ignore", env });
  } catch {
    throw new Skipped("there is no Go on this machine");
  }
  execFileSync("go", ["build", "-o", program, "."], { cwd: source, stdio: ["ignore", "inherit", "inherit"], env });
  return program;
}
