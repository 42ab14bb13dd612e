/**
 * The fastest software of other languages: clients on Proton's C library and on fe2o3-amqp, brokers on the JVM, and, in Rust,
 * a server in front of clients and a load for brokers that cost next to nothing. Brought by Debian, cargo and Maven, and kept.
 *
 * @module
 */

import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startArtemis } from "../interop/artemis.ts";
import { startBrokerJ } from "../interop/broker_j.ts";
import { freePort, HOST, scratch } from "../interop/daemon.ts";
import { installDebian, Skipped } from "../interop/suite.ts";
import { each, over } from "./anchored.ts";
import { BRING, type Contender, type Measured, PACE, SMALL, WINDOW, type Work } from "./bench.ts";

const KEPT = join(tmpdir(), "webamqp-bench-anchors");
const PROTON_HEADER = "/usr/include/proton/proactor.h";
const PROTON_LIBRARIES = ["-l:libqpid-proton-proactor.so.1", "-l:libqpid-proton-core.so.10"];

// Many times what a round takes.
const PATIENCE_MS = 18_000;
// Messages of a round through a broker.
const THROUGH = 120_000;
const PACED_WARM_UPS = 8;

const path = (name: string): string => fileURLToPath(new URL(`anchors/${name}`, import.meta.url));

/** The client on Proton's C library, a process for each round. */
export const proton: Contender = {
  works: each(({ work, count, size, window, address }) => (url) => {
    const program = protonClient();
    return () => run(program, [new URL(url).host, work, count, size, window, address]);
  }),
};

/** The client on fe2o3-amqp, a process for each round: over TCP, or with the argument "ws" over WebSocket. */
export const fe2o3: Contender = {
  works: each(({ work, count, size, window, address }) => (url, argument) => {
    const program = rustProgram("fe2o3", "anchor-fe2o3");
    return () => run(program, [over(argument, url), work, count, size, window, address]);
  }),
};

/**
 * Load for a broker, a process for each round. The argument of `through` is a number of pairs, then "shared" for one queue,
 * and for both "ws" for WebSocket.
 */
export const load: Contender = {
  works: {
    through: (url, argument) =>
      loading("through", over(argument, url), THROUGH, argument.split(" ").filter((word) => word !== "ws")),
    paced: async (url) => {
      // At this pace a JVM would take minutes to compile what it runs.
      const through = loading("through", url, THROUGH, ["1"]);
      for (let i = 0; i < PACED_WARM_UPS; i++) await through(1);
      return loading("paced", url, PACE, [`${PACE}`]);
    },
  },
};

/** The server in Rust. */
export const rust: Contender = {
  works: {},
  async serve() {
    const child = spawn(rustProgram("rust", "anchor-server"), { stdio: ["ignore", "pipe", "inherit"] });
    process.once("exit", () => child.kill());
    // A client may wait for it to come back.
    child.once("exit", () => process.exit(1));
    for await (const line of createInterface({ input: child.stdout })) return `amqp://${HOST}:${line}`;
    throw new Error("Cannot start the server in Rust");
  },
};

/** ActiveMQ Artemis, its journal on this machine's disk, as it stands in interop. */
export const artemis: Contender = {
  works: {},
  async serve() {
    mayBring();
    const port = await freePort();
    await startArtemis(port, scratch(), "fast");
    return `amqp://user:secret@${HOST}:${port}`;
  },
};

/** Qpid Broker-J, its messages in memory. */
export const brokerJ: Contender = {
  works: {},
  async serve() {
    mayBring();
    return `amqp://user:secret@${HOST}:${(await startBrokerJ("fast")).port}`;
  },
};

function loading(work: string, url: string, count: number, more: readonly string[]): Work {
  const program = rustProgram("rust", "anchor-load");
  let round = 0;
  return () => run(program, [work, url, `${work}-${round++}`, count, SMALL, WINDOW, ...more]);
}

/** Runs a program that prints a figure, or a median and a 99th percentile. */
async function run(program: string, args: readonly (string | number)[]): Promise<Measured> {
  const { stdout } = await promisify(execFile)(program, args.map(String), { timeout: PATIENCE_MS });
  const [first, second] = stdout.split(" ").map(Number) as [number, number?];
  return second === undefined ? first : { p50: first, p99: second };
}

function protonClient(): string {
  mayBring();
  const program = join(KEPT, "proton-client");
  const source = path("client.c");
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
  needed("gcc");
  needed("apt-get", "Proton's library comes from Debian");
  installDebian("libqpid-proton11-dev", PROTON_HEADER);
  execFileSync("gcc", ["-O2", source, "-o", program, ...PROTON_LIBRARIES]);
  return program;
}

/** Builds what has changed of a package in Rust. */
function rustProgram(folder: string, name: string): string {
  mayBring();
  const env = {
    ...process.env,
    PATH: `${process.env.PATH}:${join(homedir(), ".cargo", "bin")}`,
    CARGO_TARGET_DIR: KEPT,
  };
  needed("cargo", undefined, env);
  const cargo = (...args: string[]): void => {
    const stdio = ["ignore", "inherit", "inherit"] as const;
    execFileSync("cargo", [...args, "--quiet", "--locked"], { cwd: path(folder), env, stdio: [...stdio] });
  };
  try {
    cargo("fetch");
  } catch (error) {
    throw new Skipped(`cargo cannot fetch what ${name} is built of: ${error}`);
  }
  // What cannot be built is a failure.
  cargo("build", "--release");
  return join(KEPT, "release", name);
}

/** Whoever has not asked for programs of others gets none; once they were asked for, they are used. */
function mayBring(): void {
  if (process.env[BRING] !== undefined) mkdirSync(KEPT, { recursive: true });
  else if (!existsSync(KEPT)) throw new Skipped("`npm run bench -- anchors` brings it");
}

function needed(tool: string, why = `there is no ${tool} on this machine`, env = process.env): void {
  try {
    execFileSync(tool, ["--version"], { stdio: "ignore", env });
  } catch {
    throw new Skipped(why);
  }
}
