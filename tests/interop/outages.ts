/**
 * The guarantees of traffic whose broker, or the proxy in front of it, goes away and comes back.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { TrafficReport } from "./ours/traffic.ts";
import type { Runtime } from "./runtimes.ts";

/** An outage under load. */
export interface Outage {
  /** The place of the traffic, with an address of its own. */
  readonly place: Place;
  /** How sender and receiver recover unsettled messages. */
  readonly recovery: "resend" | "resume";
  /** Causes the outage, and ends it. */
  readonly disturb: () => Promise<void>;
  /** Whether the outage cuts connections. Default: true. */
  readonly cuts?: boolean;
}

// Messages that come before the first outage, between two of them, and after the last.
const BETWEEN = 300;
const OUTAGES = 3;

/** Runs traffic through outages: each send has one outcome, `accepted`, and messages accepted afterwards come. */
export async function underLoad(
  runtime: Runtime,
  { place, recovery, disturb, cuts = true }: Outage,
): Promise<TrafficReport> {
  const { address } = place;
  await runtime.call("begin", place, recovery);
  for (let i = 0; i < OUTAGES; i++) {
    await runtime.call("reach", address, BETWEEN);
    await disturb();
    if (cuts) await runtime.call("reconnected", address, i + 1);
  }
  await runtime.call("reach", address, BETWEEN);
  const report = await runtime.call("finish", address);
  assertEquals(report.failed, []);
  assertEquals(report.accepted, report.sent);
  assertEquals(report.missingSince, 0, "messages that were accepted afterwards and have not come");
  if (cuts) assert(report.reconnects >= OUTAGES, `${report.reconnects} reconnects`);
  else assertEquals(report.reconnects, 0);
  return report;
}

/** As above, with a broker that survives and keeps the state of links that resume: everything comes, once. */
export async function exactlyOnce(runtime: Runtime, outage: Omit<Outage, "recovery">): Promise<void> {
  const { missing, twice } = await underLoad(runtime, { ...outage, recovery: "resume" });
  assertEquals([missing, twice], [0, 0], "messages that are missing, and that came twice");
}
