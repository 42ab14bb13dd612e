import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { DeliveryState, Disposition, Fields } from "../../src/codec/types.ts";
import type { LinkOptions } from "../../src/engine/link.ts";
import type { IncomingDelivery } from "../../src/engine/deliveries.ts";
import { tagKey, tagOf } from "../../src/engine/tags.ts";
import { DeliveriesById } from "../../src/engine/settlement.ts";
import { add, difference } from "../../src/base/collections.ts";
import { random, seed, test } from "../harness.ts";
import { Pair, payload, scenario, type Settings, tag } from "./pair.ts";
import { attachLink, sendOn, unsettledOf } from "./endpoint.ts";
import { attach, begin, flow, Script, transfer } from "./script.ts";

/** A pair with a sender at the client, a receiver at the server, and `count` deliveries that have arrived. */
function delivered(settings: Settings, count: number, options: LinkOptions = {}) {
  const pair = Pair.opened(settings);
  const [sender, receiver] = pair.sender(pair.begin(), options);
  receiver.flow({ linkCredit: count });
  pair.run();
  const sent = Array.from({ length: count }, (_, i) => sendOn(sender, tag(i), payload(1)));
  pair.run();
  const arrived = pair.server.take("delivery").map(({ delivery }) => delivery);
  assertEquals(arrived.length, count);
  return { pair, sender, receiver, sent, arrived };
}

const outcomes: DeliveryState[] = [
  { kind: "accepted" },
  { kind: "released" },
  { kind: "rejected", error: { condition: "x:bad", description: "bad" } },
  { kind: "modified", deliveryFailed: true, undeliverableHere: true, messageAnnotations: { "x-opt-a": "b" } },
  { kind: "transactionalState", txnId: Uint8Array.of(1, 2), outcome: { kind: "accepted" } },
];

scenario(
  "DSP-1, DSP-3: every outcome reaches the sender as it was given, and settles once on each side",
  (settings) => {
    const { pair, sender, receiver, sent, arrived } = delivered(settings, outcomes.length);
    for (const [i, state] of outcomes.entries()) {
      assertEquals(arrived[i]!.id, add(settings.firstId, i));
      arrived[i]!.update(state);
      assert(arrived[i]!.settled);
      const error = assertThrows(() => arrived[i]!.update(state), AmqpError, "is settled");
      assertEquals([error.condition, error.scope], [condition.illegalState, "delivery"]);
    }
    pair.run();
    const events = pair.client.take("disposition");
    assertEquals(events.map(({ delivery }) => delivery), sent);
    for (const [i, { state, settled }] of events.entries()) {
      assertEquals([state, settled], [outcomes[i], true]);
      assertEquals([sent[i]!.settled, sent[i]!.remoteState], [true, outcomes[i]]);
    }
    for (const link of [sender, receiver]) assertEquals([unsettledOf(link), link.session.unsettledCount], [0, 0]);
  },
);

scenario("DSP-1: a range covers its ends, wraps, and names what is there; a bare first names one", (settings) => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin({ initialOutgoingId: settings.firstId });
  const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 9 }));
  const deliveries = Array.from({ length: 6 }, (_, i) => sendOn(sender, tag(i), payload(1)));
  script.rest();
  const settle = (fields: Partial<Disposition>): number[] => {
    script.send({
      kind: "disposition",
      role: "receiver",
      first: 0,
      settled: true,
      state: { kind: "accepted" },
      ...fields,
    });
    return script.take("disposition").map(({ delivery }) => deliveries.indexOf(delivery as typeof deliveries[0]));
  };
  const id = (n: number): number => add(settings.firstId, n);
  assertEquals(settle({ first: id(1) }), [1]);
  assertEquals(settle({ first: id(1) }), []);
  assertEquals(settle({ first: id(3), last: id(2) }), []);
  // The other role's deliveries have ids of their own.
  assertEquals(settle({ first: id(0), last: id(9), role: "sender" }), []);
  assertEquals(settle({ first: id(2), last: id(3), settled: false }), [2, 3]);
  assertEquals(settle({ first: id(1), last: id(3) }), [2, 3]);
  assertEquals(settle({ first: id(-5), last: id(100) }), [0, 4, 5]);
  assertEquals(session.unsettledCount, 0);
  script.alive();
});

