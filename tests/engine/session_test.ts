import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { add, difference } from "../../src/base/collections.ts";
import { test } from "../harness.ts";
import { Pair, payload, scenario, tag } from "./pair.ts";
import { attachLink, sendOn } from "./endpoint.ts";
import { attach, begin, checkError, flow, Script, transfer } from "./script.ts";

scenario("SES-1: a begin that starts names no channel, one that answers names the peer's", (settings) => {
  const pair = Pair.opened(settings);
  const session = pair.begin({ properties: { a: 1 }, handleMax: 9, incomingWindow: 5 });
  pair.run();
  const [asked, answered] = [pair.client.sent("begin")[0]!, pair.server.sent("begin")[0]!];
  assertEquals([asked.remoteChannel, answered.remoteChannel], [undefined, session.channel]);
  assertEquals([asked.handleMax, asked.incomingWindow, asked.nextOutgoingId], [9, 5, settings.firstId]);
  assertEquals(pair.client.one("begun"), { kind: "begun", session, remote: false });
  const accepted = pair.server.one("begun");
  assert(accepted.remote);
  assertEquals(accepted.session.remote?.properties?.a, 1);
  assertEquals(accepted.session.remoteIncomingWindow, 5);
});

test("SES-1: the lowest free channel is taken, and only when both ends were seen", () => {
  const script = Script.opened({ role: "client" });
  const { endpoint } = script;
  const first = endpoint.begin();
  assertEquals([first.channel, endpoint.begin().channel], [0, 1]);
  script.send(begin({ remoteChannel: 0 }), { channel: 5 });
  first.end();
  assertEquals(endpoint.begin().channel, 2);
  script.send({ kind: "end" }, { channel: 5 });
  // RabbitMQ 4 loses a begin that follows the end of a session on its channel at once.
  assertEquals([endpoint.begin().channel, endpoint.begin().channel], [3, 4]);
});

test("SES-1: the channel of the session that ended last is taken again when another has ended, or all others are in use", () => {
  const script = Script.opened({ role: "client" }, { channelMax: 2 });
  const { endpoint } = script;
  const begun = [0, 1].map((channel) => {
    const session = endpoint.begin();
    assertEquals(session.channel, channel);
    script.send(begin({ remoteChannel: channel }), { channel });
    return session;
  });
  for (const channel of [1, 0]) {
    begun[channel]!.end();
    script.send({ kind: "end" }, { channel });
  }
  assertEquals([0, 1, 2].map(() => endpoint.begin().channel), [1, 2, 0]);
  assertThrows(() => endpoint.begin(), AmqpError, "3 sessions are open");
});

test("SES-1: a begin that answers none of ours, or answers one twice, closes the connection", () => {
  const never = Script.opened({ role: "client" });
  never.send(begin({ remoteChannel: 3 }));
  never.closedWith(condition.notAllowed, "no session on channel 3");
  const twice = Script.opened({ role: "client" });
  twice.endpoint.begin();
  twice.expect("begin");
  twice.send(begin({ remoteChannel: 0 }), { channel: 0 });
  twice.send(begin({ remoteChannel: 0 }), { channel: 1 });
  twice.closedWith(condition.notAllowed, "no session on channel 0");
});

test("SES-2: the two directions number their channels independently", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  script.expect("begin");
  script.send(begin({ remoteChannel: 0 }), { channel: 17 });
  script.one("begun");
  assertEquals([session.channel, session.remoteChannel], [0, 17]);
  script.send(flow({ echo: true }), { channel: 17 });
  assertEquals(script.expect("flow").channel, 0);
  // Channel 0 is free in the other direction.
  script.send(begin(), { channel: 0 });
  const answer = script.expect("begin");
  assertEquals([answer.channel, answer.remoteChannel], [1, 0]);
});

test("SES-4: a handle above our handle-max closes the connection", () => {
  const script = Script.opened({ role: "server", session: { handleMax: 1 } });
  script.send(begin());
  assertEquals(script.expect("begin").handleMax, 1);
  script.send(attach({ role: "sender", handle: 1 }));
  script.expect("attach");
  script.send(attach({ role: "sender", name: "other", handle: 2 }));
  script.closedWith(condition.framingError, "handle is 2, above 1");
});

