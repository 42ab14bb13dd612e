/**
 * The fastest software of other languages: a client on Proton's C library, brokers on the JVM, and in front of the clients a
 * server in Rust that costs next to nothing. Brought by Debian, cargo and Maven where they are, and kept.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { anonymous, connect, type Delivery, publish, type Sender } from "../../mod.ts";
import { freePort, HOST, scratch } from "../interop/daemon.ts";
import { startArtemis } from "../interop/artemis.ts";
import { startBrokerJ } from "../interop/broker_j.ts";
import { installDebian, Skipped } from "../interop/suite.ts";
import { type Contender, LARGE, LARGE_WINDOW, type Prepare, quantiles, SMALL, WINDOW } from "./bench.ts";

const KEPT = join(tmpdir(), "webamqp-bench-anchors");
const PROTON_HEADER = "/usr/include/proton/proactor.h";
const PROTON_LIBRARIES = ["-l:libqpid-proton-proactor.so.1", "-l:libqpid-proton-core.so.10"];

const path = (name: string): string => fileURLToPath(new URL(`anchors/${name}`, import.meta.url));

/** What a work of this file does: how many operations a round has, what each sends, and how many wait at a time. */
interface Load {
  readonly work: "send" | "receive" | "publish";
  readonly count: number;
  readonly size: number;
  readonly window: number;
  /** Where the server takes or supplies it. */
  readonly address: string;
}

const loads: Readonly<Record<string, Load>> = {
  send: { work: "send", count: 300_000, size: SMALL, window: WINDOW, address: "sink" },
  receive: { work: "receive", count: 300_000, size: SMALL, window: WINDOW, address: `${SMALL}` },
  each: { work: "receive", count: 150_000, size: SMALL, window: WINDOW, address: `${SMALL}:each` },
  up: { work: "send", count: 8_000, size: LARGE, window: LARGE_WINDOW, address: "sink" },
  down: { work: "receive", count: 8_000, size: LARGE, window: LARGE_WINDOW, address: `${LARGE}` },
  publish: { work: "publish", count: 300, size: SMALL, window: 1, address: "sink" },
};

/** The client on Proton's C library, a process for each round. */
export const proton: Contender = {
  works: each((load) => (url) => {
    const program = protonClient();
    const { work, count, size, window, address } = load;
    const args = [work, count, size, window, address].map(String);
    return () => {
      const [first, second] = execFileSync(program, [new URL(url).host, ...args], { encoding: "utf8" }).split(" ");
      return second === undefined ? Number(first) : { p50: Number(first), p99: Number(second) };
    };
  }),
};

/** Our client, measured as that one is: over TCP, or with "ws" over WebSocket. */
export const anchored: Contender = {
  works: each(({ work, count, size, window, address }) => async (url, argument) => {
    const place = argument === "ws" ? url.replace("amqp:", "ws:") : url;
    const body = new Uint8Array(size);
    const options = { auth: anonymous() };
    if (work === "publish") {
      return async () => {
        const times: number[] = [];
        while (times.length < count) {
          const started = performance.now();
          await publish(place, address, { body }, options);
          times.push((performance.now() - started) * 1e3);
        }
        return quantiles(times);
      };
    }
    const connection = await connect(place, options);
    if (work === "send") {
      const sender = connection.sender(address);
      await sender.ready();
      return async () => {
        await sending(sender, body, Math.ceil(count / 5), window);
        return await perSecond(count, () => sending(sender, body, count, window));
      };
    }
    return async () => {
      const receiver = connection.receiver({ address, credit: window });
      const deliveries = receiver[Symbol.asyncIterator]();
      await taking(deliveries, Math.ceil(count / 5));
      const rate = await perSecond(count, () => taking(deliveries, count));
      await receiver.close();
      return rate;
    };
  }),
};

/** The server in Rust. */
export const rust: Contender = { works: {}, serve: async () => `amqp://${HOST}:${await startServer()}` };

/** ActiveMQ Artemis, its journal on this machine's disk, as it stands in interop. */
export const artemis: Contender = {
  works: {},
  async serve() {
    const port = await freePort();
    await startArtemis(port, scratch(), "fast");
    return `amqp://user:secret@${HOST}:${port}`;
  },
};

/** Qpid Broker-J, its messages in memory. */
export const brokerJ: Contender = {
  works: {},
  serve: async () => `amqp://user:secret@${HOST}:${(await startBrokerJ("fast")).port}`,
};

function each(prepare: (load: Load) => Prepare): Record<string, Prepare> {
  return Object.fromEntries(Object.entries(loads).map(([name, load]) => [name, prepare(load)]));
}

async function sending(sender: Sender, body: Uint8Array, count: number, window: number): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await sender.send({ body });
  };
  await Promise.all(Array.from({ length: window }, lane));
}

async function taking(deliveries: AsyncIterator<Delivery>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) void (await deliveries.next()).value.message.body;
}

async function perSecond(count: number, run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return count / (performance.now() - started) * 1e3;
}

function protonClient(): string {
  const program = join(KEPT, "proton-client");
  const source = path("client.c");
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
  needed("gcc");
  needed("apt-get", "Proton's library comes from Debian");
  installDebian("libqpid-proton11-dev", PROTON_HEADER);
  mkdirSync(KEPT, { recursive: true });
  execFileSync("gcc", ["-O2", source, "-o", program, ...PROTON_LIBRARIES]);
  return program;
}

async function startServer(): Promise<string> {
  needed("cargo");
  const env = { ...process.env, CARGO_TARGET_DIR: KEPT };
  execFileSync("cargo", ["build", "--quiet", "--release", "--locked"], { cwd: path("server"), env, stdio: "inherit" });
  const child = spawn(join(KEPT, "release", "anchor-server"), { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill());
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error("Cannot start the server in Rust");
}

function needed(tool: string, why = `there is no ${tool} on this machine`): void {
  try {
    execFileSync(tool, ["--version"], { stdio: "ignore" });
  } catch {
    throw new Skipped(why);
  }
}
