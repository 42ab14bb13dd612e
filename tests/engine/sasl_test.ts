import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AmqpError, condition, type TransportError } from "../../src/base/errors.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import type { SaslFrameBody } from "../../src/codec/types.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import { test } from "../harness.ts";
import { Pair, scenario, type Side } from "./pair.ts";
import { endpointOf, saslChallenge, saslInit, saslOutcome, saslResponse } from "./endpoint.ts";
import { begin, checkError, frame, Script } from "./script.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const offer = { mechanisms: ["SCRAM-SHA-256", "PLAIN"], required: true };

type Handler = (event: EngineEvent, endpoint: ConnectionEndpoint) => void;

function answer(side: Side, handler: Handler): void {
  side.onevent = (event) => handler(event, side.endpoint);
}

function plainClient(event: EngineEvent, endpoint: ConnectionEndpoint): void {
  if (event.kind === "saslMechanisms") saslInit(endpoint, "PLAIN", utf8("\0tim\0secret"), "virtual");
}

scenario("SASL-2, WSB-18, FRM-5: mechanisms, init, outcome, then headers once more and the opens", (settings) => {
  const pair = new Pair(settings, { client: { sasl: true }, server: { sasl: offer } });
  answer(pair.client, plainClient);
  answer(pair.server, (event, endpoint) => {
    if (event.kind === "saslInit") saslOutcome(endpoint, "ok", utf8("welcome"));
  });
  pair.client.endpoint.open();
  pair.run();
  assertEquals(pair.client.one("saslMechanisms").saslServerMechanisms, offer.mechanisms);
  assertEquals(pair.server.one("saslInit"), {
    kind: "saslInit",
    mechanism: "PLAIN",
    initialResponse: utf8("\0tim\0secret"),
    hostname: "virtual",
  });
  assertEquals(pair.client.one("saslOutcome").additionalData, utf8("welcome"));
  pair.client.one("opened");
  pair.server.one("opened");
  assertEquals(pair.client.frames.map(({ direction, body }) => `${direction} ${body?.kind}`), [
    "in saslMechanisms",
    "out saslInit",
    "in saslOutcome",
    "out open",
    "in open",
  ]);
});

test("SASL-2: nothing of AMQP leaves before the outcome, unless the client pipelines", () => {
  const script = new Script({ role: "client", sasl: true });
  script.endpoint.open();
  script.endpoint.begin();
  assertEquals(script.expect("header").id, 3);
  script.quiet();
  script.header(3);
  script.send({ kind: "saslMechanisms", saslServerMechanisms: ["ANONYMOUS"] });
  saslInit(script.endpoint, "ANONYMOUS", undefined);
  script.expect("saslInit");
  script.quiet();
  script.send({ kind: "saslOutcome", code: "ok" });
  assertEquals(script.rest().map(({ kind }) => kind), ["header", "open", "begin"]);
});

scenario("SASL-2, CON-8: a client that pipelines is opened after one round trip", (settings) => {
  const pair = new Pair(settings, { client: { sasl: "pipelined" }, server: { sasl: offer }, latencyMs: 50 });
  answer(pair.server, (event, endpoint) => {
    if (event.kind === "saslInit") saslOutcome(endpoint, "ok");
  });
  saslInit(pair.client.endpoint, "PLAIN", utf8("\0tim\0secret"));
  pair.client.endpoint.open();
  pair.begin();
  pair.advance(100);
  pair.client.one("saslOutcome");
  pair.client.one("opened");
  pair.client.one("begun");
});

scenario("SASL-2: challenges and responses take turns until the outcome", (settings) => {
  const pair = new Pair(settings, { client: { sasl: true }, server: { sasl: offer } });
  answer(pair.client, (event, endpoint) => {
    if (event.kind === "saslMechanisms") saslInit(endpoint, "SCRAM-SHA-256", utf8("first"));
    if (event.kind === "saslChallenge") {
      saslResponse(endpoint, utf8(`answer ${new TextDecoder().decode(event.challenge)}`));
    }
  });
  let round = 0;
  const responses: string[] = [];
  answer(pair.server, (event, endpoint) => {
    if (event.kind === "saslResponse") responses.push(new TextDecoder().decode(event.response));
    if (event.kind !== "saslInit" && event.kind !== "saslResponse") return;
    if (round++ < 3) saslChallenge(endpoint, utf8(`${round}`));
    else saslOutcome(endpoint, "ok");
  });
  pair.client.endpoint.open();
  pair.run();
  assertEquals(responses, ["answer 1", "answer 2", "answer 3"]);
  pair.client.one("opened");
});