test("DSP-1, SES-12: what a range names is the same however it is looked for", () => {
  const { int, pick } = random(seed());
  for (let run = 0; run < 2_000; run++) {
    const base = pick([0, 0xfffffff0, 0x7ffffff0]);
    const held = new DeliveriesById<{ id: number }>();
    const ids = Array.from({ length: int(12) }, () => add(base, int(40)));
    for (const id of new Set(ids)) held.set(id, { id });
    const [first, last] = [add(base, int(60) - 10), add(base, int(60) - 10)];
    const expected: number[] = [];
    const span = difference(last, first);
    for (let i = 0; i <= span; i++) if (ids.includes(add(first, i))) expected.push(add(first, i));
    const found = held.range(first, last).map(({ id }) => id);
    assertEquals(found.sort(), expected.sort());
  }
});

test("DSP-1: a state that settles and the same that does not are two frames", () => {
  const { pair, sent, arrived } = delivered({ cut: "whole", firstId: 0 }, 3);
  arrived[0]!.update({ kind: "accepted" });
  arrived[1]!.update({ kind: "accepted" }, false);
  arrived[2]!.update({ kind: "accepted" });
  pair.run();
  assertEquals(pair.server.sent("disposition").length, 3);
  assertEquals(sent.map(({ settled }) => settled), [true, false, true]);
});

test("DSP-1, ATK-9: a range of 2^31 ids costs no more than what we hold", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 10 });
  script.rest();
  for (let i = 0; i < 3; i++) script.send(transfer(i), { payload: payload(1) });
  const started = performance.now();
  for (let i = 0; i < 2_000; i++) {
    script.send({ kind: "disposition", role: "sender", first: 100, last: 100 + 0x7fffffff });
    script.send({ kind: "disposition", role: "receiver", first: 0, last: 0x7fffffff });
    script.send({ kind: "disposition", role: "sender", first: 0, last: 0xffffffff });
    script.send({ kind: "disposition", role: "sender", first: 0, last: 0x80000000 });
  }
  assertLessOrEqual(performance.now() - started, 5_000);
  assertEquals(script.take("disposition"), []);
  script.send({ kind: "disposition", role: "sender", first: 0xfffffff0, last: 0x7fffffef, settled: true });
  assertEquals(script.take("disposition").length, 3);
  assertEquals(link.unsettled.size, 0);
});

scenario("DSP-1: outcomes of one kind leave as one range, in whatever order they were told", (settings) => {
  const { cut } = settings;
  const count = cut === "whole" ? 500 : 50;
  const { int } = random(seed());
  for (const order of ["forwards", "backwards", "shuffled"] as const) {
    const { pair, sent, arrived } = delivered(settings, count);
    if (order === "backwards") arrived.reverse();
    if (order === "shuffled") {
      for (let i = count - 1; i > 0; i--) {
        const j = int(i + 1);
        [arrived[i], arrived[j]] = [arrived[j]!, arrived[i]!];
      }
    }
    for (const delivery of arrived) delivery.update({ kind: "accepted" });
    pair.run();
    const frames = pair.server.sent("disposition");
    assertEquals(frames, [{
      kind: "disposition",
      role: "receiver",
      first: settings.firstId,
      last: add(settings.firstId, count - 1),
      settled: true,
      state: { kind: "accepted" },
    }]);
    assert(sent.every(({ settled }) => settled));
  }
});

scenario("DSP-1: outcomes that differ leave in as few frames as they allow", (settings) => {
  const { pair, sent, arrived } = delivered(settings, 9);
  const kinds = [
    "accepted",
    "accepted",
    "released",
    "released",
    "released",
    "rejected",
    "rejected",
    "accepted",
  ] as const;
  const error = { condition: "x:bad" };
  for (const [i, kind] of kinds.entries()) arrived[i]!.update(kind === "rejected" ? { kind, error } : { kind });
  pair.run();
  const ranges = pair.server.sent("disposition").map(({ first, last = first, state }) =>
    `${add(first, -settings.firstId)}..${add(last, -settings.firstId)} ${state?.kind}`
  );
  // Two rejections may have different reasons, so they share a range only with the same error.
  assertEquals(ranges, ["0..1 accepted", "2..4 released", "5..5 rejected", "6..6 rejected", "7..7 accepted"]);
  assertEquals(sent.map(({ remoteState }) => remoteState?.kind), [...kinds, undefined]);
  const shared = { kind: "rejected", error } as const;
  const again = delivered(settings, 2);
  for (const delivery of again.arrived) delivery.update(shared);
  again.pair.run();
  assertEquals(again.pair.server.sent("disposition").length, 1);
});

