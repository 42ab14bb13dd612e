import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { Miniflare } from "miniflare";
import { TransportError } from "../../../src/base/errors.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { dialSocket } from "../../../src/transport/runtime/workers.ts";
import { listen } from "../../../src/transport/socket/listen.ts";
import { test } from "../../harness.ts";

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

// Outside of a test, because esbuild and miniflare keep threads and timers that deno would take for leaks of that test.
const seen = await exercise();

async function exercise(): Promise<Record<"exchanged" | "nobody" | "messages", unknown>> {
  const { outputFiles } = buildSync({
    stdin: { contents: WORKER, resolveDir: fileURLToPath(new URL("../../../", import.meta.url)) },
    bundle: true,
    format: "esm",
    target: "esnext",
    write: false,
  });
  const workers = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.js", contents: outputFiles[0].text }],
    compatibilityDate: "2026-04-01",
    host: "127.0.0.1",
  });
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

test("workers: outside of Workers sockets are not supported, and options for others are refused", async () => {
  const error = await assertRejects(() => dialSocket("amqp://127.0.0.1:1"), TransportError);
  assertEquals(error.code, "not-supported");
  await assertRejects(() => dialSocket("ws://127.0.0.1:1"), TypeError, "URL");
  await assertRejects(() => dialSocket("amqp://127.0.0.1:1", { proxy: "http://x" }), TypeError, '"proxy"');
});
