// bun examples/bun.ts ws://user:secret@127.0.0.1:5673
import process from "node:process";
import { connect } from "@webamqp/amqp";

await using connection = await connect(process.argv[2] ?? "ws://127.0.0.1:5673");
await connection.sender("orders").send({ body: "one coffee" });

const enough = new AbortController();
await connection.receiver("orders").serve((delivery) => {
  console.log(delivery.message.text());
  enough.abort();
}, { signal: enough.signal });
