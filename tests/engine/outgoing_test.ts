import { assert, assertEquals } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import { OutgoingLink, type PayloadSource } from "../../src/engine/outgoing.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import { test } from "../harness.ts";
import { attachLink, sendOn } from "./endpoint.ts";
import { Pair, payload, scenario, tag } from "./pair.ts";
import { attach, begin, flow, Script, transfer } from "./script.ts";

test("ATK-32: a delivery that is given up while it waits for the window leaves its credit to the next", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 }, { server: { session: { incomingWindow: 1 } } });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 2 });
  pair.run();
  const { outgoing } = sender;
  const release = pair.hold(pair.client);
  const [first, second, third] = [1, 2, 3].map((n) => outgoing.push(payload(n)));
  pair.run();
  assertEquals([first!.sent, second!.id, outgoing.queued], [true, undefined, 2]);
  assert(second!.abort());
  release();
  pair.run();
  assertEquals(pair.server.take("delivery").map(({ delivery }) => delivery.payload), [payload(1), payload(3)]);
  assertEquals([third!.sent, outgoing.queued], [true, 0]);
});

test("FLW-2: what frees the place in front lets the next go: an abort, a delivery that does not fit", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const session = pair.begin();
  const [sender, receiver] = pair.sender(session, { maxMessageSize: undefined });
  receiver.flow({ linkCredit: 1 });
  pair.run();
  const { outgoing } = sender;
  const blocked = outgoing.push(payload(1), { ready: false });
  outgoing.push(payload(2));
  pair.run();
  assertEquals(pair.server.take("delivery"), []);
  blocked.abort();
  pair.run();
  assertEquals(pair.server.one("delivery").delivery.payload, payload(2));
});

test("a delivery that is not ready keeps those behind it, and leaves in its turn", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const { outgoing } = sender;
  const first = outgoing.push(payload(1), { ready: false });
  outgoing.push(payload(2));
  pair.run();
  assertEquals([pair.server.take("delivery").length, sender.sendable], [0, 3]);
  first.ready = true;
  outgoing.wake();
  pair.run();
  assertEquals(pair.server.take("delivery").map(({ delivery }) => delivery.payload), [payload(1), payload(2)]);
});

test("a payload goes out as its source has it, and the delivery ends with the source", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 5 });
  pair.run();
  const parts: Uint8Array[] = [payload(3, 1)];
  const source = {
    ended: false,
    read: (max: number) => parts.shift()?.subarray(0, max),
  };
  const delivery = sender.outgoing.push(source satisfies PayloadSource);
  sender.outgoing.push(payload(7));
  pair.run();
  assert(delivery.id !== undefined && !delivery.sent);
  assert(receiver.receiving);
  // Without messages, the drain's credit stays: the last frames are still to come.
  receiver.flow({ drain: true });
  pair.run();
  assertEquals(pair.server.take("drained"), []);
  parts.push(payload(4, 2));
  sender.outgoing.wake();
  pair.run();
  source.ended = true;
  sender.outgoing.wake();
  pair.run();
  const [streamed, behind] = pair.server.take("delivery").map(({ delivery }) => delivery.payload);
  assertEquals(streamed, Uint8Array.of(...payload(3, 1), ...payload(4, 2)));
  assertEquals(behind, payload(7));
  pair.server.one("drained");
});

