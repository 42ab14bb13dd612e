import { assert, assertEquals, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { Pair, payload, scenario, type Side, tag } from "./pair.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, notFound, refuseLinks, sendOn } from "./endpoint.ts";
import { attach, checkError, flow, Script, transfer } from "./script.ts";

function kinds(side: Side | Script): string[] {
  return side.events.map(({ kind }) => kind);
}

scenario("LNK-1: what each side says in its attach reaches the other", (settings) => {
  const pair = Pair.opened(settings);
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") {
      accept(event.link, { properties: { answer: 1 }, offeredCapabilities: ["c"], maxMessageSize: 1_000n });
    }
  };
  const [sender, receiver] = pair.sender(pair.begin(), {
    name: "näme",
    source: { kind: "source", address: "from" },
    target: { kind: "target", address: "to", durable: "configuration" },
    desiredCapabilities: ["c", "d"],
    properties: { ask: 2 },
  });
  assertEquals(pair.client.one("attached"), { kind: "attached", link: sender });
  assertEquals(pair.server.one("attachRequested").link, receiver);
  assertEquals([sender.state, receiver.state], ["attached", "attached"]);
  const { remote } = receiver;
  assertEquals([remote?.name, remote?.properties?.ask, remote?.desiredCapabilities], ["näme", 2, ["c", "d"]]);
  assertEquals(remote?.target, { kind: "target", address: "to", durable: "configuration" });
  // Fields missing in the answer are as they were asked for.
  assertEquals(sender.remote?.target, remote?.target);
  assertEquals(sender.remote?.source, { kind: "source", address: "from" });
  assertEquals([sender.remote?.properties?.answer, sender.remote?.offeredCapabilities], [1, ["c"]]);
  assertEquals(sender.remote?.maxMessageSize, 1_000n);
});

scenario("LNK-1: a sender and a receiver of one name are two links", (settings) => {
  const pair = Pair.opened(settings);
  const session = pair.begin();
  const [sender] = pair.sender(session, { name: "same" });
  const [receiver] = pair.receiver(session, { name: "same" });
  assertEquals([sender.state, receiver.state, session.linkCount], ["attached", "attached", 2]);
  assertEquals([sender.handle, receiver.handle], [0, 1]);
  for (const role of ["sender", "receiver"] as const) {
    const error = assertThrows(
      () => attachLink(session, { name: "same", role: role as "sender" }),
      AmqpError,
      "in use",
    );
    assertEquals([error.condition, error.scope], [condition.illegalState, "link"]);
  }
});

scenario(
  "LNK-1, LNK-3: a link that is attached again is stolen from where it was, on the same session or another",
  (settings) => {
    for (const other of [false, true]) {
      const pair = Pair.opened(settings);
      const session = pair.begin();
      const [old, oldReceiver] = pair.sender(session);
      oldReceiver.flow({ linkCredit: 5 });
      pair.run();
      // The client's own engine would refuse this on one session, so its link is hidden from it.
      const thief = other ? pair.begin() : session;
      if (!other) old.state = "detachSent";
      pair.client.take("attached");
      const stolen = attachLink(thief, {
        name: "link",
        role: "sender",
        target: { kind: "target" },
        initialDeliveryCount: settings.firstId,
      });
      old.state = "attached";
      pair.run();
      const [ended] = pair.server.take("detached");
      assertEquals(ended?.link, oldReceiver);
      checkError(ended?.error, { condition: condition.stolen, scope: "link" });
      const event = pair.client.one("detached");
      assertEquals([event.link, event.closed], [old, true]);
      checkError(event.error, { condition: condition.stolen, scope: "link", remote: true });
      assertEquals(pair.client.one("attached").link, stolen);
      assertEquals([stolen.state, old.state, oldReceiver.state], ["attached", "detached", "detached"]);
      assertEquals(stolen.session.linkCount, 1);
    }
  },
);

test("LNK-1: a link that was not even answered is stolen too", () => {
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  script.send(attach({ role: "sender", handle: 1 }));
  assertEquals(script.expect("attach").target, undefined);
  assertEquals(script.expect("detach").error?.condition, condition.stolen);
  assertEquals(script.one("detached").link, link);
  accept(script.one("attachRequested").link);
  assertEquals(script.expect("attach").handle, 1);
});

