/**
 * A broker in a process of its own that may be killed and started again; it keeps nothing.
 *
 * @module
 */

import process from "node:process";
import { Broker } from "../../src/broker/broker.ts";
import { listen } from "../../src/transport/sockets.ts";

const broker = new Broker({ queues: { orders: {} }, sasl: { users: { orders: "secret" }, anonymous: true } });
const { port } = await listen({ host: "127.0.0.1", port: Number(process.argv[2] ?? 0), acceptor: broker });
console.log(port);