scenario("what was sent and has no outcome goes out again on another attachment, in order and first", (settings) => {
  const outgoing = new OutgoingLink();
  const one = Pair.opened(settings);
  const [first, receiver] = one.sender(one.begin());
  first.useOutgoing(outgoing);
  receiver.flow({ linkCredit: 4 });
  one.run();
  const sent = [1, 2, 3, 4].map((n) => outgoing.push(payload(n)));
  const settled = outgoing.push(payload(5), { settled: true });
  for (const delivery of [...sent, settled]) delivery.context = delivery;
  sent[2]!.context = undefined;
  one.run();
  const [arrived] = one.server.take("delivery");
  arrived!.delivery.update({ kind: "accepted" });
  one.run();
  assertEquals(sent.map(({ settled }) => settled), [true, false, false, false]);
  // The abandoned one is not sent again; the settled one has not left yet.
  assertEquals(outgoing.rewind(true), [sent[2]!]);
  assertEquals([outgoing.size, outgoing.queued], [3, 3]);

  const two = Pair.opened(settings);
  const [second, other] = two.sender(two.begin());
  second.useOutgoing(outgoing);
  other.flow({ linkCredit: 9 });
  two.run();
  assertEquals(two.server.take("delivery").map(({ delivery }) => delivery.payload.length), [2, 4, 5]);
  assertEquals([sent[1]!.resent, settled.resent, outgoing.size], [true, false, 2]);
});

test("a link that fails with its attachment keeps what it has not sent", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 1 });
  pair.run();
  const [sent, queued] = [sendOn(sender, tag(1), payload(1)), sender.outgoing.push(payload(2))];
  pair.run();
  assertEquals(sender.outgoing.rewind(false), [sent]);
  assertEquals([...sender.outgoing], [queued]);
});

test("LNK-6: in two steps with a sender that agreed to one, an outcome settles at once", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") event.link.role === "sender" && acceptFirst(event.link);
  };
  const receiver = attachLink(pair.begin(), { name: "orders", role: "receiver", rcvSettleMode: "second" });
  receiver.flow({ linkCredit: 2 });
  pair.run();
  const [source] = [...pair.server.endpoint.sessions()].flatMap((session) => [...session.links()]);
  sendOn(source as SenderEndpoint, tag(1), payload(1));
  pair.run();
  pair.client.one("delivery").delivery.update({ kind: "accepted" });
  pair.run();
  assertEquals(pair.server.one("disposition").settled, true);
  assertEquals([receiver.session.unsettledCount, source!.session.unsettledCount], [0, 0]);
});

test("FLW-3: a flow amid a delivery of many frames may count it only with its last, as Proton does", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  (link as ReceiverEndpoint).flow({ linkCredit: 5 });
  script.rest();
  script.send(transfer(0, { more: true }), { payload: payload(10) });
  script.send(flow({ handle: 0, deliveryCount: 0, available: 3 }));
  script.send({ kind: "transfer", handle: 0 }, { payload: payload(10) });
  script.send(flow({ handle: 0, deliveryCount: 1 }));
  assertEquals(script.one("delivery").delivery.payload.length, 20);
  script.alive();
});

test("LNK-1: links above the peer's handle-max end each with a typed error, the others go on", () => {
  const script = new Script({ role: "client" });
  script.endpoint.open();
  const session = script.endpoint.begin();
  const links = [0, 1, 2, 3].map((n) => attachLink(session, { name: `link ${n}`, role: "receiver" }));
  for (const link of links) (link as ReceiverEndpoint).flow({ linkCredit: 1 });
  links[1]!.detach({ closed: true });
  script.header(0);
  script.send({ kind: "open", containerId: "script" });
  assertEquals(script.rest().filter(({ kind }) => kind === "attach").length, 1);
  script.send(begin({ remoteChannel: 0, handleMax: 2 }));
  const told = script.rest().flatMap((body) => "handle" in body ? [[body.kind, body.handle]] : []);
  assertEquals(told, [["attach", 1], ["attach", 2], ["detach", 1], ["flow", 2]]);
  const { link, error } = script.one("detached");
  assertEquals([link, error?.condition, error?.scope], [links[3], condition.resourceLimitExceeded, "link"]);
  script.alive();
});

