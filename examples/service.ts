// A service that consumes a queue for months: it reconnects when the broker restarts, and ends in order at SIGTERM.
//
//     deno run -A examples/service.ts ws://user:secret@127.0.0.1:5673     (or bun …, or node …)
import process from "node:process";
import { connect } from "@webamqp/amqp";

const connection = await connect(process.argv[2] ?? "ws://127.0.0.1:5673");
// Receives no further messages, waits for running handlers, then closes the connection; `serve` below returns.
process.on("SIGTERM", () => void connection.drain());
console.log("ready");

await connection.receiver("orders").serve(async (delivery) => {
  await new Promise((resolve) => setTimeout(resolve, 50)); // some work
  console.log(delivery.message.text());
}, { concurrency: 8 });
await connection.closed;
console.log("done");