test("SES-4: the peer's handle-max, and ours, bound the links that we attach", () => {
  for (const [theirs, ours] of [[1, 7], [7, 1]]) {
    const script = Script.opened({ role: "client" });
    const session = script.endpoint.begin({ handleMax: ours });
    script.send(begin({ remoteChannel: 0, handleMax: theirs }));
    for (const name of ["a", "b"]) attachLink(session, { name, role: "sender" });
    const error = assertThrows(
      () => attachLink(session, { name: "c", role: "sender" }),
      AmqpError,
      "2 links are attached",
    );
    assertEquals([error.condition, error.scope], [condition.resourceLimitExceeded, "link"]);
    assertEquals(session.linkCount, 2);
  }
});

test("SES-4: a peer that attaches more links than it takes itself ends its session, not the connection", () => {
  const script = Script.begun({}, { handleMax: 0 });
  script.send(attach({ role: "sender" }));
  script.expect("attach");
  script.send(attach({ role: "sender", name: "more", handle: 1 }));
  script.endedWith(condition.resourceLimitExceeded, "1 links are attached");
});

scenario("SES-5: an end is answered by an end, and takes the links with it", (settings) => {
  for (const ending of ["client", "server"] as const) {
    const pair = Pair.opened(settings);
    const session = pair.begin();
    const [sender, receiver] = pair.sender(session);
    pair.client.take("attached");
    (ending === "client" ? session : receiver.session).end();
    pair.run();
    for (const side of [pair.client, pair.server]) {
      assertEquals(side.one("ended").error, undefined);
      assertEquals(side.take("detached"), []);
      assertEquals(side.endpoint.sessionCount, 0);
      assertEquals(side.sent("end").length, 1);
      assertEquals(side.endpoint.state, "opened");
    }
    assertEquals([sender.state, receiver.state, session.state], ["detached", "detached", "ended"]);
    sender.detach({ closed: true });
    session.end();
    pair.run();
    assertEquals(pair.client.sent("detach"), []);
    assertThrows(() => receiver.flow({ linkCredit: 1 }), AmqpError, "state is detached");
    assertThrows(
      () => attachLink(session, { name: "late", role: "sender" }),
      AmqpError,
      "state of the session is ended",
    );
  }
});

scenario("SES-5: an end with an error tells the peer why", (settings) => {
  const pair = Pair.opened(settings);
  const session = pair.begin();
  pair.run();
  session.end(new AmqpError(condition.resourceLimitExceeded, "Cannot go on: test"));
  pair.run();
  checkError(pair.server.one("ended").error, {
    condition: condition.resourceLimitExceeded,
    scope: "session",
    remote: true,
    text: "test",
  });
  assertEquals(pair.client.one("ended").error, undefined);
});

scenario("SES-5: both may end at the same time, and a session may end before its begin was answered", (settings) => {
  const pair = Pair.opened(settings, { latencyMs: 5 });
  const session = pair.begin();
  const late = pair.begin();
  pair.advance(5);
  const [accepted] = pair.server.endpoint.sessions();
  late.end();
  pair.advance(5);
  session.end();
  accepted!.end();
  pair.run();
  for (const side of [pair.client, pair.server]) {
    assertEquals(side.take("ended").map(({ error }) => error), [undefined, undefined]);
    assertEquals(side.endpoint.sessionCount, 0);
  }
});

test("SES-5: a session that we ended with an error drops what comes until the peer's end", () => {
  const script = Script.begun();
  const [session] = script.endpoint.sessions();
  session!.fail(new AmqpError(condition.internalError, "Cannot go on: test", { scope: "session" }));
  script.dispatch(script.endpoint.events());
  script.endedWith(condition.internalError, "test");
});

test("SES-5: a session may fail before its begin was answered, and does nothing once it has ended", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  const error = new AmqpError(condition.internalError, "Cannot go on: test", { scope: "session" });
  session.fail(error);
  script.expect("begin");
  assertEquals(script.expect("end").error?.condition, condition.internalError);
  script.dispatch(script.endpoint.events());
  assertEquals(script.one("ended").error, error);
  session.fail(error);
  session.end();
  script.send(begin({ remoteChannel: 0 }));
  script.send({ kind: "end" });
  session.fail(error);
  script.quiet();
  assertEquals([script.events, script.endpoint.sessionCount, script.endpoint.state], [[], 0, "opened"]);
});

