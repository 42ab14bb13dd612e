/**
 * This package in workerd without Node compatibility: as a client of an outside broker, and as a server of outside clients.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { AmqpError, condition, connect, plain, TransportError } from "../../mod.ts";
import { startBroker } from "../broker_server.ts";
import { bundle } from "../bundle.ts";
import { test } from "../harness.ts";
import type { Report, Task } from "./worker.ts";
import { startWorker, type Worker } from "./workerd.ts";
import type { WorkerConfig } from "./workerd_host.ts";

const config: WorkerConfig = {
  code: bundle(`export * from "./tests/edge/worker.ts"; export { default } from "./tests/edge/worker.ts";`).code,
  durableObjects: { HUB: "Hub" },
};

async function perform(worker: Worker, task: Task, body = ""): Promise<Report> {
  const url = new URL(`/task?${new URLSearchParams({ ...task })}`, worker.url);
  const response = await fetch(url, { method: "POST", body });
  return await response.json();
}

test("workerd: a worker publishes, receives and makes a request", async () => {
  await using broker = await startBroker();
  await using worker = await startWorker(config);
  const { url } = broker;

  assertEquals(await perform(worker, { call: "publish", url, address: "orders" }, "one coffee"), { done: "accepted" });
  assertEquals(await perform(worker, { call: "receive", url, address: "orders" }), { done: "one coffee" });

  await using connection = await connect(url);
  const served = connection.receiver("sums").serve(async ({ message }) => {
    const sum = message.text().split("+").reduce((sum, n) => sum + Number(n), 0);
    await connection.sender(message.properties!.replyTo!).send({
      body: `${sum}`,
      properties: { correlationId: message.properties!.messageId },
    });
  });
  assertEquals(await perform(worker, { call: "request", url, address: "sums" }, "1+2+3"), { done: "6" });
  await connection.close();
  await served;
});

test("workerd: a worker learns why it is refused", async () => {
  await using broker = await startBroker();
  await using worker = await startWorker(config);
  const task: Task = { call: "publish", url: broker.url, address: "orders" };

  const wrongPassword = await perform(worker, { ...task, url: broker.url.replace("secret", "wrong") });
  assertEquals([wrongPassword.error, wrongPassword.code], ["AmqpError", condition.unauthorizedAccess]);
  const wrongSubprotocol = await perform(worker, { ...task, subprotocol: "mqtt" });
  assertEquals([wrongSubprotocol.code, wrongSubprotocol.status], ["handshake-failed", 400]);
  const wrongPath = await perform(worker, { ...task, url: new URL("/nowhere", worker.url).href.replace("http", "ws") });
  assertEquals([wrongPath.code, wrongPath.status], ["handshake-failed", 404]);
  await broker[Symbol.asyncDispose]();
  const nobody = await perform(worker, task);
  assertEquals(nobody.code, "connect-failed");
});

test("workerd: a connection is timed by its own request, whichever other ends", async () => {
  await using worker = await startWorker(config);
  const url = new URL("/amqp", worker.url).href.replace("http", "ws");
  // The two connect, and do not say a word.
  const [first, second] = await Promise.all([1, 2].map(() =>
    new Promise<WebSocket>((resolve, reject) => {
      const socket = new WebSocket(url, "amqp");
      socket.onopen = () => resolve(socket);
      socket.onerror = () => reject(new Error("refused"));
    })
  ));
  const ended = [first!, second!].map((socket) => new Promise((resolve) => socket.onclose = resolve));
  first!.close();
  await Promise.all(ended);
});

test("workerd: a worker accepts connections", async () => {
  await using worker = await startWorker(config);
  const url = new URL("/amqp", worker.url).href.replace("http", "ws");

  await using connection = await connect(url, { auth: plain("guest", "welcome") });
  const [first, second] = await Promise.all([
    connection.request("greetings", { body: "Ada" }),
    connection.request("greetings", { body: "Grace".repeat(50_000) }),
  ]);
  assertEquals(first.text(), "Hello, Ada");
  assertEquals(second.text().length, "Hello, ".length + 250_000);
  const error = await assertRejects(() => connection.receiver("nowhere").receive(), AmqpError);
  assertEquals([error.condition, error.remote], [condition.notFound, true]);

  await assertRejects(() => connect(url, { auth: plain("guest", "wrong") }), AmqpError, "auth");
  await assertRejects(() => connect(url, { subprotocols: ["mqtt"] }), TransportError);
  await assertRejects(() => connect(new URL("/nowhere", url)), TransportError);
});

test("workerd: a broker in a Durable Object joins those who connect, as many as it takes", async () => {
  await using worker = await startWorker(config);
  const url = new URL("/hub", worker.url).href.replace("http", "ws");
  await using consumer = await connect(url);
  const received = consumer.receiver("orders").receive();
  await using producer = await connect(url);
  const sent = producer.sender("orders").send({ body: "one coffee" });
  const delivery = await received;
  delivery.accept();
  assertEquals(delivery.message.text(), "one coffee");
  assertEquals(await sent, { kind: "accepted" });
  const third = await assertRejects(() => connect(url), TransportError);
  assertEquals(third.closeCode, 1013);
});