test("LNK-2: the lowest free handle is taken; the two directions number theirs independently", () => {
  const script = Script.begun();
  const [session] = script.endpoint.sessions();
  const names = ["a", "b", "c"];
  const [a] = names.map((name) => attachLink(session!, { name, role: "sender", target: { kind: "target" } }));
  assertEquals(names.map(() => script.expect("attach").handle), [0, 1, 2]);
  script.send(attach({ role: "receiver", name: "a", handle: 40 }));
  script.send(attach({ role: "receiver", name: "b", handle: 0 }));
  assertEquals(a!.remoteHandle, 40);
  a!.detach({ closed: true });
  assertEquals(script.expect("detach").handle, 0);
  assertEquals(attachLink(session!, { name: "d", role: "sender" }).handle, 3);
  script.send({ kind: "detach", handle: 40, closed: true });
  assertEquals(attachLink(session!, { name: "e", role: "sender" }).handle, 0);
});

test("LNK-8, ATK-10: a tag that the unsettled map names twice refuses the link, thousands of tags do not", () => {
  const many = new Map(Array.from({ length: 5_000 }, (_, i) => [tag(i), null]));
  const script = Script.begun();
  script.send(attach({ role: "sender", unsettled: many }));
  assertEquals(script.one("attachRequested").link.remote?.unsettled?.size, 5_000);
  script.rest();
  script.send(
    attach({ role: "sender", name: "twice", handle: 1, unsettled: new Map([[tag(1), null], [tag(1), null]]) }),
  );
  script.expect("attach");
  script.expect2("detach", condition.decodeError, "a delivery tag occurs twice");
  script.alive();
});

test("LNK-6: the sender's word on its settle mode counts, and it takes both for two steps", () => {
  const modes = [
    { wish: ["settled", "second"], fact: [undefined, undefined] },
    { wish: ["settled", "second"], fact: ["unsettled", "first"] },
    { wish: [undefined, undefined], fact: ["mixed", "second"] },
  ] as const;
  for (const { wish, fact } of modes) {
    const pair = Pair.opened({ cut: "whole", firstId: 0 });
    pair.server.onevent = (event) => {
      if (event.kind === "attachRequested") accept(event.link, { sndSettleMode: fact[0], rcvSettleMode: fact[1] });
    };
    const session = pair.begin();
    const [sender, receiver] = pair.sender(session, { sndSettleMode: wish[0], rcvSettleMode: wish[1] });
    const agreed = wish[1] === "second" && fact[1] !== "first" ? "second" : "first";
    for (const link of [sender, receiver]) {
      assertEquals(link.sndSettleMode, wish[0] ?? "mixed");
      assertEquals(link.rcvSettleMode, agreed);
    }
    const back = attachLink(session, {
      name: "back",
      role: "receiver",
      sndSettleMode: wish[0],
      rcvSettleMode: wish[1],
    });
    pair.run();
    assertEquals(back.sndSettleMode, fact[0] ?? wish[0] ?? "mixed");
    assertEquals(back.rcvSettleMode, agreed);
  }
});

test("LNK-7, ATK-7: a receiver announces a limit unless told otherwise, and a larger delivery ends the link", () => {
  const cases = [[undefined, 67_108_864n], [0n, 0n], [10n, 10n]] as const;
  for (const [maxMessageSize, announced] of cases) {
    const script = Script.begun();
    script.onevent = (event) => {
      if (event.kind === "attachRequested") accept(event.link, { maxMessageSize });
    };
    script.send(attach({ role: "sender" }));
    assertEquals(script.expect("attach").maxMessageSize, announced);
    const { link } = script.one("attachRequested");
    assert(link.role === "receiver");
    link.flow({ linkCredit: 5 });
    script.expect("flow");
    script.send(transfer(0), { payload: payload(10) });
    assertEquals(script.one("delivery").delivery.payload.length, 10);
    script.send(transfer(1, { more: true }), { payload: payload(6) });
    script.send({ kind: "transfer", handle: 0 }, { payload: payload(5) });
    if (announced !== 10n) script.one("delivery");
    else script.detachedWith(condition.messageSizeExceeded, "more than 10 bytes");
  }
});

