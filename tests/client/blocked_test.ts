import { assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { test } from "../harness.ts";
import { start } from "../program.ts";

const IDLE_MS = 100;
// Far longer than a silent peer is given, and the time of a second check.
const BLOCKED_MS = 700;
const LATER_MS = 500;

for (const [scheme, transport] of [["ws", "websocket"], ["ws", "socket"], ["amqp", "socket"]] as const) {
  test(`ATK-37: ${scheme} over ${transport}: a client that was blocked reads the heartbeats that wait before it gives its peer up`, async () => {
    const server = start("tests/client/blocked_server.ts", ["60000"]);
    const port = (await server.lines.next()).value;
    const url = `${scheme}://127.0.0.1:${port}`;
    const connection = await connect(url, { transport, idleTimeOut: IDLE_MS, reconnect: false });
    await connection.send("orders", { body: 1 });
    const end = performance.now() + BLOCKED_MS;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, LATER_MS));
    assertEquals((await connection.send("orders", { body: 2 }))?.kind, "accepted");
    await connection.close();
    await server.end();
  });

  test(`ATK-37: ${scheme} over ${transport}: a server that was blocked does so, too`, async () => {
    const server = start("tests/client/blocked_server.ts", [String(IDLE_MS)]);
    const port = (await server.lines.next()).value;
    const url = `${scheme}://127.0.0.1:${port}`;
    const connection = await connect(url, { transport, reconnect: false });
    await connection.send("orders", { body: 1 });
    server.input.write(`${BLOCKED_MS}\n`);
    assertEquals((await server.lines.next()).value, "1");
    assertEquals((await connection.send("orders", { body: 2 }))?.kind, "accepted");
    await connection.close();
    await server.end();
  });
}
