import { assert, assertEquals, assertRejects } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect, publish } from "../../src/client/connect.ts";
import { resume } from "../../src/client/resume.ts";
import { batch } from "../../src/codec/batch.ts";
import { decodeMessage, encodeMessage } from "../../src/codec/message.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { management } from "../../src/management/management.ts";
import { oauthbearer, xoauth2 } from "../../src/sasl/bearer.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { jsonLines } from "../../src/trace/writer.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { handler } from "../../src/transport/runtime/deno.ts";
import { dialSocket } from "../../src/transport/socket/dial.ts";
import { upgradeListener } from "../../src/transport/socket/http_server.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

// As programs in JavaScript call it, whom no type holds back.
// deno-lint-ignore no-explicit-any
type Loose = (...parameters: any[]) => any;
type Bag = Record<string, unknown>;

const URL = "ws://127.0.0.1:9";
const CODEC = "maxDepth maxElements maxValues maxFrameValues";
const COSTS = "maxKeptBytes maxIdleWork maxUnfinishedBytes maxBufferedBytes openTimeoutMs closeTimeoutMs";
const OPEN = "maxFrameSize channelMax idleTimeOut";
const SESSION = "incomingWindow handleMax initialOutgoingId";
const QUEUE = "maxDeliveries maxMessages maxBytes";
const WEB_SOCKET = "maxMessageBytes closeTimeoutMs";
const WEB_SOCKET_LIMITS =
  "handshakeTimeoutMs maxSentMessageBytes maxControlRate maxFragments maxHeadBytes maxLineBytes " +
  `maxHeaderFields ${WEB_SOCKET}`;
const LISTEN_LIMITS =
  `maxConnections maxConnectionsPerAddress maxHandshakes maxWaiting waitTimeoutMs ${WEB_SOCKET_LIMITS}`;
const ACCEPTOR = `${OPEN} ${COSTS} maxConnections maxLinks maxSuspendedLinks saslFrameSize maxPipelinedBytes`;
const BROKER =
  "maxMessageSize maxQueues idleQueueMs maxSuspendMs maxTransactions transactionTimeoutMs maxMessages maxBytes";

// What a call throws, and what its promise is rejected with, alike.
// deno-lint-ignore require-await
async function called(call: () => unknown): Promise<unknown> {
  return call();
}

