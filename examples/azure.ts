// deno run --allow-net examples/azure.ts 'Endpoint=sb://…' orders
// Sends a message to a queue of Azure Service Bus, receives it, and completes it; works with the emulator and with
// examples/service_bus.ts as well.
import { connect } from "@webamqp/amqp";
import { azure } from "@webamqp/amqp/azure";
import process from "node:process";

const [connectionString = "", queue = "orders"] = process.argv.slice(2);
const { url, options, entityPath = queue } = azure(connectionString);
await using connection = await connect(url, options);

await connection.sender(entityPath).send({ body: "one coffee", properties: { messageId: crypto.randomUUID() } });

const delivery = await connection.receiver(entityPath, { credit: 1 }).receive();
console.log(delivery.message.body, delivery.message.messageAnnotations?.["x-opt-sequence-number"]);
delivery.accept();
