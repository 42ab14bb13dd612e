/**
 * The npm package `ws`, run by Node, as server of our client and as client of our listener.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { concat } from "@std/bytes";
import { HOST } from "./daemon.ts";
import type { Ended } from "./ours/sockets.ts";
import { isPattern, pattern } from "./pattern.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const MIB = 1_048_576;
const CLOSES = [[1000, ""], [1001, "going"], [1011, "\u00e9"], [3000, "x".repeat(123)], [4999, "y"]] as const;

/** Runs a test on the socket of `ws`, while our side obeys, see `ours/sockets.ts`; `ended` is our side's end. */
type Use = (socket: WebSocket, ended: Promise<Ended>) => Promise<void>;
type Join = (use: Use, maxMessageBytes?: number) => Promise<void>;

/** Starts our sides; sockets are made by the checks. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const { version } = createRequire(import.meta.url)("ws/package.json") as { version: string };
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return Promise.resolve({
      peer: `ws ${version}`,
      checks: onEach(runtimes, (runtime) => ({
        ...frameChecks("server", (use, max) => asServer(runtime, use, max)),
        ...frameChecks("client", (use, max) => asClient(runtime, use, max)),
        ...refusals(runtime),
      })),
    });
  });
}

function frameChecks(role: string, join: Join): Suite["checks"] {
  return {
    [`${role}: binary messages of all length forms`]: () =>
      join(async (socket, ended) => {
        for (const size of [1, 125, 126, 65_535, 65_536, 300_000]) {
          socket.send(pattern(size));
          assert(isPattern(concat(await messages(socket, size)), size), `${size} bytes differ`);
        }
        await leave(socket, ended);
      }),
    [`${role}: 16 MiB in one message, back in many`]: () =>
      join(async (socket, ended) => {
        socket.send(pattern(16 * MIB));
        assert(isPattern(concat(await messages(socket, 16 * MIB)), 16 * MIB));
        await leave(socket, ended);
      }),
    [`${role}: 16 MiB from us in one message`]: () =>
      join(async (socket, ended) => {
        socket.send(bytes(`!send ${16 * MIB}`));
        const [message] = await messages(socket, 16 * MIB);
        assert(isPattern(message, 16 * MIB));
        await leave(socket, ended);
      }, 16 * MIB),
    [`${role}: our bytes are cut at 65,535`]: () =>
      join(async (socket, ended) => {
        socket.send(bytes("!send 200000"));
        const sizes = (await messages(socket, 200_000)).map(({ length }) => length);
        assertEquals(sizes, [65_535, 65_535, 65_535, 3_395]);
        await leave(socket, ended);
      }),
    [`${role}: fragments with pings between them`]: () =>
      join(async (socket, ended) => {
        const pong = once(socket, "pong");
        const whole = pattern(200_000);
        for (let i = 0; i < 200; i++) {
          socket.send(whole.subarray(i * 1_000, (i + 1) * 1_000), { fin: i === 199 });
          if (i === 100) socket.ping("between");
        }
        assert(isPattern(concat(await messages(socket, 200_000)), 200_000));
        assertEquals(String((await pong)[0]), "between");
        await leave(socket, ended);
      }),
    [`${role}: pings of 0 and 125 bytes, a pong unasked`]: () =>
      join(async (socket, ended) => {
        for (const payload of ["", "x".repeat(125)]) {
          socket.pong("unasked");
          socket.ping(payload);
          assertEquals(String((await once(socket, "pong"))[0]), payload);
        }
        await leave(socket, ended);
      }),
    [`${role}: text and a torn message end it`]: async () => {
      await join(async (socket) => {
        socket.send("text");
        assertEquals((await closeOf(socket)).code, 1003);
      });
      await join(async (socket, ended) => {
        socket.send(pattern(10), { fin: false });
        socket.terminate();
        assertEquals((await ended).code, 1006);
      });
    },
    [`${role}: close codes both ways`]: async () => {
      for (const [code, reason] of CLOSES) {
        await join(async (socket, ended) => {
          const closed = closeOf(socket);
          socket.close(code, reason);
          assertEquals(await ended, { code, reason });
          assertEquals((await closed).code, code);
        });
        await join(async (socket, ended) => {
          const closed = closeOf(socket);
          socket.send(bytes(`!close ${code} ${reason}`));
          assertEquals(await closed, { code, reason });
          assertEquals((await ended).code, code);
        });
      }
      await join(async (socket, ended) => {
        socket.close();
        assertEquals((await ended).code, 1005);
      });
    },
  };
}

function refusals(runtime: Runtime): Suite["checks"] {
  return {
    "server: refusal is told with its status": async () => {
      const server = await startServer({ verifyClient: (_info, done) => done(false, 403, "no entry") });
      const { code, status } = await runtime.call("failure", { url: urlOf(server), options: { transport: "socket" } });
      server.close();
      assertEquals([code, status], ["handshake-failed", 403]);
    },
    "server: no subprotocol is refused": async () => {
      const server = await startServer({ handleProtocols: () => false });
      const { code } = await runtime.call("failure", { url: urlOf(server), options: { transport: "socket" } });
      for (const socket of server.clients) socket.terminate();
      server.close();
      assertEquals(code, "subprotocol-mismatch");
    },
    "client: unknown subprotocol and page are refused": async () => {
      const port = await runtime.call("listen");
      const refused = async (protocol: string, origin?: string): Promise<string> => {
        const socket = new WebSocket(`ws://${HOST}:${port}`, [protocol], { origin });
        return String((await once(socket, "error"))[0]);
      };
      assertEquals(await refused("mqtt"), "Error: Unexpected server response: 400");
      assertEquals(await refused("amqp", "https://elsewhere.example"), "Error: Unexpected server response: 403");
    },
  };
}

async function asServer(runtime: Runtime, use: Use, maxMessageBytes?: number): Promise<void> {
  const server = await startServer();
  try {
    const connection = once(server, "connection");
    const ended = runtime.call("obey", urlOf(server), maxMessageBytes);
    const [socket] = await Promise.race([connection, ended.then(() => Promise.reject(new Error("it ended early")))]);
    await use(socket, ended);
  } finally {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
}

async function asClient(runtime: Runtime, use: Use, maxMessageBytes?: number): Promise<void> {
  const port = await runtime.call("listenAndObey", maxMessageBytes);
  // Compression is offered, as browsers do, and must not be accepted.
  const socket = new WebSocket(`ws://${HOST}:${port}`, ["amqp"], { maxPayload: 32 * MIB, perMessageDeflate: true });
  try {
    await once(socket, "open");
    assertEquals([socket.protocol, socket.extensions], ["amqp", ""]);
    await use(socket, runtime.call("ended", port));
  } finally {
    socket.terminate();
  }
}

async function startServer(options: ConstructorParameters<typeof WebSocketServer>[0] = {}): Promise<WebSocketServer> {
  const server = new WebSocketServer({
    host: HOST,
    port: 0,
    maxPayload: 32 * MIB,
    perMessageDeflate: true,
    ...options,
  });
  await once(server, "listening");
  return server;
}

function urlOf(server: WebSocketServer): string {
  return `ws://${HOST}:${(server.address() as AddressInfo).port}`;
}

/** Messages of at least `size` bytes together. */
function messages(socket: WebSocket, size: number): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const all: Uint8Array[] = [];
    let length = 0;
    const onmessage = (message: Uint8Array, isBinary: boolean): void => {
      if (!isBinary) reject(new Error("A message is text"));
      all.push(message);
      length += message.length;
      if (length < size) return;
      socket.off("message", onmessage);
      resolve(all);
    };
    socket.on("message", onmessage);
    socket.once("close", (code) => reject(new Error(`It was closed with ${code}`)));
  });
}

async function closeOf(socket: WebSocket): Promise<Ended> {
  const [code, reason] = await once(socket, "close");
  return { code, reason: String(reason) };
}

async function leave(socket: WebSocket, ended: Promise<Ended>): Promise<void> {
  socket.close(1000);
  assertEquals(await ended, { code: 1000, reason: "" });
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
