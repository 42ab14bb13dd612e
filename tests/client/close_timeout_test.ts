import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, publish } from "../../mod.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import type { PausableChannel } from "../../src/transport/socket/socket.ts";
import { test } from "../harness.ts";
import { bareServer, silent } from "../transport/bare.ts";

/** An AMQP server that stops reading and answering once `freeze` is called. */
async function freezing(
  options: AcceptorOptions = {},
): Promise<AsyncDisposable & { port: number; freeze(): void; left(): number }> {
  const channels: PausableChannel[] = [];
  const server = acceptor(options);
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
    left: () => listener.counters.connections,
    freeze: () => channels.forEach((channel) => channel.pause()),
    [Symbol.asyncDispose]: async () => {
      for (const channel of channels) channel.close(1001, "", 0);
      await listener.close();
    },
  };
}

test("close, publish: over TCP nothing waits for a server that answers the close and keeps its socket", async () => {
  const ends: (() => void)[] = [];
  const server = acceptor({ onReceiver: (request) => request.accept().serve(() => {}) });
  const listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: (channel, info) => {
      ends.push(channel.close.bind(channel, 1000, "", 0));
      channel.close = () => {};
      server.accept(channel, info);
    },
  });
  const url = `amqp://127.0.0.1:${listener.port}`;
  const limits = { closeTimeoutMs: 600_000 };
  assertEquals(await publish(url, "orders", { body: 1 }, { limits }), { kind: "accepted" });
  const connection = await connect(url, { limits });
  await connection.close();
  assertEquals([connection.state, ends.length], ["closed", 2]);
  for (const end of ends) end();
  await listener.close();
});

for (const [scheme, transport] of [["ws", "websocket"], ["ws", "socket"], ["amqp", "socket"]] as const) {
  // Half a second more than asked for, a tenth of what the defaults take.
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

  test(`close: ${scheme} over ${transport}: limits.closeTimeoutMs bounds the answers about links and sessions, too`, async () => {
    await using server = await freezing({ onReceiver: (request) => void request.accept() });
    const limits = { closeTimeoutMs: 50 };
    const connection = await connect(`${scheme}://127.0.0.1:${server.port}`, { transport, limits });
    const session = connection.session();
    const senders = [connection.sender("a"), session.sender("b"), connection.sender("c")];
    for (const sender of senders) await sender.ready();
    server.freeze();
    const start = performance.now();
    await senders[2].close();
    await session.close();
    await connection.close();
    assert(performance.now() - start < 2_000);
  });

  test(`close: ${scheme} over ${transport}: a second call ends the first within its own timeoutMs`, async () => {
    await using server = await freezing({ onReceiver: (request) => void request.accept() });
    const connection = await connect(`${scheme}://127.0.0.1:${server.port}`, { transport });
    const session = connection.session();
    const [sender, other] = [connection.sender("a"), session.sender("b")];
    await Promise.all([sender.ready(), other.ready()]);
    server.freeze();
    const start = performance.now();
    const first = [sender.close(), session.close()];
    await Promise.all([sender.close({ timeoutMs: 50 }), session.close({ timeoutMs: 50 })]);
    await Promise.all(first);
    first.push(connection.close());
    await connection.close({ timeoutMs: 50 });
    await Promise.all(first);
    assert(performance.now() - start < 2_000);
    assertEquals([sender.open, session.open, connection.state], [false, false, "closed"]);
  });

  test(`publish: ${scheme} over ${transport}: timeoutMs bounds the whole, down to the socket, whatever the server leaves out`, async () => {
    // This server answers nothing, not even the transport's handshake.
    await using mute = await bareServer(silent);
    const times = { transport, timeoutMs: 200, limits: { closeTimeoutMs: 50 } } as const;
    let start = performance.now();
    await assertRejects(() => publish(`${scheme}://127.0.0.1:${mute.port}`, "orders", { body: 1 }, times));
    assert(performance.now() - start < 2_000);
    for (const socket of mute.sockets) socket.end();
    await mute.gone(mute.sockets.length);
    // This server accepts the link and gives no credit.
    await using dry = await freezing({ onReceiver: (request) => void request.accept({ credit: 0 }) });
    start = performance.now();
    await assertRejects(() => publish(`${scheme}://127.0.0.1:${dry.port}`, "orders", { body: 1 }, times));
    assert(performance.now() - start < 2_000);
    while (dry.left() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    // This server accepts the message, and reads nothing after it.
    const deaf = await freezing({
      onReceiver: (request) => void request.accept({ credit: 1 }).serve(() => deaf.freeze()),
    });
    start = performance.now();
    // What it accepts may take its time on a machine that is busy; the close after it is bounded by its own limit.
    const long = { ...times, timeoutMs: 60_000 };
    const outcome = await publish(`${scheme}://127.0.0.1:${deaf.port}`, "orders", { body: 1 }, long);
    assertEquals([outcome?.kind, performance.now() - start < 20_000], ["accepted", true]);
    await deaf[Symbol.asyncDispose]();
  });
}
