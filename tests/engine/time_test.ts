import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { Pair, scenario } from "./pair.ts";
import { checkError, flow, frame, Script } from "./script.ts";

test("CON-6: the open announces half of when a silent peer is given up, and nothing for never", () => {
  const announced = (idleTimeOut?: number): number | undefined => {
    const script = new Script({ role: "client", idleTimeOut });
    script.endpoint.open();
    script.expect("header");
    return script.expect("open").idleTimeOut;
  };
  assertEquals([announced(), announced(5_000), announced(0)], [60_000, 5_000, undefined]);
});

scenario(
  "CON-6: with time-outs on both sides an idle connection lives on empty frames, each in half the time",
  (settings) => {
    const pair = Pair.opened(settings, { client: { idleTimeOut: 1_000 }, server: { idleTimeOut: 400 }, latencyMs: 10 });
    const opened = pair.now;
    pair.advance(10_000);
    assertEquals([pair.client.endpoint.state, pair.server.endpoint.state], ["opened", "opened"]);
    const empty = (side: typeof pair.client): number =>
      side.frames.filter(({ direction, body }) => direction === "out" && body === undefined).length;
    // One each 200 ms and each 500 ms, counted from slightly different moments.
    assert(Math.abs(empty(pair.client) - 50) <= 1, `${empty(pair.client)}`);
    assert(Math.abs(empty(pair.server) - 20) <= 1, `${empty(pair.server)}`);
    assertEquals(pair.now, opened + 10_000);
  },
);

test("CON-6: without a time-out of the peer nothing is sent, without one of ours nothing is expected", () => {
  const script = Script.opened({ role: "server", idleTimeOut: 0 });
  assertEquals(script.endpoint.nextTimeout(), undefined);
  const zero = Script.opened({ role: "server", idleTimeOut: 0 }, { idleTimeOut: 0 });
  assertEquals(zero.endpoint.nextTimeout(), undefined);
  script.tick(1e12);
  script.quiet();
  assertEquals(script.endpoint.state, "opened");
});

test("CON-6: what is sent anyway, and what waits to be sent, spares the empty frame", () => {
  const script = Script.opened({ role: "server", idleTimeOut: 0 }, { idleTimeOut: 1_000 });
  assertEquals(script.endpoint.nextTimeout(), 500);
  script.now = 300;
  script.endpoint.begin();
  // The endpoint waits for the transport, so no deadline expires again and again.
  assertEquals(script.endpoint.nextTimeout(), undefined);
  script.tick(600);
  assertEquals(script.rest().map(({ kind }) => kind), ["begin"]);
  assertEquals(script.endpoint.nextTimeout(), 1_100);
  script.tick(1_100);
  assertEquals(script.endpoint.nextTimeout(), undefined);
  assertEquals(script.rest().map(({ kind }) => kind), ["empty"]);
  assertEquals(script.endpoint.nextTimeout(), 1_600);
});

test("CON-7: a peer that sends nothing for twice the announced time is closed with an error, then dropped", () => {
  const script = Script.opened({ role: "server", idleTimeOut: 500, closeTimeoutMs: 300 });
  assertEquals(script.endpoint.nextTimeout(), 1_000);
  script.now = 900;
  // An empty frame counts; bytes that make no whole frame do not.
  script.send(undefined);
  assertEquals(script.endpoint.nextTimeout(), 1_900);
  script.now = 1_500;
  script.raw(frame(flow()).subarray(0, 10));
  assertEquals(script.endpoint.nextTimeout(), 1_900);
  script.tick(1_899);
  script.quiet();
  // Bytes that have arrived may still wait to be read.
  script.tick(1_900);
  script.quiet();
  assertEquals(script.endpoint.nextTimeout(), 2_400);
  script.tick(2_400);
  assertEquals(script.expect("close").error?.condition, condition.resourceLimitExceeded);
  const { error } = script.one("closed");
  checkError(error, { condition: condition.resourceLimitExceeded, scope: "connection", text: "idle time-out" });
  assert(error instanceof AmqpError && error.retryable);
  assert(!script.endpoint.finished);
  assertEquals(script.endpoint.nextTimeout(), 2_700);
  script.tick(2_700);
  assert(script.endpoint.finished);
  assertEquals(script.endpoint.nextTimeout(), undefined);
  assertEquals(script.events, []);
});

scenario("CON-7: a connection on which nothing arrives any more ends on both sides", (settings) => {
  const limits = { idleTimeOut: 200, closeTimeoutMs: 100 };
  const pair = Pair.opened(settings, { client: limits, server: limits });
  pair.hold(pair.client);
  pair.hold(pair.server);
  pair.advance(699);
  for (const side of [pair.client, pair.server]) {
    checkError(side.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
    assert(!side.endpoint.finished);
  }
  pair.advance(1);
  for (const side of [pair.client, pair.server]) assert(side.endpoint.finished);
});

test("CON-7, ATK-12: a time-out of the peer that is too short to keep is refused, whoever opened", () => {
  for (const role of ["client", "server"] as const) {
    const script = new Script({ role });
    if (role === "client") script.endpoint.open();
    script.header(0);
    script.send({ kind: "open", containerId: "script", idleTimeOut: 1 });
    script.expect("header");
    script.expect("open");
    script.closedWith(condition.notAllowed, "idle-time-out is 1, below 100");
  }
});

test("ATK-12: the shortest time-out that is kept costs a frame each 50 ms, the longest no timer storm", () => {
  const script = Script.opened({ role: "server", idleTimeOut: 0 }, { idleTimeOut: 100 });
  let frames = 0;
  for (let now = 0; now < 1_000;) {
    now = script.endpoint.nextTimeout()!;
    script.tick(now);
    frames += script.rest().length;
  }
  assertLessOrEqual(frames, 20);
  const long = Script.opened({ role: "server", idleTimeOut: 0xffffffff }, { idleTimeOut: 0xffffffff });
  assertEquals(long.endpoint.nextTimeout(), 0xffffffff / 2);
  long.tick(0xffffffff / 2);
  assertEquals(long.rest().map(({ kind }) => kind), ["empty"]);
});

test("CON-6: a tick that comes early, late or twice does no harm", () => {
  const script = Script.opened({ role: "server", idleTimeOut: 1_000 }, { idleTimeOut: 1_000 });
  script.tick(0);
  script.tick(499);
  script.quiet();
  script.tick(900);
  script.tick(900);
  assertEquals(script.rest().length, 1);
  // After a machine's sleep, frames sent in time are still to be read.
  script.tick(1e9);
  assertEquals(script.rest().map(({ kind }) => kind), ["empty"]);
  script.now = 1e9 + 1;
  script.send(undefined);
  script.tick(1e9 + 1_000);
  assertEquals([script.endpoint.state, script.rest().length], ["opened", 1]);
  // There were none, this time.
  script.tick(2e9);
  script.tick(2e9 + 1_000);
  script.expect("empty");
  assertEquals(script.expect("close").error?.condition, condition.resourceLimitExceeded);
});
