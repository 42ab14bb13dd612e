/**
 * What must be true of traffic whose broker, or what stands in front of it, goes away and comes back meanwhile.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { TrafficReport } from "./ours/traffic.ts";
import type { Runtime } from "./runtimes.ts";

/** An outage under load. */
export interface Outage {
  /** Where the traffic goes, on an address of its own. */
  readonly place: Place;
  /** How sender and receiver take up what was not settled. */
  readonly recovery: "resend" | "resume";
  /** Brings the outage about, and ends it. */
  readonly disturb: () => Promise<void>;
  /** Whether it ends connections. Default: true. */
  readonly cuts?: boolean;
}

// Messages that come before the first outage, between two of them, and after the last.
const BETWEEN = 300;
const OUTAGES = 3;

/** Has traffic go through outages: each send has one outcome, it is accepted, and what is accepted afterwards comes. */
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

/** The same where the broker lives on, and keeps what it has of links that resume: everything comes, once. */
export async function exactlyOnce(runtime: Runtime, outage: Omit<Outage, "recovery">): Promise<void> {
  const { missing, twice } = await underLoad(runtime, { ...outage, recovery: "resume" });
  assertEquals([missing, twice], [0, 0], "messages that are missing, and that came twice");
}
