// deno run --allow-net examples/deno.ts ws://user:secret@127.0.0.1:5673
import { connect } from "@webamqp/amqp";

await using connection = await connect(Deno.args[0] ?? "ws://127.0.0.1:5673");
await connection.sender("orders").send({ body: "one coffee" });

for await (const delivery of connection.receiver("orders")) {
  console.log(delivery.message.text());
  delivery.accept();
  break;
}
