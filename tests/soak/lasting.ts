/**
 * One connection that is used for any length of time while it is cut again and again, and its broker.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { listen } from "../../src/transport/sockets.ts";
import { random } from "../harness.ts";
import { CuttingProxy } from "./cutting_proxy.ts";

/** The settings of a lasting soak. */
export interface LastingOptions {
  readonly url: string;
  /** Milliseconds for which it sends. */
  readonly ms: number;
  /** Milliseconds between progress reports. */
  readonly everyMs: number;
}

/** The progress so far. */
export interface LastingProgress {
  readonly seconds: number;
  /** Accepted sends, and those of them that were sent again. */
  readonly sent: number;
  readonly resent: number;
  readonly received: number;
  readonly reconnects: number;
}

/** The server of a lasting soak. */
export interface LastingServer {
  /** The port of the proxy that cuts connections. */
  readonly port: number;
  /** The number of cut connections. */
  cuts(): number;
  /** Closes the server; nothing must be left. */
  close(): Promise<void>;
}

// Pending sends, and concurrent handlers.
const IN_FLIGHT = 200;
const CONCURRENCY = 50;
// Messages that may wait at the broker, so that its memory holds no backlog.
const MAX_WAITING = 1_000;

/** Starts our broker behind a proxy that cuts each connection after `most` bytes at the latest. */
export async function serveLasting(seed: number, most: number): Promise<LastingServer> {
  const broker = new Broker({ log: null, settleModes: ["first", "second"] });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker, log: null });
  const proxy = new CuttingProxy(listener.port, random(seed), Infinity, most);
  return {
    port: await proxy.listen(),
    cuts: () => proxy.total,
    async close() {
      assertEquals(broker.messages, 0, "messages that are left");
      await broker.close();
      await listener.close();
      await proxy.close();
    },
  };
}

/** Sends and receives on one connection: every send is accepted, and everything comes exactly once. */
export async function lasts(
  { url, ms, everyMs }: LastingOptions,
  ontick: (progress: LastingProgress) => void,
): Promise<LastingProgress> {
  const started = performance.now();
  const connection = await connect(url, {
    containerId: "lasting soak",
    reconnect: { initialDelayMs: 5, maxDelayMs: 100, initial: true },
    log: null,
  });
  const recovery = "resume";
  const sender = connection.sender("soak", { name: "lasting sender", recovery });
  const receiver = connection.receiver("soak", {
    name: "lasting receiver",
    credit: 100,
    recovery,
    rcvSettleMode: "second",
  });
  const handled = new Numbers();
  let [next, sent, resent] = [0, 0, 0];
  const waiting: (() => void)[] = [];
  const all = Promise.withResolvers<void>();
  let over = false;
  const serving = receiver.serve(({ message }) => {
    const number = Number(message.text());
    assert(handled.add(number), `${number} came twice`);
    if (next - handled.size < MAX_WAITING) waiting.shift()?.();
    if (over && handled.size === next) all.resolve();
  }, { concurrency: CONCURRENCY, onerror: all.reject });
  const progress = (): LastingProgress => {
    const { reconnects } = connection.stats();
    return {
      seconds: Math.round((performance.now() - started) / 1_000),
      sent,
      resent,
      received: handled.size,
      reconnects,
    };
  };
  const ticker = setInterval(() => ontick(progress()), everyMs);
  const work = async (): Promise<void> => {
    while (performance.now() - started < ms) {
      if (next - handled.size >= MAX_WAITING) await new Promise<void>((resolve) => waiting.push(resolve));
      const number = next++;
      const outcome = await sender.send({ body: `${number}`.padEnd(10 + number % 400) });
      assertEquals(outcome?.kind, "accepted");
      sent++;
      if (outcome?.resent) resent++;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  over = true;
  if (handled.size < next) await Promise.race([all.promise, serving]);
  clearInterval(ticker);
  assertEquals([sent, handled.size], [next, next], "messages that did not come");
  const done = progress();
  await connection.close();
  return done;
}

/** A set of numbers: only those beyond the first gap take room. */
class Numbers {
  #next = 0;
  readonly #beyond = new Set<number>();

  get size(): number {
    return this.#next + this.#beyond.size;
  }

  /** Adds a number; false if the set has it. */
  add(number: number): boolean {
    if (number < this.#next || this.#beyond.has(number)) return false;
    this.#beyond.add(number);
    while (this.#beyond.delete(this.#next)) this.#next++;
    return true;
  }
}
