import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import rhea, {
  type Connection as RheaConnection,
  type Message as RheaMessage,
  type Receiver as RheaReceiver,
} from "rhea";
import { connect, plain } from "../../mod.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { random, seed, test } from "../harness.ts";
import {
  type AcceptorServer,
  acceptorServer,
  once,
  rheaClient,
  rheaDial,
  type RheaMessage as Sendable,
  rheaRoundTrip,
  sendAll,
} from "./rhea.ts";
import { readShapes } from "./wire_types.ts";

/** Starts a broker behind this runtime's own WebSocket server. */
function brokerServer(options: BrokerOptions = {}): Promise<AcceptorServer & { readonly acceptor: Broker }> {
  return acceptorServer(new Broker(options)) as Promise<AcceptorServer & { readonly acceptor: Broker }>;
}

/** Sends messages with rhea, and returns their outcomes. */
async function deliver(connection: RheaConnection, address: string, messages: Sendable[]): Promise<string[]> {
  const sender = connection.open_sender(address);
  const outcomes: string[] = [];
  const done = new Promise<void>((resolve) => {
    for (const name of ["accepted", "rejected", "released"]) {
      sender.on(name, () => {
        if (outcomes.push(name) === messages.length) resolve();
      });
    }
  });
  sendAll(sender, messages);
  await done;
  const closed = once(sender, "sender_close");
  sender.close();
  await closed;
  return outcomes;
}

/** Receives `count` messages with rhea, which accepts them. */
function take(receiver: RheaReceiver, count: number): Promise<RheaMessage[]> {
  const messages: RheaMessage[] = [];
  return new Promise((resolve) =>
    receiver.on("message", ({ message }) => {
      if (messages.push(message!) === count) resolve(messages);
    })
  );
}

function numbered(count: number): Sendable[] {
  return Array.from({ length: count }, (_, body) => ({ body }));
}

test("FLW-4, DSP-1: 5,000 messages go from rhea through our broker to rhea in order, and none stays", async () => {
  await using server = await brokerServer();
  await using producer = await rheaClient(server.url);
  await using consumer = await rheaClient(server.url);
  const taken = take(consumer.connection.open_receiver("q"), 5_000);
  const outcomes = await deliver(producer.connection, "q", numbered(5_000));
  assertEquals(outcomes.every((outcome) => outcome === "accepted"), true);
  assertEquals((await taken).map(({ body }) => body), numbered(5_000).map(({ body }) => body));
  await rheaRoundTrip(consumer.connection);
  assertEquals(server.acceptor.messages, 0);
});

test("MSG-4: what rhea sends through our broker, in large and small frames, comes out as it went in", async () => {
  await using server = await brokerServer({ maxFrameSize: 8_192 });
  await using producer = await rheaClient(server.url);
  await using consumer = await rheaClient(server.url, { max_frame_size: 512 });
  const { bytes } = random(seed());
  const bodies = [1, 300, 500, 8_000, 100_000, 5_000_000].map((size) => Buffer.from(bytes(Math.min(size, 100_000))));
  bodies[5] = Buffer.concat(Array.from({ length: 50 }, () => bodies[4]!));
  const messages: Sendable[] = [
    ...bodies.map((body) => ({ body: rhea.message.data_section(body) })),
    {
      durable: true,
      priority: 7,
      subject: "s",
      application_properties: { a: 1, b: "c" },
      body: { list: [1, -1, "x"] },
    },
    { body: rhea.message.sequence_sections([[1], ["x"]] as never) },
  ];
  const receiver = consumer.connection.open_receiver("q");
  const taken = take(receiver, messages.length);
  await deliver(producer.connection, "q", messages);
  const seen = await taken;
  for (const [i, body] of bodies.entries()) assert(Buffer.compare(seen[i]!.body.content, body) === 0, `body ${i}`);
  const { durable, priority, subject, application_properties, body } = seen[bodies.length]!;
  assertEquals({ durable, priority, subject, application_properties, body }, messages[bodies.length] as never);
  assertEquals(seen[bodies.length + 1]!.body.content, [[1], ["x"]]);
});

