import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { Pair, payload, scenario, tag } from "./pair.ts";
import { linksOf, sendOn } from "./endpoint.ts";
import { attach, flow, Script, transfer } from "./script.ts";

scenario("SES-9: a delivery that nobody settles, and a link without credit, keep no other link waiting", (settings) => {
  const pair = Pair.opened(settings, { server: { session: { incomingWindow: 2 } } });
  const session = pair.begin();
  const [held, holder] = pair.sender(session, { name: "held" });
  const [starved] = pair.sender(session, { name: "starved" });
  const [quick, taker] = pair.sender(session, { name: "quick" });
  holder.flow({ linkCredit: 3 });
  taker.flow({ linkCredit: 100 });
  pair.run();
  for (let i = 0; i < 3; i++) sendOn(held, tag(i), payload(1));
  pair.run();
  assertEquals(pair.server.take("delivery").length, 3);
  assertEquals(starved.sendable, 0);
  for (let i = 0; i < 50; i++) {
    const sent = sendOn(quick, tag(i), payload(1));
    pair.run();
    pair.server.one("delivery").delivery.update({ kind: "accepted" });
    pair.run();
    assert(sent.settled);
  }
  assertEquals([held.outgoing.size, session.unsettledCount], [3, 3]);
});

scenario("TRF-4: a large delivery lets those of other links and sessions pass", (settings) => {
  const limits = { maxFrameSize: 512 };
  const pair = Pair.opened(settings, { client: limits, server: limits, flushBytes: 1_024 });
  const session = pair.begin();
  const [large, one] = pair.sender(session, { name: "large" });
  const [same, two] = pair.sender(session, { name: "same" });
  const [other, three] = pair.sender(pair.begin(), { name: "other" });
  for (const receiver of [one, two, three]) receiver.flow({ linkCredit: 5 });
  pair.run();
  sendOn(large, tag(1), payload(20_000));
  pair.client.endpoint.transmit(pair.now, 1);
  const arrived: string[] = [];
  sendOn(same, tag(1), payload(1));
  sendOn(other, tag(1), payload(1));
  for (let flushes = 0; flushes < 4; flushes++) {
    const bytes = pair.client.endpoint.transmit(pair.now, 1_024)!;
    assertLessOrEqual(bytes.length, 1_024 + 512);
  }
  arrived.push(...pair.client.sent("transfer").map(({ handle, deliveryId }) => `${handle} ${deliveryId}`));
  // Both small ones left within the first flushes, the large one is still being sent.
  assert(same.queued === 0 && other.queued === 0 && large.queued === 1, `${arrived}`);
});

scenario("SES-9: sessions take turns, also when each could fill every flush", (settings) => {
  const pair = Pair.opened(settings);
  const links = ["a", "b", "c"].map((name) => pair.sender(pair.begin(), { name })[0]);
  for (const session of pair.server.endpoint.sessions()) {
    for (const link of linksOf(session)) if (link.role === "receiver") link.flow({ linkCredit: 100 });
  }
  pair.run();
  for (const link of links) for (let i = 0; i < 30; i++) sendOn(link, tag(i), payload(100));
  for (let flushes = 0; flushes < 12; flushes++) pair.client.endpoint.transmit(pair.now, 500);
  const left = links.map(({ queued }) => queued);
  assertLessOrEqual(Math.max(...left) - Math.min(...left), 5);
  assert(Math.max(...left) < 30, `${left}`);
});

scenario("SES-9: a session whose window is shut keeps no other waiting", (settings) => {
  const pair = Pair.opened(settings, { server: { session: { incomingWindow: 3 } } });
  const [blocked, first] = pair.sender(pair.begin(), { name: "blocked" });
  const [free, second] = pair.sender(pair.begin(), { name: "free" });
  first.flow({ linkCredit: 100 });
  second.flow({ linkCredit: 100 });
  pair.run();
  const release = pair.hold(pair.client);
  for (let i = 0; i < 10; i++) sendOn(blocked, tag(i), payload(1));
  pair.run();
  assertEquals([pair.server.take("delivery").length, blocked.session.remoteIncomingWindow], [3, 0]);
  for (let i = 0; i < 3; i++) sendOn(free, tag(i), payload(1));
  pair.run();
  assertEquals(pair.server.take("delivery").map(({ link }) => link), [second, second, second]);
  release();
  assertEquals(pair.server.take("delivery").length, 7);
});

