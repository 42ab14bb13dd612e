/**
 * Our client against the stand-in for Event Hubs of the examples.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { eventHubs } from "../../examples/event_hubs.ts";
import { AmqpError } from "../../src/base/errors.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { ReceiverOptions } from "../../src/client/link_options.ts";
import { batch } from "../../src/codec/batch.ts";
import { long } from "../../src/codec/wrappers.ts";
import { eventPosition } from "../../src/filters/mod.ts";
import { management, ManagementError } from "../../src/management/management.ts";
import { test } from "../harness.ts";
import { connectTo } from "./stand_in.ts";

const FIRST = "events/ConsumerGroups/$Default/Partitions/0";

function hub(verify?: (token: string, audience: string) => boolean) {
  const server = eventHubs({
    hubs: { events: { keep: 5 }, other: {} },
    ...verify === undefined ? {} : { verify },
  });
  return connectTo(server);
}

/** The next `count` bodies of a receiver. */
async function read(connection: Connection, count: number, options: ReceiverOptions): Promise<unknown[]> {
  await using receiver = connection.receiver(FIRST, options);
  const bodies = [];
  while (bodies.length < count) {
    const delivery = await receiver.receive();
    bodies.push(delivery.message.body);
    delivery.accept();
  }
  return bodies;
}

test("EHX-1: events are read from an offset, a number or a time on, by as many as like", async () => {
  const { connection, end } = await hub();
  const sender = connection.sender("events/Partitions/0");
  await sender.send({ body: "zero" });
  const { payload, messageFormat } = batch([{ body: "one" }, { body: "two" }]);
  await sender.send(payload, { messageFormat });
  const receiver = connection.receiver(FIRST, { filter: eventPosition({ offset: "-1" }) });
  const events = [await receiver.receive(), await receiver.receive(), await receiver.receive()];
  const annotations = events.map(({ message }) => message.messageAnnotations!);
  assertEquals(annotations.map((found) => Number(found["x-opt-sequence-number"])), [0, 1, 2]);
  const offset = String(annotations[1]!["x-opt-offset"]);
  const enqueuedTime = annotations[0]!["x-opt-enqueued-time"] as Date;
  const from = (position: Parameters<typeof eventPosition>[0]) => ({ filter: eventPosition(position) });
  assertEquals(await read(connection, 1, from({ offset })), ["two"]);
  assertEquals(await read(connection, 2, from({ offset, inclusive: true })), ["one", "two"]);
  assertEquals(await read(connection, 2, from({ sequenceNumber: 0 })), ["one", "two"]);
  const before = new Date(enqueuedTime.getTime() - 1);
  assertEquals(await read(connection, 3, from({ enqueuedTime: before })), ["zero", "one", "two"]);
  await using latest = connection.receiver(FIRST, from({ offset: "@latest" }));
  await latest.ready();
  await sender.send({ body: "three" });
  assertEquals((await latest.receive()).message.body, "three");
  // The stand-in keeps five.
  for (const body of ["four", "five"]) await sender.send({ body });
  assertEquals(await read(connection, 5, {}), ["one", "two", "three", "four", "five"]);
  await end();
});

test("EHX-2: an owner of a higher or the same epoch takes the partition, one of a lower is refused", async () => {
  const { connection, end } = await hub();
  const own = (epoch: number) => connection.receiver(FIRST, { properties: { "com.microsoft:epoch": long(epoch) } });
  const second = own(2);
  await second.ready();
  const refused = await assertRejects(() => own(1).ready(), AmqpError);
  assertEquals(refused.condition, "amqp:link:stolen");
  await assertRejects(() => connection.receiver(FIRST).ready(), AmqpError, "epoch 2");
  const another = own(2);
  await another.ready();
  const stolen = await assertRejects(() => second.receive(), AmqpError);
  assertEquals(stolen.condition, "amqp:link:stolen");
  await another.close();
  await end();
});

test("MGT-4: $management tells of an event hub and of its partitions", async () => {
  const { connection, end } = await hub();
  await connection.sender("events/Partitions/1").send({ body: "one" });
  await using node = management(connection, "$management");
  const ask = async (type: string, applicationProperties: Record<string, string>) => {
    const found = await node.request({ operation: "READ", type, name: "events", applicationProperties });
    return Object.fromEntries(found.body as Map<string, unknown>);
  };
  const facts = await ask("com.microsoft:eventhub", {});
  assertEquals([facts.name, facts.partition_count], ["events", 2]);
  const empty = await ask("com.microsoft:partition", { partition: "0" });
  assertEquals([empty.is_partition_empty, empty.last_enqueued_sequence_number], [true, -1n]);
  const full = await ask("com.microsoft:partition", { partition: "1" });
  assertEquals([full.begin_sequence_number, full.last_enqueued_sequence_number], [0n, 0n]);
  const error = await assertRejects(() => ask("com.microsoft:partition", { partition: "7" }), ManagementError);
  assertEquals(error.status, 404);
  await end();
});

test("CBS-3: a token for one event hub opens no other", async () => {
  const { connection, end } = await hub((_, audience) => !audience.includes("/other"));
  await connection.sender("events").send({ body: "one" });
  await assertRejects(() => connection.sender("other").ready(), AmqpError, "Cannot put token");
  assert(connection.open);
  await end();
});
