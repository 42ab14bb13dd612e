import { assert } from "@std/assert";
import { connect } from "../../mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import type { PausableChannel } from "../../src/transport/socket/socket.ts";
import { test } from "../harness.ts";

/** An AMQP server that no longer reads, nor answers, once `freeze` is called. */
async function freezing(): Promise<AsyncDisposable & { port: number; freeze(): void }> {
  const channels: PausableChannel[] = [];
  const server = acceptor({});
  const listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: (channel, info) => {
      channels.push(channel);
      server.accept(channel, info);
    },
  });
  return {
    port: listener.port,
    freeze: () => channels.forEach((channel) => channel.pause()),
    [Symbol.asyncDispose]: async () => {
      for (const channel of channels) channel.close(1001, "", 0);
      await listener.close();
    },
  };
}

for (const [scheme, transport] of [["ws", "websocket"], ["ws", "socket"], ["amqp", "socket"]] as const) {
  // Half a second of grace above what was asked for, a tenth of what the defaults take.
  test(`close: ${scheme} over ${transport}: timeoutMs bounds AMQP's goodbye and the carrier's`, async () => {
    await using server = await freezing();
    const connection = await connect(`${scheme}://127.0.0.1:${server.port}`, { transport });
    server.freeze();
    const start = performance.now();
    await connection.close({ timeoutMs: 50 });
    assert(performance.now() - start < 1_000);
  });

  test(`close: ${scheme} over ${transport}: limits.closeTimeoutMs does so without it`, async () => {
    await using server = await freezing();
    const limits = { closeTimeoutMs: 50 };
    const connection = await connect(`${scheme}://127.0.0.1:${server.port}`, { transport, limits });
    server.freeze();
    const start = performance.now();
    await connection.close();
    assert(performance.now() - start < 1_000);
  });
}
