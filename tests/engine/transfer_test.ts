import { assert, assertEquals, assertInstanceOf, assertLessOrEqual, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { Transfer } from "../../src/codec/types.ts";
import { DEFAULT_MAX_FRAME_SIZE } from "../../src/codec/limits.ts";
import type { LinkOptions } from "../../src/engine/link.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import { add } from "../../src/base/collections.ts";
import { test } from "../harness.ts";
import { Pair, payload, scenario, tag } from "./pair.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, sendOn } from "./endpoint.ts";
import { attach, begin, flow, frame, Script, transfer } from "./script.ts";

/** A script whose peer is a sender on our receiver, which gave it credit. */
function receiving(options: LinkOptions = {}): { script: Script; receiver: ReceiverEndpoint } {
  const script = Script.begun();
  script.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, options);
  };
  script.send(attach({ role: "sender" }));
  script.expect("attach");
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 100 });
  script.expect("flow");
  return { script, receiver: link };
}

function more(fields: Partial<Transfer> = {}): Transfer {
  return { kind: "transfer", handle: 0, ...fields };
}

scenario(
  "TRF-1: the first frame of a delivery carries id, tag and format, the others only what they must",
  (settings) => {
    const limits = { maxFrameSize: 512 };
    const pair = Pair.opened(settings, { client: limits, server: limits });
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: 2 });
    pair.run();
    sendOn(sender, tag(1), payload(1_200), { messageFormat: 0x80013700 });
    sendOn(sender, tag(2), payload(0));
    pair.run();
    const [first, ...others] = pair.client.sent("transfer");
    assertEquals([first?.deliveryId, first?.deliveryTag, first?.messageFormat, first?.more], [
      settings.firstId,
      tag(1),
      0x80013700,
      true,
    ]);
    const last = others.pop();
    assertEquals([last?.deliveryId, last?.deliveryTag, last?.messageFormat, last?.more], [
      add(settings.firstId, 1),
      tag(2),
      0,
      undefined,
    ]);
    assertEquals(
      others.map((
        { deliveryId, deliveryTag, messageFormat, settled, more },
      ) => [deliveryId, deliveryTag, messageFormat, settled, more]),
      [[undefined, undefined, undefined, undefined, true], [undefined, undefined, undefined, undefined, undefined]],
    );
    const [one, two] = pair.server.take("delivery").map(({ delivery }) => delivery);
    assertEquals([one?.payload, one?.messageFormat, one?.tag], [payload(1_200), 0x80013700, tag(1)]);
    assertEquals([two?.payload.length, two?.messageFormat, two?.tag], [0, 0, tag(2)]);
  },
);

test("TRF-1: a first frame without id or tag ends the link, also where it is settled and nobody asks for the tag", () => {
  for (const settled of [false, true]) {
    for (const missing of ["deliveryId", "deliveryTag"] as const) {
      const { script } = receiving();
      script.send(transfer(0, { [missing]: undefined, settled }), { payload: payload(1) });
      script.detachedWith(condition.invalidField, "delivery-id and delivery-tag");
    }
  }
});

test("TRF-1: what a later frame repeats must be the same", () => {
  const same = receiving();
  same.script.send(transfer(3, { more: true }), { payload: payload(1) });
  same.script.send(transfer(3, { more: true }), { payload: payload(1) });
  same.script.send(more(), { payload: payload(1) });
  assertEquals(same.script.one("delivery").delivery.payload.length, 3);
  const others = [{ deliveryId: 4 }, { deliveryTag: Uint8Array.of(9) }, { deliveryTag: new Uint8Array(130_000) }];
  for (const other of [...others, { messageFormat: 1 }]) {
    const { script, receiver } = receiving();
    script.send(transfer(3, { more: true }), { payload: payload(1) });
    assert(receiver.receiving);
    script.send(more(other), { payload: payload(1) });
    script.detachedWith(condition.notAllowed, "differs from the delivery that has begun");
    assert(!receiver.receiving);
  }
});

test("TRF-2: a tag has at most 32 bytes and names one unsettled delivery of its link", () => {
  const long = receiving();
  long.script.send(transfer(0, { deliveryTag: new Uint8Array(32) }), { payload: payload(1) });
  long.script.one("delivery");
  long.script.send(transfer(1, { deliveryTag: new Uint8Array(33) }), { payload: payload(1) });
  long.script.detachedWith(condition.invalidField, "33 bytes");

  const twice = receiving();
  twice.script.send(transfer(0, { deliveryTag: tag(1) }), { payload: payload(1) });
  twice.script.one("delivery").delivery.update({ kind: "accepted" });
  twice.script.send(transfer(1, { deliveryTag: tag(1) }), { payload: payload(1) });
  twice.script.one("delivery");
  twice.script.rest();
  twice.script.send(transfer(2, { deliveryTag: tag(1) }), { payload: payload(1) });
  twice.script.detachedWith(condition.notAllowed, "unsettled delivery");
});