test("SASL-5, WSB-29: a refusal ends both sides after the outcome, and only sys-temp is worth another try", () => {
  for (const code of ["auth", "sys", "sys-perm", "sys-temp"] as const) {
    const pair = new Pair({ cut: 1, firstId: 0 }, { client: { sasl: true }, server: { sasl: offer } });
    answer(pair.client, plainClient);
    answer(pair.server, (event, endpoint) => {
      if (event.kind === "saslInit") saslOutcome(endpoint, code);
    });
    pair.client.endpoint.open();
    pair.run();
    // Only one of the codes says that the credentials are wrong.
    const symbol = code === "auth" ? condition.unauthorizedAccess : condition.internalError;
    const { error } = pair.client.one("closed");
    checkError(error, { condition: symbol, scope: "connection", remote: true, text: code });
    assertEquals((error as AmqpError).retryable, code === "sys-temp");
    checkError(pair.server.one("closed").error, { condition: symbol, scope: "connection", text: code });
    for (const side of [pair.client, pair.server]) {
      assert(side.endpoint.finished);
      assertEquals(side.take("opened"), []);
    }
    assertEquals(pair.server.frames.filter(({ body }) => body?.kind === "open"), []);
  }
});

test("SASL-7: an absent initial response is not an empty one", () => {
  for (const response of [undefined, new Uint8Array(0)]) {
    const pair = new Pair({ cut: "whole", firstId: 0 }, { client: { sasl: true }, server: { sasl: offer } });
    answer(pair.client, (event, endpoint) => {
      if (event.kind === "saslMechanisms") saslInit(endpoint, "EXTERNAL", response);
    });
    pair.client.endpoint.open();
    pair.run();
    assertEquals(pair.server.one("saslInit").initialResponse, response);
  }
});

test("SASL-3: mechanisms may be one bare symbol, but not none", () => {
  const bare = new Script({ role: "client", sasl: true });
  bare.header(3);
  const plain = [0xa3, 5, 0x50, 0x4c, 0x41, 0x49, 0x4e];
  bare.raw(Uint8Array.of(0, 0, 0, 21, 2, 1, 0, 0, 0, 0x53, 0x40, 0xc0, 8, 1, ...plain));
  assertEquals(bare.one("saslMechanisms").saslServerMechanisms, ["PLAIN"]);

  for (const body of [[0xc0, 2, 1, 0x40], [0x45], [0xc0, 5, 1, 0xe0, 2, 0, 0xa3]]) {
    const script = new Script({ role: "client", sasl: true });
    script.header(3);
    script.raw(Uint8Array.from([0, 0, 0, 11 + body.length, 2, 1, 0, 0, 0, 0x53, 0x40, ...body]));
    assertEquals(script.take("saslMechanisms"), []);
    checkError(script.one("closed").error, { condition: condition.decodeError, scope: "connection" });
    assert(script.endpoint.finished);
  }
  assertThrows(
    () => endpointOf({ role: "server", containerId: "x", sasl: { mechanisms: [], required: true } }),
    RangeError,
    "no mechanisms",
  );
});

test("SASL-1: an empty SASL frame, or one of AMQP, is fatal", () => {
  for (
    const bytes of [
      frame(undefined, { type: 1 }),
      frame(undefined),
      frame(begin()),
      frame({ kind: "open", containerId: "x" }),
    ]
  ) {
    for (const role of ["client", "server"] as const) {
      const script = new Script({ role, sasl: role === "client" ? true : offer });
      script.header(3);
      script.raw(bytes);
      checkError(script.one("closed").error, { condition: condition.framingError, scope: "connection" });
      assert(script.endpoint.finished);
      assertEquals(script.rest().filter(({ kind }) => kind === "close"), []);
    }
  }
});

test("SASL-1: bytes 6 and 7 and an extended header are ignored", () => {
  const script = new Script({ role: "server", sasl: offer });
  script.header(3);
  const plain = frame({ kind: "saslInit", mechanism: "PLAIN" });
  const bytes = new Uint8Array(plain.length + 4).fill(0xee);
  bytes.set(plain.subarray(0, 6));
  bytes.set(plain.subarray(8), 12);
  bytes[3] = bytes.length;
  bytes[4] = 3;
  script.raw(bytes);
  assertEquals(script.one("saslInit").mechanism, "PLAIN");
});

test("SASL-1, SASL-8, ATK-13: SASL frames are taken up to a limit of their own, which is an option", () => {
  const token = new Uint8Array(40_000);
  const large = new Script({ role: "server", sasl: offer });
  large.header(3);
  large.send({ kind: "saslInit", mechanism: "XOAUTH2", initialResponse: token });
  assertEquals(large.one("saslInit").initialResponse?.length, 40_000);

  const strict = new Script({ role: "server", sasl: offer, saslMaxFrameSize: 512 });
  strict.header(3);
  strict.raw(frame({ kind: "saslInit", mechanism: "XOAUTH2", initialResponse: token }).subarray(0, 8));
  checkError(strict.one("closed").error, { condition: condition.framingError, scope: "connection", text: "512" });
  assert(strict.endpoint.finished);
});

