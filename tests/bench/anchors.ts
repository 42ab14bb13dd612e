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
import { freePort, HOST, scratch, startDaemon } from "../interop/daemon.ts";
import { installDebian, Skipped } from "../interop/suite.ts";
import { EACH, each, over } from "./anchored.ts";
import { BRING, type Contender, type Measured, PACE, SMALL, WINDOW, type Work } from "./bench.ts";
import { residentBytesOf } from "./memory.ts";

const KEPT = join(tmpdir(), "webamqp-bench-anchors");
const PROTON_BROKER = "/usr/share/proton/examples/c/broker.c";
const PROTON_LIBRARIES = ["-l:libqpid-proton-proactor.so.1", "-l:libqpid-proton-core.so.10", "-lpthread"];

// Many times what a round takes.
const PATIENCE_MS = 50_000;
// Messages of a round through a broker.
const THROUGH = 120_000;
const PACED_WARM_UPS = 8;

const path = (name: string): string => fileURLToPath(new URL(`anchors/${name}`, import.meta.url));

/** The client on Proton's C library, a process for each round. */
export const proton: Contender = {
  works: each(({ work, count, size, window, address }) => (url) => {
    const program = compiled("proton-client", path("client.c"));
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
 * and for all "ws" for WebSocket. What `each` does is what a client can do that costs next to nothing.
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
    each: (url, argument) => {
      const program = rustProgram("rust", "anchor-load");
      return () => run(program, ["take", over(argument, url), EACH.address, EACH.count, EACH.size, EACH.window, 1]);
    },
    fill: (url) => {
      const program = rustProgram("rust", "anchor-load");
      let round = 0;
      return async (count) => void await run(program, ["fill", url, `fill-${round++}`, count, SMALL, WINDOW, 1]);
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

/** Apache ActiveMQ Artemis, its journal on this machine's disk, as it stands in interop. */
export const artemis: Contender = daemon(async () => {
  const port = await freePort();
  return { port, login: "user:secret@", ...await startArtemis(port, scratch(), "fast") };
});

/** Qpid Broker-J, its messages in memory. */
export const brokerJ: Contender = daemon(async () => {
  const { port, daemon } = await startBrokerJ("fast");
  return { port, login: "user:secret@", pid: daemon.pid };
});

/** The broker that comes with Proton's C library as an example. */
export const protonBroker: Contender = daemon(async () => {
  const program = compiled("proton-broker", PROTON_BROKER);
  const port = await freePort();
  return { port, login: "", ...await startDaemon({ command: [program, HOST, `${port}`], folder: scratch(), port }) };
});

function daemon(start: () => Promise<{ port: number; login: string; pid: number }>): Contender {
  let running = 0;
  return {
    works: {},
    async serve() {
      mayBring();
      const { port, login, pid } = await start();
      running = pid;
      return `amqp://${login}${HOST}:${port}`;
    },
    residentBytes: () => residentBytesOf(running),
  };
}

function loading(work: string, url: string, count: number, more: readonly string[]): Work {
  const program = rustProgram("rust", "anchor-load");
  let round = 0;
  return () => run(program, [work, url, `${work}-${round++}`, count, SMALL, WINDOW, ...more]);
}

/** Runs a program that prints a figure, or a median and a 99th percentile. */
async function run(program: string, args: readonly (string | number)[]): Promise<Measured> {
  const running = promisify(execFile)(program, args.map(String), { timeout: PATIENCE_MS });
  const { stdout } = await running.catch((error) => {
    if (error.killed) throw new Error(`Cannot wait for ${program}: no end in ${PATIENCE_MS / 1e3} s`);
    throw error;
  });
  const [first, second] = stdout.split(" ").map(Number) as [number, number?];
  return second === undefined ? first : { p50: first, p99: second };
}

/** A program on Proton's C library, built anew where its source is newer. */
function compiled(name: string, source: string): string {
  mayBring();
  needed("gcc");
  needed("apt-get", "Proton's library comes from Debian");
  installDebian("libqpid-proton11-dev libqpid-proton11-dev-examples", PROTON_BROKER);
  const program = join(KEPT, name);
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
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
  // A failed build is a failure.
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
