import { assert, assertEquals, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import { add } from "../../src/base/collections.ts";
import { test } from "../harness.ts";
import { Pair, payload, scenario, type Settings, tag } from "./pair.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, sendOn } from "./endpoint.ts";
import { attach, begin, flow, Script, transfer } from "./script.ts";

/** A script whose peer is a receiver on our sender. */
function sending(settings: Pick<Settings, "firstId"> = { firstId: 0 }): { script: Script; sender: SenderEndpoint } {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin({ initialOutgoingId: settings.firstId });
  const sender = attachLink(session, {
    name: "link",
    role: "sender",
    target: { kind: "target" },
    initialDeliveryCount: settings.firstId,
  });
  script.send(begin({ remoteChannel: 0 }));
  script.send(attach({ role: "receiver" }));
  script.rest();
  script.events = [];
  return { script, sender };
}

/** A script whose peer is a sender on our receiver. */
function receiving(initialDeliveryCount = 0): { script: Script; receiver: ReceiverEndpoint } {
  const script = Script.begun();
  script.send(attach({ role: "sender", initialDeliveryCount }));
  script.expect("attach");
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  return { script, receiver: link };
}

test("FLW-1: a flow of the session tells nothing of a link, and takes nothing of one", () => {
  const { script, sender } = sending();
  script.send(flow({ nextIncomingId: 0, handle: 0, linkCredit: 3, deliveryCount: 0 }));
  script.take("credit");
  script.send(flow({ nextIncomingId: 0, linkCredit: 9, deliveryCount: 0, drain: true, echo: true }));
  assertEquals(script.events, []);
  assertEquals([sender.linkCredit, sender.draining], [3, false]);
  const answer = script.expect("flow");
  const { handle, deliveryCount, linkCredit, available, drain, properties } = answer;
  assertEquals([handle, deliveryCount, linkCredit, available, drain, properties], Array(6).fill(undefined));
});

scenario(
  "FLW-2: a flow of a receiver tells its credit and the sender's count, one of a sender its own and what waits",
  (settings) => {
    const pair = Pair.opened(settings);
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: 4, echo: true });
    pair.run();
    const asked = pair.server.sent("flow").at(-1)!;
    assertEquals([asked.linkCredit, asked.deliveryCount, asked.available], [4, settings.firstId, undefined]);
    const told = pair.client.sent("flow").at(-1)!;
    assertEquals([told.linkCredit, told.deliveryCount, told.available], [4, settings.firstId, 0]);
    for (let i = 0; i < 9; i++) sender.outgoing.push(payload(1));
    pair.run();
    receiver.flow({ echo: true });
    pair.run();
    const later = pair.client.sent("flow").at(-1)!;
    assertEquals([later.linkCredit, later.deliveryCount, later.available], [0, add(settings.firstId, 4), 5]);
    assertEquals(receiver.available, 5);
  },
);

test("FLW-2: a flow that tells no credit, or no count, changes none", () => {
  const { script, sender } = sending();
  script.send(flow({ handle: 0, linkCredit: 3, deliveryCount: 0 }));
  script.send(flow({ handle: 0, available: 7 }));
  assertEquals([sender.linkCredit, script.take("credit").length], [3, 1]);
  const other = receiving(5);
  other.receiver.flow({ linkCredit: 2 });
  other.script.expect("flow");
  other.script.send(flow({ handle: 0, available: 7 }));
  assertEquals([other.receiver.linkCredit, other.receiver.deliveryCount, other.receiver.available], [2, 5, 7]);
});

scenario("FLW-3: deliveries that the receiver had not seen yet count against the credit that it gives", (settings) => {
  const { script, sender } = sending(settings);
  // Without a delivery-count, because the peer had not seen our attach yet, our initial one counts.
  script.send(flow({ nextIncomingId: undefined, handle: 0, linkCredit: 10 }));
  assertEquals([sender.linkCredit, sender.sendable], [10, 10]);
  for (let i = 0; i < 4; i++) sendOn(sender, tag(i), payload(1));
  assertEquals([sender.linkCredit, sender.sendable], [10, 6]);
  script.rest();
  assertEquals([sender.linkCredit, sender.sendable], [6, 6]);
  script.send(
    flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 10, deliveryCount: add(settings.firstId, 1) }),
  );
  assertEquals(sender.linkCredit, 7);
  script.send(flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 10 }));
  assertEquals(sender.linkCredit, 6);
  script.send(flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 2, deliveryCount: settings.firstId }));
  assertEquals([sender.linkCredit, sender.sendable], [0, 0]);
  assertEquals(script.take("credit").length, 4);
});

