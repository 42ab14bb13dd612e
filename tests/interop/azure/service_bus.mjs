// Uses the npm package @azure/service-bus against a stand-in for the service: service_bus.mjs PORT tcp|ws
import assert from "node:assert/strict";
import process from "node:process";
import WebSocket from "ws";

// It is installed where this runs, not where it is checked.
const name = "@azure/service-bus";
const { ServiceBusClient } = await import(name);
const [port, transport] = process.argv.slice(2);
const keys = "SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true";

// The client knows wss: on port 443 only.
class LocalWebSocket extends WebSocket {
  constructor(_url, protocols, options) {
    super(`ws://127.0.0.1:${port}/$servicebus/websocket`, protocols, options);
  }
}

const client = new ServiceBusClient(`Endpoint=sb://127.0.0.1:${port};${keys}`, {
  retryOptions: { maxRetries: 0, timeoutInMs: 10_000 },
  ...transport === "ws" ? { webSocketOptions: { webSocket: LocalWebSocket } } : {},
});
const sender = client.createSender("orders");
const receiver = client.createReceiver("orders");
const bodies = (messages) => messages.map(({ body }) => body);

// One, and a batch.
await sender.sendMessages({ body: "one", applicationProperties: { a: 1 } });
const batch = await sender.createMessageBatch();
for (const body of ["two", "three", "four", "five"]) assert(batch.tryAddMessage({ body }));
await sender.sendMessages(batch);
assert.deepEqual(bodies(await receiver.peekMessages(10)), ["one", "two", "three", "four", "five"]);

// Each way to settle.
const [one, two, three, four, five] = await receiver.receiveMessages(5, { maxWaitTimeInMs: 1_000 });
assert.equal(one.applicationProperties.a, 1);
await receiver.completeMessage(one);
await receiver.abandonMessage(two);
await receiver.deadLetterMessage(three, { deadLetterReason: "bad", deadLetterErrorDescription: "very" });
await receiver.deferMessage(four);
assert((await receiver.renewMessageLock(five)) instanceof Date);
await receiver.completeMessage(five);
const [again] = await receiver.receiveMessages(5, { maxWaitTimeInMs: 1_000 });
assert.deepEqual([again.body, again.deliveryCount], ["two", 1]);
await receiver.completeMessage(again);
const [deferred] = await receiver.receiveDeferredMessages(four.sequenceNumber);
assert.equal(deferred.body, "four");
await receiver.completeMessage(deferred);
const deadLetters = client.createReceiver("orders", { subQueueType: "deadLetter" });
const [dead] = await deadLetters.receiveMessages(1, { maxWaitTimeInMs: 1_000 });
assert.deepEqual([dead.body, dead.deadLetterReason, dead.deadLetterErrorDescription], ["three", "bad", "very"]);
await deadLetters.completeMessage(dead);
await deadLetters.close();
assert.deepEqual(await receiver.peekMessages(10), []);

// Scheduled messages.
await sender.scheduleMessages([{ body: "later" }], new Date(Date.now() + 300));
const [later] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 3_000 });
assert.equal(later.body, "later");
await receiver.completeMessage(later);
const [never] = await sender.scheduleMessages([{ body: "never" }], new Date(Date.now() + 60_000));
await sender.cancelScheduledMessages(never);
assert.deepEqual(await receiver.peekMessages(10), []);

// Sessions.
const talks = client.createSender("talks");
await talks.sendMessages([{ body: "a1", sessionId: "a" }, { body: "b1", sessionId: "b" }, {
  body: "a2",
  sessionId: "a",
}]);
const session = await client.acceptSession("talks", "a");
assert(session.sessionLockedUntilUtc > new Date());
const ofA = await session.receiveMessages(5, { maxWaitTimeInMs: 500 });
assert.deepEqual(bodies(ofA), ["a1", "a2"]);
for (const message of ofA) await session.completeMessage(message);
await session.setSessionState({ n: 1 });
assert.deepEqual(await session.getSessionState(), { n: 1 });
assert((await session.renewSessionLock()) instanceof Date);
await assert.rejects(client.acceptSession("talks", "a"), { code: "SessionCannotBeLocked" });
await session.close();
const next = await client.acceptNextSession("talks");
assert.equal(next.sessionId, "b");
for (const message of await next.receiveMessages(5, { maxWaitTimeInMs: 500 })) await next.completeMessage(message);
await next.close();

// As a stream, and without locks.
await sender.sendMessages([{ body: "s1" }, { body: "s2" }]);
const seen = [];
const stream = client.createReceiver("orders");
await new Promise((resolve, reject) => {
  stream.subscribe({
    processMessage: ({ body }) => {
      if (seen.push(body) === 2) resolve();
      return Promise.resolve();
    },
    processError: ({ error }) => Promise.resolve(reject(error)),
  });
});
assert.deepEqual(seen, ["s1", "s2"]);
await stream.close();
await sender.sendMessages({ body: "gone" });
const taking = client.createReceiver("orders", { receiveMode: "receiveAndDelete" });
assert.deepEqual(bodies(await taking.receiveMessages(1, { maxWaitTimeInMs: 1_000 })), ["gone"]);
await taking.close();
assert.deepEqual(await receiver.peekMessages(10), []);
await client.close();