scenario("DSP-1: a state that is not the last comes first, whatever else is told", (settings) => {
  const { pair, arrived } = delivered(settings, 3);
  const received = { kind: "received", sectionNumber: 1, sectionOffset: 10n } as const;
  arrived[2]!.update(received);
  arrived[1]!.update(received);
  assert(!arrived[1]!.settled);
  arrived[1]!.update({ kind: "accepted" });
  arrived[0]!.update({ kind: "accepted" });
  arrived[2]!.update({ kind: "released" });
  pair.run();
  const told = pair.client.take("disposition");
  const of = (n: number): (string | undefined)[] =>
    told.filter(({ delivery }) => delivery.id === add(settings.firstId, n)).map(({ state }) => state?.kind);
  assertEquals([of(0), of(1), of(2)], [["accepted"], ["received", "accepted"], ["received", "released"]]);
  assertEquals(pair.client.endpoint.sessionCount, 1);
});

test("DSP-1, DSP-3: deliveries come and go by the thousand and leave nothing behind", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0xfffff000 });
  const [sender, receiver] = pair.sender(pair.begin());
  const kept = 5;
  for (let i = 0, held: IncomingDelivery[] = []; i < 10_000; i++) {
    receiver.flow({ linkCredit: 1 });
    pair.run();
    sendOn(sender, tag(i), payload(1));
    pair.run();
    held.push(pair.server.one("delivery").delivery);
    if (held.length > kept) held.shift()!.update({ kind: "accepted" });
    if (i % 1_000 === 999) {
      pair.run();
      assertEquals(pair.client.take("disposition").length, i < 1_000 ? 1_000 - kept : 1_000);
      assertEquals([sender.outgoing.size, receiver.unsettled.size], [kept, kept]);
      assertEquals([...sender.outgoing].map(({ id }) => id), held.map(({ id }) => id));
      pair.client.frames.length = pair.server.frames.length = pair.client.events.length = 0;
    }
  }
});

scenario(
  "DSP-2: in mode second the receiver tells, the sender settles, and only then the receiver does",
  (settings) => {
    const { pair, sender, receiver, sent, arrived } = delivered(settings, 2, { rcvSettleMode: "second" });
    assertEquals([sender.rcvSettleMode, receiver.rcvSettleMode], ["second", "second"]);
    for (const delivery of arrived) delivery.update({ kind: "accepted" });
    assert(arrived.every(({ settled }) => !settled));
    pair.run();
    assertEquals(pair.client.take("disposition").map(({ settled, state }) => [settled, state?.kind]), [
      [false, "accepted"],
      [false, "accepted"],
    ]);
    assertEquals([sender.session.unsettledCount, receiver.session.unsettledCount], [2, 2]);
    for (const delivery of sent) {
      assert(!delivery.settled);
      delivery.settle({ kind: "accepted" });
      delivery.settle();
      assert(delivery.settled);
    }
    pair.run();
    assertEquals(pair.client.sent("disposition").length, 1);
    assertEquals(pair.server.take("disposition").map(({ settled }) => settled), [true, true]);
    for (const delivery of arrived) {
      assert(delivery.settled && delivery.remoteSettled);
      assertThrows(() => delivery.update({ kind: "released" }), AmqpError, "is settled");
    }
    for (const link of [sender, receiver]) assertEquals([unsettledOf(link), link.session.unsettledCount], [0, 0]);
  },
);

scenario("DSP-3: what was sent settled is settled, and nothing is told of it", (settings) => {
  const pair = Pair.opened(settings);
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 1 });
  pair.run();
  const delivery = sendOn(sender, tag(1), payload(1), { settled: true });
  pair.run();
  const { delivery: arrived } = pair.server.one("delivery");
  assertEquals(pair.client.one("sent").delivery, delivery);
  assert(arrived.remoteSettled && !arrived.settled);
  arrived.update({ kind: "rejected" });
  pair.run();
  assertEquals([pair.server.sent("disposition"), pair.client.take("disposition")], [[], []]);
});

scenario("DSP-4: a sender may settle first; then nothing that the receiver says matters to it", (settings) => {
  const { pair, sender, receiver, sent, arrived } = delivered(settings, 2);
  sent[0]!.settle();
  sent[1]!.settle({ kind: "modified" });
  pair.run();
  assertEquals(pair.server.take("disposition").map(({ state, settled }) => [state?.kind, settled]), [
    [undefined, true],
    ["modified", true],
  ]);
  assert(arrived.every(({ remoteSettled, settled }) => remoteSettled && !settled));
  assertEquals(receiver.unsettled.size, 0);
  for (const delivery of arrived) {
    delivery.update({ kind: "accepted" });
    assert(delivery.settled);
  }
  pair.run();
  assertEquals([pair.server.sent("disposition"), pair.client.take("disposition")], [[], []]);
  for (const link of [sender, receiver]) assertEquals([unsettledOf(link), link.session.unsettledCount], [0, 0]);
});

