/**
 * The trace tracker's view of frames: credit, windows, waits, and broken rules.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Direction, FrameBody, Observation, TrackedSessionState } from "../../src/trace/tracked.ts";
import { ConnectionTracker } from "../../src/trace/tracker.ts";
import { test } from "../harness.ts";

/** The frames of two peers, one a millisecond. */
class Talk {
  readonly tracker = new ConnectionTracker();
  time = 0;

  say(direction: Direction, body: FrameBody, payloadBytes = 0, channel = 0): Observation {
    return this.tracker.frame({ direction, channel, body, payloadBytes }, ++this.time);
  }

  faults(direction: Direction, body: FrameBody, channel = 0): string[] {
    return this.say(direction, body, 0, channel).faults.map(({ clause }) => clause);
  }

  transfer(id: number, more = false, settled = false): Observation {
    const tag = { $binary: "00" };
    return this.say("out", { kind: "transfer", handle: 0, deliveryId: id, deliveryTag: tag, more, settled }, 100);
  }

  waits(): string[] {
    return this.tracker.waits().map(({ text }) => text);
  }
}

/** Open and begun both ways, with a link that sends out and 2 credits. */
function attached(): Talk {
  const talk = new Talk();
  for (const way of ["out", "in"] as const) talk.say(way, { kind: "open", containerId: "x", channelMax: 5 });
  const begin = { kind: "begin", nextOutgoingId: 0, incomingWindow: 10, outgoingWindow: 10, handleMax: 3 };
  talk.say("out", begin);
  talk.say("in", { ...begin, remoteChannel: 0 });
  const target = { kind: "target", address: "orders" };
  talk.say("out", { kind: "attach", name: "l", handle: 0, role: "sender", initialDeliveryCount: 0, target });
  talk.say("in", { kind: "attach", name: "l", handle: 2, role: "receiver", target });
  talk.say("in", { kind: "flow", handle: 2, linkCredit: 2, deliveryCount: 0, nextIncomingId: 0, incomingWindow: 10 });
  return talk;
}

test("trace: credit, counts, windows and what is unsettled follow the frames", () => {
  const talk = attached();
  const { link, session } = talk.transfer(0, true);
  assertEquals([link!.address, link!.credit, link!.deliveryCount, link!.unsettled], ["orders", 1, 1, 1]);
  assertEquals([session!.windows.out, session!.windows.in], [9, 10]);
  talk.transfer(0);
  talk.transfer(1, false, true);
  assertEquals([link!.credit, link!.deliveries, link!.unsettled, session!.windows.out], [0, 2, 1, 7]);
  const state = { kind: "accepted" };
  const { deliveries } = talk.say("in", { kind: "disposition", role: "receiver", first: 0, settled: true, state });
  assertEquals(deliveries.map(({ id, bytes, state }) => [id, bytes, state]), [[0, 200, "accepted"]]);
  assertEquals(link!.unsettled, 0);
  // Granted by a receiver that has seen one of the two.
  talk.say("in", { kind: "flow", handle: 2, linkCredit: 5, deliveryCount: 1, nextIncomingId: 2, incomingWindow: 10 });
  assertEquals([link!.credit, session!.windows.out], [4, 9]);
  talk.say("out", { kind: "flow", handle: 0, linkCredit: 0, deliveryCount: 6, nextOutgoingId: 3 });
  assertEquals([link!.credit, link!.deliveryCount], [0, 6]);
});

test("trace: who waits for what, the longest wait first", () => {
  const talk = attached();
  assertEquals(talk.waits(), []);
  talk.transfer(0);
  talk.transfer(1);
  assertEquals(talk.waits(), ["2 not settled, the oldest is delivery 0 of orders", "sender orders: no credit"]);
  talk.say("in", { kind: "disposition", role: "receiver", first: 0, last: 1, settled: true });
  talk.say("in", { kind: "flow", handle: 2, linkCredit: 5, deliveryCount: 2, drain: true });
  assertEquals(talk.waits(), ["receiver orders: drain is not answered"]);
  talk.say("out", { kind: "flow", handle: 0, linkCredit: 0, deliveryCount: 7, drain: true });
  talk.say("out", { kind: "detach", handle: 0, closed: true });
  assertEquals(talk.waits(), ["detach of orders to the peer is not answered"]);
  talk.say("in", { kind: "detach", handle: 2, closed: true });
  talk.say("out", { kind: "attach", name: "m", handle: 0, role: "receiver", source: { address: "news" } });
  assertEquals(talk.waits(), ["attach of news to the peer is not answered"]);
  talk.say("out", { kind: "close" });
  assertEquals(talk.waits().at(-1), "close to the peer is not answered");
  talk.say("in", { kind: "close" });
  assertEquals(talk.waits(), []);
});