test("LNK-7: we do not send more than the receiver takes", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, { maxMessageSize: 10n });
  };
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 2 });
  pair.run();
  sendOn(sender, tag(1), payload(10));
  sendOn(sender, tag(2), payload(11));
  pair.run();
  const { error } = pair.client.one("refused");
  assert(error.message.includes("11 bytes, receiver takes 10"));
  assertEquals([error.condition, error.scope], [condition.messageSizeExceeded, "delivery"]);
  pair.run();
  assertEquals(pair.server.take("delivery").length, 1);
});

scenario("LNK-8: the unsettled maps of a link that is attached again reach the peer", (settings) => {
  const pair = Pair.opened(settings);
  const session = pair.begin();
  const unsettled = new Map([[tag(1), null], [tag(2), { kind: "accepted" } as const]]);
  const [, receiver] = pair.sender(session, { unsettled, incompleteUnsettled: true });
  assertEquals([...receiver.remote!.unsettled!], [[tag(1), null], [tag(2), { kind: "accepted" }]]);
  assertEquals(receiver.remote?.incompleteUnsettled, true);
  const [, fresh] = pair.sender(session, { name: "new" });
  assertEquals(fresh.remote?.unsettled, undefined);
});

scenario("LNK-9: while one side does not know all unsettled deliveries, the sender sends nothing new", (settings) => {
  for (const ours of [true, false]) {
    const pair = Pair.opened(settings);
    pair.server.onevent = (event) => {
      if (event.kind === "attachRequested") accept(event.link, { incompleteUnsettled: !ours });
    };
    const [sender, receiver] = pair.sender(pair.begin(), {
      incompleteUnsettled: ours,
      unsettled: new Map([[tag(1), null]]),
    });
    receiver.flow({ linkCredit: 5 });
    pair.run();
    assertEquals(sender.sendable, 0);
    assertEquals(sender.sendable, 0);
    sendOn(sender, tag(1), payload(1), { resume: true });
    pair.run();
    assertEquals(pair.client.sent("transfer").length, 1);
    assertEquals(pair.client.take("detached"), []);
  }
});

test("LNK-9: a new delivery where we said that our map is not complete ends the link", () => {
  const script = Script.begun();
  script.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, { incompleteUnsettled: true });
  };
  script.send(attach({ role: "sender" }));
  script.expect("attach");
  const { link } = script.one("attachRequested");
  assert(link.role === "receiver");
  link.flow({ linkCredit: 5 });
  script.expect("flow");
  script.send(transfer(0), { payload: payload(1) });
  script.detachedWith(condition.notAllowed, "not all known");
});

test("LNK-11: what comes for a link that ended with an error, on either side, ends the session; a detach does not", () => {
  for (const ours of [true, false]) {
    for (const body of [transfer(0), flow({ handle: 0 })]) {
      const script = Script.begun();
      script.send(attach({ role: "sender" }));
      script.expect("attach");
      const { link } = script.one("attachRequested");
      if (ours) link.fail(notFound());
      script.send({ kind: "detach", handle: 0, closed: true, error: ours ? undefined : { condition: "x:y" } });
      script.expect("detach");
      script.one("detached");
      script.send({ kind: "detach", handle: 0, closed: true });
      script.quiet();
      script.send(body);
      script.endedWith(condition.errantLink, "handle 0");
    }
  }
});

test("LNK-11: a handle is forgiven when it is attached again", () => {
  const script = Script.begun();
  script.onevent = refuseLinks;
  script.send(attach({ role: "sender" }));
  script.send({ kind: "detach", handle: 0, closed: true });
  script.rest();
  script.onevent = () => {};
  script.send(attach({ role: "sender" }));
  accept(script.take("attachRequested")[1]!.link);
  script.send({ kind: "detach", handle: 0, closed: true });
  script.rest();
  script.send(flow({ handle: 0 }));
  script.endedWith(condition.unattachedHandle);
});

test("a peer attaches again on a handle before it answers our detach, as go-amqp does: its detach is not the new link's", () => {
  const script = Script.begun();
  script.onevent = refuseLinks;
  script.send(attach({ role: "sender" }));
  script.rest();
  script.onevent = () => {};
  script.send(attach({ name: "again", role: "sender" }));
  const { link } = script.take("attachRequested")[1]!;
  accept(link);
  script.send({ kind: "detach", handle: 0, closed: true });
  assertEquals(link.state, "attached");
  script.send({ kind: "detach", handle: 0, closed: true });
  assertEquals(link.state, "detached");
  script.rest();
  // A handle whose link nobody has ended is still in use.
  script.send(attach({ name: "third", role: "sender" }));
  accept(script.one("attachRequested").link);
  script.rest();
  script.send(attach({ name: "fourth", role: "sender" }));
  script.closedWith(condition.handleInUse, "handle 0 is in use");
});

