/**
 * A broker in a process of its own whose event loop can be blocked: `blocked_server.ts IDLE_TIME_OUT` prints its port, and for
 * each number of milliseconds that it reads how many connections are left a while after it was blocked for so long.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { Broker } from "../../src/broker/broker.ts";
import { listen } from "../../src/transport/socket/listen.ts";

const broker = new Broker({ idleTimeOut: Number(process.argv[2]) });
const listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
console.log(listener.port);
for await (const line of createInterface({ input: process.stdin })) {
  const end = performance.now() + Number(line);
  while (performance.now() < end);
  await new Promise((resolve) => setTimeout(resolve, 500));
  console.log(broker.connections.size);
}
process.exit();
