import { assert, assertEquals, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { Pair, scenario } from "./pair.ts";
import { attachLink, saslOutcome } from "./endpoint.ts";
import { attach, begin, checkError, flow, frame, Script } from "./script.ts";

scenario("CON-10: close is answered by close, each side's last frame", (settings) => {
  const pair = Pair.opened(settings);
  pair.begin();
  pair.run();
  pair.client.endpoint.close();
  assertEquals(pair.client.endpoint.state, "closeSent");
  pair.run();
  for (const side of [pair.client, pair.server]) {
    assert(side.endpoint.finished);
    assertEquals(side.one("closed").error, undefined);
    assertEquals(side.endpoint.sessionCount, 0);
    const out = side.frames.filter(({ direction }) => direction === "out").map(({ body }) => body?.kind);
    assertEquals(out.indexOf("close"), out.length - 1);
    assertEquals(side.endpoint.nextTimeout(), undefined);
  }
});

scenario("CON-10: a close with an error reaches the peer with condition, description and info", (settings) => {
  const pair = Pair.opened(settings);
  pair.server.endpoint.close(
    new AmqpError(condition.connectionRedirect, "Cannot serve here: moved", {
      info: { hostname: "other", port: 5671 },
    }),
  );
  pair.run();
  const { error } = pair.client.one("closed");
  checkError(error, { condition: condition.connectionRedirect, scope: "connection", remote: true, text: "moved" });
  assert(error instanceof AmqpError);
  assertEquals({ ...error.info }, { hostname: "other", port: 5671 });
  assertEquals(pair.server.one("closed").error, undefined);
});

test("CON-10: an error that does not fit the frame is told with less of an explanation", () => {
  const info = { text: "x".repeat(600) };
  for (
    const [description, expected] of [["short", "short"], ["x".repeat(600), "x".repeat(200)], [
      "\u{10ffff}".repeat(300),
      undefined,
    ]]
  ) {
    const script = Script.opened({ role: "server" }, { maxFrameSize: 512 });
    script.endpoint.close(new AmqpError(condition.internalError, description!, { info }));
    const { error } = script.expect("close");
    assertEquals(error?.condition, condition.internalError);
    assertEquals(error?.info, undefined);
    assertEquals(error?.description, expected ?? "\u{10ffff}".repeat(100));
  }
});

test("CON-10: a text that was cut within a character, or never was one, is still told", () => {
  for (const text of ["\u{10ffff}".repeat(99) + "x\u{10ffff}", "half \ud83d"]) {
    const script = Script.opened({ role: "server" });
    script.endpoint.fail(new AmqpError(condition.internalError, text));
    assert(script.expect("close").error?.description?.isWellFormed());
  }
});

test("CON-10: after a close for an error all but the peer's close is dropped", () => {
  const script = Script.opened({ role: "server" });
  script.endpoint.fail(new AmqpError(condition.internalError, "Cannot go on: test"));
  script.closedWith(condition.internalError, "test");
  assertEquals(script.endpoint.state, "discarding");
  script.send({ kind: "open", containerId: "again" });
  script.send(begin());
  script.send(flow(), { channel: 65_535 });
  script.send(undefined);
  script.quiet();
  assertEquals(script.events, []);
  script.endpoint.fail(new AmqpError(condition.internalError, "Cannot go on: again"));
  script.endpoint.close();
  script.quiet();
  script.send({ kind: "close" }, { channel: 9 });
  assert(script.endpoint.finished);
  script.quiet();
  assertEquals(script.events, []);
});

test("CON-10: a close that nobody answers is given up after its time", () => {
  const script = Script.opened({ role: "server", closeTimeoutMs: 700 });
  script.endpoint.close();
  // The clock has to be set first.
  assert(script.endpoint.nextTimeout()! <= 0);
  script.now = 100;
  script.expect("close");
  assertEquals(script.endpoint.nextTimeout(), 800);
  script.tick(799);
  assertEquals(script.events, []);
  script.tick(800);
  const { error } = script.one("closed");
  checkError(error, { condition: condition.resourceLimitExceeded, scope: "connection", text: "did not answer" });
  assert(error instanceof AmqpError && error.retryable);
  assert(script.endpoint.finished);
});

test("CON-10: close before the open ends at once, and does nothing twice", () => {
  for (const role of ["client", "server"] as const) {
    const script = new Script({ role });
    script.endpoint.close();
    assert(script.endpoint.finished);
    assertEquals(script.endpoint.close(), undefined);
    script.dispatch(script.endpoint.events());
    assertEquals(script.one("closed").error, undefined);
    script.quiet();
    script.header(0);
    script.quiet();
  }
});

test("CON-10: close right behind the open is sent, and what waited for the peer's open is not", () => {
  const script = new Script({ role: "client" });
  script.endpoint.open();
  script.endpoint.begin();
  const second = script.endpoint.begin();
  script.endpoint.close();
  assertEquals(script.endpoint.state, "openClosePipe");
  assertEquals(script.rest().map(({ kind }) => kind), ["header", "open", "begin", "close"]);
  script.header(0);
  assertEquals(script.endpoint.state, "closePipe");
  script.send({ kind: "open", containerId: "script" });
  assertEquals(script.endpoint.state, "closeSent");
  script.quiet();
  assertEquals(script.take("opened"), []);
  script.send(begin({ remoteChannel: 0 }));
  script.send({ kind: "close" });
  assertEquals(script.one("closed").error, undefined);
  assertEquals(second.state, "ended");
});

scenario("CON-11: both sides may close at the same time", (settings) => {
  const pair = Pair.opened(settings, { latencyMs: 5 });
  pair.client.endpoint.close();
  pair.server.endpoint.close();
  pair.run();
  for (const side of [pair.client, pair.server]) {
    assertEquals(side.one("closed").error, undefined);
    assertEquals(side.sent("close").length, 1);
    assert(side.endpoint.finished);
  }
});

test("CON-11: what the peer says before it has seen our close is no error", () => {
  const script = Script.begun();
  script.endpoint.close();
  script.expect("close");
  script.send(begin(), { channel: 1 });
  script.send(attach({ role: "sender" }), { channel: 1 });
  script.send(flow(), { channel: 1 });
  script.send(flow({ echo: true }));
  script.quiet();
  script.send({ kind: "close" });
  assertEquals(script.one("closed").error, undefined);
});

test("CON-11: nothing can be begun, attached or authenticated once the connection closes", () => {
  const script = Script.begun();
  const [session] = script.endpoint.sessions();
  script.endpoint.close();
  for (const closed of [false, true]) {
    if (closed) script.send({ kind: "close" });
    for (
      const call of [
        () => script.endpoint.begin(),
        () => attachLink(session!, { name: "late", role: "sender" }),
        () => saslOutcome(script.endpoint, "ok"),
        () => script.endpoint.open(),
      ]
    ) assertEquals(assertThrows(call, AmqpError).condition, condition.illegalState);
  }
  const early = new Script({ role: "client" });
  assertThrows(() => early.endpoint.begin(), AmqpError, "state of the connection is start");
});

test("CON-9: a fault of a callback closes with internal-error instead of escaping", () => {
  let broken = false;
  const script = Script.opened({
    role: "server",
    trace: () => {
      if (broken) throw new Error("the trace is broken");
    },
  });
  broken = true;
  const events = script.endpoint.receive(frame(begin()), 0);
  assertEquals(events.map(({ kind }) => kind), ["closed"]);
  const close = script.rest().at(-1)!;
  assertEquals(close.kind === "close" && close.error?.condition, condition.internalError);
  assertEquals(script.endpoint.state, "discarding");
});