scenario("LNK-12: a link is suspended or closed, and the answer is the same", (settings) => {
  for (const closed of [true, false]) {
    for (const ours of [true, false]) {
      const pair = Pair.opened(settings);
      const [sender, receiver] = pair.sender(pair.begin());
      const error = new AmqpError(condition.detachForced, "Cannot keep link: test", { scope: "link" });
      (ours ? sender : receiver).detach({ closed, error: closed ? error : undefined });
      pair.run();
      const [mine, theirs] = [pair.client.one("detached"), pair.server.one("detached")];
      assertEquals([mine.closed, theirs.closed], [closed, closed]);
      assertEquals([mine.link, theirs.link], [sender, receiver]);
      const told = ours ? theirs : mine;
      if (closed) checkError(told.error, { condition: condition.detachForced, scope: "link", remote: true });
      else assertEquals(told.error, undefined);
      assertEquals([sender.session.linkCount, receiver.session.linkCount], [0, 0]);
      sender.detach({ closed: true });
      sender.fail(error);
      pair.run();
      assertEquals([...pair.client.take("detached"), ...pair.server.take("detached")], []);
      assertEquals(pair.client.sent("detach").length, 1);
    }
  }
});

scenario(
  "LNK-12: both may detach at the same time, in any way; a suspend that crosses a close becomes a close",
  (settings) => {
    for (const ours of [true, false]) {
      for (const theirs of [true, false]) {
        const pair = Pair.opened(settings, { latencyMs: 5 });
        const [sender, receiver] = pair.sender(pair.begin());
        sender.detach({ closed: ours });
        receiver.detach({ closed: theirs });
        pair.run();
        const [mine] = pair.client.take("detached");
        const [other] = pair.server.take("detached");
        assertEquals([mine?.closed, other?.closed], [ours || theirs, ours || theirs]);
        assertEquals([sender.session.linkCount, receiver.session.linkCount], [0, 0]);
        assertEquals([sender.session.state, receiver.session.state], ["mapped", "mapped"]);
        // Attached once more and closed by the side that had only suspended it, which is answered.
        assertEquals(pair.client.sent("attach").length, ours === theirs ? 1 : 2);
        assertEquals(pair.server.sent("attach").length, ours === theirs ? 1 : 2);
        assertEquals(pair.client.sent("detach").at(-1)?.closed ?? false, ours || theirs);
      }
    }
  },
);

scenario("LNK-12: a link may be attached again before its detach was answered", (settings) => {
  for (const closed of [true, false]) {
    const pair = Pair.opened(settings, { latencyMs: 5 });
    const session = pair.begin();
    const [sender] = pair.sender(session);
    pair.client.take("attached");
    sender.detach({ closed });
    const again = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
    pair.run();
    assertEquals(pair.client.one("detached").link, sender);
    assertEquals(pair.client.one("attached").link, again);
    assertEquals(session.linkCount, 1);
    assertEquals([again.state, again.handle], ["attached", 1]);
  }
});

scenario("LNK-12: a suspend that crosses a close is no matter when the link was attached anew already", (settings) => {
  const pair = Pair.opened(settings, { latencyMs: 5 });
  const session = pair.begin();
  const [sender, receiver] = pair.sender(session);
  pair.client.take("attached");
  sender.detach({ closed: false });
  receiver.detach({ closed: true });
  const again = attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  pair.run();
  assertEquals(pair.client.one("detached").closed, true);
  assertEquals(pair.client.one("attached").link, again);
  assertEquals([session.linkCount, again.state], [1, "attached"]);
});