/** Every call that takes options with numbers in them, and the names of these. */
function bags(): { calls: [string, string, (options: Bag) => unknown][]; close: () => Promise<void> } {
  const broker = new Broker();
  const open = linkUp(broker);
  const connection = open as unknown as Record<string, Loose>;
  const [sender, receiver] = [open.sender("a"), open.receiver("b")] as unknown as Record<string, Loose>[];
  const dial = (options: Bag) => (dialSocket as Loose)("amqp://127.0.0.1:9", options);
  const calls: [string, string, (options: Bag) => unknown][] = [
    ["connect", OPEN, (options) => (connect as Loose)(URL, options)],
    [
      "connect, limits",
      `${CODEC} ${COSTS} handshakeTimeoutMs saslFrameSize openFrameSize`,
      (limits) => (connect as Loose)(URL, { limits }),
    ],
    ["connect, session", SESSION, (session) => (connect as Loose)(URL, { session })],
    [
      "connect, reconnect",
      "initialDelayMs maxDelayMs maxAttempts timeoutMs maxPending maxPendingBytes",
      (reconnect) => (connect as Loose)(URL, { reconnect }),
    ],
    ["publish", `timeoutMs ${OPEN}`, (options) => (publish as Loose)(URL, "a", {}, options)],
    [
      "publish, reconnect",
      "initialDelayMs maxDelayMs maxAttempts timeoutMs",
      (reconnect) => (publish as Loose)(URL, "a", {}, { reconnect }),
    ],
    ["sender", "maxInFlight", (options) => connection.sender("c", options)],
    ["receiver", "maxMessageSize", (options) => connection.receiver("c", options)],
    ["session", SESSION, (options) => connection.session(options)],
    ["send", "messageFormat", (options) => sender.send({}, options)],
    ["receive batch", "waitMs", (options) => receiver.receiveBatch(1, options)],
    ["serve", "concurrency retryDelay", (options) => receiver.serve(() => {}, options)],
    ["close", "timeoutMs", (options) => receiver.close(options)],
    ["drain", "timeoutMs", (options) => connection.drain(options)],
    ["resume", "timeout", (options) => (resume as Loose)(options)],
    ["decode message", CODEC, (limits) => (decodeMessage as Loose)(encodeMessage({}), limits)],
    ["make batch", "maxMessageSize", (options) => (batch as Loose)([{}], options)],
    ["acceptor", ACCEPTOR, (options) => (acceptor as Loose)(options)],
    ["acceptor, limits", CODEC, (limits) => (acceptor as Loose)({ limits })],
    ["acceptor, session", SESSION, (session) => (acceptor as Loose)({ session })],
    ["broker", `${ACCEPTOR} ${BROKER}`, (options) => new Broker(options)],
    ["broker, queue", QUEUE, (queue) => new Broker({ queue })],
    ["broker, queues", QUEUE, (orders) => new Broker({ queues: { orders } })],
    ["broker again", "downMs", (options) => broker.faults.restart(options)],
    ["handler", WEB_SOCKET, (options) => (handler as Loose)(() => {}, options)],
    ["listen", `port ${WEB_SOCKET}`, (options) => (listen as Loose)({ port: 0, acceptor: broker, ...options })],
    ["listen, limits", LISTEN_LIMITS, (limits) => (listen as Loose)({ port: 0, acceptor: broker, limits })],
    ["upgrades", WEB_SOCKET, (options) => (upgradeListener as Loose)({ acceptor: broker, ...options })],
    ["upgrades, limits", WEB_SOCKET_LIMITS, (limits) => (upgradeListener as Loose)({ acceptor: broker, limits })],
    [
      "gateway",
      "lingerMs maxBufferedBytes",
      (options) => (gateway as Loose)({ listen: { port: 0 }, target: URL, ...options }),
    ],
    [
      "gateway, dial",
      `handshakeTimeoutMs ${WEB_SOCKET}`,
      (dial) => (gateway as Loose)({ listen: { port: 0 }, target: URL, dial }),
    ],
    ["dial", `handshakeTimeoutMs ${WEB_SOCKET}`, dial],
    ["management", "timeoutMs", (options) => management(open, "a").request({ operation: "READ" }, options)],
    ["query", "offset count", (options) => management(open, "a").query(options)],
    ["script", "timeoutMs", (options) => new ScriptedPeer().done(options)],
    [
      "script, frame",
      "channel",
      (options) => (new ScriptedPeer() as unknown as Bag as { send: Loose }).send("empty", {}, options),
    ],
  ];
  return { calls, close: () => open.close() };
}

test("options: a number that is negative or none is refused by name, where it is given, by every call", async () => {
  const { calls, close } = bags();
  for (const [call, names, run] of calls) {
    for (const name of names.split(" ")) {
      for (const value of [-1, NaN]) {
        const { message } = await assertRejects(
          () => called(() => run({ [name]: value })),
          RangeError,
          name,
          `${call} ${name}`,
        );
        assert(message.startsWith("Cannot ") && message.includes(`${value}`), message);
      }
      await assertRejects(() => called(() => run({ [name]: "5" })), TypeError, `${name}" is a string, not `);
    }
    await assertRejects(() => called(() => run({ nonsense: 1 })), TypeError, 'nonsense"', call).catch((error) => {
      // It passes what it is given by `connect`, which is more.
      if (call !== "dial") throw error;
    });
  }
  await close();
});