test("MSG-4: types that rhea and we choose for ourselves survive our broker", async () => {
  await using server = await brokerServer();
  await using connection = await connect(server.url);
  await using client = await rheaClient(server.url);
  await deliver(client.connection, "q", [{ body: rhea.types.wrap_list([1, -1, 1.5, "s"]), message_id: 5 }]);
  const delivery = await connection.receiver({ address: "q", settle: "manual" }).receive();
  const types = readShapes(delivery.payload).map(({ type, value }) =>
    Array.isArray(value) ? value.map(({ type }) => type) : type
  );
  assertEquals(types.at(-1), ["uint", "int", "double", "string"]);
  assertEquals(delivery.message.properties?.messageId, 5n);
  delivery.accept();
});

test("MSG-12: a rhea consumer's outcomes mean to our broker what they say", async () => {
  await using server = await brokerServer({ queues: { q: { deadLetter: "dead" } } });
  await using client = await rheaClient(server.url);
  await deliver(client.connection, "q", [{ body: "release" }, { body: "modify" }, { body: "reject" }, {
    body: "accept",
  }]);
  const receiver = client.connection.open_receiver({ source: "q", autoaccept: false, credit_window: 0 });
  const seen: [string, number][] = [];
  const done = new Promise<void>((resolve) =>
    receiver.on("message", ({ message, delivery }) => {
      const { body, delivery_count = 0 } = message!;
      const again = seen.some(([earlier]) => earlier === body);
      seen.push([body, delivery_count]);
      if (body === "release" && !again) delivery!.release();
      else if (body === "modify" && !again) delivery!.modified({ delivery_failed: true } as never);
      else if (body === "reject") delivery!.reject({ condition: "amqp:not-allowed", description: "no" });
      else delivery!.accept();
      if (seen.length === 6) resolve();
      else receiver.add_credit(1);
    })
  );
  receiver.add_credit(1);
  await done;
  assertEquals(seen.toSorted(), [["accept", 0], ["modify", 0], ["modify", 1], ["reject", 0], ["release", 0], [
    "release",
    0,
  ]]);
  const dead = await take(client.connection.open_receiver("dead"), 1);
  assertEquals(dead[0]!.body, "reject");
  await rheaRoundTrip(client.connection);
  assertEquals(server.acceptor.messages, 0);
});

test("DSP-2: a rhea consumer that settles in two steps gets each message once", async () => {
  await using server = await brokerServer();
  await using client = await rheaClient(server.url);
  await deliver(client.connection, "q", numbered(100));
  const receiver = client.connection.open_receiver({ source: "q", rcv_settle_mode: 1 });
  let confirmed = 0;
  const settled = new Promise<void>((resolve) =>
    receiver.on("settled", () => {
      if (++confirmed === 100) resolve();
    })
  );
  const taken = await take(receiver, 100);
  await settled;
  assertEquals(taken.map(({ body }) => body), numbered(100).map(({ body }) => body));
  assertEquals(server.acceptor.messages, 0);
});

test("WSB-27: what a rhea consumer held when its socket was cut goes to the next, the oldest as an attempt that failed", async () => {
  await using server = await brokerServer();
  await using client = await rheaClient(server.url);
  await deliver(client.connection, "q", numbered(10));
  const first = await rheaClient(server.url);
  const receiver = first.connection.open_receiver({ source: "q", autoaccept: false, credit_window: 0 });
  receiver.add_credit(4);
  await take(receiver, 4);
  first.socket.terminate();
  await first[Symbol.asyncDispose]();
  const taken = await take(client.connection.open_receiver("q"), 10);
  const bodies = taken.map(({ body, delivery_count = 0 }) => `${body} ${delivery_count}`).sort();
  assertEquals(bodies, Array.from({ length: 10 }, (_, i) => `${i} ${i === 0 ? 1 : 0}`));
});

