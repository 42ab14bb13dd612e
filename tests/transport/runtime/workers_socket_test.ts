import { assertEquals, assertStringIncludes } from "@std/assert";
import { Broker } from "../../../src/broker/broker.ts";
import { listen } from "../../../src/transport/socket/listen.ts";
import { test } from "../../harness.ts";
import { startWorker } from "./workerd.ts";

const WORKER = `
  import { connect } from "./mod.ts";
  import { dialSocket } from "./src/transport/runtime/workers.ts";

  export default {
    async fetch(request) {
      const to = new URL(request.url).searchParams.get("to");
      try {
        const connection = await connect(to, { dial: dialSocket, reconnect: false });
        const body = new Uint8Array(300_000).fill(7);
        await connection.sender("q").send({ body });
        const delivery = await connection.receiver("q").receive();
        delivery.accept();
        const bytes = delivery.message.bytes();
        await connection.close();
        return Response.json([bytes.length, bytes.every((byte) => byte === 7)]);
      } catch (error) {
        return Response.json([error.name, error.code, error.message]);
      }
    },
  };
`;

// Outside of a test; see startWorker.
const seen = await exercise();

async function exercise(): Promise<Record<"exchanged" | "nobody" | "messages", unknown>> {
  const workers = startWorker(WORKER);
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  const listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
  try {
    const http = await workers.ready;
    const from = async (to: string): Promise<unknown> => {
      return await (await fetch(new URL(`/?to=${encodeURIComponent(to)}`, http))).json();
    };
    const exchanged = await from(`amqp://user:secret@127.0.0.1:${listener.port}`);
    return { exchanged, nobody: await from("amqp://127.0.0.1:1"), messages: broker.messages };
  } finally {
    await workers.dispose();
    await broker.close();
    await listener.close();
  }
}

test("workerd: amqp over a socket of cloudflare:sockets, without nodejs_compat", () => {
  assertEquals(seen.exchanged, [300_000, true]);
  assertEquals(seen.messages, 0);
});

test("workerd: a socket that cannot be opened is connect-failed", () => {
  const [name, code, message] = seen.nobody as string[];
  assertEquals([name, code], ["TransportError", "connect-failed"]);
  assertStringIncludes(message!, 'Cannot connect to "127.0.0.1:1": ');
});
