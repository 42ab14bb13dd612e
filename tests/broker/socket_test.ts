import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { test } from "../harness.ts";
import { serve } from "../serve.ts";
import { range, until } from "./set_up.ts";

test("over real WebSockets: 10,000 messages through a queue, none lost, none twice", async () => {
  await using broker = new Broker();
  const server = await serve((channel) => void broker.accept(channel));
  const producer = await connect(server.url);
  const consumers = await Promise.all([connect(server.url), connect(server.url)]);
  const seen: number[] = [];
  const receivers = consumers.map((consumer) => consumer.receiver("jobs", { credit: 100 }));
  const served = receivers.map((receiver) =>
    receiver.serve((delivery) => void seen.push(Number(delivery.message.body)), { concurrency: 4 })
  );
  function* messages() {
    for (let i = 0; i < 10_000; i++) yield { body: BigInt(i) };
  }
  assertEquals(await producer.sender("jobs").sendAll(messages()), 10_000);
  await until(() => broker.messages === 0);
  await Promise.all(receivers.map((receiver) => receiver.close()));
  await Promise.all(served);
  assertEquals(seen.sort((a, b) => a - b), range(0, 10_000));
  await Promise.all([producer, ...consumers].map((connection) => connection.close()));
  await server.close();
});

// These clients end when the broker goes away.
const once = { reconnect: false } as const;

test("over real WebSockets: requests, a topic, large messages, and a broker that goes away", async () => {
  await using broker = new Broker();
  const server = await serve((channel) => void broker.accept(channel));
  const [client, service] = await Promise.all([connect(server.url, once), connect(server.url, once)]);
  const replies = service.sender({});
  void service.receiver("echo").serve(async ({ message }) => {
    const { replyTo: to, messageId: correlationId } = message.properties!;
    await replies.send({ properties: { to, correlationId }, body: message.body });
  }).catch(() => {});
  const body = crypto.getRandomValues(new Uint8Array(60_000));
  assertEquals((await client.request("echo", { body })).bytes(), body);
  const listener = service.receiver("topic/news", { credit: 1 });
  await listener.ready();
  const large = new Uint8Array(5_000_000).fill(7);
  await client.sender("topic/news").send({ body: large });
  const heard = await listener.receive();
  assertEquals([heard.message.bytes().length, heard.message.bytes().every((byte) => byte === 7)], [5_000_000, true]);
  heard.accept();
  await broker.close();
  await Promise.all([client.closed, service.closed]);
  assertInstanceOf(client.error, AmqpError);
  assertEquals(client.error.condition, condition.connectionForced);
  assertEquals([broker.messages, broker.bytes, broker.connections.size], [0, 0, 0]);
  await server.close();
});

test("ATK-8: over real WebSockets, who is one too many is told to try again later, and may then come in", async () => {
  await using broker = new Broker({ maxConnections: 1 });
  const server = await serve((channel) => void broker.accept(channel));
  const first = await connect(server.url);
  const error = await assertRejects(() => connect(server.url), TransportError);
  // The runtime may not let the server send 1013.
  assertEquals([error.code, error.closeCode! % 1_000, broker.connections.size], ["connection-lost", 13, 1]);
  await first.close();
  await until(() => broker.connections.size === 0);
  await (await connect(server.url)).close();
  await server.close();
});
