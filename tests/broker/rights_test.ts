import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { symbol, uint } from "../../src/codec/types.ts";
import { external, plain } from "../../src/sasl/client.ts";
import { Broker, type BrokerAction, type BrokerOptions } from "../../src/broker/broker.ts";
import { openOver } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Link } from "../../src/client/link.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { linkUp } from "../client/link_up.ts";
import { recall, until } from "./set_up.ts";

const users = { shop: "secret", kitchen: "hot" };

async function refusal(link: Link): Promise<string> {
  return (await assertRejects(() => link.ready(), AmqpError)).condition;
}

test("ATK-24: only who is known gets in, and every link is asked for", async () => {
  const asked: [string | undefined, BrokerAction, string][] = [];
  await using broker = new Broker({
    sasl: { users },
    authorize: (identity, action, address) => {
      asked.push([identity, action, address]);
      return identity === "shop" ? action !== "receive" : address === "orders" && action === "receive";
    },
  });
  const nobody = linkUp(broker);
  await assertRejects(() => nobody.ready(), AmqpError);
  const wrong = linkUp(broker, { auth: plain("shop", "hot") });
  assertEquals((await assertRejects(() => wrong.ready(), AmqpError)).condition, condition.unauthorizedAccess);
  const shop = linkUp(broker, { auth: plain("shop", "secret") });
  const kitchen = linkUp(broker, { auth: plain("kitchen", "hot") });
  await shop.sender("orders").send({ body: "one coffee" });
  assertEquals((await kitchen.receiver("orders").receive()).message.body, "one coffee");
  assertEquals(await refusal(shop.receiver("orders")), condition.unauthorizedAccess);
  assertEquals(await refusal(kitchen.sender("orders")), condition.unauthorizedAccess);
  assertEquals(await refusal(kitchen.receiver({ dynamic: true })), condition.unauthorizedAccess);
  assertEquals([shop.open, kitchen.open], [true, true]);
  const dynamic = shop.receiver({ dynamic: true });
  await dynamic.ready();
  assertEquals(asked.map(([identity, action]) => `${identity} ${action}`), [
    "shop send",
    "kitchen receive",
    "shop receive",
    "kitchen send",
    "kitchen create",
    "shop create",
  ]);
  assertEquals(asked[5]![2], dynamic.address);
  await Promise.all([nobody.close(), wrong.close()]);
});

test("ATK-24: an answer of authorize that is neither true nor false lets nobody in, and is logged", async () => {
  const entries: LogEntry[] = [];
  await using broker = new Broker({ authorize: () => undefined as never, log: (entry) => void entries.push(entry) });
  const connection = linkUp(broker);
  assertEquals(await refusal(connection.sender("orders")), condition.internalError);
  assertEquals(entries.map(({ code, address, error }) => [code, address, (error as Error).message]), [
    ["callback-failed", "orders", 'Cannot authorize: "authorize" returned undefined, not true or false'],
  ]);
  await connection.close();
});

for (const kind of ["at once", "later"] as const) {
  test(`ATK-24: every message on a link without a target is asked for, answered ${kind}`, async () => {
    const answer = (allowed: boolean) => kind === "at once" ? allowed : Promise.resolve(allowed);
    await using broker = new Broker({
      authorize: (_, action, address) => answer(action === "send" && address === "mine"),
    });
    const sender = linkUp(broker).sender({});
    const results = ["mine", "yours", "mine", "yours", "mine"].map((to, i) =>
      sender.send({ properties: { to }, body: BigInt(i) }).then(
        () => "accepted",
        (error: OutcomeError) => error.condition,
      )
    );
    const refused = condition.unauthorizedAccess;
    assertEquals(await Promise.all(results), ["accepted", refused, "accepted", refused, "accepted"]);
    assertEquals([broker.queue("mine")!.messages, broker.queue("yours")], [3, undefined]);
  });
}

