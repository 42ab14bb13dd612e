/**
 * Our client against the stand-in for Service Bus of the examples.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { serviceBus } from "../../examples/service_bus.ts";
import { AmqpError } from "../../src/base/errors.ts";
import { batch, unbatch } from "../../src/codec/batch.ts";
import { array, int, long, uint } from "../../src/codec/wrappers.ts";
import { delayed, sessionFilter } from "../../src/filters/mod.ts";
import { management, ManagementError } from "../../src/management/management.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";
import { start } from "../program.ts";
import { connectTo } from "./stand_in.ts";

function bus(verify?: (token: string, audience: string) => boolean) {
  const server = serviceBus({
    queues: { orders: {}, talks: { sessions: true } },
    ...verify === undefined ? {} : { verify },
  });
  return connectTo(server);
}

test("CBS-1, SBX-1, SBX-4: send, batch, receive, complete, abandon, dead-letter, defer", async () => {
  const { connection, end } = await bus();
  const sender = connection.sender("orders");
  await sender.send({ body: "one" });
  const { payload, messageFormat, count } = batch(
    [{ body: "two" }, { body: "three" }, { body: "four" }],
    sender.remote,
  );
  assertEquals(count, 3);
  await sender.send(payload, { messageFormat });

  const receiver = connection.receiver("orders", { credit: 4, rcvSettleMode: "second" });
  const [one, two, three, four] = [
    await receiver.receive(),
    await receiver.receive(),
    await receiver.receive(),
    await receiver.receive(),
  ];
  assertEquals([one.message.body, one.tag.length], ["one", 16]);
  assertEquals(Number(four.message.messageAnnotations?.["x-opt-sequence-number"]), 4);
  one.accept();
  two.modify({ deliveryFailed: true });
  three.reject({ condition: "com.microsoft:dead-letter", info: { DeadLetterReason: "bad" } });
  four.modify({ undeliverableHere: true });
  const again = await receiver.receive();
  assertEquals([again.message.body, again.message.header?.deliveryCount], ["two", 1]);
  again.accept();

  const dead = await connection.receiver("orders/$deadletterqueue", { credit: 1 }).receive();
  assertEquals([dead.message.body, dead.message.applicationProperties?.DeadLetterReason], ["three", "bad"]);
  dead.accept();

  await using node = management(connection, "orders");
  const deferred = await node.request({
    operation: "com.microsoft:receive-by-sequence-number",
    body: { "sequence-numbers": array("long", [4n]), "receiver-settle-mode": uint(1) },
  });
  const [entry] = (deferred.body as Map<string, Map<string, unknown>[]>).get("messages")!;
  const message = unbatch({ messageFormat: 0, payload: entry!.get("message") as Uint8Array })[0]!;
  assertEquals(message.body, "four");
  await node.request({
    operation: "com.microsoft:update-disposition",
    body: { "disposition-status": "completed", "lock-tokens": array("uuid", [String(entry!.get("lock-token"))]) },
  });
  const peek = {
    operation: "com.microsoft:peek-message",
    body: { "from-sequence-number": long(0), "message-count": int(9) },
  };
  assertEquals((await node.request(peek)).status, 204);
  const lost = { operation: "com.microsoft:renew-lock", body: { "lock-tokens": array("uuid", [crypto.randomUUID()]) } };
  const error = await assertRejects(() => node.request(lost), ManagementError);
  assertEquals([error.status, error.condition], [410, "com.microsoft:message-lock-lost"]);
  await end();
});

test("SBX-3: sessions are locked by filter, the next free one by null, and named in the answer", async () => {
  const { connection, end } = await bus();
  const sender = connection.sender("talks");
  for (const [body, groupId] of [["a1", "a"], ["b1", "b"], ["a2", "a"]]) {
    await sender.send({ body, properties: { groupId } });
  }
  const receiver = connection.receiver("talks", { credit: 5, filter: sessionFilter("a") });
  const bodies = [await receiver.receive(), await receiver.receive()].map((delivery) => {
    delivery.accept();
    return delivery.message.body;
  });
  assertEquals(bodies, ["a1", "a2"]);
  assert(BigInt(String(receiver.remote?.properties?.["com.microsoft:locked-until-utc"])) > 638_000_000_000_000_000n);
  const taken = connection.receiver("talks", { filter: sessionFilter("a") });
  const error = await assertRejects(() => taken.ready(), AmqpError);
  assertEquals(error.condition, "com.microsoft:session-cannot-be-locked");
  const next = connection.receiver("talks", { credit: 1, filter: sessionFilter(null) });
  await next.ready();
  assertEquals(next.remote?.source?.filter?.["com.microsoft:session-filter"], "b");
  assertEquals((await next.receive()).message.body, "b1");
  await end();
});

test("SBX-4: scheduled messages come when they are due", async () => {
  const { connection, end } = await bus();
  const at = Date.now() + 50;
  const messageAnnotations = delayed(new Date(at), { serviceBus: true });
  await connection.sender("orders").send({ body: "later", messageAnnotations });
  const delivery = await connection.receiver("orders").receive();
  assert(Date.now() >= at - 1);
  delivery.accept();
  await end();
});

test("CBS-3: without a token that is good nothing attaches", async () => {
  const { connection, end } = await bus((token) => token.includes("skn=somebody"));
  const error = await assertRejects(() => connection.sender("orders").ready(), AmqpError, "Cannot put token");
  assertEquals(error.condition, "amqp:unauthorized-access");
  await end();
});

test("examples: azure.ts sends and receives through service_bus.ts", async () => {
  const server = serviceBus({ queues: { orders: {} } });
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: server });
  const program = start("examples/azure.ts", [
    `Endpoint=sb://127.0.0.1:${listener.port};SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true`,
  ]);
  const { value } = await program.lines.next();
  assert(String(value).startsWith("one coffee"), value);
  assertEquals(await program.end(), 0);
  await server.close();
});