test("TRF-2: a tag of any length and any bytes is given out as it came", () => {
  const { script } = receiving();
  for (let length = 1; length <= 32; length++) {
    const deliveryTag = Uint8Array.from({ length }, (_, i) => 255 - 31 * i);
    script.send(transfer(length - 1, { deliveryTag }), { payload: payload(1) });
    assertEquals(script.one("delivery").delivery.tag, deliveryTag);
  }
});

test("TRF-2: an empty tag will do for what comes settled", () => {
  const { script } = receiving();
  for (const id of [0, 1]) {
    script.send(transfer(id, { deliveryTag: new Uint8Array(0), settled: true }), { payload: payload(1) });
    assertEquals(script.one("delivery").delivery.tag.length, 0);
  }
});

test("TRF-2: our own tags and formats are checked before anything is queued", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 10 });
  pair.run();
  assertThrows(() => sendOn(sender, new Uint8Array(0), payload(1)), RangeError, "0 bytes, not 1 to 32");
  assertThrows(() => sendOn(sender, new Uint8Array(33), payload(1)), RangeError, "33 bytes");
  for (const messageFormat of [-1, 0.5, 2 ** 32]) {
    assertThrows(() => sendOn(sender, tag(1), payload(1), { messageFormat }), RangeError, "no uint");
  }
  const first = sendOn(sender, tag(1), payload(1));
  const error = assertThrows(() => sendOn(sender, tag(1), payload(1)), AmqpError, "tag is in use");
  assertEquals([error.condition, error.scope], [condition.illegalState, "delivery"]);
  sendOn(sender, tag(2), payload(1), { settled: true });
  sendOn(sender, tag(2), payload(1), { settled: true });
  pair.run();
  for (const { delivery } of pair.server.take("delivery")) delivery.update({ kind: "released" });
  pair.run();
  assert(first.settled);
  sendOn(sender, tag(1), payload(1));
  assertEquals([sender.queued, sender.outgoing.size], [1, 1]);
});

test("TRF-3: delivery ids follow each other on a session, over all its links", () => {
  for (const id of [0, 0xffffffff]) {
    const { script } = receiving();
    script.send(attach({ role: "sender", name: "other", handle: 1 }));
    script.expect("attach");
    const { link } = script.one("attachRequested");
    assert(link.role === "receiver");
    link.flow({ linkCredit: 5 });
    script.expect("flow");
    script.send(transfer(id), { payload: payload(1) });
    script.send(transfer(add(id, 1), { handle: 1 }), { payload: payload(1) });
    script.send(transfer(add(id, 2)), { payload: payload(1) });
    assertEquals(script.take("delivery").length, 3);
    script.send(transfer(add(id, 4), { handle: 1 }), { payload: payload(1) });
    script.endedWith(condition.invalidField, `delivery-id is ${add(id, 4)}, not ${add(id, 3)}`);
  }
});

scenario("TRF-4: deliveries of one link follow each other, those of several take turns frame by frame", (settings) => {
  const limits = { maxFrameSize: 512 };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  const session = pair.begin();
  const links = ["a", "b", "c"].map((name) => pair.sender(session, { name }));
  for (const [, receiver] of links) receiver.flow({ linkCredit: 2 });
  pair.run();
  for (const [sender] of links) {
    sendOn(sender, tag(1), payload(2_000, sender.handle));
    sendOn(sender, tag(2), payload(700, sender.handle + 9));
  }
  pair.run();
  assertEquals(pair.client.sent("transfer").slice(0, 6).map(({ handle }) => handle), [0, 1, 2, 0, 1, 2]);
  const arrived = pair.server.take("delivery");
  for (const [sender, receiver] of links) {
    const own = arrived.filter(({ link }) => link === receiver).map(({ delivery }) => delivery.payload);
    assertEquals(own, [payload(2_000, sender.handle), payload(700, sender.handle + 9)]);
  }
});

