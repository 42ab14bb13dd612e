/**
 * Our client's examples/azure.ts against a side of Service Bus that is written with rhea.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { AddressInfo, Server } from "node:net";
import rhea, { type EventContext, type Message, type Sender } from "rhea";
import { test } from "../harness.ts";
import { start } from "../program.ts";

/** Service Bus as far as examples/azure.ts needs it: tokens at `$cbs`, and one queue that numbers and locks messages. */
function serviceBus(): { listener: Server; heard: string[]; stop: () => void } {
  const heard: string[] = [];
  const container = rhea.create_container();
  const answers = new Map<string, Sender>();
  const tokens = new Set<string>();
  const stored: Message[] = [];
  const readers: Sender[] = [];
  const pump = (): void => {
    for (const reader of readers) {
      while (stored.length > 0 && reader.sendable()) reader.send(stored.shift()!);
    }
  };
  container.on("sender_open", ({ sender }) => {
    const { address } = sender!.source;
    if (address === "$cbs") return void answers.set(sender!.target.address!, sender!);
    if (!tokens.has(address!)) return void sender!.close({ condition: "amqp:unauthorized-access" });
    heard.push(`receive from ${address}`);
    readers.push(sender!);
  });
  container.on("sendable", () => void setImmediate(pump));
  container.on("receiver_open", ({ receiver }) => {
    const { address } = receiver!.target;
    if (address !== "$cbs" && !tokens.has(address!)) receiver!.close({ condition: "amqp:unauthorized-access" });
  });
  container.on("message", ({ message, receiver }: EventContext) => {
    if (receiver!.target.address !== "$cbs") {
      heard.push(`message ${message!.body}`);
      const annotations = { "x-opt-sequence-number": rhea.types.wrap_long(stored.length + 1) };
      stored.push({ ...message!, message_annotations: annotations });
      return void setImmediate(pump);
    }
    const { operation, type, name } = message!.application_properties!;
    heard.push(`${operation} ${type} ${name}`);
    tokens.add(new URL(name).pathname.slice(1));
    answers.get(message!.reply_to!)!.send({
      body: "",
      correlation_id: message!.message_id,
      application_properties: { "status-code": 202, "status-description": "Accepted" },
    });
  });
  container.on("accepted", ({ sender }) => void (sender!.source.address === "$cbs" || heard.push("completed")));
  container.on("disconnected", () => {});
  const listener = container.listen({ port: 0, host: "127.0.0.1" });
  return { listener, heard, stop: () => void listener.close() };
}

test("CBS-1, CBS-2: examples/azure.ts puts its tokens to, sends to and receives from a Service Bus of rhea", async () => {
  const { listener, heard, stop } = serviceBus();
  await new Promise<void>((resolve) => listener.once("listening", () => resolve()));
  const { port } = listener.address() as AddressInfo;
  const program = start("examples/azure.ts", [
    `Endpoint=sb://127.0.0.1:${port};SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true`,
  ]);
  const { value } = await program.lines.next();
  assertEquals([value, await program.end()], ["one coffee 1n", 0]);
  const [put, ...rest] = heard;
  assertEquals(put, "put-token servicebus.windows.net:sastoken sb://127.0.0.1/orders");
  assertEquals(rest, ["message one coffee", "receive from orders", "completed"]);
  stop();
});
