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
import { connect } from "../mod.ts";

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
