import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect, publish } from "../../src/client/connect.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

// As programs in JavaScript call it, whom no type holds back.
// deno-lint-ignore no-explicit-any
type Loose = (...parameters: any[]) => any;

const URL = "ws://127.0.0.1:9";

async function refused(call: () => unknown): Promise<string> {
  // deno-lint-ignore require-await
  return (await assertRejects(async () => call(), TypeError)).message;
}

test("options: every call that takes some refuses a name that it does not have", async () => {
  const broker = new Broker();
  const connection = linkUp(broker);
  const name = { nonsense: 1 };
  const calls: [string, () => unknown][] = [
    ["connect", () => (connect as Loose)(URL, name)],
    ["publish", () => (publish as Loose)(URL, "orders", {}, name)],
    ["attach sender", () => (connection.sender as Loose).call(connection, "orders", name)],
    ["attach receiver", () => (connection.receiver as Loose).call(connection, { address: "orders", ...name })],
    ["begin session", () => (connection.session as Loose).call(connection, name)],
    ["make acceptor", () => (acceptor as Loose)(name)],
    ["make broker", () => new (Broker as unknown as new (options: unknown) => unknown)(name)],
    ["make gateway", () => (gateway as Loose)({ listen: { port: 0 }, target: URL, ...name })],
    ["listen", () => (listen as Loose)({ port: 0, acceptor: broker, ...name })],
  ];
  for (const [doing, call] of calls) {
    assertEquals((await refused(call)).split(", ")[0], `Cannot ${doing}: there is no option "nonsense"`);
  }
  await connection.close();
});

test("options: a time-out is a signal, the name of a node an address, whatever else they are called elsewhere", async () => {
  const broker = new Broker();
  const connection = linkUp(broker);
  const open = connection as unknown as Record<string, Loose>;
  const message = { body: "a" };
  const signal = '"signal: AbortSignal.timeout(ms)" is meant';
  const timeout = `there is no option "timeout", ${signal}`;
  assertEquals(await refused(() => open.request("a", message, { timeout: 5 })), `Cannot send request: ${timeout}`);
  assertEquals(await refused(() => open.transaction({ timeout: 5 })), `Cannot begin transaction: ${timeout}`);
  const receive = connection.receiver("a").receive as Loose;
  const receiver = connection.receiver("b");
  assertEquals(await refused(() => receive.call(receiver, { timeout: 5 })), `Cannot receive: ${timeout}`);
  assertEquals(
    await refused(() => receive.call(receiver, { signal: 5 })),
    'Cannot receive: option "signal" is a number, not an AbortSignal',
  );
  assertEquals(await refused(() => receive.call(receiver, 5)), "Cannot receive: options are a number, not an object");

  const meant = "is a string, not object (address is meant)";
  assertEquals(
    await refused(() => open.receiver({ source: "orders" })),
    `Cannot attach receiver: option "source" ${meant}`,
  );
  assertEquals(
    await refused(() => open.sender({ target: "orders" })),
    `Cannot attach sender: option "target" ${meant}`,
  );
  assertEquals(
    await refused(() => open.receiver({ queue: "orders" })),
    'Cannot attach receiver: there is no option "queue", "address" is meant',
  );
  assertEquals(
    await refused(() => (broker.connect.bind(broker) as Loose)({ container: "a" })),
    'Cannot connect to broker: there is no option "container", "containerId" is meant',
  );
  const transaction = await connection.transaction();
  assertEquals(
    await refused(() => (transaction.send.bind(transaction) as Loose)("orders", message)),
    'Cannot send in transaction: sender is a string, give what "sender" of the connection returns',
  );
  await transaction.rollback();
  await connection.close();
});

