// Uses the npm package @azure/event-hubs against a stand-in for the service: event_hubs.mjs PORT tcp|ws
import assert from "node:assert/strict";
import process from "node:process";
import WebSocket from "ws";

// It is installed where this runs, not where it is checked.
const name = "@azure/event-hubs";
const { earliestEventPosition, EventHubConsumerClient, EventHubProducerClient } = await import(name);
const [port, transport] = process.argv.slice(2);
const connectionString =
  `Endpoint=sb://127.0.0.1:${port};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true`;

// The client knows wss: on port 443 only.
class LocalWebSocket extends WebSocket {
  constructor(_url, protocols, options) {
    super(`ws://127.0.0.1:${port}/$servicebus/websocket`, protocols, options);
  }
}

const options = {
  retryOptions: { maxRetries: 0, timeoutInMs: 10_000 },
  ...transport === "ws" ? { webSocketOptions: { webSocket: LocalWebSocket } } : {},
};
const producer = new EventHubProducerClient(connectionString, "events", options);
const consumer = new EventHubConsumerClient("$Default", connectionString, "events", options);

/** Reads from a position: tells when `count` events are there, and of the error that ends it. */
function read(partition, startPosition, count, extra = {}, client = consumer) {
  const events = [];
  const [enough, failure] = [Promise.withResolvers(), Promise.withResolvers()];
  const subscription = client.subscribe(partition, {
    processEvents: (found) => {
      events.push(...found);
      if (events.length >= count) enough.resolve(events);
      return Promise.resolve();
    },
    processError: (error) => Promise.resolve(failure.resolve(error)),
  }, { startPosition, maxWaitTimeInSeconds: 1, ...extra });
  failure.promise.then(enough.reject);
  // Some wait for the error alone.
  enough.promise.catch(() => {});
  return { promise: enough.promise, error: failure.promise, subscription };
}

async function bodies(partition, startPosition, count) {
  const { promise, subscription } = read(partition, startPosition, count);
  const events = await promise;
  await subscription.close();
  return events.map(({ body }) => body);
}

// What there is.
const properties = await producer.getEventHubProperties();
assert.equal(properties.name, "events");
assert.deepEqual(await consumer.getPartitionIds(), ["0", "1"]);
assert(Math.abs(properties.createdOn.getTime() - Date.now()) < 60_000);
const empty = await producer.getPartitionProperties("0");
assert.deepEqual([empty.isEmpty, empty.partitionId, empty.lastEnqueuedSequenceNumber], [true, "0", -1]);

// One by one to a partition, then a batch.
await producer.sendBatch([{ body: "zero", properties: { colour: "red" }, messageId: "m0" }], { partitionId: "0" });
const batch = await producer.createBatch({ partitionId: "0" });
assert(batch.maxSizeInBytes > 0);
for (const body of ["one", { two: 2 }, "three"]) assert(batch.tryAdd({ body }));
await producer.sendBatch(batch);
const full = await producer.getPartitionProperties("0");
assert.deepEqual([full.isEmpty, full.beginningSequenceNumber, full.lastEnqueuedSequenceNumber], [false, 0, 3]);
assert(Math.abs(full.lastEnqueuedOnUtc.getTime() - Date.now()) < 60_000);

// What an event tells, and where to begin.
const all = read("0", earliestEventPosition, 4, { trackLastEnqueuedEventProperties: true });
const events = await all.promise;
await all.subscription.close();
assert.deepEqual(events.map(({ body }) => body), ["zero", "one", { two: 2 }, "three"]);
assert.deepEqual(events.map(({ sequenceNumber }) => sequenceNumber), [0, 1, 2, 3]);
const [zero, one] = events;
assert.deepEqual([zero.properties, zero.messageId], [{ colour: "red" }, "m0"]);
assert(zero.enqueuedTimeUtc instanceof Date);
assert.deepEqual(await bodies("0", { offset: one.offset }, 2), [{ two: 2 }, "three"]);
assert.deepEqual(await bodies("0", { offset: one.offset, isInclusive: true }, 3), ["one", { two: 2 }, "three"]);
assert.deepEqual(await bodies("0", { sequenceNumber: 2 }, 1), ["three"]);
assert.deepEqual(await bodies("0", { enqueuedOn: zero.enqueuedTimeUtc.getTime() - 1 }, 4), [
  "zero",
  "one",
  { two: 2 },
  "three",
]);

// By key: all of one key in the same partition, told with each event.
for (const body of ["k1", "k2"]) await producer.sendBatch([{ body }], { partitionKey: "customer-7" });
const counts = [];
for (const id of ["0", "1"]) counts.push((await producer.getPartitionProperties(id)).lastEnqueuedSequenceNumber);
assert(counts.join() === "5,-1" || counts.join() === "3,1", counts.join());
const keyed = read(counts[0] === 5 ? "0" : "1", { sequenceNumber: counts[0] === 5 ? 3 : -1 }, 2);
assert.deepEqual((await keyed.promise).map(({ partitionKey }) => partitionKey), ["customer-7", "customer-7"]);
await keyed.subscription.close();

// The higher owner takes the partition, the lower one is refused.
const clients = [1, 0, 2].map((ownerLevel) => {
  const client = new EventHubConsumerClient("$Default", connectionString, "events", options);
  return { client, own: () => read("0", earliestEventPosition, 4, { ownerLevel }, client) };
});
const [middle, lower, higher] = clients;
const holder = middle.own();
await holder.promise;
assert.equal((await lower.own().error).code, "ReceiverDisconnectedError");
assert((await higher.own().promise).length >= 4);
assert.equal((await holder.error).code, "ReceiverDisconnectedError");
for (const { client } of clients) await client.close();

// All partitions, and what does not exist.
for (const id of ["0", "1"]) await producer.sendBatch([{ body: `last of ${id}` }], { partitionId: id });
const seen = new Set();
const { promise, resolve, reject } = Promise.withResolvers();
const everywhere = consumer.subscribe({
  processEvents: (found, { partitionId }) => {
    for (const { body } of found) seen.add(`${partitionId} ${body}`);
    if (seen.has("0 last of 0") && seen.has("1 last of 1")) resolve();
    return Promise.resolve();
  },
  processError: (error) => Promise.resolve(reject(error)),
}, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 });
await promise;
await everywhere.close();
await assert.rejects(producer.getPartitionProperties("9"), { code: "MessagingEntityNotFoundError" });
await assert.rejects(producer.sendBatch([{ body: "lost" }], { partitionId: "9" }), /no such event hub/);
const nowhere = new EventHubProducerClient(connectionString, "none", options);
await assert.rejects(nowhere.getEventHubProperties());
await nowhere.close();
await producer.close();
await consumer.close();