test("options: what an array or an object holds is checked where it is given", async () => {
  const broker = new Broker();
  const open = linkUp(broker);
  const connection = open as unknown as Record<string, Loose>;
  const [mine] = channelPair();
  const strings = "not string";
  const rows: [string, () => unknown][] = [
    ['"subprotocols[1]" is a number, not string', () => (connect as Loose)(URL, { subprotocols: ["amqp", 5] })],
    ['"desiredCapabilities[0]" is null, not string', () => connection.sender("a", { desiredCapabilities: [null] })],
    [
      `"session.offeredCapabilities[0]" is a number, ${strings}`,
      () => (acceptor as Loose)({ session: { offeredCapabilities: [5] } }),
    ],
    [`"topics[0]" is a number, ${strings}`, () => new Broker({ topics: [5] } as Bag)],
    ['"settleModes[0]" is "third", not "first" or "second"', () => new Broker({ settleModes: ["third"] } as Bag)],
    [
      '"schemes[0]" is "http", not "ws", "wss", "amqp" or "amqps"',
      () => (listen as Loose)({ port: 0, acceptor: broker, schemes: ["http"] }),
    ],
    [`"paths[0]" is a number, ${strings}`, () => (listen as Loose)({ port: 0, acceptor: broker, paths: [5] })],
    [`"origins[0]" is null, ${strings}`, () => (handler as Loose)(() => {}, { origins: [null] })],
    [`"tls.ca[0]" is null, ${strings}`, () => (listen as Loose)({ port: 0, acceptor: broker, tls: { ca: [null] } })],
    ['"sasl.mechanisms[0]" is null, not object', () => (acceptor as Loose)({ sasl: { mechanisms: [null] } })],
    ['"acceptor" is an empty object, not object with accept', () => (listen as Loose)({ port: 0, acceptor: {} })],
    ['"environment" is an empty object, not object with setTimer', () => (connect as Loose)(URL, { environment: {} })],
    [
      '"recovery" is an empty object, not "resend", "resume", "fail" or object with forSender',
      () => connection.sender("a", { recovery: {} }),
    ],
    [
      '"error" is an object of class Error, not object with condition',
      () => connection.close({ error: new Error("x") }),
    ],
    ['"tag" is an empty object, not Uint8Array', () => connection.send("a", {}, { tag: {} })],
    ['"start" is an empty object, not object with toISOString', () => (jsonLines as Loose)(() => {}, { start: {} })],
    ['"username" is a number, not string', () => (oauthbearer as Loose)("token", { username: 5 })],
    ["options are null, not an object", () => (xoauth2 as Loose)("token", null)],
    ['"port" is missing', () => (listen as Loose)({ acceptor: broker })],
    ['"host" is empty', () => (listen as Loose)({ port: 0, host: "", acceptor: broker })],
    ['"operation" is missing', () => (management as Loose)(open, "a").request({})],
    ['a channel is not dialled, leave out "headers"', () => connect(mine, { headers: {} })],
    ['a channel is not dialled, leave out "proxy"', () => connect(mine, { proxy: "http://a:1" })],
    [
      'Cannot connect: "dial" gave undefined, not a Channel',
      () => (connect as Loose)(URL, { dial: () => undefined, reconnect: false }),
    ],
    ['there is no option "nonsense", ', () => connection.sender("a", { desiredCapabilities: 5, nonsense: 1 })],
  ];
  for (const [told, call] of rows) {
    await assertRejects(() => called(call), TypeError, told);
  }
  const bounds: [string, () => unknown][] = [
    ['"port" is 65536, not whole number from 0 to 65535', () => (listen as Loose)({ port: 65_536, acceptor: broker })],
    ['"maxFrameSize" is 511, not whole number from 512 to 4294967295', () => new Broker({ maxFrameSize: 511 })],
    ['"maxFrameSize" is 600.5, not whole number from', () => (acceptor as Loose)({ maxFrameSize: 600.5 })],
    ['"maxInFlight" is 0, not number from 1', () => connection.sender("a", { maxInFlight: 0 })],
  ];
  for (const [told, call] of bounds) {
    await assertRejects(() => called(call), RangeError, told);
  }
  await open.close();
  assertEquals(open.state, "closed");
});

test("limits: 0 is refused where nothing would work under it, and Infinity is no limit", async () => {
  const names = "handshakeTimeoutMs openTimeoutMs closeTimeoutMs saslFrameSize maxKeptBytes maxIdleWork " +
    "maxDepth maxValues maxFrameValues";
  const broker = new Broker({ log: null });
  const dial = () => {
    const [near, far] = channelPair();
    broker.accept(far);
    return near;
  };
  for (const name of names.split(" ")) {
    await assertRejects(
      () => connect("ws://a", { dial, limits: { [name]: 0 } }),
      RangeError,
      `option "limits.${name}" is 0, not number from `,
    );
    await using connection = await connect("ws://a", { dial, limits: { [name]: Infinity } });
    await connection.send("queue", { body: [name] });
    const delivery = await connection.receiver("queue").receive();
    assertEquals(delivery?.message.body, [name]);
    await delivery?.accept();
  }
  await broker.close();
});