scenario(
  "FLW-4: without credit nothing is sent; each delivery uses one, of many frames, aborted or not",
  (settings) => {
    const limits = { maxFrameSize: 512 };
    const pair = Pair.opened(settings, { client: limits, server: limits, flushBytes: 1 });
    const [sender, receiver] = pair.sender(pair.begin());
    assertEquals(sender.sendable, 0);
    receiver.flow({ linkCredit: 3 });
    pair.run();
    sendOn(sender, tag(1), payload(2_000));
    const aborted = sendOn(sender, tag(2), payload(2_000));
    sendOn(sender, tag(3), payload(1));
    assertEquals(sender.sendable, 0);
    assertEquals(sender.sendable, 0);
    // All frames of the first delivery, and some of the second.
    for (let i = 0; i < 6; i++) pair.client.endpoint.transmit(pair.now, 1);
    assert(aborted.id !== undefined && !aborted.sent);
    assertEquals(sender.linkCredit, 1);
    assert(aborted.abort());
  },
);

scenario("FLW-4, TRF-6: an aborted delivery uses its credit on both sides", (settings) => {
  const limits = { maxFrameSize: 512, session: { incomingWindow: 2 } };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 3 });
  pair.run();
  const aborted = sendOn(sender, tag(1), payload(5_000));
  const release = pair.hold(pair.client);
  pair.run();
  assert(aborted.id !== undefined && !aborted.sent);
  assert(receiver.receiving);
  aborted.abort();
  release();
  assertEquals(pair.server.one("aborted").link, receiver);
  assertEquals([sender.linkCredit, receiver.linkCredit, sender.queued], [2, 2, 0]);
  assertEquals([sender.deliveryCount, receiver.deliveryCount], [add(settings.firstId, 1), add(settings.firstId, 1)]);
});

scenario(
  "FLW-4: a sender may go over by as much as was granted, as RabbitMQ does when credit is renewed",
  (settings) => {
    const { script, receiver } = receiving(settings.firstId);
    receiver.flow({ linkCredit: 2 });
    script.expect("flow");
    for (let i = 0; i < 4; i++) script.send(transfer(add(settings.firstId, i)), { payload: payload(1) });
    assertEquals(script.take("delivery").length, 4);
    script.send(flow({ nextIncomingId: 0, handle: 0, deliveryCount: add(settings.firstId, 4), linkCredit: 0 }));
    // The next credit counts from there.
    receiver.flow({ linkCredit: 1 });
    const { deliveryCount, linkCredit } = script.expect("flow");
    assertEquals([deliveryCount, linkCredit], [add(settings.firstId, 4), 1]);
    script.send(transfer(add(settings.firstId, 4)), { payload: payload(1) });
    assertEquals([receiver.linkCredit, script.take("delivery").length], [0, 1]);
  },
);

scenario("FLW-4, ATK-11: deliveries beyond twice the credit end the link", (settings) => {
  const { script, receiver } = receiving(settings.firstId);
  receiver.flow({ linkCredit: 2 });
  script.expect("flow");
  for (let i = 0; i < 4; i++) script.send(transfer(add(settings.firstId, i)), { payload: payload(1) });
  assertEquals(receiver.linkCredit, 0);
  // Granted here, but not sent yet.
  receiver.flow({ linkCredit: 5 });
  script.send(transfer(add(settings.firstId, 4)), { payload: payload(1) });
  assertEquals(script.take("delivery").length, 4);
  script.detachedWith(condition.transferLimitExceeded, "no credit");
});

test("FLW-4: a delivery ahead of our answer to the attach ends the link", () => {
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "sender" }));
  script.send(transfer(0, { settled: true }), { payload: payload(1) });
  script.expect("attach");
  script.one("attachRequested");
  script.detachedWith(condition.transferLimitExceeded, "no credit");
});

