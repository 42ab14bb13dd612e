import { assertEquals, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { Pair, scenario } from "./pair.ts";
import { accept } from "../../src/engine/accept.ts";
import { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import { attachLink, notFound, refuseLinks } from "./endpoint.ts";
import { attach, begin, checkError, flow, Script, transfer } from "./script.ts";

scenario("LNK-4: a refusal is an attach without the terminus, then a detach that tells why", (settings) => {
  for (const role of ["sender", "receiver"] as const) {
    const pair = Pair.opened(settings);
    pair.server.onevent = refuseLinks;
    const session = pair.begin();
    const link = attachLink(session, {
      name: "link",
      role: role as "sender",
      source: { kind: "source", address: "from" },
      target: { kind: "target", address: "to" },
    });
    pair.run();
    const [answer] = pair.server.sent("attach");
    // Neither terminus is there: go-amqp before 1.7 takes one for an acceptance.
    assertEquals([answer?.source, answer?.target], [undefined, undefined]);
    assertEquals(pair.client.take("attached"), []);
    const event = pair.client.one("detached");
    assertEquals([event.link, event.closed], [link, true]);
    checkError(event.error, { condition: condition.notFound, scope: "link", remote: true, text: "no such node" });
    assertEquals(pair.server.take("detached"), []);
    for (const side of [pair.client, pair.server]) {
      const [live] = side.endpoint.sessions();
      assertEquals(live?.linkCount, 0);
    }
    assertEquals(session.state, "mapped");
  }
});

test("LNK-4: success is not reported while the detach that refuses is still to come", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  attachLink(session, { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.one("begun");
  script.send(attach({ role: "receiver", target: undefined }));
  assertEquals(script.events, []);
  script.send({ kind: "detach", handle: 0, closed: true, error: { condition: condition.notFound } });
  checkError(script.one("detached").error, { condition: condition.notFound, scope: "link", remote: true });
});

test("LNK-4: a side that takes no links refuses those of its peer, whatever comes for them, and keeps its own", () => {
  const script = Script.begun({ takeLink: undefined });
  const [session] = script.endpoint.sessions();
  const ours = attachLink(session!, { name: "same", role: "sender", target: { kind: "target" } });
  script.expect("attach");
  script.send(attach({ role: "receiver", name: "same", handle: 7 }));
  script.one("attached");
  for (const role of ["sender", "receiver"] as const) {
    script.send(attach({ role, name: "same", handle: 0 }));
    const answer = script.expect("attach");
    assertEquals([answer.name, answer.role], ["same", role === "sender" ? "receiver" : "sender"]);
    assertEquals(role === "sender" ? answer.target : answer.source, undefined);
    assertEquals(script.expect("detach").error?.condition, condition.notAllowed);
    // Sent before the refusal was seen.
    script.send(flow({ handle: 0, linkCredit: 3, deliveryCount: 0, echo: true }));
    if (role === "sender") script.send(transfer(0));
    script.quiet();
    script.send({ kind: "detach", handle: 0, closed: true });
    script.quiet();
    assertEquals([ours.state, session!.linkCount], ["attached", 1]);
  }
  assertEquals(script.events, []);
  script.alive();
});

test("LNK-4: an attach is answered once, and not after the link is gone", () => {
  const script = Script.begun();
  script.onevent = () => {};
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  accept(link);
  for (const call of [() => accept(link), () => link.refuse(notFound())]) {
    assertEquals(assertThrows(call, AmqpError, "state is attached").condition, condition.illegalState);
  }
  script.send(attach({ role: "sender", name: "other", handle: 1 }));
  const { link: gone } = script.one("attachRequested");
  script.send({ kind: "detach", handle: 1, closed: true });
  assertThrows(() => accept(gone), AmqpError, "state is detached");
  // The attach needs an answer all the same, which refuses it.
  script.expect("attach");
  assertEquals(script.expect("attach").target, undefined);
  assertEquals(script.expect("detach").closed, true);
  assertEquals([script.one("detached").link, script.endpoint.state], [gone, "opened"]);
});

test("LNK-4: an answer that does not fit the frame leaves the link to be refused", () => {
  const script = Script.opened({ role: "server" }, { maxFrameSize: 512 });
  script.onevent = () => {};
  script.send(begin());
  script.send(attach({ role: "sender" }));
  script.expect("begin");
  const { link } = script.one("attachRequested");
  const error = assertThrows(() => accept(link, { properties: { text: "x".repeat(600) } }), AmqpError, "does not fit");
  assertEquals(error.condition, condition.frameSizeTooSmall);
  link.refuse(error);
  script.expect("attach");
  assertEquals(script.expect("detach").error?.condition, condition.frameSizeTooSmall);
});

test("LNK-4: a link whose answer does not fit the peer's frames is refused with less, or takes its session with it", () => {
  for (const length of [300, 480]) {
    for (const gone of [false, true]) {
      const script = Script.opened({ role: "server" }, { maxFrameSize: 512 });
      script.onevent = () => {};
      script.send(begin());
      script.expect("begin");
      const source = { kind: "source", address: "y".repeat(400) } as const;
      script.send(attach({ role: "sender", name: "x".repeat(length), source }));
      const { link } = script.one("attachRequested");
      if (gone) script.send({ kind: "detach", handle: 0, closed: true });
      else link.refuse(notFound());
      script.dispatch(script.endpoint.events());
      if (length === 300) {
        const answer = script.expect("attach");
        assertEquals([answer.source, answer.target], [undefined, undefined]);
        script.expect("detach");
        assertEquals(script.endpoint.sessionCount, 1);
      } else {
        script.one("begun");
        script.endedWith(condition.frameSizeTooSmall, "does not fit");
      }
    }
  }
});

test("LNK-4: an answer without a terminus counts as accepted when no detach follows for a second", () => {
  const script = Script.opened({ role: "client" });
  const session = script.endpoint.begin();
  script.send(begin({ remoteChannel: 0 }));
  session.attach(ReceiverEndpoint, { name: "quiet", source: { kind: "source", address: "q" } });
  script.send(attach({ name: "quiet", role: "sender", source: undefined, target: undefined }));
  assertEquals(script.take("attached"), []);
  assertEquals(script.endpoint.nextTimeout(), script.now + 1_000);
  script.tick(script.now + 999);
  assertEquals(script.take("attached"), []);
  script.tick(script.now + 1);
  assertEquals(script.take("attached").length, 1);
});