scenario("DSP-4: both may settle at the same time", (settings) => {
  const { pair, sent, arrived, sender, receiver } = delivered(settings, 1);
  sent[0]!.settle();
  arrived[0]!.update({ kind: "accepted" });
  pair.run();
  assertEquals([pair.client.take("disposition"), pair.server.take("disposition")], [[], []]);
  for (const link of [sender, receiver]) assertEquals([unsettledOf(link), link.session.unsettledCount], [0, 0]);
});

scenario("DSP-4: a delivery that is settled while its frames still go out is told settled at its end", (settings) => {
  for (const rcvSettleMode of ["first", "second"] as const) {
    const limits = { maxFrameSize: 512, session: { incomingWindow: 2 } };
    const pair = Pair.opened(settings, { client: limits, server: limits });
    const [sender, receiver] = pair.sender(pair.begin(), { rcvSettleMode });
    receiver.flow({ linkCredit: 2 });
    pair.run();
    const begun = sendOn(sender, tag(1), payload(3_000));
    const waiting = sendOn(sender, tag(2), payload(5));
    const release = pair.hold(pair.client);
    pair.run();
    begun.settle();
    waiting.settle({ kind: "accepted" });
    assertThrows(() => sender.outgoing.push(payload(1), { tag: tag(1) }), AmqpError, "tag is in use");
    release();
    assertEquals(pair.server.take("delivery").length, 2);
    assertEquals(pair.server.take("disposition").map(({ state, settled }) => [state?.kind, settled]), [
      [undefined, true],
      ["accepted", true],
    ]);
    assertEquals(pair.client.take("sent"), []);
    for (const link of [sender, receiver]) assertEquals([unsettledOf(link), link.session.unsettledCount], [0, 0]);
  }
});

scenario(
  "DSP-4: an outcome for a delivery whose frames still go out is told once, and the rest still goes out",
  (settings) => {
    const script = Script.opened({ role: "client" }, { maxFrameSize: 512 });
    const session = script.endpoint.begin({ initialOutgoingId: settings.firstId });
    const sender = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
    script.send(begin({ remoteChannel: 0 }));
    script.send(attach({ role: "receiver" }));
    const room = (count: number): void =>
      script.send(
        flow({ nextIncomingId: settings.firstId, handle: 0, linkCredit: 5, deliveryCount: 0, incomingWindow: count }),
      );
    room(1);
    const [one, two] = [sendOn(sender, tag(1), payload(900)), sendOn(sender, tag(2), payload(900))];
    script.rest();
    const state = { kind: "rejected" } as const;
    script.send({ kind: "disposition", role: "receiver", first: settings.firstId, settled: true, state });
    assertEquals(script.one("disposition").delivery, one);
    assert(one.settled && !one.sent);
    room(3);
    script.rest();
    assert(one.sent && two.id !== undefined && !two.sent);
    two.settle();
    script.send({ kind: "disposition", role: "receiver", first: two.id!, settled: false, state });
    assertEquals(script.take("disposition"), []);
    room(4);
    const [last, told] = script.rest().filter(({ kind }) => kind !== "flow");
    assertEquals([last?.kind, told?.kind], ["transfer", "disposition"]);
    assertEquals([script.take("sent"), session.unsettledCount], [[], 0]);
  },
);

scenario(
  "DSP-5: outcomes for a link that is suspended still count, for one that is closed they are lost",
  (settings) => {
    for (const closed of [false, true]) {
      const { pair, sender, receiver, sent, arrived } = delivered(settings, 2);
      sender.detach({ closed });
      pair.run();
      pair.client.take("disposition");
      assertEquals(sender.session.linkCount, 0);
      arrived[0]!.update({ kind: "accepted" });
      pair.run();
      assertEquals(pair.client.take("disposition").length, closed ? 0 : 1);
      assertEquals([sent[0]!.settled, sent[1]!.settled], [!closed, false]);
      sent[1]!.settle();
      pair.run();
      assertEquals([sender.session.unsettledCount, receiver.session.unsettledCount], [0, 0]);
      assertEquals([sender.outgoing.size, receiver.unsettled.size], [closed ? 1 : 0, 0]);
      // Neither side answers a disposition of unknown deliveries.
      if (closed) assertEquals([pair.client.sent("disposition"), pair.server.sent("disposition")], [[], []]);
    }
  },
);