test("TRF-5: settled on any frame holds for the delivery", () => {
  const { script, receiver } = receiving();
  script.send(transfer(0, { more: true }), { payload: payload(1) });
  script.send(more({ settled: true, more: true }), { payload: payload(1) });
  script.send(more({ settled: false }), { payload: payload(1) });
  const { delivery } = script.one("delivery");
  assert(delivery.remoteSettled);
  assertEquals([receiver.unsettled.size, receiver.session.unsettledCount], [0, 0]);
  delivery.update({ kind: "accepted" });
  assert(delivery.settled);
  script.quiet();
});

test("TRF-5: the mode of the link says what may be settled, here and at the peer", () => {
  const cases = [
    ["unsettled", true, "settled on a link of mode"],
    ["settled", false, "not settled on a link of mode"],
  ] as const;
  for (const [sndSettleMode, settled, text] of cases) {
    const script = Script.begun();
    script.send(attach({ role: "sender", sndSettleMode }));
    script.expect("attach");
    const { link } = script.one("attachRequested");
    assert(link.role === "receiver");
    link.flow({ linkCredit: 5 });
    script.expect("flow");
    script.send(transfer(0, { settled: !settled }), { payload: payload(1) });
    script.one("delivery");
    script.send(transfer(1, { settled }), { payload: payload(1) });
    script.detachedWith(condition.notAllowed, text);
  }
  const aborted = Script.begun();
  aborted.send(attach({ role: "sender", sndSettleMode: "unsettled" }));
  const { link } = aborted.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 5 });
  aborted.rest();
  aborted.send(transfer(0, { settled: true, aborted: true }));
  assertEquals(aborted.one("aborted").link, link);
});

scenario("TRF-5: our sender keeps to the mode of its link", (settings) => {
  const pair = Pair.opened(settings);
  const session = pair.begin();
  const [settled, one] = pair.sender(session, { name: "settled", sndSettleMode: "settled" });
  const [unsettled, two] = pair.sender(session, { name: "unsettled", sndSettleMode: "unsettled" });
  const [mixed, three] = pair.sender(session, { name: "mixed" });
  for (const receiver of [one, two, three]) receiver.flow({ linkCredit: 2 });
  pair.run();
  const quick = sendOn(settled, tag(1), payload(1), { settled: false });
  sendOn(unsettled, tag(1), payload(1), { settled: true });
  pair.run();
  const { error } = pair.client.one("refused");
  assert(error.message.includes("settle mode"));
  assertEquals([error.condition, error.scope], [condition.notAllowed, "delivery"]);
  sendOn(unsettled, tag(1), payload(1));
  sendOn(mixed, tag(1), payload(1), { settled: true });
  sendOn(mixed, tag(2), payload(1));
  assert(quick.settled);
  pair.run();
  const arrived = pair.server.take("delivery").map(({ link, delivery }) => `${link.name} ${delivery.remoteSettled}`);
  assertEquals(arrived.sort(), ["mixed false", "mixed true", "settled true", "unsettled false"]);
  assertEquals(pair.client.take("sent").map(({ link }) => link.name).sort(), ["mixed", "settled"]);
  assertEquals(session.unsettledCount, 2);
});

scenario(
  "TRF-6: an abort before the first frame leaves no trace, one after it ends the delivery, a late one fails",
  (settings) => {
    const limits = { maxFrameSize: 512, session: { incomingWindow: 2 } };
    const pair = Pair.opened(settings, { client: limits, server: limits });
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: 10 });
    pair.run();
    const done = sendOn(sender, tag(0), payload(1));
    pair.run();
    const begun = sendOn(sender, tag(1), payload(5_000));
    const waiting = sendOn(sender, tag(2), payload(5));
    const last = sendOn(sender, tag(3), payload(7));
    const release = pair.hold(pair.client);
    pair.run();
    assert(begun.id !== undefined && !begun.sent && waiting.id === undefined);
    assertEquals([done.abort(), begun.abort(), waiting.abort(), waiting.abort()], [false, true, true, false]);
    for (const delivery of [begun, waiting]) assert(delivery.settled && delivery.aborted);
    // The delivery that has begun has to end first.
    assertEquals(sender.outgoing.size, 3);
    release();
    assertEquals(pair.server.take("delivery").map(({ delivery }) => delivery.payload), [payload(1), payload(7)]);
    pair.server.one("aborted");
    const aborting = pair.client.sent("transfer").find(({ aborted }) => aborted);
    assertEquals([aborting?.aborted, aborting?.more], [true, undefined]);
    assertEquals([done.id, begun.id, waiting.id, last.id], [
      settings.firstId,
      add(settings.firstId, 1),
      undefined,
      add(settings.firstId, 2),
    ]);
    assertEquals([sender.session.unsettledCount, receiver.session.unsettledCount], [2, 2]);
  },
);

