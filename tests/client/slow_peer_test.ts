/**
 * Peers that are slow or silent, on every layer of a real socket: each is dropped in time, whatever it dribbles.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { TransportError } from "../../src/base/errors.ts";
import { protocolHeader } from "../../src/codec/frame.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { begin, frame } from "../engine/script.ts";
import { test } from "../harness.ts";
import { keyPair } from "../pki.ts";
import { BareClient, bareServer, silent } from "../transport/bare.ts";
import { latin1 } from "../transport/wire.ts";

const UPGRADE =
  "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: amqp\r\n\r\n";
const OPEN = frame({ kind: "open", containerId: "slow" });

/** A WebSocket frame of a client, masked with zeros. */
function masked(first: number, payload: Uint8Array): Uint8Array {
  return Uint8Array.from([first, 0x80 | payload.length, 0, 0, 0, 0, ...payload]);
}

/** The bytes sent at once, and those repeated after them, one at a time. */
const peers: Readonly<Record<string, { at: readonly Uint8Array[]; then?: Uint8Array; every?: number }>> = {
  "says nothing": { at: [] },
  "sends a part of a TLS hello": { at: [Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0)] },
  "sends a request byte by byte": { at: [latin1("GET / HTTP/1.1\r\nX: ")], then: latin1("x") },
  "upgrades and says nothing": { at: [latin1(UPGRADE)] },
  "upgrades and sends pings for ever": { at: [latin1(UPGRADE)], then: masked(0x89, new Uint8Array(0)) },
  "upgrades and sends a message byte by byte": {
    at: [latin1(UPGRADE), Uint8Array.of(0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0, ...protocolHeader(0), 0, 0, 4, 0)],
    then: Uint8Array.of(0),
  },
  "upgrades and sends empty fragments for ever": {
    at: [latin1(UPGRADE), masked(0x02, new Uint8Array(0))],
    then: masked(0x00, new Uint8Array(0)),
  },
  "sends the header of AMQP and nothing more": { at: [protocolHeader(0)] },
  "sends the header of SASL and nothing more": { at: [protocolHeader(3)] },
  "sends an init of SASL byte by byte": {
    at: [protocolHeader(3), Uint8Array.of(0, 0, 8, 0, 2, 1, 0, 0)],
    then: Uint8Array.of(0),
  },
  "sends an open byte by byte": {
    at: [protocolHeader(0), Uint8Array.of(0, 0, 8, 0, 2, 0, 0, 0)],
    then: Uint8Array.of(0),
  },
  "opens and says nothing": { at: [protocolHeader(0), OPEN] },
  "opens and sends a frame byte by byte": {
    at: [protocolHeader(0), OPEN, frame(begin()), Uint8Array.of(0, 1, 0, 0, 2, 0, 0, 0)],
    then: Uint8Array.of(0),
  },
  "opens, closes and keeps its socket": { at: [protocolHeader(0), OPEN, frame({ kind: "close" })] },
};

for (const [what, { at, then }] of Object.entries(peers)) {
  test(`ATK-6, ATK-16: a peer that ${what} is given up in its time`, async () => {
    const server = acceptor({ openTimeoutMs: 300, idleTimeOut: 150, closeTimeoutMs: 200, log: null });
    await using listener = await listen({
      port: 0,
      host: "127.0.0.1",
      acceptor: server,
      tls: keyPair("server"),
      closeTimeoutMs: 200,
      limits: { handshakeTimeoutMs: 300 },
      log: null,
    });
    await using client = await BareClient.connect(listener.port);
    // The peer keeps its half open, whatever the other side does.
    client.socket.removeAllListeners("end");
    for (const bytes of at) {
      client.socket.write(bytes);
      // Frames have to wait until they may be sent.
      if (bytes[0] === 0x47 && at.length > 1) await client.until("\r\n\r\n");
    }
    const dribble = then && setInterval(() => client.socket.destroyed || client.socket.write(then), 20);
    while (listener.counters.connections === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while (listener.counters.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    clearInterval(dribble);
    assertEquals(server.connections.size, 0);
  });
}

test("ATK-6, ATK-16: a server that is silent, or dribbles, on any layer is given up by its client in the time of the option", async () => {
  const answers: readonly [scheme: string, at: readonly Uint8Array[], then?: Uint8Array][] = [
    ["ws", []],
    ["ws", [latin1("HTTP/1.1 101 x\r\nX: ")], latin1("x")],
    ["wss", []],
    ["amqp", []],
    ["amqp", [protocolHeader(3)]],
    ["amqp", [protocolHeader(3), Uint8Array.of(0, 0, 8, 0, 2, 0, 0, 0)], Uint8Array.of(0)],
    ["amqps", [Uint8Array.of(0x16, 3, 3, 0, 0x40, 2)], Uint8Array.of(0)],
  ];
  for (const [scheme, at, then] of answers) {
    const timers: ReturnType<typeof setInterval>[] = [];
    await using server = await bareServer((socket) => {
      silent(socket);
      for (const bytes of at) socket.write(bytes);
      if (then !== undefined) timers.push(setInterval(() => socket.destroyed || socket.write(then), 20));
    });
    const limits = { openTimeoutMs: 300, handshakeTimeoutMs: 300, closeTimeoutMs: 100 };
    const error = await connect(`${scheme}://127.0.0.1:${server.port}`, {
      transport: "socket",
      limits,
      reconnect: false,
    })
      .then(() => undefined, (thrown) => thrown);
    assert(error instanceof TransportError, `${scheme}: ${error}`);
    assertEquals(error.code, "timeout", `${scheme}: ${error.message}`);
    for (const timer of timers) clearInterval(timer);
    await server.gone(1);
  }
});