scenario(
  "DSP-5: after the session or the connection has ended an outcome is the business of this side only",
  (settings) => {
    for (const ending of ["session", "connection"] as const) {
      const { pair, sender, sent, arrived } = delivered(settings, 2);
      if (ending === "session") sender.session.end();
      else pair.client.endpoint.close();
      pair.run();
      arrived[0]!.update({ kind: "accepted" });
      sent[1]!.settle();
      pair.run();
      assert(arrived[0]!.settled && sent[1]!.settled && !sent[0]!.settled);
      assertEquals([pair.client.sent("disposition"), pair.server.sent("disposition")], [[], []]);
    }
  },
);

scenario("DSP-6: batchable is a hint that changes nothing", (settings) => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 2 });
  script.rest();
  script.send(transfer(settings.firstId, { batchable: true }), { payload: payload(1) });
  script.one("delivery");
  script.send({ kind: "disposition", role: "sender", first: settings.firstId, settled: true, batchable: true });
  assert(script.one("disposition").settled);
});

test("DSP-7: a sender never tells received, but may where a delivery is resumed", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin(), { unsettled: new Map([[tag(9), null]]) });
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const state = { kind: "received", sectionNumber: 0, sectionOffset: 0n } as const;
  const delivery = sendOn(sender, tag(2), payload(1));
  pair.run();
  assert(!delivery.settled);
  sendOn(sender, tag(9), payload(1), { state, resume: true });
  pair.run();
  assertEquals(pair.client.sent("transfer").at(-1)?.state, state);
});

test("TRF-10: a state that cannot be expressed is refused where it is told, and changes nothing", () => {
  const { pair, arrived } = delivered({ cut: "whole", firstId: 0 }, 1);
  const bad = { kind: "received", sectionNumber: -1, sectionOffset: 0n } as const;
  assertThrows(() => arrived[0]!.update(bad), RangeError);
  pair.run();
  assertEquals([arrived[0]!.state, pair.client.endpoint.state], [undefined, "opened"]);
});

test("TRF-10, ATK-39: of an error that cannot be told the description or the condition is left, any other outcome is refused", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 }, { client: { maxFrameSize: 512 } });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const delivery = sendOn(sender, tag(1), payload(1));
  pair.run();
  const { delivery: arrived } = pair.server.one("delivery");
  const description = "x".repeat(600);
  const large = { kind: "rejected", error: { condition: "x:bad", description } } as const;
  arrived.update(large);
  pair.run();
  assertEquals(delivery.remoteState, { kind: "rejected", error: { condition: "x:bad" } });
  const info = { "käse": () => {} } as unknown as Fields;
  const second = sendOn(sender, tag(2), payload(1));
  pair.run();
  pair.server.one("delivery").delivery.update({
    kind: "rejected",
    error: { condition: "x:bad", description: "b", info },
  });
  pair.run();
  assertEquals(second.remoteState, { kind: "rejected", error: { condition: "x:bad", description: "b" } });
  const annotated = { kind: "modified", messageAnnotations: { "x-opt-a": description } } as const;
  sendOn(sender, tag(3), payload(1));
  pair.run();
  const { delivery: third } = pair.server.one("delivery");
  const error = assertThrows(() => third.update(annotated), AmqpError, "max-frame-size of 512");
  assertEquals([error.condition, error.scope], [condition.frameSizeTooSmall, "delivery"]);
  assertEquals([third.settled, third.state], [false, undefined]);
});

test("TRF-2: a map key tells every two tags apart, and has all of the tag in it", () => {
  const { bytes } = random(seed());
  const tags = [
    Uint8Array.of(0, 0, 0, 1),
    Uint8Array.of(1),
    Uint8Array.of(255, 255, 255, 255),
    Uint8Array.of(0, 0, 0, 0),
  ];
  for (let length = 1; length <= 32; length++) for (let i = 0; i < 20; i++) tags.push(bytes(length));
  const keys = new Map(tags.map((tag) => [tagKey(tag), tag]));
  assertEquals(keys.size, new Set(tags.map(String)).size);
  for (const [key, tag] of keys) assertEquals(tagOf(key), tag);
});