test("TRF-6: an aborted delivery is dropped whatever else its last frame says, also if it is the first", () => {
  const { script, receiver } = receiving();
  script.send(transfer(0, { more: true }), { payload: payload(9) });
  script.send(more({ aborted: true, more: true, settled: false }), { payload: payload(9) });
  assertEquals(script.one("aborted").link, receiver);
  script.send(transfer(1, { aborted: true, more: true }));
  script.one("aborted");
  assertEquals(receiver.receiving, false);
  script.send(transfer(2), { payload: payload(3) });
  assertEquals(script.one("delivery").delivery.payload, payload(3));
  assertEquals([receiver.session.unsettledCount, receiver.linkCredit], [1, 97]);
  script.quiet();
});

scenario("TRF-6: an outcome that comes for a delivery which is being aborted is not told", (settings) => {
  const limits = { maxFrameSize: 512 };
  const script = Script.opened({ role: "client", ...limits });
  const session = script.endpoint.begin({ initialOutgoingId: settings.firstId });
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 5, incomingWindow: 1 }));
  const delivery = sendOn(sender, tag(1), payload(2_000));
  script.rest();
  assert(delivery.id === settings.firstId && delivery.abort());
  script.send({
    kind: "disposition",
    role: "receiver",
    first: settings.firstId,
    settled: true,
    state: { kind: "released" },
  });
  assertEquals(script.take("disposition"), []);
  assertEquals([delivery.remoteState, session.unsettledCount], [undefined, 0]);
});

test("TRF-7: rcv-settle-mode second is illegal on a link of mode first, except for what is settled", () => {
  const { script } = receiving();
  script.send(transfer(0, { rcvSettleMode: "second", settled: true }), { payload: payload(1) });
  script.send(transfer(1, { rcvSettleMode: "first" }), { payload: payload(1) });
  assertEquals(script.take("delivery").length, 2);
  script.send(transfer(2, { rcvSettleMode: "second" }), { payload: payload(1) });
  script.detachedWith(condition.invalidField, "rcv-settle-mode");

  const second = receiving({ rcvSettleMode: "second" });
  second.script.send(transfer(0, { rcvSettleMode: "second" }), { payload: payload(1) });
  second.script.one("delivery");
});

scenario("TRF-8: the state of a transfer reaches the receiver with the delivery", (settings) => {
  const pair = Pair.opened(settings);
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 2 });
  pair.run();
  const state = { kind: "transactionalState", txnId: Uint8Array.of(7) } as const;
  sendOn(sender, tag(1), payload(1), { state });
  pair.run();
  assertEquals(pair.server.one("delivery").delivery.remoteState, state);
});

test("TRF-8: the last state that any frame of a delivery tells is the one", () => {
  const { script } = receiving();
  script.send(transfer(0, { more: true, state: { kind: "released" } }), { payload: payload(1) });
  script.send(more({ state: { kind: "accepted" } }), { payload: payload(1) });
  assertEquals(script.one("delivery").delivery.remoteState, { kind: "accepted" });
});

scenario("TRF-9: payloads around every limit are split into frames that fit and put together again", (settings) => {
  const pair = Pair.opened(settings, { client: { maxFrameSize: 700 }, server: { maxFrameSize: 512 } });
  const session = pair.begin();
  const [sender, receiver] = pair.sender(session);
  const [back, source] = pair.receiver(session, { name: "back" });
  receiver.flow({ linkCredit: 500 });
  back.flow({ linkCredit: 500 });
  pair.run();
  const sizes = [
    0,
    1,
    ...Array.from({ length: 40 }, (_, i) => 470 + i),
    ...Array.from({ length: 20 }, (_, i) => 970 + i),
    5_000,
  ];
  const few = settings.cut === "whole" ? sizes : sizes.filter((_, i) => i % 9 === 0);
  for (const [i, size] of few.entries()) {
    sendOn(sender, tag(i), payload(size, i));
    sendOn(source, tag(i), payload(size, i));
  }
  pair.run();
  for (const [side, peer, limit] of [[pair.client, pair.server, 512], [pair.server, pair.client, 700]] as const) {
    const arrived = peer.take("delivery").map(({ delivery }) => delivery.payload);
    assertEquals(arrived, few.map((size, i) => payload(size, i)));
    for (const { direction, body, payloadBytes } of side.frames) {
      if (direction === "out" && body?.kind === "transfer") assertLessOrEqual(payloadBytes, limit - 8);
    }
  }
});

