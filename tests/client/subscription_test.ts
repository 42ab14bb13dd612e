/**
 * Receivers that begin before what they receive with is loaded, on copies of the module that have nothing of it yet.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { encodeBase64 } from "@std/encoding";
import type * as Wait from "../../src/base/wait.ts";
import type * as Connecting from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type * as Late from "../../src/client/subscription.ts";
import type * as Accepting from "../../src/server/acceptor.ts";
import type * as Pair from "../../src/transport/pair.ts";
import { bundle } from "../bundle.ts";
import { test } from "../harness.ts";

type Copy =
  & Pick<typeof Wait, "part">
  & Pick<typeof Connecting, "openOver">
  & Pick<typeof Accepting, "acceptor">
  & Pick<typeof Pair, "channelPair">
  & { late: typeof Late };

const { code } = bundle(`
  export { part } from "./src/base/wait.ts";
  export { openOver } from "./src/client/connect.ts";
  export * as late from "./src/client/subscription.ts";
  export { acceptor } from "./src/server/acceptor.ts";
  export { channelPair } from "./src/transport/pair.ts";
`);
let copies = 0;

interface World {
  readonly connection: Connection;
  /** Lets the part be loaded, or fail to. */
  load(error?: Error): void;
}

/** A connection whose peer has three messages for every receiver, in a copy of the module that waits for `load`. */
async function world(): Promise<World> {
  const source = encodeBase64(new TextEncoder().encode(`${code}//${++copies}`));
  const { part, openOver, acceptor, channelPair, late } = await import(`data:text/javascript;base64,${source}`) as Copy;
  const { promise, resolve, reject } = Promise.withResolvers<typeof Late>();
  part("receiving", () => promise).catch(() => {});
  const [client, accepted] = channelPair();
  acceptor({
    onSender: (request) => {
      const sender = request.accept();
      for (const body of [1, 2, 3]) sender.send({ body }).catch(() => {});
    },
  }).accept(accepted);
  const connection = openOver(client, undefined, { log: null });
  await connection.ready();
  return { connection, load: (error) => error === undefined ? resolve(late) : reject(error) };
}

test("subscription: calls of a receiver that is not loaded wait for it, in order", async () => {
  const { connection, load } = await world();
  const orders = connection.receiver("orders", { credit: 2 });
  const taken = [orders.receive(), orders.receive()];
  const loop = orders[Symbol.asyncIterator]();
  const third = loop.next();
  const manual = connection.receiver("bills", { credit: "manual" });
  manual.grant(1);
  const streamed = manual.readable.getReader().read();
  const handled: unknown[] = [];
  const jobs = connection.receiver("jobs");
  const serving = jobs.serve(({ message }) => handled.push(message.body) === 3 && jobs.stop());
  const batch = connection.receiver("batch").receiveBatch(3, { waitMs: 10_000 });
  assertEquals([orders.credit, orders.buffered, orders.unsettled, orders.address, manual.isManual], [
    0,
    0,
    0,
    "orders",
    true,
  ]);
  load();
  const deliveries = await Promise.all(taken);
  for (const delivery of deliveries) delivery.accept();
  const { value } = await third;
  assertEquals([...deliveries, value!].map(({ message }) => message.body), [1, 2, 3]);
  await loop.return();
  assertEquals([orders.open, value!.outcome?.kind], [false, "modified"]);
  assertEquals((await streamed).value!.message.body, 1);
  assertEquals(manual.credit, 0);
  await serving;
  assertEquals(handled, [1, 2, 3]);
  assertEquals((await batch).map(({ message }) => message.body), [1, 2, 3]);
  await connection.close();
});

test("subscription: nothing waits for the load once a receiver is closed, lost or called off", async () => {
  const { connection } = await world();
  const receiver = connection.receiver("orders");
  const waits = [receiver.receive(), receiver.drain(), receiver.receiveBatch(1), receiver.ready()];
  const loop = receiver.values();
  const [next, serving] = [loop.next(), receiver.serve(() => {})];
  const off = new AbortController();
  const called = receiver.receive({ signal: off.signal });
  off.abort(new Error("enough"));
  await assertRejects(() => called, Error, "enough");
  await receiver.close();
  for (const wait of waits) await assertRejects(() => wait, Error, 'receiver of "orders"');
  assertEquals([await next, await loop.return(), await serving], [
    { done: true, value: undefined },
    { done: true, value: undefined },
    undefined,
  ]);
  await assertRejects(() => receiver.receive(), Error, "is closed");
  await assertRejects(() => receiver.values().next(), Error, "is closed");
  const lost = connection.receiver("orders");
  const [read, step] = [lost.receive(), lost.values().next()];
  connection.destroy(new Error("line cut"));
  for (const wait of [read, step]) await assertRejects(() => wait, Error, "line cut");
});

test("subscription: a load that fails ends the receiver, and the next one loads again", async () => {
  const { connection, load } = await world();
  const receiver = connection.receiver("orders");
  const read = receiver.receive();
  load(new TypeError("Failed to fetch"));
  await assertRejects(() => read, TypeError, "Failed to fetch");
  assert(!receiver.open);
  const again = await connection.receiver("orders").receive();
  assertEquals(again.message.body, 1);
  await connection.close();
});