test("options: a call that runs for each message, or ends something, refuses a name that it does not have", async () => {
  const broker = new Broker();
  const connection = linkUp(broker);
  const [sender, receiver] = [connection.sender("a"), connection.receiver("b")] as unknown as Record<string, Loose>[];
  const session = connection.session() as unknown as Record<string, Loose>;
  const open = connection as unknown as Record<string, Loose>;
  const transaction = await connection.transaction() as unknown as Record<string, Loose>;
  const message = { body: "a" };
  const signal = '"signal: AbortSignal.timeout(ms)" is meant';
  const calls: [string, string, (options: unknown) => unknown][] = [
    ["send", signal, (options) => sender.send(message, options)],
    ["send", signal, (options) => open.send("a", message, options)],
    ["send in transaction", signal, (options) => transaction.send(sender, message, options)],
    ["send all", signal, (options) => sender.sendAll([message], options)],
    ["stream", signal, (options) => sender.stream(message, options)],
    ["receive", signal, (options) => receiver.receive(options)],
    ["drain", signal, (options) => receiver.drain(options)],
    ["iterate events", signal, (options) => open.events(options)],
    ["acquire in transaction", signal, (options) => transaction.acquire(receiver, 1, options)],
    ["commit transaction", signal, (options) => transaction.commit(options)],
    ["roll back transaction", signal, (options) => transaction.rollback(options)],
    ['wait for sender of "a"', signal, (options) => sender.ready(options)],
    ["wait for session", signal, (options) => session.ready(options)],
    ['close receiver of "b"', '"timeoutMs" is meant', (options) => receiver.close(options)],
    ['close receiver of "b"', '"timeoutMs" is meant', (options) => receiver.detach(options)],
    ["close session", '"timeoutMs" is meant', (options) => session.close(options)],
    ["drain connection", '"timeoutMs" is meant', (options) => open.drain(options)],
    ["close connection", '"timeoutMs" is meant', (options) => open.close(options)],
    ["close acceptor", '"timeoutMs" is meant', (options) => acceptor({}).close(options as never)],
    ["close broker", '"timeoutMs" is meant', (options) => broker.close(options as never)],
  ];
  for (const [doing, meant, call] of calls) {
    const named = async (options: unknown) =>
      (await refused(() => call(options))).replace(/^Cannot /, "").replace(/ (at|to) "\w{32}":/, ":");
    assertEquals(await named({ timeout: 5 }), `${doing}: there is no option "timeout", ${meant}`);
    assertEquals(await named(5), `${doing}: options are a number, not an object`);
    const given = AbortSignal.timeout(60_000);
    assertEquals(await named(given), `${doing}: options are an AbortSignal, give it as { signal }`);
    assertEquals(
      await named({ signal: new AbortController() }),
      `${doing}: option "signal" is an object of class AbortController, not an AbortSignal, give its "signal"`,
    );
  }
  assertEquals(
    await refused(() => transaction.modify({}, { deliveryfailed: true })),
    'Cannot modify delivery: there is no option "deliveryfailed", "deliveryFailed" is meant',
  );
  assertEquals(
    await refused(() => receiver.receive({ signal: AbortSignal.timeout(60_000), timeoutMs: 5 })),
    `Cannot receive: there is no option "timeoutMs", ${signal}`,
  );
  await connection.close();
});

test("options: what is within an option is checked as well", async () => {
  assertEquals(
    await refused(() => (connect as Loose)(URL, { limits: { maxDepht: 1 } })),
    'Cannot connect: there is no option "limits.maxDepht", "maxDepth" is meant',
  );
  assertEquals(
    await refused(() => acceptor({ sasl: { user: { a: "b" } } as unknown as Record<string, never> })),
    'Cannot make acceptor: there is no option "sasl.user", "users" is meant',
  );
  assertEquals(
    await refused(() => new Broker({ queues: { orders: { deadletter: "x" } as Record<string, unknown> } })),
    'Cannot make queue "orders": there is no option "deadletter", "deadLetter" is meant',
  );
  assertEquals(
    await refused(() => new Broker({ users: {} } as unknown as Record<string, never>)),
    'Cannot make broker: there is no option "users", "sasl" is meant',
  );
  assertEquals(
    await refused(() => (listen as Loose)({ port: 0, hostname: "localhost" })),
    'Cannot listen: there is no option "hostname", "host" is meant',
  );
});

