import { assert, assertEquals } from "@std/assert";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { connect } from "../../src/client/connect.ts";
import { json } from "../../src/codec/message.ts";
import { random, seed, test } from "../harness.ts";
import { start } from "../program.ts";
import { CuttingProxy } from "../soak/cutting_proxy.ts";

const root = new URL("../../", import.meta.url);
const KILLS = 1;
const CUTS = 1;

type Work = (order: unknown, signal: AbortSignal) => Promise<void>;

/** The service of docs/consuming.md, with another broker and handler. */
async function service(
  folder: string,
  urls: readonly string[],
  work: Work,
): Promise<(stop: AbortSignal) => Promise<void>> {
  const page = await readFile(new URL("docs/consuming.md", root), "utf8");
  const code = /```ts\n(.*?)```/s.exec(page)![1]!;
  const lines = /async function main.*?\n}\n/s.exec(code)![0].split("\n").length - 1;
  assert(lines <= 10, `the service takes ${lines} lines`);
  const replaced = code
    .replace('"@webamqp/amqp"', JSON.stringify(new URL("mod.ts", root).href))
    .replace(/\["wss:.*?\]/, JSON.stringify(urls))
    .replace("async function main", "export async function main")
    .replace(/declare function work\(.*/, "");
  assertEquals([replaced.includes("webamqp/amqp"), replaced.includes("broker.example")], [false, false]);
  const path = join(folder, "service.ts");
  await writeFile(
    path,
    `${replaced}\n` +
      "const work = (globalThis as unknown as { work: (order: unknown, signal: AbortSignal) => Promise<void> }).work;\n",
  );
  (globalThis as unknown as { work: Work }).work = work;
  return (await import(pathToFileURL(path).href)).main;
}

test("consuming for months: the service of the page survives cuts, kills of its broker and a message that fails", async () => {
  const { int } = random(seed());
  const folder = await mkdtemp(join(tmpdir(), "webamqp-"));
  let broker = start("tests/client/mortal_broker.ts");
  const port = (await broker.lines.next()).value as string;
  const proxy = new CuttingProxy(Number(port), random(seed()), 0, 12_000);
  const nobody = "ws://127.0.0.1:1/";
  const handled = new Set<number>();
  let onhandled: () => void = () => {};
  let failed = 0;
  const main = await service(folder, [`ws://127.0.0.1:${await proxy.listen()}/`, nobody], (order) => {
    const { number } = order as { number: number };
    // One message fails the first time.
    if (number === 7 && failed++ < 1) return Promise.reject(new Error("not yet"));
    handled.add(number);
    onhandled();
    return Promise.resolve();
  });
  const stop = new AbortController();
  const serving = main(stop.signal);
  const connection = await connect(`amqp://127.0.0.1:${port}/`, {
    reconnect: { initial: true, initialDelayMs: 5, maxDelayMs: 100 },
    log: null,
  });
  // The accepted messages, with the broker that accepted each.
  const accepted = new Map<number, number>();
  let next = 0;
  const send = async (count: number): Promise<void> => {
    for (; count > 0; count--) {
      const number = next++;
      await connection.send("orders", { body: json({ number, padding: "x".repeat(int(400)) }) });
      accepted.set(number, connection.stats().reconnects);
    }
  };
  try {
    await send(20);
    while (handled.size === 0) await new Promise<void>((resolve) => onhandled = resolve);
    // The program itself has to retry its first connection; from now on it has one.
    proxy.more(CUTS);
    for (let kills = 0; kills < KILLS; kills++) {
      await send(40);
      await broker.kill();
      broker = start("tests/client/mortal_broker.ts", [port]);
    }
    await send(60);
    const { reconnects } = connection.stats();
    const isDue = ([number, by]: [number, number]): boolean => by === reconnects && !handled.has(number);
    while ([...accepted].some(isDue)) await new Promise<void>((resolve) => onhandled = resolve);
    stop.abort();
    await serving;
    assertEquals([reconnects >= KILLS, proxy.total > 0], [true, true]);
  } finally {
    await connection.close();
    await broker.kill();
    await proxy.close();
    await rm(folder, { recursive: true });
  }
});
