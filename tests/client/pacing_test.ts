import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

// A broker with a small queue, and an endless source that counts what is read of it.
function full() {
  const broker = new Broker({ queues: { orders: { maxMessages: 50 } }, log: null });
  const connection = linkUp(broker, { log: null });
  const source = { taken: 0 };
  function* endless() {
    for (;;) yield { body: ++source.taken };
  }
  return { broker, connection, source, endless };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve));
}

test("ATK-18: a full queue holds sendAll back, and what makes room in it lets as much go on", async () => {
  const { broker, connection, source, endless } = full();
  const sender = connection.sender({ address: "orders", maxInFlight: 20 });
  const all = assertRejects(() => sender.sendAll(endless()), AmqpError);
  await settle();
  const first = source.taken;
  assert(first >= 50 && first <= 50 + 20, `${first} were taken`);
  const receiver = connection.receiver("orders", { credit: 5 });
  for (let i = 0; i < 40; i++) (await receiver.receive()).accept();
  await settle();
  const second = source.taken;
  assert(second >= first + 35 && second <= first + 50, `${second - first} were taken for 40`);
  await connection.close({ timeoutMs: 5 });
  await all;
  await broker.close();
});

test("ATK-18: a full queue holds a writable back", async () => {
  const { broker, connection, source, endless } = full();
  const sender = connection.sender({ address: "orders", maxInFlight: 20 });
  const iterator = endless();
  const readable = new ReadableStream({ pull: (controller) => controller.enqueue(iterator.next().value) });
  const piped = assertRejects(() => readable.pipeTo(sender.writable));
  await settle();
  assert(source.taken >= 50 && source.taken <= 50 + 20 + 3, `${source.taken} were taken`);
  await connection.close({ timeoutMs: 5 });
  await piped;
  await broker.close();
});

test("ATK-18: a receiver whose consumer stops holds no more than its credit, and its sender takes no more", async () => {
  let taken = 0;
  function* endless() {
    for (;;) {
      taken++;
      yield { body: new Uint8Array(10_000) };
    }
  }
  const server = acceptor({
    onSender: (request) => {
      request.accept().sendAll(endless()).catch(() => {});
    },
  });
  const connection = linkUp(server);
  for (const take of [receiveOne, iterateOne, serveOne, readOne]) {
    taken = 0;
    const receiver = connection.receiver("orders", { credit: 8 });
    await take(receiver);
    await settle();
    // One delivery is being handled, the others wait; as many as that were asked for, and no more.
    assertEquals([receiver.buffered, receiver.unsettled, taken], [7, 8, 8], take.name);
    await receiver.close({ timeoutMs: 5 });
  }
  await connection.close({ timeoutMs: 5 });
});

async function receiveOne(receiver: Receiver): Promise<void> {
  await receiver.receive();
}

async function iterateOne(receiver: Receiver): Promise<void> {
  assertEquals((await receiver[Symbol.asyncIterator]().next()).done, false);
}

function serveOne(receiver: Receiver): Promise<void> {
  return new Promise((resolve) => {
    void receiver.serve(() => {
      resolve();
      return new Promise(() => {});
    });
  });
}

async function readOne(receiver: Receiver): Promise<void> {
  assertEquals((await receiver.readable.getReader().read()).done, false);
}