test("SASL-8: the frame limit of AMQP holds again after SASL", () => {
  const script = new Script({ role: "server", sasl: offer, saslMaxFrameSize: 512, maxFrameSize: 4_000 });
  script.onevent = (event) => event.kind === "saslInit" && saslOutcome(script.endpoint, "ok");
  script.header(3);
  script.send({ kind: "saslInit", mechanism: "PLAIN" });
  script.header(0);
  script.send({ kind: "open", containerId: "script", properties: { text: "x".repeat(3_000) } });
  script.one("opened");
});

test("SASL-2: frames out of turn, or of the wrong side, are fatal", () => {
  const mechanisms: SaslFrameBody = { kind: "saslMechanisms", saslServerMechanisms: ["PLAIN"] };
  const init = { kind: "saslInit", mechanism: "PLAIN" } as const;
  const challenge = { kind: "saslChallenge", challenge: new Uint8Array(1) } as const;
  const response = { kind: "saslResponse", response: new Uint8Array(1) } as const;
  const outcome = { kind: "saslOutcome", code: "ok" } as const;
  const cases = [
    ["client", [init]],
    ["client", [outcome]],
    ["client", [challenge]],
    ["client", [mechanisms, mechanisms]],
    ["client", [mechanisms, outcome]],
    ["client", [mechanisms, challenge]],
    ["server", [mechanisms]],
    ["server", [outcome]],
    ["server", [response]],
    ["server", [challenge]],
  ] as const;
  for (const [role, bodies] of cases) {
    const script = new Script({ role, sasl: role === "client" ? true : offer });
    script.header(3);
    for (const body of bodies) script.send(body);
    checkError(script.one("closed").error, { condition: condition.illegalState, scope: "connection" });
    assert(script.endpoint.finished);
  }
});

test("SASL-2: an init and a response in one piece: the second waits for our challenge", () => {
  const script = new Script({ role: "server", sasl: offer });
  script.header(3);
  const both = [frame({ kind: "saslInit", mechanism: "PLAIN" }), frame({ kind: "saslResponse", response: utf8("r") })];
  for (const bytes of both) script.raw(bytes);
  script.one("saslInit");
  assertEquals(script.take("saslResponse"), []);
  saslChallenge(script.endpoint, utf8("c"));
  script.dispatch(script.endpoint.events());
  assertEquals(script.one("saslResponse").response, utf8("r"));
});

test("SASL-2: our own calls out of turn are refused and change nothing", () => {
  const server = new Script({ role: "server", sasl: offer });
  const illegal = (call: () => unknown): void =>
    assertEquals(assertThrows(call, AmqpError).condition, condition.illegalState);
  illegal(() => saslOutcome(server.endpoint, "ok"));
  server.header(3);
  illegal(() => saslOutcome(server.endpoint, "ok"));
  illegal(() => saslChallenge(server.endpoint, utf8("x")));
  illegal(() => saslInit(server.endpoint, "PLAIN", undefined));
  illegal(() => saslResponse(server.endpoint, utf8("x")));
  const client = new Script({ role: "client", sasl: true });
  illegal(() => saslResponse(client.endpoint, utf8("x")));
  illegal(() => saslOutcome(client.endpoint, "ok"));
  assertThrows(() => saslInit(client.endpoint, "Ünbekannt", undefined));
  saslInit(client.endpoint, "PLAIN", undefined);
  illegal(() => saslInit(client.endpoint, "PLAIN", undefined));
  assertEquals(client.rest().map(({ kind }) => kind), ["header", "saslInit"]);
  assertEquals(server.rest().map(({ kind }) => kind), ["header", "saslMechanisms"]);
});

test("SASL-9, ATK-13: challenges come to an end on both sides", () => {
  const client = new Script({ role: "client", sasl: true });
  client.onevent = (event) => {
    if (event.kind === "saslMechanisms") saslInit(client.endpoint, "X", undefined);
    if (event.kind === "saslChallenge") saslResponse(client.endpoint, utf8("x"));
  };
  client.header(3);
  client.send({ kind: "saslMechanisms", saslServerMechanisms: ["X"] });
  let rounds = 0;
  for (; !client.endpoint.finished; rounds++) client.send({ kind: "saslChallenge", challenge: utf8("x") });
  assertEquals(rounds, 17);
  checkError(client.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });

  const server = new Script({ role: "server", sasl: offer });
  server.header(3);
  server.send({ kind: "saslInit", mechanism: "X" });
  for (let i = 0; i < 16; i++) {
    saslChallenge(server.endpoint, utf8("x"));
    server.send({ kind: "saslResponse", response: utf8("x") });
  }
  const error = assertThrows(() => saslChallenge(server.endpoint, utf8("x")), AmqpError, "over 16");
  assertEquals(error.condition, condition.resourceLimitExceeded);
});

