/**
 * The front page's demo: a broker in the page, a client that speaks to it, and the viewer with their frames.
 *
 * @module
 */

/// <reference lib="dom" />

import { connect, type Connection, type Message, type Sender } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { jsonLines } from "../../src/trace/writer.ts";
import { channelPair } from "../../src/transport/pair.ts";

const frame = document.querySelector<HTMLIFrameElement>("#viewer")!;
const state = document.querySelector<HTMLOutputElement>("#state")!;
// Beyond that, the page would only grow.
const MOST_LINES = 20_000;

const lines: string[] = [];
let received = 0;
let showing = false;

function show(): void {
  if (showing) return;
  showing = true;
  setTimeout(() => {
    showing = false;
    frame.contentWindow?.postMessage({ trace: lines.join("") }, "*");
  }, 100);
}

async function start(): Promise<{ connection: Connection; orders: Sender }> {
  const broker = new Broker({ queues: { failed: {} }, queue: { deadLetter: "failed" } });
  const [client, server] = channelPair();
  broker.accept(server);
  const trace = jsonLines((line) => {
    if (lines.length < MOST_LINES) lines.push(line);
    show();
  }, { title: "in this page" });
  const connection = await connect(client, { trace });
  void connection.receiver("orders", { credit: 20 }).serve((delivery) => {
    received++;
    if (delivery.message.body === "bad") {
      delivery.reject({ condition: "amqp:not-allowed", description: "no such coffee" });
    }
  });
  void connection.receiver("shout").serve(async ({ message }) => {
    const { replyTo, messageId } = message.properties ?? {};
    if (replyTo === undefined) return;
    await connection.sender(replyTo).send({
      body: message.text().toUpperCase(),
      properties: { correlationId: messageId },
    });
  });
  return { connection, orders: connection.sender("orders") };
}

const page = document.querySelector("#viewer-page")!.textContent!;
frame.srcdoc = new TextDecoder().decode(Uint8Array.from(atob(page), (letter) => letter.charCodeAt(0)));
frame.onload = show;
const { connection, orders } = await start();

function on(id: string, work: () => Promise<string>): void {
  document.getElementById(id)!.onclick = async () => {
    try {
      state.textContent = await work();
    } catch (error) {
      state.textContent = (error as Error).message;
    }
  };
}

const send = (message: Message): Promise<unknown> => orders.send(message);
on("one", async () => {
  await send({ body: "one coffee" });
  return `sent and accepted, ${received} received`;
});
on("hundred", async () => {
  const start = performance.now();
  await Promise.all(Array.from({ length: 100 }, (_, i) => send({ body: `coffee ${i}` })));
  return `100 sent and accepted in ${(performance.now() - start).toFixed(1)} ms, ${received} received`;
});
on("reject", async () => {
  await send({ body: "bad" });
  return "the broker accepted it; its consumer rejected it: see the faults below";
});
on("request", async () => `answer: ${(await connection.request("shout", { body: "one coffee" })).text()}`);
state.textContent = "connected";