test("WSB-27: a rhea client that connects again by itself goes on where our broker was, on the links that it had", async () => {
  await using server = await brokerServer();
  await using client = await rheaClient(server.url, { reconnect: 10 });
  const { connection } = client;
  const receiver = connection.open_receiver("q");
  const sender = connection.open_sender("q");
  await once(sender, "sendable");
  for (let round = 0; round < 3; round++) {
    const taken = once(receiver, "message");
    const accepted = once(sender, "accepted");
    sender.send({ body: round });
    assertEquals((await taken).message!.body, round);
    await accepted;
    const dropped = once(connection, "disconnected");
    client.socket.terminate();
    assertEquals((await dropped).reconnecting, true);
    await once(sender, "sendable");
  }
  connection.set_reconnect(false);
  assertEquals(server.acceptor.queue("q")?.consumers, 1);
});

test("FLW-5: a rhea consumer that drains an empty queue of our broker has its credit back, then waits anew", async () => {
  await using server = await brokerServer();
  await using client = await rheaClient(server.url);
  const receiver = client.connection.open_receiver({ source: "q", credit_window: 0 });
  await once(receiver, "receiver_open");
  const drained = once(receiver, "receiver_drained");
  receiver.add_credit(10);
  receiver.drain_credit();
  await drained;
  await deliver(client.connection, "q", numbered(2));
  const taken = take(receiver, 2);
  (receiver as unknown as { drain: boolean }).drain = false;
  receiver.add_credit(10);
  assertEquals((await taken).map(({ body }) => body), [0, 1]);
});

test("EXT-1: our client and rhea meet at topics and queues, over fixed and anonymous targets", async () => {
  await using server = await brokerServer();
  await using client = await rheaClient(server.url);
  await using connection = await connect(server.url);
  const subscriber = client.connection.open_receiver("topic/news");
  const theirs = take(subscriber, 2);
  await once(subscriber, "receiver_open");
  const ours = connection.receiver({ address: "topic/news", settle: "manual" });
  await ours.ready();
  await connection.sender("topic/news").send({ body: "from us" });
  const relay = client.connection.open_sender({ target: {} });
  await once(relay, "sendable");
  const accepted = once(relay, "accepted");
  relay.send({ to: "topic/news", body: "from rhea" });
  await accepted;
  assertEquals((await theirs).map(({ body }) => body), ["from us", "from rhea"]);
  assertEquals([(await ours.receive()).message.body, (await ours.receive()).message.body], ["from us", "from rhea"]);
  const rejected = once(relay, "released").then(() => "released");
  const otherwise = once(relay, "rejected").then(() => "rejected");
  relay.send({ body: "to nowhere" });
  assertEquals(await Promise.race([rejected, otherwise]), "rejected");
});

test("SASL-5: our broker lets rhea in with a password, tells it apart by name, and keeps others out", async () => {
  await using server = await brokerServer({
    sasl: { users: { shop: "secret", guest: "guest" } },
    authorize: (identity, action) => identity === "shop" || action === "receive",
  });
  await using shop = await rheaClient(server.url, { username: "shop", password: "secret" });
  await using guest = await rheaClient(server.url, { username: "guest", password: "guest" });
  assertEquals(await deliver(shop.connection, "q", numbered(1)), ["accepted"]);
  assertEquals((await take(guest.connection.open_receiver("q"), 1))[0]!.body, 0);
  const forbidden = guest.connection.open_sender("q");
  const { sender } = await once(forbidden, "sender_error");
  assertEquals((sender!.error as { condition?: string }).condition, "amqp:unauthorized-access");
  await using stranger = rheaDial(server.url, { username: "shop", password: "wrong" });
  await once(stranger.connection, "connection_error");
  assertEquals(stranger.connection.is_open(), false);
  await using connection = await connect(server.url, { auth: plain("shop", "secret") });
  await connection.sender("q").send({ body: "last" });
});
