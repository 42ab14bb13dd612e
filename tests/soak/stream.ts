/**
 * One message of a gigabyte each way between two processes, over a socket: how fast it goes, and by how much the resident memory
 * of each process grows meanwhile.
 *
 *     node tests/soak/stream.ts [--mib 1024] [--on deno,bun,node] [--over tcp,ws] [--slow]
 *
 * `--slow` has the reader rest for two milliseconds after each piece, so that the sender is held back all the time.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { connect } from "../../mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/socket/listen.ts";

const MIB = 1_048_576;
const PIECE = 65_536;
const LIMIT_MIB = 64;
const SAMPLE_MS = 50;

const HOW: Readonly<Record<string, readonly string[]>> = { deno: ["run", "--quiet", "--allow-all"], bun: [], node: [] };

/** The measurements of a process. */
interface Seen {
  readonly bytes: number;
  readonly sum: number;
  readonly seconds: number;
  readonly growthMiB: number;
}

// Pieces that differ, and their checksum.
async function* pieces(bytes: number): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes; at += PIECE) yield new Uint8Array(PIECE).fill(at / PIECE);
}

function sumOf(bytes: number): number {
  let sum = 0;
  for (let at = 0; at < bytes; at += PIECE) sum = (sum + (at / PIECE & 255)) % 1_000_003;
  return sum;
}

async function read(stream: ReadableStream<Uint8Array>, slow: boolean): Promise<Omit<Seen, "seconds" | "growthMiB">> {
  let [bytes, sum] = [0, 0];
  for await (const part of stream) {
    for (let at = (PIECE - bytes % PIECE) % PIECE; at < part.length; at += PIECE) sum = (sum + part[at]!) % 1_000_003;
    bytes += part.length;
    if (slow) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return { bytes, sum };
}

// The most memory of the process beyond that of now.
function watchMemory(): () => number {
  const before = process.memoryUsage().rss;
  let most = before;
  const timer = setInterval(() => most = Math.max(most, process.memoryUsage().rss), SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return (Math.max(most, process.memoryUsage().rss) - before) / MIB;
  };
}

async function measured<T extends object>(work: () => Promise<T>): Promise<T & { seconds: number; growthMiB: number }> {
  const [start, memory] = [performance.now(), watchMemory()];
  const result = await work();
  return { ...result, seconds: (performance.now() - start) / 1_000, growthMiB: memory() };
}

function print(line: object): void {
  console.log(JSON.stringify(line));
}

async function server(bytes: number, slow: boolean): Promise<void> {
  const files = acceptor({
    onReceiver: (request) =>
      void request.accept({ stream: true }).serve(async (delivery) => {
        if (delivery.message.properties?.subject === "warm") return void await delivery.bytes();
        print(await measured(() => read(delivery.stream(), slow)));
      }),
    onSender: async (request) => {
      const sender = request.accept();
      if (request.address === "warm") return void sender.stream({ body: pieces(16 * MIB) });
      print(await measured(async () => ({ bytes, sum: 0, outcome: await sender.stream({ body: pieces(bytes) }) })));
    },
  });
  const listener = await listen({ acceptor: files, host: "127.0.0.1", port: 0 });
  print({ port: listener.port });
  process.stdin.on("end", () => process.exit(0)).resume();
}

async function client(url: string, bytes: number, slow: boolean): Promise<void> {
  const connection = await connect(url);
  // Loading and compiling at first is no growth.
  await connection.sender("warm").stream({ properties: { subject: "warm" }, body: pieces(16 * MIB) });
  const warm = await connection.receiver("warm", { stream: true }).receive();
  await read(warm.stream(), false);
  warm.accept();
  print(
    await measured(async () => ({
      bytes,
      sum: 0,
      outcome: await connection.sender("up").stream({ body: pieces(bytes) }),
    })),
  );
  const delivery = await connection.receiver("down", { stream: true }).receive();
  print(await measured(() => read(delivery.stream(), slow)));
  delivery.accept();
  await connection.close();
}

function start(runtime: string, args: readonly string[]) {
  const bin = fileURLToPath(new URL(`../../node_modules/.bin/${runtime}`, import.meta.url));
  const child = spawn(bin, [...HOW[runtime]!, fileURLToPath(import.meta.url), ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async next<T>(): Promise<T> {
      const { value, done } = await lines.next();
      if (done) throw new Error(`Cannot go on: ${runtime} has ended`);
      return JSON.parse(value) as T;
    },
    end: () => void child.stdin.end(),
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      mib: { type: "string", default: "1024" },
      on: { type: "string", default: "deno,bun,node" },
      over: { type: "string", default: "tcp,ws" },
      slow: { type: "boolean", default: false },
    },
  });
  const bytes = Number(values.mib) * MIB;
  let failures = 0;
  for (const runtime of values.on.split(",")) {
    for (const over of values.over.split(",")) {
      const at = start(runtime, ["server", String(bytes), String(values.slow)]);
      const { port } = await at.next<{ port: number }>();
      const url = `${over === "tcp" ? "amqp" : "ws"}://127.0.0.1:${port}`;
      const by = start(runtime, ["client", url, String(bytes), String(values.slow)]);
      for (const way of ["client to server", "server to client"]) {
        const [own, other] = await Promise.all([by.next<Seen>(), at.next<Seen>()]);
        const [sender, receiver] = way === "client to server" ? [own, other] : [other, own];
        const good = receiver.bytes === bytes && receiver.sum === sumOf(bytes) &&
          Math.max(sender.growthMiB, receiver.growthMiB) <= LIMIT_MIB;
        if (!good) failures++;
        console.log(
          `${runtime.padEnd(4)} ${over.padEnd(3)} ${way}: ${values.mib} MiB, ` +
            `${(bytes / MIB / receiver.seconds).toFixed(0)} MiB/s, memory of the sender +${
              sender.growthMiB.toFixed(1)
            }, ` +
            `of the receiver +${receiver.growthMiB.toFixed(1)} MiB${good ? "" : "  <- not as promised"}`,
        );
      }
      by.end();
      at.end();
    }
  }
  return failures;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [role, first, second, third] = process.argv.slice(2);
  if (role === "server") await server(Number(first), second === "true");
  else if (role === "client") await client(first!, Number(second), third === "true");
  else process.exitCode = await main() > 0 ? 1 : 0;
}
