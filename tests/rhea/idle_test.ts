import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import type { WebSocket } from "ws";
import { AmqpError, connect, type Connection, type FrameTrace } from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, rheaDial, rheaServer } from "./rhea.ts";

// Long enough that a busy machine does not miss two of its halves, after which the peer closes.
const KEPT_MS = 400;
// Short, since it is to expire; it does after twice this time.
const MISSED_MS = 100;
// The fifth keep-alive comes 2.5 timeouts after the open: a peer that had seen none would have closed by then.
const KEEP_ALIVES = 5;

/** Counts keep-alives of one direction, and resolves when there are enough. */
function keepAlives(direction: "in" | "out"): { trace(frame: FrameTrace): void; enough: Promise<void> } {
  let count = 0;
  let resolve: () => void = () => {};
  const enough = new Promise<void>((settle) => resolve = settle);
  return {
    enough,
    trace(frame): void {
      if (frame.body === undefined && frame.direction === direction && ++count === KEEP_ALIVES) resolve();
    },
  };
}

/** Drops everything that this socket's end would send from now on, as if its program hung. */
function mute(socket: WebSocket): void {
  socket.send = () => {};
}

/** Drops everything that this socket's end receives from now on, as if the other program hung. */
function deafen(socket: WebSocket): void {
  socket.onmessage = () => {};
}

/** Accepts connections, and returns the first one once it is open. */
function firstConnection(): { onConnection(connection: Connection): void; connected: Promise<Connection> } {
  let onConnection: (connection: Connection) => void = () => {};
  const connected = new Promise<Connection>((resolve) => onConnection = resolve);
  return { onConnection, connected };
}

/** Checks the error of a call that waits until our side notices that rhea is silent. */
function assertTimedOut(error: unknown, remote: boolean): void {
  assertInstanceOf(error, AmqpError);
  const { condition, retryable } = error;
  assertEquals([condition, retryable, error.remote], ["amqp:resource-limit-exceeded", true, remote]);
}

test("CON-6: we keep a quiet connection to a rhea server alive as it asked for", async () => {
  await using server = await rheaServer({ idle_time_out: KEPT_MS });
  const { trace, enough } = keepAlives("out");
  await using connection = await connect(server.url, { reconnect: false, trace });
  await enough;
  assertEquals(connection.open, true);
  await connection.sender("q").send({ body: 1 });
});

test("CON-6: a rhea server keeps a quiet connection to us alive as we asked for", async () => {
  await using server = await rheaServer();
  const { trace, enough } = keepAlives("in");
  await using connection = await connect(server.url, { reconnect: false, trace, idleTimeOut: KEPT_MS });
  await enough;
  assertEquals(connection.open, true);
  await connection.sender("q").send({ body: 1 });
});

test("CON-6: our acceptor and a rhea client keep a quiet connection alive as each asked for", async () => {
  const ins = keepAlives("in");
  const outs = keepAlives("out");
  const trace = (frame: FrameTrace) => {
    ins.trace(frame);
    outs.trace(frame);
  };
  await using server = await acceptorServer({ trace, idleTimeOut: KEPT_MS });
  await using client = await rheaClient(server.url, { idle_time_out: KEPT_MS });
  await Promise.all([ins.enough, outs.enough]);
  assertEquals(client.connection.is_open(), true);
});

test("CON-7: a rhea server that falls silent is given up, and all that waits ends with the time-out", async () => {
  await using server = await rheaServer();
  const connection = await connect(server.url, {
    idleTimeOut: MISSED_MS,
    reconnect: false,
    limits: { closeTimeoutMs: 100 },
  });
  const [socket] = server.sockets;
  const waiting = connection.receiver("q").receive().catch((error) => error);
  mute(socket!);
  assertTimedOut(await waiting, false);
  await connection.closed;
  assertTimedOut(connection.error, false);
  await connection.close();
});

test("CON-7: a rhea server that hears nothing more of us closes, and we know why", async () => {
  await using server = await rheaServer({ idle_time_out: MISSED_MS });
  const connection = await connect(server.url, { reconnect: false });
  const [socket] = server.sockets;
  const waiting = connection.receiver("q").receive().catch((error) => error);
  deafen(socket!);
  assertTimedOut(await waiting, true);
  await connection.closed;
  await connection.close();
});

test("CON-7: a rhea client that falls silent is given up by our acceptor, and hears why", async () => {
  const { onConnection, connected } = firstConnection();
  await using server = await acceptorServer({ onConnection, idleTimeOut: MISSED_MS, closeTimeoutMs: 100 });
  await using client = await rheaClient(server.url);
  const failed = once(client.connection, "connection_error");
  mute(client.socket);
  const connection = await connected;
  await connection.closed;
  assertTimedOut(connection.error, false);
  assertEquals(((await failed).connection.error as { condition?: string }).condition, "amqp:resource-limit-exceeded");
});

test("CON-7: a rhea client that hears nothing more of our acceptor closes, and we know why", async () => {
  const { onConnection, connected } = firstConnection();
  await using server = await acceptorServer({ onConnection });
  await using client = await rheaClient(server.url, { idle_time_out: MISSED_MS });
  deafen(client.socket);
  const connection = await connected;
  await connection.closed;
  assertTimedOut(connection.error, true);
});

test("ATK-12: an idle time-out of rhea's that is too short to keep is refused, on either side", async () => {
  await using server = await rheaServer({ idle_time_out: 10 });
  const error = await assertRejects(() => connect(server.url), AmqpError, "idle-time-out");
  assertEquals([error.condition, error.remote], ["amqp:not-allowed", false]);
  await using accepting = await acceptorServer();
  await using client = rheaDial(accepting.url, { username: "anonymous", idle_time_out: 10 });
  const failed = await once(client.connection, "connection_error");
  assertEquals((failed.connection.error as { condition?: string }).condition, "amqp:not-allowed");
});
