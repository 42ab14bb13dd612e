/**
 * A table of attacks by hostile peers, with the outcome and the most memory of each.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { concat } from "@std/bytes";
import type { Socket } from "node:net";
import process from "node:process";
import { inspect } from "node:util";
import type { TransportError } from "../../src/base/errors.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { listen, type Listener } from "../../src/transport/socket/listen.ts";
import { dialSocket, type SocketDialOptions } from "../../src/transport/socket/dial.ts";
import { test } from "../harness.ts";
import { BareClient, bareServer, silent } from "./bare.ts";
import { record } from "./channel_log.ts";
import { latin1 } from "./wire.ts";

const MIB = 1_048_576;
const here = { port: 0, host: "127.0.0.1" };
const HELLO = "GET / HTTP/1.1\r\nHost: x\r\n";
const UPGRADE = `${HELLO}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: amqp\r\n\r\n";

// A margin for a runtime's own buffers and lazy collection; an attack would need a multiple of this.
const MAX_MEMORY = 96 * MIB;

interface Attack {
  readonly id: string;
  /** The bytes of the attack. */
  readonly sent: string;
  /** Runs the attack, and returns its outcome. */
  readonly run: () => Promise<string>;
  /** The expected outcome. */
  readonly outcome: string | RegExp;
}

// If the attacker does not read, the reset that ends the connection may overtake the close frame.
const policyOrReset = /^(close 1008|dropped)$/;
const normalOrReset = /^(close 1000|dropped)$/;

/** Writes while the other side reads, at most so many bytes; resolves when done or cut off. */
function pour(socket: Socket, piece: Uint8Array, most: number): Promise<void> {
  return new Promise((resolve) => {
    let written = 0;
    const write = (): void => {
      while (written < most && !socket.destroyed && socket.writable) {
        written += piece.length;
        if (!socket.write(piece)) return void socket.once("drain", write);
      }
      resolve();
    };
    socket.once("close", () => resolve());
    write();
  });
}

/** Attacks a listener, and returns the status line or the close frame of its answer. */
async function attackListener(
  beginning: string,
  piece: Uint8Array = new Uint8Array(0),
  { most = 0, reads = true, timeoutMs = 5_000 } = {},
): Promise<string> {
  const listener = await listen({
    ...here,
    accept: (channel) => channel.onbytes = (bytes) => channel.send(bytes.subarray(0, 1)),
    closeTimeoutMs: 100,
    limits: { handshakeTimeoutMs: timeoutMs },
  });
  await using client = await BareClient.connect(listener.port);
  client.socket.write(latin1(beginning));
  // Frames may be sent only after the upgrade.
  if (beginning === UPGRADE && piece.length > 0) await client.until("\r\n\r\n");
  if (!reads) client.socket.pause();
  if (most > 0) await pour(client.socket, piece, most);
  else if (piece.length > 0) client.socket.write(piece);
  if (!reads) await settled(listener);
  client.socket.resume();
  await client.ended;
  await listener.close();
  return answerOf(client.heard);
}

