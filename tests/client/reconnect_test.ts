import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { oauthbearerServer } from "../../src/sasl/bearer.ts";
import { plain } from "../../src/sasl/client.ts";
import { bearer } from "../../src/sasl/credentials.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";
import { end, world } from "./reconnect_world.ts";

test("a consumer survives the restart of its broker, and says what happened", async () => {
  const { time, network, start, connection, kinds } = await world();
  const receiver = connection.receiver("orders", { credit: 4 });
  const bodies: unknown[] = [];
  const loop = (async () => {
    for await (const delivery of receiver) {
      bodies.push(delivery.message.body);
      if (bodies.length === 6) break;
    }
  })();
  const sender = connection.sender("orders");
  for (let i = 0; i < 3; i++) await time.wait(sender.send({ body: i }));
  network.down("a");
  await time.pass(1);
  assertEquals([connection.state, connection.open, receiver.open], ["interrupted", true, true]);
  // Sent while no host is reachable.
  const sending = [3, 4, 5].map((body) => sender.send({ body }));
  await time.pass(5_000);
  start("a");
  await time.wait(Promise.all(sending));
  assertEquals(connection.state, "open");
  await time.wait(loop);
  assertEquals(bodies, [0, 1, 2, 3, 4, 5]);
  const told = kinds();
  assertEquals([told[0], told.at(-1)], ["interrupted", "resumed"]);
  assert(told.slice(1, -1).length > 2 && told.slice(1, -1).every((kind) => kind === "reconnecting"));
  await end(connection, time);
  assertEquals(connection.state, "closed");
});

test("a list of servers is tried in turn, from the one after that which was lost", async () => {
  const { time, network, connection, events } = await world({}, ["a", "b", "c"]);
  assertEquals(network.dialled, ["a"]);
  network.down("a");
  network.down("b");
  await time.wait(connection.sender("orders").send({ body: 1 }));
  assertEquals(network.dialled, ["a", "b", "c"]);
  const tried = events.flatMap((event) => event.kind === "reconnecting" ? [`${event.attempt} ${event.url}`] : []);
  assertEquals(tried, ["1 ws://b/", "2 ws://c/"]);
  await end(connection, time);
});

test("connecting tries each server once, and fails with the last error; `initial` goes on", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const options = { environment: time, dial: network.dial };
  const error = await assertRejects(() => time.wait(connect(["ws://a/", "ws://b/"], options)), TransportError);
  assertEquals(error.message, 'Cannot connect to "b": refused (before that: Cannot connect to "a": refused)');
  assertEquals([error.code, error.retryable], ["connect-failed", true]);
  assertEquals(network.dialled, ["a", "b"]);
  const connecting = connect(["ws://a/", "ws://b/"], { ...options, reconnect: { initial: true } });
  await time.pass(60_000);
  const broker = new Broker();
  network.up("b", (channel) => broker.accept(channel));
  const connection = await time.wait(connecting);
  assertEquals(connection.state, "open");
  // There is a pause between attempts.
  assert(network.dialled.length > 6 && network.dialled.length < 30, `${network.dialled.length}`);
  await end(connection, time);
  await assertRejects(
    () => time.wait(connect(["ws://c/", "ws://d/"], { ...options, reconnect: { initial: true, maxAttempts: 3 } })),
    TransportError,
    'Cannot connect to "c": refused (before that: Cannot connect to "d": refused)',
  );
  // What a callback throws is passed on as it is, whatever it is.
  for (const thrown of [null, "none", new Error("no token")]) {
    let asked = 0;
    const auth = () => {
      if (++asked === 1) throw thrown;
      throw new TypeError("no token");
    };
    const failed = connect(["ws://c/", "ws://d/"], { ...options, auth, reconnect: { initial: true, maxAttempts: 2 } });
    await assertRejects(() => time.wait(failed), TypeError, "no token");
  }
  await assertRejects(
    () => time.wait(connect("ws://c/", { ...options, reconnect: { initial: true, timeoutMs: 5_000 } })),
    TransportError,
  );
  assertEquals(time.pending, 0);
});

test("a server that takes everybody and drops them at once is called with growing pauses", async () => {
  const { time, network, connection } = await world();
  network.up("a", (channel) => {
    const server = acceptor({
      onConnection: (connection) => void Promise.resolve().then(() => connection.destroy(new Error())),
    });
    server.accept(channel);
  });
  network.cut("a");
  const before = network.dialled.length;
  await time.pass(300_000);
  const calls = network.dialled.length - before;
  assert(calls > 5 && calls < 60, `${calls} calls in five minutes`);
  await end(connection, time);
});

