import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { preload } from "../../src/client/preload.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
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

test("a link that is attached at any time of the broker's close is attached at the one that comes back", async () => {
  await preload();
  const environment = new VirtualTime();
  for (let jobs = 0; jobs < 40; jobs++) {
    const broker = new Broker({ environment });
    const dial = (): Channel => {
      const [near, far] = channelPair();
      broker.accept(far);
      return near;
    };
    const connection = await connect("ws://one", { environment, dial, log: null });
    await connection.send("orders", { body: 1 });
    broker.faults.restart({ downMs: 100 }).catch(() => {});
    for (let i = 0; i < jobs; i++) await undefined;
    const sends = ["orders", "others"].map((address) => connection.send(address, { body: 2 }));
    const receiving = connection.receiver("orders").receive();
    await environment.advance(60_000);
    assertEquals((await Promise.all(sends)).map(({ kind }) => kind), ["accepted", "accepted"], `after ${jobs}`);
    (await receiving).accept();
    connection.close();
    broker.close();
    await environment.advance(60_000);
  }
});