test("trace: broken rules are told with their clause", () => {
  assertEquals(new Talk().faults("out", { kind: "begin" }), ["transport 2.4.1"]);
  const cases: [clause: string, direction: Direction, body: FrameBody][] = [
    ["transport 2.7.5", "out", { kind: "transfer", handle: 0, deliveryTag: {} }],
    ["transport 2.6.2", "in", { kind: "flow", handle: 9, linkCredit: 1 }],
    ["transport 2.7.4", "in", { kind: "flow", linkCredit: 1 }],
    ["transport 2.7.3", "in", { kind: "attach", name: "z", handle: 2, role: "receiver" }],
    ["transport 2.7.2", "in", { kind: "attach", name: "z", handle: 4, role: "receiver" }],
    ["transport 2.4.1", "in", { kind: "open", containerId: "again" }],
    ["transport 2.8.18", "in", { kind: "detach", handle: 2, error: { condition: "amqp:link:stolen" } }],
  ];
  for (const [clause, direction, body] of cases) assertEquals(attached().faults(direction, body), [clause]);
  assertEquals(attached().faults("in", { kind: "flow" }, 3), ["transport 2.5.1"]);
  const busy = attached();
  busy.transfer(0);
  busy.transfer(1);
  assertEquals(busy.transfer(2).faults.map(({ clause, text }) => [clause, text]), [
    ["transport 2.6.7", "transfer on orders without credit"],
  ]);
  const state = { kind: "rejected", error: { condition: "amqp:not-found" } };
  const rejection = { kind: "disposition", role: "receiver", first: 0, settled: true, state };
  assertEquals(busy.faults("in", rejection), ["transport 2.8.15"]);
  busy.say("in", { kind: "close" });
  assertEquals(busy.faults("in", { kind: "flow", nextIncomingId: 0, incomingWindow: 1 }), ["transport 2.4.3"]);
});

test("trace: a range of dispositions costs no more than what is unsettled", () => {
  const talk = attached();
  talk.transfer(0);
  const range = { kind: "disposition", role: "receiver", first: 0, last: 0x7fff_fffe, settled: true };
  assertEquals(talk.say("in", range).deliveries.length, 1);
});

test("trace: idle time-outs that pass without a frame are told", () => {
  const tracker = new ConnectionTracker();
  const frame = (direction: Direction, time: number, body?: FrameBody): number =>
    tracker.frame({ direction, channel: 0, body, payloadBytes: 0 }, time).faults.length;
  frame("out", 0, { kind: "open", containerId: "a", idleTimeOut: 1_000 });
  frame("in", 0, { kind: "open", containerId: "b" });
  assertEquals([frame("in", 900), frame("in", 2_500), frame("out", 9_000)], [0, 1, 0]);
});

test("trace: a link that is detached in the midst of a delivery leaves nothing behind", () => {
  const talk = attached();
  const { session, link } = talk.transfer(0, true);
  talk.transfer(1, false, true);
  talk.transfer(2);
  talk.transfer(3, true);
  const { open, named, unsettled } = session as TrackedSessionState;
  assertEquals([open.out.size, named.out.get("l") === link, unsettled.out.size > 0], [1, true, true]);
  talk.say("out", { kind: "detach", handle: 0, closed: true });
  talk.say("in", { kind: "detach", handle: 2, closed: true });
  assertEquals([open.out.size, named.out.size, unsettled.out.size, session!.links.size], [0, 0, 0, 0]);
});

test("trace: an attach finds its other half among many links, and costs no more for them", () => {
  const talk = attached();
  const links = 50_000;
  const attach = (way: Direction, i: number): void => {
    const role = way === "out" ? "sender" : "receiver";
    talk.say(way, { kind: "attach", name: `n${i}`, handle: 10 + i, role, initialDeliveryCount: 0 });
  };
  // With a search through all links it would take minutes.
  for (let i = 0; i < links; i++) attach("out", i);
  assertEquals(talk.tracker.links.size, links + 1);
  for (let i = 0; i < links; i++) attach("in", i);
  assertEquals(talk.tracker.links.size, links + 1);
});
