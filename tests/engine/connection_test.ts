import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { protocolHeader } from "../../src/codec/frame.ts";
import { test } from "../harness.ts";
import { Pair, scenario } from "./pair.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, endpointOf, type EndpointOptions, saslOutcome, sendOn } from "./endpoint.ts";
import { attach, begin, checkError, flow, frame, Script } from "./script.ts";

const long = (length: number): string => "x".repeat(length);

scenario("CON-1, FRM-1: header and open are exchanged, each once and first", (settings) => {
  const pair = Pair.opened(settings);
  for (const side of [pair.client, pair.server]) {
    assertEquals(side.endpoint.state, "opened");
    assertEquals(side.frames.map(({ direction, body }) => `${direction} ${body?.kind}`).sort(), [
      "in open",
      "out open",
    ]);
    assertEquals(side.endpoint.sessionCount, 0);
  }
  assertEquals(pair.client.endpoint.remote?.containerId, "server");
  assertEquals(pair.server.endpoint.local?.containerId, "server");
});

test("FRM-2: the client's header goes out before anything was received, with the open behind it", () => {
  const script = new Script({ role: "client" });
  script.quiet();
  script.endpoint.open();
  assertEquals(script.expect("header").id, 0);
  assertEquals(script.expect("open").containerId, "tested");
  assertThrows(() => script.endpoint.open(), AmqpError, "Cannot send open");
});

test("FRM-2: a server's header that comes before ours is taken, and ours follows", () => {
  const script = new Script({ role: "client" });
  script.header(0);
  assertEquals(script.expect("header").id, 0);
  script.endpoint.open();
  script.expect("open");
  script.send({ kind: "open", containerId: "script" });
  script.one("opened");
});

test("FRM-3: a server answers a header that it does not support with one that it does, and ends", () => {
  const offered = { mechanisms: ["PLAIN"], required: true };
  const cases: [string, Uint8Array, EndpointOptions["sasl"], number][] = [
    ["another version", Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1), undefined, 0],
    ["SASL without SASL here", protocolHeader(3), undefined, 0],
    ["no SASL where it is required", protocolHeader(0), offered, 3],
    ["an unknown protocol", Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 9, 1, 0, 0), { ...offered, required: false }, 3],
    ["no header at all", new TextEncoder().encode("GET / HTTP/1.1\r\n"), undefined, 0],
  ];
  for (const [name, bytes, sasl, answer] of cases) {
    for (const cut of [1, "whole"] as const) {
      const script = new Script({ role: "server", sasl });
      script.cut = cut;
      script.raw(bytes);
      checkError(script.one("closed").error, { condition: condition.framingError, scope: "connection" });
      assert(script.endpoint.finished, name);
      assertEquals(script.expect("header").id, answer, name);
      script.quiet();
    }
  }
});

test("WSB-19: a server answers the TLS header with one that it supports, and we never send it", () => {
  for (const sasl of [undefined, { mechanisms: ["ANONYMOUS"], required: false }]) {
    const script = new Script({ role: "server", sasl });
    script.header(2);
    const { error } = script.one("closed");
    checkError(error, { condition: condition.framingError, scope: "connection", text: "AMQP 2 1 0 0" });
    assertEquals(script.expect("header").id, sasl === undefined ? 0 : 3);
    assert(script.endpoint.finished);
  }
});

test("FRM-4: the client's error carries the header that came instead, and what to give", () => {
  for (const [id, remedy] of [[2, 'it asks for TLS, "amqps:" is meant'], [3, "give auth"]] as const) {
    const script = new Script({ role: "client" });
    script.endpoint.open();
    script.header(id);
    const { error } = script.one("closed");
    checkError(error, { condition: condition.framingError, scope: "connection", text: `AMQP ${id} 1 0 0, ${remedy}` });
    assert(script.endpoint.finished);
  }
  const script = new Script({ role: "client" });
  script.endpoint.open();
  script.cut = "whole";
  script.raw(Uint8Array.of(0x48, 0x54, 0x54, 0x50));
  checkError(script.one("closed").error, { condition: condition.framingError, scope: "connection", text: "48545450" });
});