scenario("FLW-5: a drain makes the sender send what it has and hand back the rest, told once", (settings) => {
  const pair = Pair.opened(settings);
  const [sender, receiver] = pair.sender(pair.begin());
  const ready = [tag(1), tag(2)];
  // The sender learns of the credit before the drain uses it up.
  pair.client.onevent = (event) => {
    if (event.kind !== "credit" || !event.link.draining) return;
    while (event.link.sendable > 0 && ready.length > 0) sendOn(event.link, ready.pop()!, payload(1));
  };
  const before = pair.client.sent("flow").length;
  receiver.flow({ linkCredit: 10, drain: true });
  assert(receiver.draining);
  pair.run();
  assertEquals(pair.server.take("delivery").length, 2);
  assertEquals(pair.server.one("drained").link, receiver);
  assertEquals([sender.linkCredit, receiver.linkCredit, sender.draining, receiver.draining], [0, 0, false, false]);
  assertEquals([sender.deliveryCount, receiver.deliveryCount], [add(settings.firstId, 10), add(settings.firstId, 10)]);
  assertEquals(pair.client.sent("flow").length, before + 1);
  receiver.flow({ linkCredit: 1 });
  pair.run();
  assertEquals(sender.sendable, 1);
});

scenario("FLW-5: a drain is over with the last delivery when that used up the credit", (settings) => {
  const limits = { maxFrameSize: 512 };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  const [sender, receiver] = pair.sender(pair.begin());
  pair.client.onevent = (event) => {
    if (event.kind === "credit" && event.link.sendable > 0) sendOn(event.link, tag(1), payload(3_000));
  };
  receiver.flow({ linkCredit: 1, drain: true });
  pair.run();
  assertEquals(pair.server.events.map(({ kind }) => kind).slice(-2), ["delivery", "drained"]);
  assertEquals([sender.draining, receiver.draining], [false, false]);
});

scenario("FLW-5: credit that was lowered below the queue leaves the queue, and the drain still ends", (settings) => {
  const pair = Pair.opened(settings, { server: { session: { incomingWindow: 1 } } });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 3 });
  pair.run();
  for (const n of [1, 2, 3]) sendOn(sender, tag(n), payload(1));
  const release = pair.hold(pair.client);
  pair.run();
  assertEquals(pair.server.take("delivery").length, 1);
  receiver.flow({ linkCredit: 0, drain: true });
  release();
  assertEquals([sender.queued, sender.linkCredit, sender.draining], [2, 0, false]);
  pair.server.one("drained");
  receiver.flow({ linkCredit: 2 });
  pair.run();
  assertEquals(pair.server.take("delivery").length, 2);
});

scenario("FLW-5: a drain with nothing to hand back is answered all the same", (settings) => {
  const pair = Pair.opened(settings);
  const [, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 0, drain: true });
  pair.run();
  pair.server.one("drained");
});

scenario("FLW-5: a sender may say that it has nothing, which hands back the credit at once", (settings) => {
  const pair = Pair.opened(settings);
  const [sender, receiver] = pair.sender(pair.begin());
  sender.drained();
  pair.client.onevent = (event) => event.kind === "credit" && event.link.drained();
  receiver.flow({ linkCredit: 4, drain: true });
  pair.run();
  pair.server.one("drained");
  assertEquals([sender.linkCredit, receiver.linkCredit], [0, 0]);
});

scenario(
  "FLW-5: credit that is given anew while a drain is under way counts on both sides, or is told to be gone",
  (settings) => {
    const pair = Pair.opened(settings, { latencyMs: 5 });
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: 10, drain: true });
    pair.advance(1);
    receiver.flow({ linkCredit: 0 });
    pair.advance(1);
    receiver.flow({ linkCredit: 4 });
    pair.run();
    // The sender had returned ten by then, more than the four.
    assertEquals([sender.linkCredit, receiver.linkCredit], [0, 0]);
    assertEquals(sender.deliveryCount, receiver.deliveryCount);
    assertEquals(pair.server.one("drained").link, receiver);
    receiver.flow({ linkCredit: 10, drain: true });
    pair.advance(1);
    receiver.flow({ linkCredit: 14 });
    pair.run();
    assertEquals([sender.linkCredit, receiver.linkCredit], [4, 4]);
    assertEquals(sender.deliveryCount, receiver.deliveryCount);
    assertEquals(pair.server.take("drained"), []);
    assertEquals([sender.session.state, sender.state], ["mapped", "attached"]);
  },
);

