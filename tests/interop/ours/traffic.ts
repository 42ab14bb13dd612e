/**
 * Traffic that goes on while its transport goes away and comes back, with its record.
 *
 * @module
 */

import { connect, type Connection } from "../../../mod.ts";
import { optionsOf, type Place } from "./client.ts";

/** The result of the traffic. */
export interface TrafficReport {
  /** Messages, of which each had one outcome. */
  readonly sent: number;
  readonly accepted: number;
  /** The errors of the others. */
  readonly failed: readonly string[];
  /** The number of reconnects. */
  readonly reconnects: number;
  /** Accepted messages that have not come, and those of them accepted since the last reconnect. */
  readonly missing: number;
  readonly missingSince: number;
  /** Messages that came more than once, and those of them that were sent once. */
  readonly twice: number;
  readonly twiceUnsaid: number;
}

interface Traffic {
  readonly connection: Connection;
  readonly arrived: Map<string, number>;
  /** The number of reconnects before each message was accepted. */
  readonly accepted: Map<string, number>;
  readonly resent: Set<string>;
  readonly failed: string[];
  readonly sending: Promise<unknown>;
  /** Called when a message has come. */
  onarrival: () => void;
  over: boolean;
}

// Sends that may be pending, and the pause of each sender after one, in milliseconds.
const SENDERS = 10;
const REST_MS = 4;
// The quiet time, in milliseconds, after which nothing more comes.
const QUIET_MS = 3_000;

const running = new Map<string, Traffic>();

/** The actions of traffic, which is named by its address. */
export const traffic = {
  /** Sends and receives on one connection until `finish`. */
  async begin({ url, address, options }: Place, recovery: "resend" | "resume"): Promise<void> {
    const connection = await connect(url, {
      ...optionsOf(options),
      containerId: `traffic at ${address}`,
      reconnect: { initial: true, initialDelayMs: 20, maxDelayMs: 500 },
      log: null,
    });
    const resumes = recovery === "resume";
    const sender = connection.sender({ address, recovery, ...resumes ? { name: `out ${address}` } : {} });
    const receiver = connection.receiver({
      address,
      recovery,
      credit: 50,
      ...resumes ? { name: `in ${address}`, rcvSettleMode: "second" } : {},
    });
    const arrived = new Map<string, number>(), accepted = new Map<string, number>(), resent = new Set<string>();
    const failed: string[] = [];
    receiver.serve(({ message }) => {
      const body = message.text();
      arrived.set(body, (arrived.get(body) ?? 0) + 1);
      it.onarrival();
    }, { concurrency: 20 }).catch((error) => failed.push(`serve: ${error}`));
    let next = 0;
    const work = async (): Promise<void> => {
      while (!it.over) {
        const body = `${next++}`;
        try {
          const outcome = await sender.send({ body: body.padEnd(100) });
          accepted.set(body.padEnd(100), connection.stats().reconnects);
          if (outcome?.resent) resent.add(body.padEnd(100));
        } catch (error) {
          failed.push(String(error));
        }
        await new Promise((resolve) => setTimeout(resolve, REST_MS));
      }
    };
    const it: Traffic = {
      connection,
      arrived,
      accepted,
      resent,
      failed,
      sending: Promise.resolve().then(() => Promise.all(Array.from({ length: SENDERS }, work))),
      onarrival: () => {},
      over: false,
    };
    running.set(address, it);
  },

  /** Waits until `count` more messages have come. */
  reach(address: string, count: number): Promise<void> {
    const it = running.get(address)!;
    return new Promise((resolve) => {
      let left = count;
      it.onarrival = () => {
        if (--left === 0) resolve();
      };
    });
  },

  /** Waits for `times` reconnects. */
  async reconnected(address: string, times: number): Promise<void> {
    const { connection } = running.get(address)!;
    const events = connection.events();
    if (connection.stats().reconnects >= times) return;
    for await (const _ of events) if (connection.stats().reconnects >= times) return;
  },

  /** Stops sending, waits for messages in flight, and returns the result. */
  async finish(address: string): Promise<TrafficReport> {
    const it = running.get(address)!;
    running.delete(address);
    it.over = true;
    await it.sending;
    const { connection, arrived, accepted, resent, failed } = it;
    const { reconnects } = connection.stats();
    const missing = (): string[] => [...accepted.keys()].filter((body) => !arrived.has(body));
    while (missing().length > 0 && await arrival(it));
    await connection.close();
    const twice = [...arrived].filter(([, times]) => times > 1).map(([body]) => body);
    return {
      sent: accepted.size + failed.length,
      accepted: accepted.size,
      failed: [...new Set(failed)].slice(0, 5),
      reconnects,
      missing: missing().length,
      missingSince: missing().filter((body) => accepted.get(body) === reconnects).length,
      twice: twice.length,
      twiceUnsaid: twice.filter((body) => !resent.has(body)).length,
    };
  },
};

// True once another message has come, false if none comes.
function arrival(it: Traffic): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), QUIET_MS);
    it.onarrival = () => {
      clearTimeout(timer);
      resolve(true);
    };
  });
}