/** Waits until the connection is gone at the listener. */
async function settled(listener: Listener): Promise<void> {
  while (listener.counters.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

function answerOf(heard: string): string {
  const frames = heard.startsWith("HTTP/1.1 101") ? heard.slice(heard.indexOf("\r\n\r\n") + 4) : undefined;
  if (frames === undefined) return heard === "" ? "dropped" : `status ${heard.slice(9, 12)}`;
  // Frames of a server are not masked, and only small ones are checked.
  for (let at = 0; at < frames.length;) {
    const length = frames.charCodeAt(at + 1);
    if (frames.charCodeAt(at) === 0x88) {
      return `close ${frames.charCodeAt(at + 2) * 256 + frames.charCodeAt(at + 3)}`;
    }
    at += 2 + length;
  }
  return "dropped";
}

/** Dials a server that answers with `answer`, and returns the error, which must hold no secret. */
async function attackClient(answer: (socket: Socket) => void, options: SocketDialOptions = {}): Promise<string> {
  await using server = await bareServer((socket) => {
    silent(socket);
    socket.once("data", () => answer(socket));
  });
  const at = `127.0.0.1:${server.port}`;
  const proxy = options.proxy === undefined ? {} : { proxy: { ...(options.proxy as object), url: `http://${at}` } };
  const url = `ws://user:s3cret@${options.proxy === undefined ? at : "s3cret.example:1"}/?token=s3cret`;
  const outcome = await dialSocket(url, { handshakeTimeoutMs: 3_000, ...options, ...proxy } as SocketDialOptions).then(
    async (channel) => {
      const { code } = await record(channel).closed;
      return `close ${code}`;
    },
    (error: TransportError) => {
      const shown = `${error} ${error.stack} ${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`;
      // A host name is not a secret.
      assert(!shown.replaceAll("s3cret.example", "").includes("s3cret"), shown);
      return `${error.code ?? error.name}${error.status === undefined ? "" : ` ${error.status}`}`;
    },
  );
  return outcome;
}

async function refusedBeforehand(options: SocketDialOptions, url = "ws://127.0.0.1:1"): Promise<string> {
  return await dialSocket(url, options).then(() => "connected", (error) => error.name);
}

const masked = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const repeat = (bytes: Uint8Array, count: number): Uint8Array => {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
};
const status = (lines: string) => (socket: Socket): void => void socket.write(`HTTP/1.1 ${lines}`);
const PROXY_BASIC = { username: "u", password: "s3cret", schemes: ["basic"] };
const PROXY_DIGEST = { username: "u", password: "s3cret" };

const ATTACKS: readonly Attack[] = [
  {
    id: "ATK-14",
    sent: "401 to a request with user info, token and Authorization",
    run: () =>
      attackClient(status("401 \r\nContent-Length: 0\r\n\r\n"), { headers: { Authorization: "Bearer s3cret" } }),
    outcome: "handshake-failed 401",
  },
  {
    id: "ATK-14",
    sent: "302 to another host",
    run: () => attackClient(status("302 \r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")),
    outcome: "handshake-failed 302",
  },
  {
    id: "ATK-14",
    sent: "407 to the right Basic credentials, again and again",
    run: () =>
      attackClient(
        (socket) => {
          const answer = (): void =>
            void socket.write("HTTP/1.1 407 \r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n");
          socket.on("data", answer);
          answer();
        },
        { proxy: PROXY_BASIC as never },
      ),
    outcome: "proxy-authentication-failed 407",
  },
  {
    id: "ATK-14",
    sent: "407 that asks for Basic where only Digest was allowed",
    run: () =>
      attackClient(status("407 \r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"), {
        proxy: PROXY_DIGEST as never,
      }),
    outcome: "proxy-authentication-failed 407",
  },
  {
    id: "ATK-15",
    sent: "CR LF in a header, a subprotocol, a proxy header, a user name",
    run: async () => {
      const proxy = { url: "http://127.0.0.1:1" };
      return [
        await refusedBeforehand({ headers: { a: "b\r\nc: d" } }),
        await refusedBeforehand({ subprotocols: ["amqp\r\nx: y"] }),
        await refusedBeforehand({ proxy: { ...proxy, headers: { a: "b\r\nc: d" } } }),
        await refusedBeforehand({ proxy: { ...proxy, username: "a\r\n", password: "b" } }),
        await refusedBeforehand({ proxy }, "amqp://a%0d%0ab:1"),
      ].join(" ");
    },
    outcome: "TypeError TypeError TypeError TypeError TypeError",
  },
  {
    id: "ATK-15",
    sent: "a Digest realm with control characters",
    run: () =>
      attackClient(
        status('407 \r\nProxy-Authenticate: Digest realm="a\x01b", nonce="n"\r\nContent-Length: 0\r\n\r\n'),
        {
          proxy: PROXY_DIGEST as never,
        },
      ),
    outcome: "proxy-failed",
  },
  {
    id: "ATK-15",
    sent: "a request line with a bare CR, to split the answer",
    run: () => attackListener("GET /\rSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\n\r\n"),
    outcome: "status 400",
  },
  {
    id: "ATK-16",
    sent: "headers without end",
    run: () => attackListener(HELLO, latin1("a: b\r\n".repeat(1_000)), { most: 64 * MIB }),
    outcome: "status 400",
  },
  {
    id: "ATK-16",
    sent: "a line without end",
    run: () => attackListener("GET /", new Uint8Array(65_536).fill(0x61), { most: 64 * MIB }),
    outcome: "status 400",
  },
  ...([
    ["a folded header", "a: b\r\n c\r\n"],
    ["a bare LF", "a: b\nc: d\r\n"],
    ["a NUL", "a: \0\r\n"],
    ["a space before the colon", "a : b\r\n"],
    ["a header without colon", "abc\r\n"],
  ] as const).map(([sent, field]): Attack => ({
    id: "ATK-16",
    sent,
    run: () => attackListener(`${HELLO}${field}\r\n`),
    outcome: "status 400",
  })),
  {
    id: "ATK-16",
    sent: "an upgrade with two lengths, and one with length and chunks",
    run: async () =>
      `${await attackListener(UPGRADE.replace("Host", "Content-Length: 0\r\nContent-Length: 5\r\nHost"))}, ` +
      await attackListener(UPGRADE.replace("Host", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost")),
    outcome: "status 400, status 400",
  },
  {
    id: "ATK-16",
    sent: "a second request behind the upgrade",
    run: () => attackListener(`${UPGRADE}GET /secret HTTP/1.1\r\n\r\n`),
    outcome: "status 400",
  },
  {
    id: "ATK-16",
    sent: "half a head, then nothing",
    run: () => attackListener(HELLO, new Uint8Array(0), { timeoutMs: 80 }),
    outcome: "status 408",
  },
  {
    id: "ATK-16",
    sent: "a response head without end, to a client",
    run: () =>
      attackClient((socket) => {
        socket.write("HTTP/1.1 101 x\r\n");
        void pour(socket, latin1("a: b\r\n".repeat(1_000)), 64 * MIB);
      }),
    outcome: "protocol-violation",
  },
  {
    id: "ATK-16",
    sent: "a refusal's body without end, to a client",
    run: () =>
      attackClient((socket) => {
        socket.write("HTTP/1.1 503 x\r\n\r\n");
        void pour(socket, new Uint8Array(65_536), 64 * MIB);
      }),
    outcome: "handshake-failed 503",
  },
  {
    id: "ATK-16",
    sent: "a challenge's body without end, to a client",
    run: () =>
      attackClient((socket) => {
        socket.write(
          "HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=x, nonce=y\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        void pour(socket, latin1(`10000\r\n${"x".repeat(65_536)}\r\n`), 64 * MIB);
      }, { proxy: PROXY_DIGEST as never, handshakeTimeoutMs: 300 }),
    // Authentication repeats on a new connection.
    outcome: "proxy-authentication-failed 407",
  },
  {
    id: "ATK-16",
    sent: "interim responses without end, to a client",
    run: () => attackClient((socket) => void pour(socket, latin1("HTTP/1.1 100 \r\n\r\n".repeat(500)), 64 * MIB)),
    outcome: "handshake-failed",
  },
  {
    id: "ATK-17",
    sent: "a frame of 2^62 bytes, then as many as are taken",
    run: () => attackListener(UPGRADE, masked(0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), { most: 14 }),
    outcome: "close 1009",
  },
  {
    id: "ATK-17",
    sent: "a message of 129 MiB",
    run: () => attackListener(UPGRADE, masked(0x82, 0xff, 0, 0, 0, 0, 8, 0x10, 0, 0, 1, 2, 3, 4), { most: 14 }),
    outcome: "close 1009",
  },
  {
    id: "ATK-17",
    sent: "empty fragments without end",
    run: () =>
      attackListener(
        UPGRADE,
        concat([masked(0x02, 0x80, 1, 2, 3, 4), repeat(masked(0x00, 0x80, 1, 2, 3, 4), 70_000)]),
      ),
    outcome: "close 1008",
  },
  {
    id: "ATK-17",
    sent: "fragments of one byte without end",
    run: () =>
      attackListener(
        UPGRADE,
        concat([masked(0x02, 0x80, 0, 0, 0, 0), repeat(masked(0x00, 0x81, 0, 0, 0, 0, 9), 70_000)]),
      ),
    outcome: "close 1008",
  },
  {
    id: "ATK-17",
    sent: "pings without end, answers unread",
    run: () =>
      attackListener(UPGRADE, repeat(masked(0x89, 0x80, 1, 2, 3, 4), 10_000), { most: 64 * MIB, reads: false }),
    outcome: policyOrReset,
  },
  {
    id: "ATK-17",
    sent: "pings between fragments without end",
    run: () =>
      attackListener(
        UPGRADE,
        concat([
          masked(0x02, 0x80, 0, 0, 0, 0),
          repeat(masked(0x89, 0x80, 1, 2, 3, 4, 0x00, 0x81, 0, 0, 0, 0, 9), 10_000),
        ]),
        { most: 130_006 },
      ),
    outcome: "close 1008",
  },
  {
    id: "ATK-17",
    sent: "a compressed frame",
    run: () => attackListener(UPGRADE, masked(0xc2, 0x81, 1, 2, 3, 4, 5)),
    outcome: "close 1002",
  },
  {
    id: "ATK-17",
    sent: "a frame that is not masked",
    run: () => attackListener(UPGRADE, masked(0x82, 0x01, 5)),
    outcome: "close 1002",
  },
  {
    id: "ATK-17",
    sent: "close frames without end",
    run: () =>
      attackListener(UPGRADE, repeat(masked(0x88, 0x82, 0, 0, 0, 0, 3, 0xe8), 10_000), {
        most: 16 * MIB,
        reads: false,
      }),
    outcome: normalOrReset,
  },
  {
    id: "ATK-17",
    sent: "a text frame, then everything but an answer to the close",
    run: () =>
      attackListener(
        UPGRADE,
        concat([masked(0x81, 0x81, 0, 0, 0, 0, 65), repeat(masked(0x82, 0x81, 0, 0, 0, 0, 9), 10_000)]),
        { most: 64 * MIB },
      ),
    outcome: "close 1003",
  },
  {
    id: "ATK-18",
    sent: "nothing, reading nothing, to a sender that waits for ready",
    run: async () => {
      const channels: Channel[] = [];
      const listener = await listen({ ...here, accept: (channel) => void channels.push(channel), closeTimeoutMs: 100 });
      await using client = await BareClient.connect(listener.port);
      client.socket.pause();
      client.socket.write("AMQP\x00\x01\x00\x00");
      while (channels.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      const [channel] = channels;
      let peak = 0;
      let waits = false;
      for (let sent = 0; sent < 256 * MIB && !waits; sent += 65_536) {
        channel!.send(new Uint8Array(65_536));
        peak = Math.max(peak, channel!.bufferedAmount);
        waits = await Promise.race([
          channel!.ready().then(() => false),
          new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 50)),
        ]);
      }
      client.socket.destroy();
      await listener.close();
      return waits && peak <= MIB ? "held back" : `${peak} bytes waited`;
    },
    outcome: "held back",
  },
  {
    id: "ATK-18",
    sent: "512 MiB through the gateway, to a target that reads nothing",
    run: async () => {
      await using server = await bareServer((socket) => socket.pause());
      const running = await gateway({
        listen: { ...here, closeTimeoutMs: 100 },
        target: `amqp://127.0.0.1:${server.port}`,
        dial: { closeTimeoutMs: 100 },
      });
      await using client = await BareClient.connect(running.port);
      client.socket.write("AMQP\x00\x01\x00\x00");
      const poured = pour(client.socket, new Uint8Array(65_536), 512 * MIB).then(() => "taken");
      let before = -1;
      const stuck = (async () => {
        while (before !== running.counters.bytesIn || before <= 8) {
          before = running.counters.bytesIn;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return "held back";
      })();
      const outcome = await Promise.race([poured, stuck]);
      client.socket.destroy();
      for (const socket of server.sockets) socket.destroy();
      await running.close({ drainMs: 0 });
      await poured;
      return outcome;
    },
    outcome: "held back",
  },
];

/** Runs `run`, and returns the most memory that the process used beyond the start. */
async function measured<T>(run: () => Promise<T>): Promise<[result: T, peak: number]> {
  const before = process.memoryUsage().rss;
  let peak = before;
  const look = setInterval(() => peak = Math.max(peak, process.memoryUsage().rss), 2);
  try {
    const result = await run();
    return [result, Math.max(peak, process.memoryUsage().rss) - before];
  } finally {
    clearInterval(look);
  }
}

for (const id of ["ATK-14", "ATK-15", "ATK-16", "ATK-17", "ATK-18"]) {
  test(`${id}: hostile peers come to their end, and cost little`, async () => {
    for (const { sent, run, outcome } of ATTACKS.filter((attack) => attack.id === id)) {
      const [actual, peak] = await measured(run);
      console.log(`${id} | ${sent} | ${actual} | ${(peak / MIB).toFixed(1)} MiB`);
      if (typeof outcome === "string") assertEquals(actual, outcome, sent);
      else assertMatch(actual, outcome, sent);
      assert(peak < MAX_MEMORY, `${sent}: ${peak} bytes`);
    }
  });
}