scenario("FLW-5: an abort empties the queue for a drain, too", (settings) => {
  const pair = Pair.opened(settings, { server: { session: { incomingWindow: 1 } } });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  sendOn(sender, tag(1), payload(1));
  const second = sendOn(sender, tag(2), payload(1));
  const release = pair.hold(pair.client);
  pair.run();
  receiver.flow({ drain: true });
  pair.run();
  second.abort();
  release();
  pair.server.one("drained");
  assertEquals([sender.linkCredit, receiver.linkCredit, receiver.available], [0, 0, 0]);
});

scenario("FLW-6: credit that is withdrawn stops the sender; what was on its way is taken", (settings) => {
  const pair = Pair.opened(settings, { latencyMs: 5 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  for (let i = 0; i < 3; i++) sendOn(sender, tag(i), payload(1));
  receiver.flow({ linkCredit: 0 });
  pair.run();
  assertEquals(pair.server.take("delivery").length, 3);
  assertEquals([sender.linkCredit, receiver.linkCredit, sender.sendable], [0, 0, 0]);
  assertEquals(pair.server.take("detached"), []);
});

scenario("FLW-7: an echo is answered once and the answer asks for none", (settings) => {
  const pair = Pair.opened(settings);
  const [, receiver] = pair.sender(pair.begin());
  const count = (): number[] => [pair.client.sent("flow").length, pair.server.sent("flow").length];
  const [client, server] = count();
  receiver.flow({ echo: true });
  pair.run();
  assertEquals(count(), [client! + 1, server! + 1]);
  assertEquals(pair.server.sent("flow").at(-1)?.echo, true);
  assertEquals(pair.client.sent("flow").at(-1)?.echo, undefined);
  receiver.flow({});
  pair.run();
  assertEquals(pair.server.sent("flow").at(-1)?.echo, undefined);
  assertEquals(count(), [client! + 1, server! + 2]);
});

test("FLW-7, ATK-8: a storm of echoes in one piece gets one answer for each link and one for the session", () => {
  const { script } = sending();
  for (let i = 0; i < 1_000; i++) {
    script.send(flow({ echo: true }));
    script.send(flow({ echo: true, handle: 0, linkCredit: i, deliveryCount: 0 }));
  }
  const answers = script.rest();
  assertEquals(answers.map((item) => item.kind === "flow" && item.handle), [0]);
});

test("FLW-7: an echo ahead of our answer to the attach is answered behind it", () => {
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 4, echo: true }));
  script.quiet();
  const { link } = script.one("attachRequested");
  assert(link.role === "sender");
  assertEquals([link.linkCredit, link.sendable], [4, 0]);
  assertEquals(script.take("credit"), []);
  accept(link, { initialDeliveryCount: 7 });
  script.expect("attach");
  const answer = script.expect("flow");
  assertEquals([answer.linkCredit, answer.deliveryCount], [4, 7]);
  assertEquals(script.one("credit").link.sendable, 4);
});

test("FLW-5: a drain ahead of our answer to the attach is answered behind it", () => {
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 4, drain: true }));
  script.quiet();
  accept(script.one("attachRequested").link);
  script.expect("attach");
  const answer = script.expect("flow");
  assertEquals([answer.linkCredit, answer.deliveryCount], [0, 4]);
});

test("ATK-11: all the credit there is can be given, used and drained", () => {
  const most = 0xffffffff;
  for (const firstId of [0, 0xfffffffe]) {
    const pair = Pair.opened({ cut: "whole", firstId });
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: most });
    pair.run();
    assertEquals(sender.sendable, most);
    sendOn(sender, tag(1), payload(1));
    sendOn(sender, tag(2), payload(1));
    pair.run();
    assertEquals(pair.server.take("delivery").length, 2);
    assertEquals([sender.linkCredit, receiver.linkCredit], [most - 2, most - 2]);
    receiver.flow({ drain: true });
    pair.run();
    pair.server.one("drained");
    assertEquals([sender.linkCredit, receiver.linkCredit], [0, 0]);
    assertEquals(sender.deliveryCount, receiver.deliveryCount);
  }
});

test("ATK-11: a receiver that claims deliveries which were never sent gets no credit beyond the most there is", () => {
  const { script, sender } = sending();
  script.send(flow({ handle: 0, linkCredit: 0xffffffff, deliveryCount: 1_000, echo: true }));
  assertEquals(sender.linkCredit, 0xffffffff);
  assertEquals(script.expect("flow").linkCredit, 0xffffffff);
});