test("TRF-9: every frame that is written fits the peer, to the byte", () => {
  const script = Script.opened({ role: "client", maxFrameSize: 4_096 }, { maxFrameSize: 600 });
  const session = script.endpoint.begin();
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0, incomingWindow: 100_000 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 1_000, incomingWindow: 100_000 }));
  script.rest();
  for (let size = 560; size < 620; size++) {
    sendOn(sender, tag(size), payload(size));
    const frames = script.rest();
    const sizes = frames.map((item) => item.kind === "transfer" ? item.size : 0);
    for (const one of sizes.slice(0, -1)) assertEquals(one, 600);
    for (const one of sizes) assertLessOrEqual(one, 600);
    const bytes = frames.flatMap((item) => item.kind === "transfer" ? [...item.payload!] : []);
    assertEquals(Uint8Array.from(bytes), payload(size));
    assertEquals(
      frames.map((item) => item.kind === "transfer" && (item.more ?? false)),
      sizes.map((_, i) => i < sizes.length - 1),
    );
  }
});

test("TRF-9: our own frames stay moderate although the peer takes any", () => {
  const script = Script.opened({ role: "client" });
  assertEquals(script.endpoint.remote?.maxFrameSize, undefined);
  const session = script.endpoint.begin();
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 5 }));
  script.rest();
  sendOn(sender, tag(1), new Uint8Array(1_000_000));
  // A flush holds about the bytes asked for, but at least one frame, and not the whole delivery.
  const flushed = script.endpoint.transmit(0, 10_000)!;
  assertLessOrEqual(flushed.length, DEFAULT_MAX_FRAME_SIZE);
});

test("TRF-10: a transfer whose performative alone does not fit ends its link, not the others, and takes no id", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 }, { server: { maxFrameSize: 512 } });
  const session = pair.begin();
  const [sender, receiver] = pair.sender(session);
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const state = { kind: "transactionalState", txnId: new Uint8Array(600) } as const;
  sendOn(sender, tag(1), payload(1), { state });
  pair.run();
  const { error } = pair.client.one("refused");
  assert(error.message.includes("does not fit"));
  assertEquals([error.condition, error.scope], [condition.frameSizeTooSmall, "delivery"]);
  assertEquals([sender.queued, sender.outgoing.size], [0, 0]);
  // The state fits into a disposition, but not into a transfer with its tag.
  const large = { kind: "transactionalState", txnId: new Uint8Array(455) } as const;
  sendOn(sender, new Uint8Array(32).fill(7), payload(1), { state: large });
  const [other, otherReceiver] = pair.sender(session, { name: "other" });
  const event = pair.client.one("detached");
  assertEquals([event.link, (event.error as AmqpError).condition], [sender, condition.frameSizeTooSmall]);
  pair.server.one("detached");
  otherReceiver.flow({ linkCredit: 1 });
  pair.run();
  sendOn(other, tag(1), payload(1));
  pair.run();
  assertEquals(pair.server.one("delivery").delivery.id, 0);
  assertEquals([session.state, session.unsettledCount], ["mapped", 1]);
});

test("TRF-10: a state that cannot be expressed is refused where it is given", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const state = { kind: "modified", messageAnnotations: { bad: Symbol() as unknown as string } } as const;
  sendOn(sender, tag(1), payload(1), { state });
  pair.run();
  assertInstanceOf(pair.client.one("refused").error, TypeError);
  const delivery = sendOn(sender, tag(1), payload(1));
  pair.run();
  assertThrows(() => pair.server.one("delivery").delivery.update(state), TypeError);
  assertThrows(() => delivery.settle(state), TypeError);
  pair.run();
  assertEquals([delivery.settled, pair.client.endpoint.state], [false, "opened"]);
});

test("SES-9: a transfer on a link where we are the sender ends the session", () => {
  const script = Script.begun();
  script.send(attach({ role: "receiver" }));
  script.expect("attach");
  script.send(transfer(0), { payload: payload(1) });
  script.endedWith(condition.notAllowed, "we are the sender");
});

test("ATK-7: frames that carry nothing end the link when too many come in a row", () => {
  const { script } = receiving();
  script.send(transfer(0, { more: true }));
  for (let i = 0; i < 99; i++) script.send(more({ more: true }));
  script.send(more({ more: true }), { payload: payload(1) });
  for (let i = 0; i < 100; i++) script.send(more({ more: true }));
  assertEquals(script.take("detached"), []);
  script.rest();
  script.send(more({ more: true }));
  script.detachedWith(condition.resourceLimitExceeded, "carry nothing");
});