scenario("LNK-12: a link may be detached before its attach was answered", (settings) => {
  for (const closed of [true, false]) {
    const pair = Pair.opened(settings);
    const session = pair.begin();
    const link = attachLink(session, { name: "link", role: "receiver", source: { kind: "source" } });
    link.flow({ linkCredit: 3 });
    link.detach({ closed });
    assertEquals(link.state, "detachPipe");
    const error = assertThrows(() => attachLink(session, { name: "link", role: "receiver" }), AmqpError, "in use");
    assertEquals(error.condition, condition.illegalState);
    pair.run();
    assertEquals(kinds(pair.client), ["begun", "detached"]);
    assertEquals([pair.client.one("detached").closed, pair.server.one("detached").closed], [closed, closed]);
    assertEquals(session.linkCount, 0);
  }
});

scenario("LNK-13: after our detach nothing goes out for the link, and what comes for it is dropped", (settings) => {
  for (const closed of [true, false]) {
    const pair = Pair.opened(settings, { latencyMs: 5 });
    const session = pair.begin();
    const [receiver, sender] = pair.receiver(session);
    const [other, otherSource] = pair.receiver(session, { name: "other" });
    receiver.flow({ linkCredit: 10 });
    other.flow({ linkCredit: 10 });
    pair.run();
    sendOn(sender, tag(1), payload(5));
    sendOn(otherSource, tag(1), payload(5));
    receiver.flow({ linkCredit: 20 });
    receiver.detach({ closed });
    const flows = pair.client.sent("flow").length;
    pair.run();
    // Dropped, but counted: the other link's delivery has the next id.
    assertEquals(pair.client.one("delivery").link, other);
    sendOn(otherSource, tag(2), payload(5));
    pair.run();
    assertEquals(pair.client.one("delivery").link, other);
    assertEquals(pair.client.sent("flow").length, flows);
    assertThrows(() => receiver.flow({ linkCredit: 1 }), AmqpError, "state is detached");
    assertEquals(sender.session.unsettledCount, closed ? 2 : 3);
    assertEquals(session.state, "mapped");
  }
});

test("LNK-13: a sender that detaches sends no more; what is queued and what is not settled stays with its link", () => {
  for (const closed of [true, false]) {
    const pair = Pair.opened({ cut: "whole", firstId: 0 }, { server: { session: { incomingWindow: 1 } } });
    const [sender, receiver] = pair.sender(pair.begin());
    receiver.flow({ linkCredit: 10 });
    pair.run();
    const sent = [1, 2, 3].map((n) => sendOn(sender, tag(n), payload(5)));
    const release = pair.hold(pair.client);
    pair.run();
    assertEquals(sender.queued, 2);
    sender.detach({ closed });
    assertEquals(sender.outgoing.queued, 2);
    assertEquals(sender.sendable, 0);
    assertEquals([sent[0]!.abort(), sent[0]!.settled], [false, false]);
    release();
    assertEquals(pair.server.take("delivery").length, 1);
    assertEquals(sender.outgoing.size, 3);
    assertEquals(sender.session.unsettledCount, closed ? 0 : 1);
  }
});

scenario("LNK-13: outcomes that were on their way when a sender closes are still told", (settings) => {
  const pair = Pair.opened(settings, { latencyMs: 5 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 1 });
  pair.run();
  const delivery = sendOn(sender, tag(1), payload(1));
  pair.run();
  pair.server.one("delivery").delivery.update({ kind: "accepted" });
  sender.detach({ closed: true });
  pair.run();
  assertEquals([delivery.settled, delivery.remoteState?.kind], [true, "accepted"]);
  assertEquals(kinds(pair.client).slice(-2), ["disposition", "detached"]);
});

test("ATK-8: links that attach and detach by the thousand leave nothing behind, and those at once are bounded", () => {
  const script = Script.begun({ session: { handleMax: 9 } });
  for (let i = 0; i < 3_000; i++) {
    script.send(attach({ role: "sender", handle: i % 10 }));
    script.send({ kind: "detach", handle: i % 10, closed: true, error: { condition: "x:y" } });
    if (i % 100 === 0) script.rest();
  }
  const [session] = script.endpoint.sessions();
  assertEquals([session!.linkCount, session!.unsettledCount], [0, 0]);
  script.rest();
  for (let i = 0; i < 10; i++) script.send(attach({ role: "sender", name: `${i}`, handle: i }));
  assertEquals(session!.linkCount, 10);
  script.rest();
  script.send(attach({ role: "sender", name: "10", handle: 10 }));
  script.closedWith(condition.framingError, "above 9");
});
