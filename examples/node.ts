// node examples/node.ts ws://user:secret@127.0.0.1:5673
import process from "node:process";
import { connect } from "@webamqp/amqp";

// From Node 24 on, `await using connection = await connect(…)` closes it at the end of the block.
const connection = await connect(process.argv[2] ?? "ws://127.0.0.1:5673");
try {
  await connection.sender("orders").send({ body: "one coffee" });
  const delivery = await connection.receiver("orders").receive();
  console.log(delivery.message.text());
  delivery.accept();
} finally {
  await connection.close();
}