test("credentials that expire are asked for again, and are final only when the fresh ones are refused", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  let valid = "one";
  const server = acceptor({
    environment: time,
    sasl: { users: (_, password) => password === valid },
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  network.up("a", (channel) => server.accept(channel));
  const given: string[] = [];
  let next = ["one"];
  const connection = await time.wait(connect("ws://localhost/", {
    environment: time,
    dial: () => network.dial(new URL("ws://a/")),
    auth: () => {
      given.push(next[0]!);
      return plain("user", next.length > 1 ? next.shift()! : next[0]!);
    },
  }));
  valid = "two";
  next = ["one", "two"];
  network.cut("a");
  await time.wait(connection.sender("q").send({ body: 1 }));
  assertEquals([given, connection.state], [["one", "one", "two"], "open"]);
  valid = "three";
  network.cut("a");
  await time.wait(connection.closed);
  assertEquals(given, ["one", "one", "two", "two", "two"]);
  assert(connection.error instanceof AmqpError);
  assertEquals([connection.error.condition, connection.state], [condition.unauthorizedAccess, "closed"]);
  assertEquals(time.pending, 0);
});

test("a token that a mechanism asks for is asked for again when one is refused, as one that auth returns", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  let valid = "one";
  const server = acceptor({
    environment: time,
    sasl: { mechanisms: [oauthbearerServer((token) => token === valid ? "ada" : undefined)] },
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  network.up("a", (channel) => server.accept(channel));
  const next = ["one", "one", "two", "two"];
  const options = { environment: time, dial: () => network.dial(new URL("ws://a/")), log: null };
  const auth = bearer(() => Promise.resolve(next.shift() ?? "old"));
  const connection = await time.wait(connect("ws://localhost/", { ...options, auth }));
  valid = "two";
  network.cut("a");
  await time.wait(connection.send("q", { body: 1 }));
  assertEquals([next, connection.state], [["two"], "open"]);
  // A fresh one that is refused too is final; one that never changes is final at once.
  valid = "three";
  network.cut("a");
  await time.wait(connection.closed);
  assertEquals([(connection.error as AmqpError).condition, next.length], [condition.unauthorizedAccess, 0]);
  const dialled = network.dialled.length;
  const fixed = connect("ws://localhost/", { ...options, auth: bearer("one") });
  await time.wait(assertRejects(() => fixed, AmqpError, "refuses"));
  assertEquals(network.dialled.length, dialled + 1);
});

test("a failing callback of a mechanism is named, and passes unless it says otherwise", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, sasl: { mechanisms: [oauthbearerServer(() => "ada")] } });
  network.up("a", (channel) => server.accept(channel));
  const options = { environment: time, dial: () => network.dial(new URL("ws://a/")), log: null };
  for (const retryable of [undefined, true, false]) {
    const auth = bearer(() => Promise.reject(Object.assign(new Error("no answer from the issuer"), { retryable })));
    const failing = connect("ws://localhost/", { ...options, auth });
    const error = await time.wait(assertRejects(() => failing, AmqpError, "no answer from the issuer"));
    assertEquals(error.retryable, retryable !== false);
  }
});

test("closing, or giving up, ends the back-off and everything that waits", async () => {
  for (const how of ["close", "destroy"] as const) {
    const { time, network, connection, kinds } = await world();
    network.down("a");
    await time.pass(100_000);
    const sending = connection.sender("orders").send({ body: 1 });
    sending.catch(() => {});
    const receiving = connection.receiver("orders").receive();
    receiving.catch(() => {});
    if (how === "destroy") connection.destroy(new Error("enough"));
    else await time.wait(connection.close({ timeoutMs: 100 }));
    await assertRejects(() => time.wait(sending));
    await assertRejects(() => time.wait(receiving));
    await time.pass(0);
    assertEquals([connection.state, kinds().at(-1), time.pending], ["closed", "closed", 0]);
    const { length } = network.dialled;
    await time.pass(100_000);
    assertEquals(network.dialled.length, length);
  }
});

test("without reconnecting, and after a goodbye of its own, what is lost stays lost", async () => {
  const { time, network, connection, kinds } = await world({ reconnect: false });
  network.cut("a");
  await time.wait(connection.closed);
  assertEquals([connection.state, kinds()], ["closed", ["closed"]]);
  assert(connection.error instanceof TransportError);
  await time.pass(10_000);
  assertEquals(network.dialled.length, 1);
});