test("LNK-11, SES-5: a link that fails takes nothing with it, a session that fails only its own links", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const session = pair.begin();
  const [bad, badReceiver] = pair.sender(session, { name: "bad" });
  const [good, goodReceiver] = pair.sender(session, { name: "good" });
  const [far, farReceiver] = pair.sender(pair.begin(), { name: "far" });
  for (const receiver of [badReceiver, goodReceiver, farReceiver]) receiver.flow({ linkCredit: 10 });
  pair.run();
  for (const link of [bad, good, far]) sendOn(link, tag(1), payload(5));
  pair.run();
  pair.server.take("delivery");
  // A delivery in flight when the receiver ends the link.
  sendOn(bad, tag(2), payload(5));
  badReceiver.detach({ closed: true });
  sendOn(good, tag(2), payload(5));
  pair.run();
  assertEquals(pair.server.one("delivery").link, goodReceiver);
  assertEquals([bad.state, good.state, session.unsettledCount], ["detached", "attached", 2]);
  session.end();
  sendOn(far, tag(2), payload(5));
  pair.run();
  assertEquals(pair.server.one("delivery").link, farReceiver);
  assertEquals([good.state, far.state], ["detached", "attached"]);
});

test("LNK-13, TRF-3: deliveries for a link that ended here keep their place in the session's ids", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  script.send(attach({ role: "sender", name: "other", handle: 1 }));
  const [first, second] = script.take("attachRequested").map(({ link }) => link);
  assert(first?.role === "receiver" && second?.role === "receiver");
  first.flow({ linkCredit: 10 });
  second.flow({ linkCredit: 10 });
  script.rest();
  script.send(transfer(0), { payload: payload(1) });
  script.one("delivery");
  first.detach({ closed: true });
  assertEquals(script.expect("detach").handle, 0);
  script.send(transfer(1), { payload: payload(1) });
  script.send(transfer(2, { more: true }), { payload: payload(1) });
  script.send({ kind: "transfer", handle: 0 }, { payload: payload(1) });
  script.send(transfer(3, { handle: 1 }), { payload: payload(1) });
  assertEquals(script.one("delivery").link, second);
  script.send(transfer(5, { handle: 1 }), { payload: payload(1) });
  script.endedWith(condition.invalidField, "delivery-id is 5, not 4");
});

test("CON-10, SES-5, LNK-13: what is dropped after an error of ours is only what belongs to it", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  script.expect("attach");
  script.send({ kind: "begin", nextOutgoingId: 0, incomingWindow: 9, outgoingWindow: 9 }, { channel: 1 });
  script.expect("begin");
  // A link failed: its session goes on.
  script.send(transfer(0), { payload: payload(1) });
  assertEquals(script.expect("detach").error?.condition, condition.transferLimitExceeded);
  script.send(transfer(1), { payload: payload(1) });
  script.quiet();
  script.send(attach({ role: "sender", name: "next", handle: 1 }));
  script.expect("attach");
  // A session failed: the other one goes on.
  script.send(flow({ handle: 9 }));
  assertEquals(script.expect("end").error?.condition, condition.unattachedHandle);
  script.send(attach({ role: "sender", name: "lost", handle: 2 }));
  script.quiet();
  script.send(attach({ role: "sender", name: "far" }), { channel: 1 });
  script.expect("attach");
  // The connection failed: nothing but its close follows.
  script.send(flow(), { channel: 30 });
  script.expect("close");
  script.send(attach({ role: "sender", name: "gone", handle: 1 }), { channel: 1 });
  script.send({ kind: "end" });
  script.quiet();
  script.send({ kind: "close" });
  assert(script.endpoint.finished);
});