test("FRM-7, ATK-6: a frame above our max-frame-size closes before it is buffered", () => {
  const script = Script.opened({ role: "server", maxFrameSize: 1_000 });
  script.raw(Uint8Array.of(0, 0, 0x03, 0xe9));
  script.closedWith(condition.framingError, "1001");
  // The start of the next frame is unknown, so waiting for a close makes no sense.
  assert(script.endpoint.finished);
  assertLessOrEqual(script.endpoint.buffered, 4);
});

test("FRM-9: bytes behind a performative that has no payload are a decode error", () => {
  const script = Script.opened({ role: "server" });
  script.send(begin(), { payload: Uint8Array.of(1) });
  script.closedWith(condition.decodeError);
});

test("FRM-9: what cannot be decoded closes the connection, and the peer's close is still waited for", () => {
  const script = Script.opened({ role: "server" });
  const bad = Uint8Array.of(0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x11, 0x99);
  script.raw(bad);
  script.closedWith(condition.decodeError);
  script.raw(bad);
  script.send(begin());
  script.quiet();
  assert(!script.endpoint.finished);
  script.send({ kind: "close" });
  assert(script.endpoint.finished);
  script.quiet();
  assertEquals(script.take("closed"), []);
});

test("FRM-10: an empty frame is taken on any valid channel, but not before the open", () => {
  const script = Script.opened({ role: "server", channelMax: 7 });
  script.send(undefined);
  script.send(undefined, { channel: 7 });
  script.quiet();
  script.send(undefined, { channel: 8 });
  script.closedWith(condition.framingError, "channel is 8, above 7");

  const early = new Script({ role: "server" });
  early.header(0);
  early.send(undefined);
  early.expect("header");
  early.expect("open");
  early.closedWith(condition.illegalState, "empty frame before open");
});

test("CON-2: an open above 512 bytes is refused here, unless the caller knows better", () => {
  const properties = { text: long(500) };
  const script = new Script({ role: "client", properties });
  const error = assertThrows(() => script.endpoint.open(), AmqpError, "larger than 512");
  assertEquals(error.condition, condition.frameSizeTooSmall);

  const knowing = new Script({ role: "client", properties, maxOpenSize: 1_000 });
  knowing.endpoint.open();
  knowing.expect("header");
  assertEquals(knowing.expect("open").properties?.text, long(500));
});

test("CON-2: a server's open may be as large as the client takes", () => {
  const script = new Script({ role: "server", properties: { text: long(2_000) } });
  script.header(0);
  script.send({ kind: "open", containerId: "script", maxFrameSize: 4_000 });
  script.expect("header");
  script.expect("open");
  script.one("opened");

  const small = new Script({ role: "server", properties: { text: long(2_000) } });
  small.header(0);
  small.send({ kind: "open", containerId: "script", maxFrameSize: 512 });
  checkError(small.one("closed").error, { condition: condition.frameSizeTooSmall, scope: "connection" });
  assert(small.endpoint.finished);
});

test("CON-2, CON-8: what does not fit 512 bytes or channel 0 waits for the peer's open, in order", () => {
  const script = new Script({ role: "client" });
  const { endpoint } = script;
  endpoint.open();
  const first = endpoint.begin();
  attachLink(first, { name: "small", role: "sender", target: { kind: "target" } });
  attachLink(first, { name: long(600), role: "sender", target: { kind: "target" } });
  attachLink(first, { name: "behind", role: "sender", target: { kind: "target" } });
  const second = endpoint.begin();
  attachLink(second, { name: "second", role: "sender", target: { kind: "target" } });
  script.expect("header");
  script.expect("open");
  script.expect("begin");
  assertEquals(script.expect("attach").name, "small");
  script.quiet();
  script.header(0);
  script.quiet();
  script.send({ kind: "open", containerId: "script" });
  assertEquals(script.expect("begin").channel, 1);
  assertEquals(script.expect("attach").channel, 1);
  script.quiet();
  script.send(begin({ remoteChannel: 0 }));
  assertEquals(script.expect("attach").name, long(600));
  assertEquals(script.expect("attach").name, "behind");
  script.quiet();
});

