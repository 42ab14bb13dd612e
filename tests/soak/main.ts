/**
 * Soaks: `npm run soak -- --messages 17000 --cuts 100` sends so many messages each way under Deno, Bun and Node, over TCP and
 * WebSockets, with our broker and a rhea server, while so many connections of each combination break; `--first` cuts of the
 * first one. `--minutes 10 [--on node] [--scheme ws] [--most BYTES]` soaks one connection with our broker for so long, prints the memory of
 * both sides every ten seconds, and ends with status 1 if a heap has grown.
 *
 * @module
 */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type LastingOptions, lasts, serveLasting } from "./lasting.ts";
import { growthOf, megabytes, memoryOf, type MemorySample, print } from "./memory.ts";
import { soak, type SoakOptions, type SoakReport } from "./soak.ts";

const RUNTIMES = {
  deno: ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc"],
  bun: [],
  node: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
} as const;
// Milliseconds between memory samples of a lasting soak.
const SAMPLE_MS = 10_000;
// The difference of heap and buffers that is no growth.
const MAX_GROWTH_BYTES = 2_097_152;
type RuntimeName = keyof typeof RUNTIMES;

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "17000" },
    cuts: { type: "string", default: "100" },
    first: { type: "string" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string" },
    // The byte at which each connection of a lasting soak is cut at the latest.
    most: { type: "string", default: "400000" },
    scheme: { type: "string", default: "ws" },
    on: { type: "string", default: "deno,bun,node" },
    // One combination in this process, for a parent that reads the report.
    one: { type: "string" },
    // The client of a lasting soak, likewise.
    client: { type: "string" },
  },
});
const messages = Number(values.messages);
const seed = Number(values.seed);
const names = values.on.split(",") as RuntimeName[];

if (values.one !== undefined) console.log(JSON.stringify(await soak(JSON.parse(values.one))));
else if (values.client !== undefined) await client(JSON.parse(values.client));
else if (values.minutes !== undefined) {
  for (const name of names) await last(name, Number(values.minutes) * 60_000);
} else await all();

async function all(): Promise<void> {
  const sum = { sent: 0, received: 0, cuts: 0 };
  let cuts = Number(values.first ?? values.cuts);
  for (const name of names) {
    for (const server of ["broker", "rhea"] as const) {
      for (const scheme of ["amqp", "ws"] as const) {
        const report = await runOn(name, { scheme, server, messages, cuts, seed, most: room(cuts) });
        cuts = Number(values.cuts);
        const { rst, fin, stall } = report.cuts;
        console.log(
          `${name.padEnd(4)} ${scheme.padEnd(4)} ${
            server.padEnd(6)
          } ${report.sent} sent, ${report.received} received; ` +
            `${report.resent} went out again, ${report.twice} came twice; ${rst} rst, ${fin} fin, ${stall} stalls; ` +
            `${report.seconds} s`,
        );
        sum.sent += report.sent;
        sum.received += report.received;
        sum.cuts += rst + fin + stall;
      }
    }
  }
  console.log(`${sum.sent} sent, ${sum.received} received, ${sum.cuts} connections cut: the books agree`);
}

// The byte at which connections break, small enough for all cuts: a message costs some 500 bytes, both ways.
function room(cuts: number): number {
  return Math.max(4_000, Math.floor(messages * 500 / cuts));
}

function runOn(name: RuntimeName, options: SoakOptions): Promise<SoakReport> {
  const child = startOn(name, "--one", options);
  let output = "";
  child.stdout.on("data", (piece) => output += piece);
  return new Promise((resolve, reject) => {
    child.on("close", (code) => {
      // Node's test runner, which the harness uses, adds lines of its own.
      const report = output.split("\n").find((line) => line.startsWith("{"));
      if (code === 0 && report !== undefined) resolve(JSON.parse(report));
      else reject(new Error(`${name} with ${JSON.stringify(options)} ended with status ${code}: ${output}`));
    });
  });
}

function startOn(
  name: RuntimeName,
  role: "--one" | "--client",
  options: unknown,
): ChildProcessByStdio<null, Readable, null> {
  const program = fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url));
  const args = [...RUNTIMES[name], fileURLToPath(import.meta.url), role, JSON.stringify(options)];
  return spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
}

async function client(options: LastingOptions): Promise<void> {
  await lasts(options, (progress) => console.log(JSON.stringify({ ...progress, memory: memoryOf() })));
  process.exit(0);
}

// The client has a process of its own, so that its growth can be told apart.
async function last(name: RuntimeName, ms: number): Promise<void> {
  const server = await serveLasting(seed, Number(values.most));
  const url = `${values.scheme}://127.0.0.1:${server.port}/`;
  const child = startOn(name, "--client", { url, ms, everyMs: SAMPLE_MS });
  const closed = once(child, "close");
  const samples: { client: MemorySample; server: MemorySample }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("{")) continue;
    const { seconds, sent, received, resent, reconnects, memory } = JSON.parse(line);
    const sample = { client: memory, server: memoryOf() };
    samples.push(sample);
    console.log(
      `${name} ${seconds} s: ${sent} sent, ${received} received, ${resent} went out again, ${reconnects} reconnects, ` +
        `${server.cuts()} cuts; client ${print(sample.client)}; broker ${print(sample.server)}`,
    );
  }
  const [code] = await closed;
  if (code !== 0) throw new Error(`${name} ended with status ${code}`);
  await server.close();
  for (const side of ["client", "server"] as const) {
    const growth = growthOf(samples.map((sample) => sample[side]));
    if (growth === undefined) {
      console.log(
        `${name}, ${side}: whether memory grows is not known; 3 samples, of ${SAMPLE_MS / 1_000} s each, tell`,
      );
      continue;
    }
    const { heap, resident } = growth;
    const grows = heap > MAX_GROWTH_BYTES;
    console.log(
      `${name}, ${side}: from the second third to the last, heap and buffers ${grows ? "GREW" : "flat"} by ` +
        `${megabytes(heap)}, resident by ${megabytes(resident)}`,
    );
    if (grows) process.exitCode = 1;
  }
}