test("LNK-9: the first flow of a link that takes another over waits for the peer's attach", () => {
  const script = new Script({ role: "client" });
  script.endpoint.open();
  const session = script.endpoint.begin();
  const receiver = session.attach(ReceiverEndpoint, { name: "mine", flowAfterAttach: true });
  receiver.flow({ linkCredit: 7 });
  script.header(0);
  script.send({ kind: "open", containerId: "script" });
  script.send(begin({ remoteChannel: 0 }));
  assertEquals(script.rest().map(({ kind }) => kind).filter((kind) => kind === "flow"), []);
  script.send(attach({ role: "sender", name: "mine", source: { kind: "source" } }));
  assertEquals(script.expect("flow").linkCredit, 7);
});

test("DSP-1: what is told of one delivery twice arrives in that order, whatever is told of others", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin(), { rcvSettleMode: "second" });
  receiver.flow({ linkCredit: 3 });
  pair.run();
  for (const n of [1, 2, 3]) sendOn(sender, tag(n), payload(n));
  pair.run();
  const [first, second] = pair.server.take("delivery").map(({ delivery }) => delivery);
  second!.update({ kind: "released" });
  first!.update({ kind: "accepted" });
  second!.update({ kind: "accepted" });
  pair.run();
  const told = pair.client.take("disposition").map(({ delivery, state }) => [delivery.payload.length, state?.kind]);
  assertEquals(told.filter(([length]) => length === 2), [[2, "released"], [2, "accepted"]]);
});

test("tags of the caller and counted ones never meet", () => {
  const outgoing = new OutgoingLink();
  outgoing.push(payload(1), { tag: Uint8Array.of(0, 0, 0, 1) });
  const counted = [1, 2].map((n) => outgoing.push(payload(n)));
  assertEquals(counted.map((delivery) => [...delivery.tag]), [[0, 0, 0, 0], [0, 0, 0, 2]]);
});

function acceptFirst(link: SenderEndpoint | ReceiverEndpoint): void {
  const { source, target } = link.awaitsAnswer("accept");
  link.sendAttach({ source, target, rcvSettleMode: "first" });
  link.accepted();
}

test("FLW-2: a delivery that is written in part has used its credit, those behind it count against the rest", () => {
  const limits = { maxFrameSize: 512, session: { incomingWindow: 1 } };
  const pair = Pair.opened({ cut: "whole", firstId: 0 }, { client: limits, server: limits });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 3 });
  pair.run();
  const release = pair.hold(pair.client);
  const begun = sendOn(sender, tag(1), payload(2_000));
  pair.run();
  assert(begun.id !== undefined && !begun.sent);
  assertEquals([sender.linkCredit, sender.sendable, sender.queued], [2, 2, 1]);
  sendOn(sender, tag(2), payload(1));
  assertEquals([sender.linkCredit, sender.sendable, sender.queued], [2, 1, 2]);
  release();
  pair.run();
  assertEquals(pair.server.take("delivery").length, 2);
});

test("DSP-4: a sender that settles first leaves nothing behind, on either side", () => {
  const pair = Pair.opened({ cut: "whole", firstId: 0 });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 2 });
  pair.run();
  const delivery = sendOn(sender, tag(1), payload(1));
  pair.run();
  delivery.settle();
  pair.run();
  const told = pair.server.one("disposition");
  assertEquals([told.settled, told.state], [true, undefined]);
  assertEquals([sender.session.unsettledCount, receiver.session.unsettledCount], [0, 0]);
  assertEquals([sender.outgoing.size, receiver.unsettled.size], [0, 0]);
  // The tag can be used again.
  sendOn(sender, tag(1), payload(1));
  pair.run();
  assertEquals(pair.server.take("delivery").length, 2);
});

test("FRM-4: a transfer in a frame of another type than AMQP's ends the connection", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  (script.one("attachRequested").link as ReceiverEndpoint).flow({ linkCredit: 5 });
  script.rest();
  script.send(transfer(0), { payload: payload(10), type: 1 });
  assertEquals(script.expect("close").error?.condition, "amqp:decode-error");
  assertEquals(script.take("delivery"), []);
});