test("CON-2: what waited and does not fit the peer's limits ends with an error, the rest goes out", () => {
  const script = new Script({ role: "client" });
  const { endpoint } = script;
  endpoint.open();
  const first = endpoint.begin();
  const large = attachLink(first, { name: long(600), role: "sender", target: { kind: "target" } });
  const small = attachLink(first, { name: "small", role: "sender", target: { kind: "target" } });
  const second = endpoint.begin();
  const lost = attachLink(second, { name: "lost", role: "sender", target: { kind: "target" } });
  script.expect("header");
  script.expect("open");
  script.expect("begin");
  script.header(0);
  script.send({ kind: "open", containerId: "script", maxFrameSize: 512, channelMax: 0 });
  script.send(begin({ remoteChannel: 0 }));
  assertEquals(script.expect("attach").name, "small");
  script.quiet();
  const { link, error } = script.one("detached");
  assertEquals(link, large);
  checkError(error, { condition: condition.frameSizeTooSmall, scope: "link", text: "512" });
  const ended = script.one("ended");
  assertEquals(ended.session, second);
  checkError(ended.error, { condition: condition.resourceLimitExceeded, scope: "session", text: "only 1" });
  assertEquals([large.state, small.state, lost.state], ["detached", "attachSent", "detached"]);
  assertEquals([first.linkCount, endpoint.sessionCount], [1, 1]);
});

test("CON-3: a max-frame-size below 512 is refused, by both sides", () => {
  for (const maxFrameSize of [0, 511]) {
    assertThrows(
      () => endpointOf({ role: "client", containerId: "x", maxFrameSize }),
      RangeError,
      "below 512",
    );
    for (const role of ["client", "server"] as const) {
      const script = new Script({ role });
      if (role === "client") script.endpoint.open();
      script.header(0);
      script.send({ kind: "open", containerId: "script", maxFrameSize });
      script.expect("header");
      script.expect("open");
      script.closedWith(condition.invalidField, `${maxFrameSize}`);
    }
  }
});

test("CON-3: an open of zeros with a close right behind it ends with the error of the close, as Broker-J refuses", () => {
  const script = new Script({ role: "client" });
  script.endpoint.open();
  script.header(0);
  const error = { condition: condition.notFound, description: "Unknown hostname" };
  script.cut = "whole";
  script.raw(concat([frame({ kind: "open", containerId: "x", maxFrameSize: 0 }), frame({ kind: "close", error })]));
  assertEquals(script.take("opened"), []);
  checkError(script.one("closed").error, {
    condition: condition.notFound,
    scope: "connection",
    remote: true,
    text: "Unknown hostname",
  });
});

scenario("CON-3: with 512 both ways no frame is larger, whatever is sent", (settings) => {
  const limits = { maxFrameSize: 512 };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  const [sender, receiver] = pair.sender(pair.begin());
  receiver.flow({ linkCredit: 1 });
  pair.run();
  sendOn(sender, Uint8Array.of(1), new Uint8Array(5_000));
  pair.run();
  assertEquals(pair.server.one("delivery").delivery.payload.length, 5_000);
  const parts = pair.client.frames.filter(({ body }) => body?.kind === "transfer").map(({ payloadBytes }) =>
    payloadBytes
  );
  assertEquals(parts.reduce((sum, part) => sum + part), 5_000);
  for (const part of parts) assertLessOrEqual(part, 504);
});

test("CON-4, ATK-8: our channel-max bounds the sessions of both sides", () => {
  const script = Script.opened({ role: "server", channelMax: 1 });
  script.send(begin(), { channel: 0 });
  script.send(begin(), { channel: 1 });
  assertEquals([script.expect("begin").remoteChannel, script.expect("begin").remoteChannel], [0, 1]);
  const error = assertThrows(() => script.endpoint.begin(), AmqpError, "2 sessions are open");
  assertEquals(error.condition, condition.resourceLimitExceeded);
  script.send(begin(), { channel: 2 });
  script.closedWith(condition.framingError, "channel is 2, above 1");
});

test("CON-4: the peer's channel-max bounds ours", () => {
  const script = Script.opened({ role: "client" }, { channelMax: 2 });
  for (let i = 0; i < 3; i++) assertEquals(script.endpoint.begin().channel, i);
  assertThrows(() => script.endpoint.begin(), AmqpError, "3 sessions are open");
  assertEquals(script.endpoint.sessionCount, 3);
});

