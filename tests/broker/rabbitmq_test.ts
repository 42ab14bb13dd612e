/**
 * Our client against the stand-in for RabbitMQ of the examples.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { rabbitmq } from "../../examples/rabbitmq.ts";
import { AmqpError } from "../../src/base/errors.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Body } from "../../src/codec/message.ts";
import { test } from "../harness.ts";

/** Sends a request to `/management`, and returns the status and the body of the answer. */
type Ask = (method: string, to: string, body?: Body) => Promise<[status: string | undefined, body: unknown]>;

async function set(): Promise<{ connection: Connection; ask: Ask; end(): Promise<void> }> {
  const broker = rabbitmq();
  const connection = await broker.connect();
  const pair = { name: "management-link-pair", address: "/management", properties: { paired: true } };
  const answers = connection.receiver({ ...pair, target: { address: "$me" }, credit: 10 });
  const requests = connection.sender({ ...pair, source: { address: "$me" } });
  const ask: Ask = async (method, to, body = null) => {
    await requests.send({ properties: { messageId: to, subject: method, to, replyTo: "$me" }, body });
    const { message } = await answers.receive();
    assertEquals(message.properties?.correlationId, to);
    return [message.properties?.subject, typeof message.body === "string" ? message.body : message.json()];
  };
  return { connection, ask, end: () => broker.close() };
}

async function statusOf(answer: ReturnType<Ask>): Promise<string | undefined> {
  return (await answer)[0];
}

async function next(connection: Connection, address: string): Promise<unknown[]> {
  await using receiver = connection.receiver(address);
  const delivery = await receiver.receive();
  delivery.accept();
  const { "x-exchange": exchange, "x-routing-key": key } = delivery.message.messageAnnotations ?? {};
  return [delivery.message.body, exchange, key];
}

test("MGT-3: by requests like those of HTTP on a pair of links, the stand-in for RabbitMQ declares, describes, purges and deletes queues, and refuses what it has not", async () => {
  const { connection, ask, end } = await set();
  const body = { durable: true, arguments: { "x-queue-type": "quorum", "x-delivery-limit": 5 } };
  assertEquals(await statusOf(ask("GET", "/queues/a%2Fb")), "404");
  assertEquals(await statusOf(ask("PUT", "/queues/a%2Fb", body)), "201");
  assertEquals(await statusOf(ask("PUT", "/queues/a%2Fb", body)), "200");
  assertEquals(await statusOf(ask("PUT", "/queues/a%2Fb", { arguments: {} })), "409");
  assertEquals(await statusOf(ask("PUT", "/queues/s", { arguments: { "x-queue-type": "stream" } })), "400");
  assertEquals(await statusOf(ask("PUT", "/queues/s", { arguments: { "x-message-ttl": 5 } })), "400");
  await connection.send("/queues/a%2Fb", { body: "one" });
  const [, described] = await ask("GET", "/queues/a%2Fb");
  const { name, type, message_count } = described as Record<string, unknown>;
  assertEquals([name, type, Number(message_count)], ["a/b", "quorum", 1]);
  const [purged, { message_count: count }] = await ask("DELETE", "/queues/a%2Fb/messages") as [
    string,
    Record<string, bigint>,
  ];
  assertEquals([purged, Number(count)], ["200", 1]);
  await connection.sender({ target: {} }).send({ properties: { to: "/queues/a%2Fb" }, body: "two" });
  assertEquals(await next(connection, "/queues/a%2Fb"), ["two", "", "a/b"]);
  assertEquals(await statusOf(ask("DELETE", "/queues/a%2Fb")), "200");
  const gone = connection.sender("/queues/a%2Fb");
  assertEquals((await assertRejects(() => gone.ready(), AmqpError)).condition, "amqp:not-found");
  await end();
});

test("exchanges of the stand-in for RabbitMQ route by their type, and release what no queue takes", async () => {
  const { connection, ask, end } = await set();
  for (const queue of ["all", "some"]) assertEquals(await statusOf(ask("PUT", `/queues/${queue}`, {})), "201");
  for (const type of ["topic", "fanout"]) {
    assertEquals(await statusOf(ask("PUT", `/exchanges/${type}`, { type })), "204");
  }
  assertEquals(await statusOf(ask("PUT", "/exchanges/topic", { type: "fanout" })), "409");
  assertEquals(await statusOf(ask("PUT", "/exchanges/h", { type: "headers" })), "400");
  const bind = (binding: Record<string, Body>) =>
    statusOf(ask("POST", "/bindings", { arguments: {}, ...binding } as Body));
  assertEquals(await bind({ source: "topic", binding_key: "a.*.#", destination_queue: "some" }), "204");
  assertEquals(await bind({ source: "fanout", binding_key: "", destination_queue: "all" }), "204");
  assertEquals(await bind({ source: "fanout", binding_key: "", destination_exchange: "topic" }), "204");
  assertEquals(await bind({ source: "none", binding_key: "", destination_queue: "all" }), "404");
  await connection.send("/exchanges/topic/a.b", { body: "one" });
  assertEquals(await next(connection, "/queues/some"), ["one", "topic", "a.b"]);
  const unrouted = await assertRejects(() => connection.send("/exchanges/topic/b", { body: "two" }), AmqpError);
  assert(unrouted.retryable && unrouted.message.includes("released"), unrouted.message);
  await connection.send("/exchanges/fanout/a.x.y.z", { body: "three" });
  assertEquals((await next(connection, "/queues/all"))[0], "three");
  assertEquals((await next(connection, "/queues/some"))[0], "three");
  assertEquals(await statusOf(ask("DELETE", "/bindings/src=topic;dstq=some;key=a.%2A.%23;args=")), "204");
  await assertRejects(() => connection.send("/exchanges/topic/a.b", { body: "four" }), AmqpError);
  await end();
});