test("SASL-9: the exchange is bounded in time", () => {
  const script = new Script({ role: "server", sasl: offer, openTimeoutMs: 250 });
  script.header(3);
  script.send({ kind: "saslInit", mechanism: "PLAIN" });
  script.tick(249);
  assertEquals(script.take("closed"), []);
  script.tick(250);
  assertEquals((script.one("closed").error as TransportError).code, "timeout");
  // A verdict on the credentials comes too late.
  assertThrows(() => saslOutcome(script.endpoint, "ok"), AmqpError, "state of the connection is end");
  script.raw(frame(begin()));
  assertEquals(script.events.filter(({ kind }) => kind === "opened"), []);
});

test("SASL-9, ATK-13: what a client sends ahead while its credentials are looked at is bounded", () => {
  const script = new Script({ role: "server", sasl: offer });
  script.header(3);
  script.send({ kind: "saslInit", mechanism: "PLAIN" });
  script.raw(new Uint8Array(65_536));
  assertEquals(script.take("closed"), []);
  assertEquals(script.endpoint.buffered, 65_536);
  script.raw(new Uint8Array(1));
  checkError(script.one("closed").error, {
    condition: condition.resourceLimitExceeded,
    scope: "connection",
    text: "sent ahead",
  });
  assert(script.endpoint.finished);
});

test("FRM-3, SASL-2: where SASL is required nobody gets in without it, nor twice through it", () => {
  const early = new Script({ role: "server", sasl: offer });
  early.header(0);
  assertEquals(early.expect("header").id, 3);
  early.quiet();
  assert(early.endpoint.finished);

  const twice = new Script({ role: "server", sasl: offer });
  twice.onevent = (event) => event.kind === "saslInit" && saslOutcome(twice.endpoint, "ok");
  twice.header(3);
  twice.send({ kind: "saslInit", mechanism: "PLAIN" });
  twice.header(3);
  assertEquals(twice.rest().map((item) => item.kind === "header" ? `header ${item.id}` : item.kind), [
    "header 3",
    "saslMechanisms",
    "saslOutcome",
    "header 0",
  ]);
  checkError(twice.one("closed").error, { condition: condition.framingError, scope: "connection" });
});

scenario("WSB-18: where SASL is not required a client may do without", (settings) => {
  const pair = Pair.opened(settings, { server: { sasl: { mechanisms: ["PLAIN"], required: false } } });
  assertEquals(pair.server.take("saslInit"), []);
});

test("FRM-4: a client that wants SASL and finds none ends, and has told nobody its credentials", () => {
  const script = new Script({ role: "client", sasl: true });
  script.endpoint.open();
  script.header(0);
  checkError(script.one("closed").error, {
    condition: condition.framingError,
    scope: "connection",
    text: "AMQP 0 1 0 0",
  });
  assertEquals(script.rest().map(({ kind }) => kind), ["header"]);
});

test("ATK-14: traces tell no secret of the SASL exchange, nor do errors", () => {
  const secret = "tanstaaf";
  const seen: unknown[] = [];
  const trace = (frame: unknown): void => void seen.push(frame);
  for (const code of ["ok", "auth"] as const) {
    const pair = new Pair({ cut: 3, firstId: 0 }, {
      client: { sasl: true, trace },
      server: { sasl: offer, trace },
    });
    answer(pair.client, (event, endpoint) => {
      if (event.kind === "saslMechanisms") saslInit(endpoint, "PLAIN", utf8(secret));
      if (event.kind === "saslChallenge") saslResponse(endpoint, utf8(secret));
    });
    answer(pair.server, (event, endpoint) => {
      if (event.kind === "saslInit") saslChallenge(endpoint, utf8(secret));
      if (event.kind === "saslResponse") saslOutcome(endpoint, code, utf8(secret));
    });
    pair.client.endpoint.open();
    pair.run();
    for (const side of [pair.client, pair.server]) {
      for (const event of side.take("closed")) seen.push(String(event.error));
    }
  }
  const bytes = [...utf8(secret)].join(",");
  const text = JSON.stringify(seen, (_, value) => value instanceof Uint8Array ? [...value].join(",") : value);
  assertStringIncludes(text, "saslResponse");
  assert(!text.includes(bytes) && !text.includes(secret));
});
