/**
 * Our client, measured as the clients of other languages are: one link, so many messages, the first fifth not counted.
 *
 * @module
 */

import { anonymous, connect, type Delivery, publish } from "../../mod.ts";
import { type Contender, FIRST, LARGE, LARGE_WINDOW, type Prepare, quantiles, SMALL, WINDOW } from "./bench.ts";
import { sending } from "./ours.ts";

/** A client's round: the number of operations, the size of each, and how many are in flight. */
export interface Load {
  /** The work's name, as programs know it. */
  readonly work: "send" | "receive" | "publish";
  /** Operations that are counted. */
  readonly count: number;
  /** Bytes of a body. */
  readonly size: number;
  /** Messages without an outcome, or credit. */
  readonly window: number;
  /** Where the server takes or supplies it. */
  readonly address: string;
}

/** A WebSocket message for each message. */
export const EACH: Load = { work: "receive", count: 150_000, size: SMALL, window: WINDOW, address: `${SMALL}:each` };

const loads: Readonly<Record<string, Load>> = {
  send: { work: "send", count: 300_000, size: SMALL, window: WINDOW, address: "sink" },
  receive: { work: "receive", count: 300_000, size: SMALL, window: WINDOW, address: `${SMALL}` },
  each: EACH,
  up: { work: "send", count: 8_000, size: LARGE, window: LARGE_WINDOW, address: "sink" },
  down: { work: "receive", count: 8_000, size: LARGE, window: LARGE_WINDOW, address: `${LARGE}` },
  publish: { work: "publish", count: FIRST, size: SMALL, window: 1, address: "sink" },
};

/** Works of a client, one for each load. */
export function each(prepare: (load: Load) => Prepare): Record<string, Prepare> {
  return Object.fromEntries(Object.entries(loads).map(([name, load]) => [name, prepare(load)]));
}

/** The URL of a server that speaks AMQP and WebSocket on one port, by the protocol that an argument names. */
export function over(argument: string, url: string): string {
  return argument.split(" ").includes("ws") ? url.replace("amqp:", "ws:") : url;
}

/** The contender `anchored`: over TCP, or with the argument "ws" over WebSocket. */
export const contender: Contender = {
  works: each((load) => (url, argument) => {
    const place = over(argument, url);
    return load.work === "publish"
      ? publishing(place, load)
      : load.work === "send"
      ? sends(place, load)
      : receives(place, load);
  }),
};

function publishing(url: string, { count, size, address }: Load): ReturnType<Prepare> {
  const body = new Uint8Array(size);
  return async () => {
    const times: number[] = [];
    while (times.length < count) {
      const started = performance.now();
      await publish(url, address, { body }, { auth: anonymous() });
      times.push((performance.now() - started) * 1e3);
    }
    return quantiles(times);
  };
}

async function sends(url: string, { count, size, window, address }: Load): Promise<Awaited<ReturnType<Prepare>>> {
  const connection = await connect(url, { auth: anonymous(), reconnect: false });
  const send = await sending([connection.sender(address)], size, window);
  return async () => {
    await send(warmUp(count));
    return await perSecond(count, () => send(count));
  };
}

async function receives(url: string, { count, window, address }: Load): Promise<Awaited<ReturnType<Prepare>>> {
  const connection = await connect(url, { auth: anonymous(), reconnect: false });
  return async () => {
    const receiver = connection.receiver({ address, credit: window });
    const deliveries = receiver[Symbol.asyncIterator]();
    await take(deliveries, warmUp(count));
    const rate = await perSecond(count, () => take(deliveries, count));
    await receiver.close();
    return rate;
  };
}

async function take(deliveries: AsyncIterator<Delivery>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) void (await deliveries.next()).value.message.body;
}

function warmUp(count: number): number {
  return Math.ceil(count / 5);
}

async function perSecond(count: number, run: () => unknown): Promise<number> {
  const started = performance.now();
  await run();
  return count / (performance.now() - started) * 1e3;
}