test("addresses: what is no address, or none at all, is refused where it is given", async () => {
  const connection = linkUp(new Broker());
  const [sender, receiver] = [connection.sender.bind(connection), connection.receiver.bind(connection)] as Loose[];
  const why = ", give the name of a queue or another node as a string";
  const attach = async (link: Loose, ...given: unknown[]) => await refused(() => link(...given));
  assertEquals(await attach(sender, undefined), `Cannot attach sender: address is undefined${why}`);
  assertEquals(await attach(receiver, undefined), `Cannot attach receiver: address is undefined${why}`);
  assertEquals(await attach(sender, ""), `Cannot attach sender: address is empty${why}`);
  assertEquals(await attach(sender, 5), `Cannot attach sender: address is a number${why}`);
  assertEquals(await attach(sender, { address: undefined }), `Cannot attach sender: address is undefined${why}`);
  assertEquals(await attach(receiver, { credit: 5 }), `Cannot attach receiver: address is undefined${why}`);
  assertEquals(
    await attach(sender, { address: "orders" }, {}),
    "Cannot attach sender: both arguments are options, give one of them",
  );
  assertEquals(
    await refused(() => (publish as Loose)(URL, undefined, {})),
    `Cannot publish: address is undefined${why}`,
  );
  assertEquals(
    await refused(() => (publish as Loose)(URL, { body: 1 }, "orders")),
    `Cannot publish: address is an object with "body"${why}`,
  );
  const twice = 'addresses "orders" and "jobs" are given, leave out one of them';
  assertEquals(await attach(receiver, "orders", { source: { address: "jobs" } }), `Cannot attach receiver: ${twice}`);
  assertEquals(
    await attach(sender, { address: "orders", target: { address: "jobs" } }),
    `Cannot attach sender: ${twice}`,
  );
  // [messaging 3.5.3]
  const named = 'a dynamic node gets its address from the peer, leave out "orders"';
  assertEquals(await attach(receiver, "orders", { dynamic: true }), `Cannot attach receiver: ${named}`);
  assertEquals(await attach(sender, "orders", { target: { dynamic: true } }), `Cannot attach sender: ${named}`);
  receiver("orders", { source: { address: "orders" } });
  assertEquals(
    await attach(receiver, "orders", { source: { filters: {} } }),
    'Cannot attach receiver: there is no option "source.filters", "filter" is meant',
  );
  assertEquals(
    await attach(sender, "orders", { target: { ttl: 5 } }),
    'Cannot attach sender: there is no option "target.ttl", but kind, address, durable, expiryPolicy, timeout, dynamic, ' +
      "dynamicNodeProperties, capabilities",
  );
  // Without a fixed target, or for a dynamic node, there is no address.
  assertThrows(() => receiver({}), TypeError);
  for (const options of [{}, { address: null }, { dynamic: true }]) sender(options);
  receiver({ dynamic: true });
  await connection.close();
});

test("options: an auth that is no mechanism is named by what it is, without its content", async () => {
  const because = ", not a mechanism such as plain(user, password)";
  assertEquals(
    await refused(() => (connect as Loose)(URL, { auth: { username: "user", password: "secret" } })),
    `Cannot connect: option "auth" is an object with "username", "password"${because}`,
  );
  assertEquals(
    await refused(() => (connect as Loose)(URL, { auth: () => undefined })),
    `Cannot connect: option "auth" is undefined${because}`,
  );
  assertEquals(
    await refused(() => (connect as Loose)(URL, { auth: "PLAIN" })),
    'Cannot connect: option "auth" is a string, not object, array, function or null',
  );
});