for (const kind of ["at once", "later"] as const) {
  test(`ATK-24: a subscription of all containers is for who may receive, answered ${kind}`, async () => {
    const asked: string[] = [];
    await using broker = new Broker({
      topics: ["news", "weather"],
      authorize: (identity, action, address) => {
        asked.push(`${identity} ${action} ${address}`);
        const allowed = identity === "ada" || address === "weather";
        return kind === "at once" ? allowed : Promise.resolve(allowed);
      },
    });
    const subscribe = (connection: Connection, address: string, name: string) =>
      connection.receiver({
        address,
        name,
        source: { expiryPolicy: "never", durable: "unsettled-state", capabilities: ["topic", "shared", "global"] },
      });
    const ada = await broker.connect({ identity: "ada" });
    const receiver = subscribe(ada, "news", "all|global");
    await receiver.ready();
    await receiver.detach();
    await ada.sender("news").send({ body: "for ada" });
    const stranger = await broker.connect();
    // Without a source, by the link's name; and to end it, by attaching another under that name.
    const recalled = recall(stranger, "all|global");
    assertEquals(await refusal(recalled), condition.unauthorizedAccess);
    assertEquals(await refusal(subscribe(stranger, "weather", "all|2")), condition.unauthorizedAccess);
    assertEquals(asked.slice(2), [
      "undefined receive news",
      "undefined receive weather",
      "undefined receive news",
    ]);
    const again = recall(ada, "all|global");
    again.grant(1);
    assertEquals((await again.receive()).message.body, "for ada");
  });
}

test("ATK-24: a subscription that ends while somebody who asks for it is decided on is nobody's", async () => {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let asked = 0;
  await using broker = new Broker({
    topics: ["news", "secrets"],
    authorize: (identity, _, address) => ++asked && identity === "ada" ? true : address === "news" ? promise : false,
  });
  const subscribe = (connection: Connection, address: string) =>
    connection.receiver({
      address,
      name: "all|global",
      source: { expiryPolicy: "never", capabilities: ["shared", "global"] },
    });
  const ada = await broker.connect({ identity: "ada" });
  const receiver = subscribe(ada, "news");
  await receiver.ready();
  await receiver.detach();
  const recalled = recall(await broker.connect(), "all|global");
  await until(() => asked === 2);
  await subscribe(ada, "secrets").ready();
  resolve(true);
  assertEquals(await refusal(recalled), condition.notFound);
});

test("ATK-24: a user-id that is not the sender's own is refused where there are users", async () => {
  const userId = (name: string) => ({ properties: { userId: new TextEncoder().encode(name) } });
  await using broker = new Broker({ sasl: { users, anonymous: true } });
  const shop = linkUp(broker, { auth: plain("shop", "secret") }).sender("orders");
  await shop.send(userId("shop"));
  await shop.send({ body: "none" });
  const error = await assertRejects(() => shop.send(userId("kitchen")), OutcomeError);
  assertEquals([error.outcome, error.condition], ["rejected", condition.unauthorizedAccess]);
  const nobody = linkUp(broker).sender("orders");
  await nobody.send({ body: "none" });
  await assertRejects(() => nobody.send(userId("shop")), OutcomeError);
  // Without authentication, the user-id proves nothing anyway.
  await using open = new Broker();
  await linkUp(open).sender("orders").send(userId("whoever"));
});

test("ATK-32: a hook that fails refuses, says nothing of why, and breaks nothing else", async () => {
  const failing: BrokerOptions["authorize"][] = [
    () => {
      throw new Error("database password is hunter2");
    },
    () => Promise.reject(new Error("database password is hunter2")),
  ];
  for (const authorize of failing) {
    await using broker = new Broker({
      authorize: (identity, action, address, peer) => address === "free" || authorize!(identity, action, address, peer),
    });
    const connection = linkUp(broker);
    for (const link of [connection.sender("a"), connection.receiver("a"), connection.receiver({ dynamic: true })]) {
      const error = await assertRejects(() => link.ready(), AmqpError);
      assertEquals([error.condition, error.message.includes("hunter2")], [condition.internalError, false]);
    }
    const sender = connection.sender({});
    const error = await assertRejects(() => sender.send({ properties: { to: "a" } }), OutcomeError);
    assertEquals([error.condition, error.message.includes("hunter2")], [condition.internalError, false]);
    await sender.send({ properties: { to: "free" } });
    await connection.sender("free").send({});
    assertEquals(broker.queues().map((queue) => queue.address), ["free"]);
  }
});