test("ATK-7: a delivery without end is cut off at the limit, and its memory grows with what arrived", () => {
  const { script, receiver } = receiving({ maxMessageSize: 100_000n });
  script.send(transfer(0, { more: true }), { payload: payload(1_000) });
  for (let i = 1; i < 100; i++) script.send(more({ more: true }), { payload: payload(1_000) });
  assert(receiver.receiving);
  script.rest();
  script.send(more({ more: true }), { payload: payload(1) });
  script.detachedWith(condition.messageSizeExceeded, "100000");
  assert(!receiver.receiving);
});

test("ATK-6: a small payload does not keep a large piece of the stream alive", () => {
  const { script } = receiving();
  for (const [id, pieceBytes, kept] of [[0, 1_000_000, 10], [1, 1_000, 1_000]] as const) {
    const bytes = new Uint8Array(pieceBytes);
    const head = frame(transfer(id), { payload: payload(10) });
    bytes.set(head);
    script.dispatch(script.endpoint.receive(bytes.subarray(0, head.length), 0));
    const { delivery } = script.one("delivery");
    assertEquals(delivery.payload, payload(10));
    assertEquals([delivery.payload.buffer.byteLength, delivery.tag.buffer.byteLength], [kept, 4]);
  }
});

scenario("RES-1: deliveries that both sides hold are resumed, others are ignored", (settings) => {
  const pair = Pair.opened(settings);
  const unsettled = new Map([[tag(1), null], [tag(2), null]]);
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, { unsettled: new Map([[tag(1), null], [tag(3), null]]) });
  };
  const [sender, receiver] = pair.sender(pair.begin(), { unsettled });
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const held = sendOn(sender, tag(1), payload(5), { resume: true });
  const unknown = sendOn(sender, tag(2), payload(6), { resume: true, state: { kind: "accepted" }, settled: true });
  pair.run();
  assertEquals(pair.client.sent("transfer").map(({ resume }) => resume), [true, true]);
  const { delivery } = pair.server.one("delivery");
  assertEquals([delivery.payload, delivery.resume], [payload(5), true]);
  // The delivery was aborted, but used its credit.
  pair.server.one("aborted");
  assertEquals([receiver.linkCredit, sender.linkCredit], [3, 3]);
  delivery.update({ kind: "accepted" });
  pair.run();
  assertEquals([held.settled, unknown.settled, sender.outgoing.size], [true, true, 0]);
  assertEquals([sender.session.unsettledCount, receiver.session.unsettledCount], [0, 0]);
});

scenario("RES-1: a delivery that cannot be resumed is aborted by name", (settings) => {
  const pair = Pair.opened(settings);
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, { unsettled: new Map([[tag(1), null]]) });
  };
  const [sender, receiver] = pair.sender(pair.begin(), { unsettled: new Map([[tag(1), null]]) });
  receiver.flow({ linkCredit: 5 });
  pair.run();
  assert(sendOn(sender, tag(1), payload(0), { resume: true }).abort());
  pair.run();
  const [resuming] = pair.client.sent("transfer");
  assertEquals([resuming?.deliveryTag, resuming?.resume, resuming?.aborted], [tag(1), true, true]);
  pair.server.one("aborted");
  assertEquals([sender.linkCredit, receiver.linkCredit, sender.queued], [4, 4, 0]);
});

test("RES-1: a resumed delivery of many frames that we do not hold costs no memory", () => {
  const { script, receiver } = receiving({ maxMessageSize: 1_000n });
  script.send(transfer(0, { resume: true, more: true }), { payload: payload(900) });
  for (let i = 0; i < 200; i++) script.send(more({ more: true }), { payload: payload(900) });
  script.send(more(), { payload: payload(900) });
  script.one("aborted");
  assertEquals([receiver.session.unsettledCount, script.take("delivery").length], [0, 0]);
});

test("TRF-9: a delivery in two frames is put together in no more memory than it has bytes", () => {
  const { script } = receiving();
  script.send(transfer(0, { more: true }), { payload: payload(5_000) });
  script.send(more(), { payload: payload(100) });
  const { delivery } = script.one("delivery");
  assertEquals([delivery.payload.length, delivery.payload.buffer.byteLength], [5_100, 5_100]);
});