test("CON-5, CON-12, CON-13: hostname, capabilities, locales and properties come in as they were given", () => {
  const pair = Pair.opened({ cut: 3, firstId: 0 }, {
    client: { hostname: "virtual", desiredCapabilities: ["a", "b"], properties: { product: "test" } },
    server: { offeredCapabilities: ["b"], answerOpen: (open) => ({ properties: { seen: open.hostname! } }) },
  });
  const { remote } = pair.server.endpoint;
  assertEquals([remote?.hostname, remote?.desiredCapabilities], ["virtual", ["a", "b"]]);
  assertEquals(remote?.properties?.product, "test");
  assertEquals(pair.client.endpoint.remote?.offeredCapabilities, ["b"]);
  assertEquals(pair.client.endpoint.remote?.properties?.seen, "virtual");
  const locales = { outgoingLocales: ["de-AT", "en-US"], incomingLocales: ["fr"] };
  const { endpoint } = Script.opened({ role: "server" }, locales);
  assertEquals([endpoint.remote?.outgoingLocales, endpoint.remote?.incomingLocales], [["de-AT", "en-US"], ["fr"]]);
  assertEquals([endpoint.local?.outgoingLocales, endpoint.local?.incomingLocales], [undefined, undefined]);
});

test("CON-4: limits that the server's answer sets hold", () => {
  const script = new Script({ role: "server", answerOpen: () => ({ channelMax: 3, maxFrameSize: 600 }) });
  script.header(0);
  script.send({ kind: "open", containerId: "script" });
  script.expect("header");
  assertEquals(script.expect("open").channelMax, 3);
  script.one("opened");
  script.raw(Uint8Array.of(0, 0, 2, 0x59));
  script.closedWith(condition.framingError, "601");
  const other = new Script({ role: "server", answerOpen: () => ({ channelMax: 3, maxFrameSize: 600 }) });
  other.header(0);
  other.send({ kind: "open", containerId: "script" });
  other.rest();
  other.send(begin(), { channel: 4 });
  other.closedWith(condition.framingError, "channel is 4, above 3");
});

test("CON-5: a server that refuses an open says so in its close", () => {
  const script = new Script({
    role: "server",
    answerOpen: () => {
      throw new AmqpError(condition.notFound, "Cannot open connection: no such host");
    },
  });
  script.header(0);
  script.send({ kind: "open", containerId: "script", hostname: "nowhere" });
  script.expect("header");
  script.expect("open");
  script.closedWith(condition.notFound, "no such host");
  assertEquals(script.take("opened"), []);
});

test("EXT-7: an open that announces its refusal is not reported as opened, the close behind it tells why", () => {
  // Artemis writes a string.
  for (const announced of [true, "true"]) {
    const script = new Script({ role: "client" });
    script.endpoint.open();
    script.header(0);
    script.send({
      kind: "open",
      containerId: "script",
      properties: { "amqp:connection-establishment-failed": announced },
    });
    assertEquals(script.events, []);
    script.send({ kind: "close", error: { condition: condition.invalidField, description: "sole\nconnection" } });
    checkError(script.one("closed").error, {
      condition: condition.invalidField,
      scope: "connection",
      remote: true,
      // The peer's text cannot write lines of its own into a log.
      text: "sole\\u{a}connection",
    });
  }
});

test('EXT-7: a peer that announces a refusal and sends no close has the time of an open for it; "false" announces none', () => {
  const script = new Script({ role: "client", openTimeoutMs: 400 });
  script.endpoint.open();
  script.header(0);
  script.send({ kind: "open", containerId: "script", properties: { "amqp:connection-establishment-failed": true } });
  script.tick(399);
  assertEquals(script.events, []);
  script.tick(400);
  assertEquals(
    script.one("closed").error?.message,
    "Cannot open connection: time-out, peer announced a refusal and sent no close",
  );

  const other = new Script({ role: "client" });
  other.endpoint.open();
  other.header(0);
  other.send({ kind: "open", containerId: "script", properties: { "amqp:connection-establishment-failed": "false" } });
  other.one("opened");
});

