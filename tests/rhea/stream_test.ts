import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import rhea from "rhea";
import { connect, type Delivery, type FrameTrace } from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, rheaClient, type RheaMessage, rheaServer, sendAll } from "./rhea.ts";

const SIZE = 20_000_000;

function file(): RheaMessage {
  const body = rhea.message.data_section(Buffer.alloc(SIZE, "0123456789"));
  return { subject: "backup", body, footer: { "x-opt-sum": "none" } };
}

// Checks each byte, and that no more than the window has come beyond what was read.
async function read(delivery: Delivery, payloads: readonly number[]): Promise<number> {
  let [length, most] = [0, 0];
  for await (const part of delivery.stream()) {
    for (let i = 0; i < part.length; i++) if (part[i] !== 48 + (length + i) % 10) return NaN;
    length += part.length;
    most = Math.max(most, payloads.reduce((sum, bytes) => sum + bytes, 0) - length);
    // The sender fills the window again and again.
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert(most < 4_000_000, `${most} bytes were held`);
  return length;
}

function counted(): { payloads: number[]; trace(frame: FrameTrace): void } {
  const payloads: number[] = [];
  return { payloads, trace: ({ direction, payloadBytes }) => direction === "in" && payloads.push(payloadBytes) };
}

test("a message of 20 MB of a rhea server is read as it arrives, and held back where it is not", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, [file()]));
  const accepted = new Promise((resolve) => server.container.on("accepted", resolve));
  const { payloads, trace } = counted();
  await using connection = await connect(server.url, { trace });
  const delivery = await connection.receiver("files", { stream: true }).receive();
  assertEquals(delivery.message.properties?.subject, "backup");
  assertEquals(await read(delivery, payloads), SIZE);
  assertEquals(delivery.message.footer, { "x-opt-sum": "none" });
  delivery.accept();
  await accepted;
});

test("a message of 20 MB of a rhea client is read by a server as it arrives, and held back where it is not", async () => {
  const { payloads, trace } = counted();
  let length: number | undefined;
  await using server = await acceptorServer({
    trace,
    onReceiver: (request) =>
      void request.accept({ stream: true }).serve(async (delivery) => {
        length = await read(delivery, payloads);
      }),
  });
  await using client = await rheaClient(server.url);
  const sender = client.connection.open_sender("files");
  const accepted = new Promise((resolve) => sender.on("accepted", resolve));
  sendAll(sender, [file()]);
  await accepted;
  assertEquals(length, SIZE);
});