test("a channel that is open already carries a connection once", async () => {
  const time = new VirtualTime();
  const broker = new Broker();
  const [near, far] = channelPair();
  broker.accept(far);
  const connection = await time.wait(connect(near, { environment: time }));
  await time.wait(connection.sender("q").send({ body: 1 }));
  near.close(1006);
  await time.wait(connection.closed);
  assertEquals(connection.state, "closed");
  const [other] = channelPair();
  await assertRejects(() => connect(other, { reconnect: {} }), TypeError, "cannot be dialled again");
});

test("a peer that never opens is given up for its time, and says so", async () => {
  const time = new VirtualTime();
  const silent = { environment: time, dial: () => channelPair()[0], limits: { openTimeoutMs: 2_000 } };
  const error = await assertRejects(() => time.wait(connect("ws://a/", silent)), TransportError, "time-out");
  assertEquals([error.code, time.now() >= 3_000, time.pending], ["timeout", true, 0]);
});

test("connect that fails after our open says goodbye", async () => {
  const time = new VirtualTime();
  const frames: string[] = [];
  const ending = new AbortController();
  const dial = () => channelPair()[0];
  const trace = ({ direction, body }: FrameTrace): void => void frames.push(`${direction} ${body?.kind}`);
  const connecting = connect("ws://a/", { environment: time, dial, auth: null, trace, signal: ending.signal });
  await time.pass(1);
  ending.abort(new Error("enough"));
  await assertRejects(() => time.wait(connecting), Error, "enough");
  await time.pass(10_000);
  assertEquals([frames, time.pending], [["out open", "out close"], 0]);
});

test("CON-7: where timers are held back, as in a page in the background, the peer's heartbeats have ours go out", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, idleTimeOut: 60_000 });
  network.up("a", (channel) => server.accept(channel));
  const held = { ...time, now: time.now, setTimer: () => ({}), clearTimer() {}, endOfTurn: () => false };
  const environment = { ...held, random: (bytes: Uint8Array<ArrayBuffer>) => time.random(bytes) };
  const connection = await time.wait(connect("ws://a/", { environment, dial: network.dial, idleTimeOut: 60_000 }));
  await time.pass(1_200_000);
  assertEquals([connection.state, network.dialled.length, server.connections.size], ["open", 1, 1]);
  connection.destroy(new Error("done"));
  await server.close();
});

test("options of reconnecting that do not exist, or are out of range, are refused by name", async () => {
  const connecting = (reconnect: unknown) => () => connect("ws://a/", { reconnect } as ConnectOptions);
  await assertRejects(connecting({ maxAttempt: 3 }), TypeError, '"maxAttempts" is meant');
  await assertRejects(connecting({ initial: 1 }), TypeError, '"reconnect.initial"');
  await assertRejects(connecting({ maxDelayMs: -1 }), RangeError, '"reconnect.maxDelayMs" is -1, not number from 0');
  await assertRejects(connecting("always"), TypeError, '"reconnect"');
  await assertRejects(() => connect([]), TypeError, "list");
});

test("EXT-9: servers that a peer's open names are dialled only if the program gives them", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const named = { "failover-server-list": [{ "network-host": "b", port: 80 }] };
  for (const host of ["a", "b"]) {
    const server = acceptor({ environment: time, properties: named });
    network.up(host, (channel) => server.accept(channel));
  }
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, log: null }));
  assert(connection.remote?.properties?.["failover-server-list"] !== undefined);
  network.down("a");
  await time.pass(20_000);
  assert(network.dialled.length > 2);
  assertEquals(new Set(network.dialled), new Set(["a"]));
  await time.wait(connection.close());
});

test("WS-10: a connection has one handshake under way at a time, with one server and with several", async () => {
  for (const hosts of [["a"], ["a", "b", "c"]]) {
    const time = new VirtualTime();
    const network = new VirtualNetwork();
    const server = acceptor({ environment: time });
    let under = 0, most = 0;
    const dial = async (url: URL): Promise<Channel> => {
      most = Math.max(most, ++under);
      await new Promise<void>((resolve) => time.setTimer(resolve, 400));
      under--;
      return network.dial(url);
    };
    network.up(hosts.at(-1)!, (channel) => server.accept(channel));
    const urls = hosts.map((host) => `ws://${host}/`);
    const connection = await time.wait(connect(urls, { environment: time, dial, log: null }));
    network.down(hosts.at(-1)!);
    await time.pass(20_000);
    assert(network.dialled.length > hosts.length + 1);
    assertEquals(most, 1);
    await time.wait(connection.close());
  }
});