test("FLW-3: a sender whose count goes back, or further than its credit, loses the link", () => {
  for (const deliveryCount of [4, 16, 0x80000005]) {
    const { script, receiver } = receiving(5);
    receiver.flow({ linkCredit: 10 });
    script.expect("flow");
    script.send(flow({ handle: 0, linkCredit: 10, deliveryCount }));
    script.detachedWith(condition.invalidField, `delivery-count ${deliveryCount}`);
  }
  const { script, receiver } = receiving(5);
  receiver.flow({ linkCredit: 10 });
  script.expect("flow");
  script.send(flow({ handle: 0, linkCredit: 0, deliveryCount: 15 }));
  script.quiet();
  assertEquals([receiver.linkCredit, receiver.deliveryCount], [0, 15]);
});

test("FLW-2: credit that is no uint is refused here, credit on a link that is not there too", () => {
  const { receiver } = receiving();
  for (const linkCredit of [-1, 1.5, 0x1_0000_0000, NaN]) {
    assertThrows(() => receiver.flow({ linkCredit }), RangeError, "Cannot grant credit");
  }
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  const error = assertThrows(() => link.flow({ linkCredit: 1 }), AmqpError, "state is attachReceived");
  assertEquals([error.condition, error.scope], [condition.illegalState, "link"]);
});

test("FLW-8: a flow for a handle that is not attached ends the session", () => {
  const script = Script.begun();
  script.send(flow({ handle: 3, linkCredit: 1 }));
  script.endedWith(condition.unattachedHandle, "handle 3");
});

test("FLW-5: the answer to a drain that its last delivery has ended comes late, and ends no later drain", () => {
  for (const answers of [1, 2]) {
    const { script, receiver } = receiving();
    const deliver = (id: number): void => script.send(transfer(id), { payload: payload(1) });
    const answer = (deliveryCount: number): void =>
      script.send(flow({ nextIncomingId: 0, handle: 0, deliveryCount, linkCredit: 0, drain: true }));
    const drained = (): number => script.events.filter(({ kind }) => kind === "drained").length;
    for (let i = 0; i < answers; i++) {
      receiver.flow({ linkCredit: 1, drain: true });
      script.rest();
      deliver(i);
      assertEquals(drained(), i + 1);
    }
    receiver.flow({ linkCredit: 2, drain: true });
    script.rest();
    for (let i = 0; i < answers; i++) answer(answers);
    assertEquals([drained(), receiver.draining, receiver.linkCredit], [answers, true, 2]);
    deliver(answers);
    // One message of two: the rest of the credit comes back.
    answer(answers + 2);
    assertEquals([drained(), receiver.draining, receiver.linkCredit], [answers + 1, false, 0]);
  }
});

test("FLW-5: a drain ends at a sender that keeps its count and answers no drain whose credit it has used up", () => {
  for (const unanswered of [1, 2, 300]) {
    const { script, receiver } = receiving();
    for (let i = 0; i < unanswered; i++) {
      receiver.flow({ linkCredit: 1, drain: true });
      script.rest();
      script.send(transfer(i), { payload: payload(1) });
      assertEquals(script.events.filter(({ kind }) => kind === "drained").length, i + 1);
    }
    receiver.flow({ linkCredit: 2, drain: true });
    let flows = 0;
    while (receiver.draining) {
      const { drain, linkCredit } = script.expect("flow");
      assertEquals([drain, linkCredit], [true, 2]);
      script.send(flow({ nextIncomingId: 0, handle: 0, deliveryCount: unanswered, linkCredit: 0, drain: true }));
      flows++;
    }
    assertEquals([flows, receiver.linkCredit], [Math.min(unanswered, 8) + 1, 0]);
    script.quiet();
  }
});

test("FLW-5: the answer to an earlier drain does not end one that is not written yet", () => {
  const { script, receiver } = receiving();
  receiver.flow({ linkCredit: 1, drain: true });
  script.rest();
  script.send(transfer(0), { payload: payload(1) });
  receiver.flow({ linkCredit: 2, drain: true });
  const answer = { nextIncomingId: 0, handle: 0, deliveryCount: 1, linkCredit: 0, drain: true };
  script.send(flow(answer));
  assertEquals([receiver.draining, receiver.linkCredit], [true, 2]);
  script.rest();
  script.send(flow({ ...answer, deliveryCount: 3 }));
  assertEquals([receiver.draining, receiver.linkCredit], [false, 0]);
});
