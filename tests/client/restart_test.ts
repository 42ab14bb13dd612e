import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { listen, type Listener } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";

// Sockets on both sides, and the runtime's own WebSocket.
for (const [scheme, transport] of [["amqp", "auto"], ["ws", "socket"], ["ws", "websocket"]] as const) {
  test(`over real sockets, ${scheme} by ${transport}: consumers and producers survive restarts of the broker`, async () => {
    let broker = new Broker({ queues: { orders: {} } });
    let server: Listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
    const { port } = server;
    const connection = await connect(`${scheme}://127.0.0.1:${port}/`, {
      transport,
      reconnect: { initialDelayMs: 5, maxDelayMs: 50 },
    });
    const seen = new Set<unknown>();
    const serving = connection.receiver("orders", { credit: 4 }).serve(({ message }) => void seen.add(message.body));
    const count = 200;
    let restarts = 0;
    for (let i = 0; i < count; i++) {
      const sending = connection.send("orders", { body: i });
      if (i % 70 === 35) {
        restarts++;
        await server.close();
        await broker.close({ timeoutMs: 10 });
        broker = new Broker({ queues: { orders: {} } });
        server = await listen({ host: "127.0.0.1", port, acceptor: broker });
      }
      await sending;
    }
    // The old broker's messages are lost with it: at most those accepted and not delivered.
    await connection.drain();
    await serving;
    assertEquals([restarts, connection.stats().reconnects >= restarts, connection.state], [3, true, "closed"]);
    assertEquals(count - seen.size <= 3 * 4, true);
    await broker.close();
    await server.close();
  });
}
