/**
 * Runs the examples as their first lines say, against a broker.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { startBroker } from "./broker_server.ts";
import { bundle } from "./bundle.ts";
import { startWorker } from "./edge/workerd.ts";
import { test } from "./harness.ts";
import { start } from "./program.ts";
import { feed } from "../examples/feed.ts";
import { type Channel, connect } from "../mod.ts";
import { Broker } from "../src/broker/broker.ts";
import { listen } from "../src/transport/sockets.ts";

const runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";
const { code } = bundle(`export { default } from "./examples/worker.ts";`);

test(`examples: ${runtime}.ts sends and receives`, async () => {
  await using broker = await startBroker();
  const program = start(`examples/${runtime}.ts`, [broker.url]);
  assertEquals(await program.lines.next(), { value: "one coffee", done: false });
  assertEquals(await program.end(), 0);
});

test("examples: worker.ts publishes what is posted", async () => {
  await using broker = await startBroker();
  await using worker = await startWorker({ code, bindings: { AMQP_URL: broker.url } });
  const response = await fetch(worker.url, { method: "POST", body: "one coffee" });
  assertEquals([response.status, await response.text()], [202, "Accepted\n"]);
  await using connection = await connect(broker.url);
  const delivery = await connection.receiver("orders").receive();
  assertEquals(delivery.message.text(), "one coffee");
  delivery.accept();
});

test("examples: service.ts works a queue off, and ends in order when it is told to", async () => {
  await using broker = await startBroker();
  const connection = await connect(broker.url);
  for (let n = 0; n < 3; n++) await connection.sender("orders").send({ body: `order ${n}` });
  const program = start("examples/service.ts", [broker.url]);
  const lines = [];
  for (let n = 0; n < 4; n++) lines.push((await program.lines.next()).value);
  assertEquals(lines, ["ready", "order 0", "order 1", "order 2"]);
  program.terminate();
  assertEquals(await program.lines.next(), { value: "done", done: false });
  assertEquals(await program.end(), 0);
  await connection.close();
});

test("examples: survive.ts goes on when its broker has gone and come back", async () => {
  let broker = new Broker();
  const options = { host: "127.0.0.1", acceptor: { accept: (channel: Channel) => broker.accept(channel) } };
  const listener = await listen({ ...options, port: 0 });
  const { port } = listener;
  const program = start("examples/survive.ts", [`amqp://127.0.0.1:${port}`]);
  await (await broker.connect()).send("orders", { body: "before" });
  assertEquals(await program.lines.next(), { value: "before", done: false });
  await broker.close();
  await listener.close();
  broker = new Broker();
  await using _again = await listen({ ...options, port });
  await (await broker.connect()).send("orders", { body: "after" });
  assertEquals(await program.lines.next(), { value: "after", done: false });
  program.terminate();
  await program.end();
  await broker.close();
});

test("examples: feed.ts shows what comes, also after an interruption, until its page is left", async () => {
  // A queue keeps messages for the page, a topic would not.
  const broker = new Broker();
  await using listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  let shown: (text: string) => void;
  const page = new AbortController();
  const feeding = feed(`ws://127.0.0.1:${listener.port}`, "prices", (text) => shown(text), page.signal);
  const see = async (wanted: string): Promise<void> => {
    const seen = new Promise<void>((resolve) => shown = (text) => text === wanted && resolve());
    await using publisher = await broker.connect();
    await publisher.send("prices", { body: wanted });
    await seen;
  };
  await see("coffee 3.20");
  broker.faults.cut();
  await see("coffee 3.40");
  page.abort();
  await feeding;
  await broker.close();
});

test("examples: durable_object.ts keeps one connection for all requests", async () => {
  await using broker = await startBroker();
  const { code } = bundle(
    `export * from "./examples/durable_object.ts"; export { default } from "./examples/durable_object.ts";`,
  );
  await using worker = await startWorker({
    code,
    bindings: { AMQP_URL: broker.url },
    durableObjects: { PUBLISHER: "Publisher" },
  });
  const texts = [];
  for (const body of ["one coffee", "one tea"]) {
    texts.push(await (await fetch(worker.url, { method: "POST", body })).text());
  }
  assertEquals(texts, ["1 sent\n", "2 sent\n"]);
});

if (runtime === "bun") {
  test("examples: bun_server.ts publishes what is posted", async () => {
    await using broker = await startBroker();
    const program = start("examples/bun_server.ts", [broker.url]);
    const url = (await program.lines.next()).value;
    const response = await fetch(url, { method: "POST", body: "one coffee" });
    assertEquals([response.status, await response.text()], [202, "accepted\n"]);
    assertEquals(await (await fetch(url)).json(), { connection: "open" });
    program.terminate();
    await program.end();
  });
}

if (runtime === "node") {
  test("examples: a unit test under vitest needs no port", async () => {
    const program = start("node_modules/vitest/vitest.mjs", ["run", "--root", "examples/vitest"]);
    assertEquals(await program.end(), 0);
  });
}
