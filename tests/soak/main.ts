/**
 * Soaks: `npm run soak -- --messages 17000 --cuts 100` sends so many messages each way under Deno, Bun and Node, over TCP and
 * WebSockets, with our broker and a rhea server, while so many connections of each combination break; `--first` cuts of the
 * first one. `--minutes 10` runs one combination again and again for so long, and prints the heap after each.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { soak, type SoakOptions, type SoakReport } from "./soak.ts";

const RUNTIMES = {
  deno: ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc"],
  bun: [],
  node: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
} as const;
type RuntimeName = keyof typeof RUNTIMES;

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "17000" },
    cuts: { type: "string", default: "100" },
    first: { type: "string" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string" },
    on: { type: "string", default: "deno,bun,node" },
    // One combination in this process, for a parent that reads the report.
    one: { type: "string" },
  },
});
const messages = Number(values.messages);
const seed = Number(values.seed);
const names = values.on.split(",") as RuntimeName[];

if (values.one !== undefined) console.log(JSON.stringify(await soak(JSON.parse(values.one))));
else if (values.minutes !== undefined) await keepOn(Number(values.minutes) * 60_000);
else await all();

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

// Bytes at which connections break, so that there are enough for all cuts: a message costs some 500, both ways.
function room(cuts: number): number {
  return Math.max(4_000, Math.floor(messages * 500 / cuts));
}

function runOn(name: RuntimeName, options: SoakOptions): Promise<SoakReport> {
  const program = fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url));
  const args = [...RUNTIMES[name], fileURLToPath(import.meta.url), "--one", JSON.stringify(options)];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (piece) => output += piece);
  return new Promise((resolve, reject) => {
    child.on("close", (code) => {
      // Node's test runner, of which the harness is, adds lines of its own.
      const report = output.split("\n").find((line) => line.startsWith("{"));
      if (code === 0 && report !== undefined) resolve(JSON.parse(report));
      else reject(new Error(`${name} with ${JSON.stringify(options)} ended with status ${code}: ${output}`));
    });
  });
}

async function keepOn(ms: number): Promise<void> {
  const end = performance.now() + ms;
  for (let round = 0; performance.now() < end; round++) {
    const { cuts, sent, received, seconds } = await soak({
      scheme: round % 2 === 0 ? "amqp" : "ws",
      server: "broker",
      messages,
      cuts: Number(values.cuts),
      seed: seed + round,
      most: room(Number(values.cuts)),
    });
    (globalThis as { gc?: () => void }).gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MB`;
    console.log(
      `${round}: ${sent} sent, ${received} received, ${cuts.rst + cuts.fin + cuts.stall} cuts in ${seconds} s; ` +
        `heap ${megabytes(heapUsed)}, resident ${megabytes(rss)}`,
    );
  }
}