scenario("SES-6, SES-7: each transfer frame takes one id and one of the window, not each delivery", (settings) => {
  const limits = { maxFrameSize: 512 };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 2 });
  pair.run();
  const before = sender.session.remoteIncomingWindow;
  sendOn(sender, tag(1), payload(1_300));
  pair.run();
  const frames = pair.client.sent("transfer").length;
  assertEquals(frames, 3);
  assertEquals(sender.session.remoteIncomingWindow, before - frames);
  assertEquals(receiver.session.incomingWindow, before - frames);
  receiver.flow({ linkCredit: 1 });
  pair.run();
  assertEquals(pair.server.sent("flow").at(-1)?.nextIncomingId, add(settings.firstId, 3));
  assertEquals(sender.session.remoteIncomingWindow, before);
});

scenario("SES-8: what is in flight counts against the window that the peer told", (settings) => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin({ initialOutgoingId: settings.firstId });
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0, incomingWindow: 10 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 100, incomingWindow: 10 }));
  for (let i = 0; i < 4; i++) sendOn(sender, tag(i), payload(1));
  script.rest();
  assertEquals(session.remoteIncomingWindow, 6);
  // Written when the peer had seen one of the four.
  script.send(flow({ nextIncomingId: add(settings.firstId, 1), incomingWindow: 10 }));
  assertEquals(session.remoteIncomingWindow, 7);
  // Before the peer has seen our begin, our initial id counts.
  script.send(flow({ nextIncomingId: undefined, incomingWindow: 10 }));
  assertEquals(session.remoteIncomingWindow, 6);
  // A window that shrank below what is in flight is shut, not negative.
  script.send(flow({ nextIncomingId: add(settings.firstId, 1), incomingWindow: 2 }));
  assertEquals(session.remoteIncomingWindow, 0);
});

scenario(
  "SES-9, SES-11: with windows of 1, 2 and 3 all arrives, in order, and neither window is passed",
  (settings) => {
    for (const incomingWindow of [1, 2, 3]) {
      const limits = { maxFrameSize: 512, session: { incomingWindow } };
      const pair = Pair.opened(settings, { client: limits, server: limits });
      const session = pair.begin({ incomingWindow });
      const [sender, receiver] = pair.sender(session);
      const [back, source] = pair.receiver(session, { name: "back" });
      receiver.flow({ linkCredit: 50 });
      back.flow({ linkCredit: 50 });
      pair.run();
      for (let i = 0; i < 20; i++) {
        sendOn(sender, tag(i), payload(i * 97, i));
        sendOn(source, tag(i), payload(i * 89, i));
      }
      pair.run();
      for (const [side, step] of [[pair.server, 97], [pair.client, 89]] as const) {
        const arrived = side.take("delivery").map(({ delivery }) => delivery.payload);
        assertEquals(arrived, Array.from({ length: 20 }, (_, i) => payload(i * step, i)));
      }
    }
  },
);

test("SES-9: nothing is sent into a shut window; it is asked for once, and sending resumes with it", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0, incomingWindow: 2 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 100, incomingWindow: 2 }));
  for (let i = 0; i < 5; i++) sendOn(sender, tag(i), payload(1));
  assertEquals(script.rest().filter(({ kind }) => kind === "transfer").length, 2);
  script.quiet();
  script.send(flow({ nextIncomingId: 2, incomingWindow: 0 }));
  script.quiet();
  script.send(flow({ nextIncomingId: 2, incomingWindow: 1 }));
  assertEquals(script.expect("transfer").deliveryId, 2);
  const asking = script.expect("flow");
  assertEquals([asking.handle, asking.echo, asking.nextOutgoingId], [undefined, true, 3]);
  script.quiet();
});

test("SES-10: a peer that never tells next-incoming-id still opens its window, as Azure's IoT Hub does", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0, incomingWindow: 2 }));
  script.send(attach({ role: "receiver" }));
  const told = { nextIncomingId: undefined, incomingWindow: 2 };
  script.send(flow({ ...told, handle: 0, linkCredit: 100 }));
  for (let i = 0; i < 6; i++) sendOn(sender, tag(i), payload(1));
  const transfers = () => script.rest().filter(({ kind }) => kind === "transfer").length;
  assertEquals(transfers(), 2);
  script.send(flow(told));
  assertEquals(transfers(), 2);
  script.send(flow({ ...told, incomingWindow: 0 }));
  assertEquals(transfers(), 0);
  script.send(flow(told));
  assertEquals(transfers(), 2);
});

