// deno run -A examples/survive.ts amqp://127.0.0.1:5672
// A consumer that survives a restart of its broker: messages that it was processing when the broker stopped come again.
import process from "node:process";
import { connect } from "@webamqp/amqp";

await using connection = await connect(process.argv[2] ?? "amqp://127.0.0.1:5672", { reconnect: { initial: true } });
await connection.receiver("orders").serve(({ message }) => console.log(message.text()));