test("ATK-32: a peer that has gone before it was decided on leaves nothing behind", async () => {
  let decide = (_: boolean): void => {};
  const asked = new Promise<void>((resolve) => {
    decide = () => resolve();
  });
  let allow = (_: boolean): void => {};
  await using broker = new Broker({
    authorize: () =>
      new Promise((resolve) => {
        allow = resolve;
        decide(true);
      }),
  });
  const connection = linkUp(broker);
  const receiver = connection.receiver({ dynamic: true });
  await asked;
  await receiver.close({ timeoutMs: 0 });
  connection.destroy(new Error("gone"));
  await connection.closed;
  for (const accepted of [...broker.connections]) await accepted.closed;
  allow(true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(broker.queues(), []);
});

test("EXTERNAL learns what the carrier knows of the peer", async () => {
  await using broker = new Broker({
    sasl: { external: (_, { certificate }) => certificate?.subject.CN },
    authorize: (identity) => identity === "alice",
  });
  const [client, accepted] = channelPair();
  broker.accept(accepted, { certificate: { subject: { CN: "alice" }, subjectAltName: undefined, fingerprint: "" } });
  await openOver(client, external()).sender("orders").send({ body: 1 });
  const unknown = linkUp(broker, { auth: external() });
  await assertRejects(() => unknown.ready(), AmqpError);
  assertEquals(broker.messages, 1);
});

test("ATK-22: a container takes its link over from a connection that it has lost, and nobody else does", async () => {
  await using broker = new Broker({ sasl: { users, anonymous: true } });
  const same = { containerId: "same", auth: plain("shop", "secret") };
  const [a, b] = [linkUp(broker, same), linkUp(broker, same)];
  const first = a.receiver({ address: "orders", name: "link", credit: 1 });
  const sends = b.sender({ address: "orders", name: "link" });
  await sends.send({ body: "x" });
  const held = await first.receive();
  assertEquals(held.message.body, "x");
  const strangers = [
    linkUp(broker, { containerId: "same" }),
    linkUp(broker, { containerId: "same", auth: plain("kitchen", "hot") }),
    linkUp(broker, { containerId: "other", auth: plain("shop", "secret") }),
  ].map((connection) => connection.receiver({ address: "other", name: "link", credit: 1 }));
  await Promise.all(strangers.map((link) => link.ready()));
  assertEquals([first.open, sends.open], [true, true]);
  const again = b.receiver({ address: "orders", name: "link", credit: 1 });
  const delivery = await again.receive();
  assertEquals([delivery.message.body, delivery.message.header?.deliveryCount], ["x", 1]);
  await first.closed;
  assertEquals((first.error as AmqpError).condition, condition.stolen);
  assertEquals([sends.open, again.open, ...strangers.map((link) => link.open)], [true, true, true, true, true]);
});

test("EXT-6: a container that is to have one connection has one", async () => {
  await using broker = new Broker();
  const desiredCapabilities = ["sole-connection-for-container"];
  const first = await broker.connect({ containerId: "c", desiredCapabilities });
  assertEquals(first.remote?.offeredCapabilities?.includes("sole-connection-for-container"), true);
  assertEquals(Object.hasOwn(first.remote!.properties!, "sole-connection-detection-policy"), true);
  for (const more of [{ desiredCapabilities }, {}]) {
    const error = await assertRejects(() => broker.connect({ containerId: "c", ...more }), AmqpError);
    assertEquals([error.condition, error.info?.["invalid-field"]], [condition.invalidField, symbol("container-id")]);
  }
  await broker.connect({ containerId: "c", identity: "somebody" });
  const properties = { "sole-connection-enforcement-policy": uint(1) };
  const second = await broker.connect({ containerId: "c", desiredCapabilities, properties });
  await first.closed;
  const { error } = first;
  assertInstanceOf(error, AmqpError);
  assertEquals([error.condition, error.info?.["sole-connection-enforcement"]], [condition.resourceLocked, true]);
  await second.close();
  await (await broker.connect({ containerId: "c" })).close();
});

test("TXN-1: the coordinator says what it can do, and takes nothing that is no request", async () => {
  await using broker = new Broker();
  const connection = linkUp(broker);
  const link = connection.sender({ target: { kind: "coordinator" } });
  await link.ready();
  assertEquals(link.remote?.target, {
    kind: "coordinator",
    capabilities: ["amqp:local-transactions", "amqp:multi-txns-per-ssn", "amqp:multi-ssns-per-txn"],
  });
  const error = await assertRejects(() => link.send({ body: "begin" }), OutcomeError);
  assertEquals([error.outcome, error.condition], ["rejected", condition.invalidField]);
  await link.send({ body: "begin" }, { settled: true });
  await link.closed;
  assertEquals((link.error as AmqpError).condition, condition.notAllowed);
});