test("CON-8, WSB-14: a server takes header, SASL, open, begin and attach in one piece", () => {
  const script = new Script({ role: "server", sasl: { mechanisms: ["ANONYMOUS"], required: true } });
  script.onevent = (event) => {
    if (event.kind === "saslInit") saslOutcome(script.endpoint, "ok");
    if (event.kind === "attachRequested") accept(event.link);
  };
  const flight = [
    protocolHeader(3),
    frame({ kind: "saslInit", mechanism: "ANONYMOUS" }),
    protocolHeader(0),
    frame({ kind: "open", containerId: "script" }),
    frame(begin()),
    frame(attach({ role: "receiver" })),
    frame(flow({ nextIncomingId: undefined, handle: 0, linkCredit: 5 })),
  ];
  const bytes = new Uint8Array(flight.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of flight) {
    bytes.set(part, at);
    at += part.length;
  }
  script.raw(bytes);
  script.one("opened");
  script.one("begun");
  const { link } = script.one("attachRequested");
  assertEquals(link.role, "sender");
  assertEquals(link.linkCredit, 5);
  assertEquals(script.rest().map(({ kind }) => kind), [
    "header",
    "saslMechanisms",
    "saslOutcome",
    "header",
    "open",
    "begin",
    "attach",
  ]);
});

scenario("CON-8: a client that pipelines has its first credit after one round trip", (settings) => {
  const pair = new Pair(settings, { latencyMs: 50 });
  pair.client.endpoint.open();
  const session = pair.begin();
  const receiver = attachLink(session, { name: "in", role: "receiver", source: { kind: "source" } });
  receiver.flow({ linkCredit: 7 });
  pair.server.onevent = (event) => {
    if (event.kind === "attachRequested") accept(event.link, { initialDeliveryCount: settings.firstId });
    if (event.kind === "credit" && event.link.sendable > 0) sendOn(event.link, Uint8Array.of(1), Uint8Array.of(2));
  };
  pair.advance(99);
  assertEquals(pair.client.events.map(({ kind }) => kind), []);
  pair.advance(1);
  assertEquals(pair.client.one("delivery").delivery.payload, Uint8Array.of(2));
  assertEquals(receiver.linkCredit, 6);
});

scenario("WSB-27: a lost transport ends everything at once, with its cause, and only once", (settings) => {
  const pair = Pair.opened(settings);
  const [sender] = pair.sender(pair.begin());
  const cause = new Error("gone");
  pair.lose(cause);
  for (const side of [pair.client, pair.server]) {
    assertEquals(side.one("closed").error, cause);
    assertEquals(side.endpoint.sessionCount, 0);
    assertEquals(side.endpoint.disconnect(new Error("again")), []);
    assertEquals(side.endpoint.receive(Uint8Array.of(1), 0), []);
  }
  assertEquals([sender.state, sender.session.state, sender.sendable], ["detached", "ended", 0]);
});

test("CON-9: the time until the peer's open is bounded, also while nothing at all comes", () => {
  for (const role of ["client", "server"] as const) {
    const script = new Script({ role, openTimeoutMs: 400 });
    if (role === "client") script.endpoint.open();
    assertEquals(script.endpoint.nextTimeout(), 400);
    script.header(0);
    script.tick(399);
    assertEquals(script.events, []);
    script.tick(400);
    const { error } = script.one("closed");
    assert(error instanceof TransportError && error.code === "timeout" && error.message.includes("no open"));
    assert(script.endpoint.finished);
  }
});

test("CON-9: a frame that cannot be encoded leaves no half of it behind", () => {
  const script = Script.opened({ role: "client" });
  const bad = { role: "sender", name: "bad", properties: { key: Symbol() as unknown as string } } as const;
  const session = script.endpoint.begin();
  assertThrows(() => attachLink(session, bad));
  assertThrows(() => script.endpoint.begin({ properties: { key: Symbol() as unknown as string } }));
  assertEquals([session.linkCount, script.endpoint.sessionCount], [0, 1]);
  attachLink(session, { name: "good", role: "sender" });
  assertEquals(script.rest().map(({ kind }) => kind), ["begin", "attach"]);
});

test("CON-1: what a peer sends out of order is told in words", () => {
  const twice = Script.opened({ role: "server" });
  twice.send({ kind: "open", containerId: "again" });
  assertEquals(twice.expect("close").error?.description, "Cannot receive open: state of the connection is opened");
});