test("SES-9: a transfer beyond our window ends the session", () => {
  const script = Script.opened({ role: "server", session: { incomingWindow: 4 } });
  script.send(begin());
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 100 });
  script.rest();
  script.one("begun");
  for (let i = 0; i < 5; i++) {
    // Nothing is transmitted in between, so the peer cannot know of a larger window.
    script.send(transfer(i), { payload: payload(1) });
  }
  assertEquals(script.take("delivery").length, 4);
  script.endedWith(condition.windowViolation, "incoming window is 0");
});

scenario("SES-10: a flow names the next incoming id once the peer's begin was seen, and not before", (settings) => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  const receiver = attachLink(session, { name: "link", role: "receiver", source: { kind: "source" } });
  receiver.flow({ linkCredit: 1 });
  script.expect("begin");
  script.expect("attach");
  const early = script.expect("flow");
  assertEquals([early.nextIncomingId, early.deliveryCount, early.linkCredit], [undefined, undefined, 1]);
  script.send(begin({ remoteChannel: 0, nextOutgoingId: settings.firstId }));
  receiver.flow({ linkCredit: 2 });
  const known = script.expect("flow");
  assertEquals([known.nextIncomingId, known.deliveryCount], [settings.firstId, undefined]);
  script.send(attach({ role: "sender", initialDeliveryCount: 5 }));
  receiver.flow({ linkCredit: 3 });
  assertEquals(script.expect("flow").deliveryCount, 5);
});

scenario("SES-11: the window is told anew at half, not with each transfer", (settings) => {
  const pair = Pair.opened(settings, { server: { session: { incomingWindow: 100 } } });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 1_000 });
  pair.run();
  const before = pair.server.sent("flow").length;
  for (let i = 0; i < 500; i++) {
    sendOn(sender, tag(i), payload(1));
    pair.run();
  }
  const flows = pair.server.sent("flow").length - before;
  assertEquals(flows, 10);
  assertEquals(pair.server.take("delivery").length, 500);
});

test("SES-12: serial numbers compare around 2^32, and a distance of 2^31 has no order", () => {
  assertEquals(add(0xffffffff, 1), 0);
  assertEquals(add(0, -1), 0xffffffff);
  assertEquals(difference(0, 0xffffffff), 1);
  assertEquals(difference(0xffffffff, 0), -1);
  assertEquals(difference(0x7fffffff, 0), 0x7fffffff);
  assertEquals([difference(0x80000000, 0), difference(0, 0x80000000)], [-0x80000000, -0x80000000]);
});

scenario("SES-12, ATK-11: ids, counts and windows pass 2^32 without a hitch", (settings) => {
  const pair = Pair.opened({ ...settings, firstId: 0xfffffff0 }, { server: { session: { incomingWindow: 7 } } });
  const [sender, receiver] = pair.sender(pair.begin());
  for (let round = 0; round < 10; round++) {
    receiver.flow({ linkCredit: 5 });
    pair.run();
    const sent = Array.from({ length: 5 }, (_, i) => sendOn(sender, tag(i), payload(3)));
    pair.run();
    for (const { delivery } of pair.server.take("delivery")) delivery.update({ kind: "accepted" });
    pair.run();
    assert(sent.every(({ settled, remoteState }) => settled && remoteState?.kind === "accepted"));
    assertEquals([sender.linkCredit, receiver.linkCredit, sender.session.unsettledCount], [0, 0, 0]);
    assertEquals(sender.deliveryCount, receiver.deliveryCount);
    assertGreaterOrEqual(sender.session.remoteIncomingWindow, 1);
    assertLessOrEqual(sender.session.remoteIncomingWindow, 7);
  }
  assertEquals(sender.deliveryCount, add(0xfffffff0, 50));
});

test("ATK-11: windows that add up beyond 2^32 are held at the most there is", () => {
  const script = Script.begun();
  const [session] = script.endpoint.sessions();
  script.send(flow({ nextIncomingId: 100, incomingWindow: 0xffffffff }));
  assertEquals(session!.remoteIncomingWindow, 0xffffffff);
  script.alive();
});

test("ATK-8: sessions that begin and end by the thousand leave nothing behind", () => {
  const script = Script.opened({ role: "server" });
  for (let i = 0; i < 3_000; i++) {
    script.send(begin());
    script.send({ kind: "end" });
    if (i % 100 === 0) script.rest();
  }
  assertEquals(script.endpoint.sessionCount, 0);
  assertEquals(script.take("begun").length, script.take("ended").length);
});
