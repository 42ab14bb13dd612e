/**
 * Helpers for two WebSocket endpoints: open at once, joined, and summarized for comparison.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { encodeHex } from "@std/encoding";
import {
  type CloseEvent,
  type EndpointEvent,
  WebSocketEndpoint,
  type WebSocketLimits,
} from "../../src/transport/websocket/rfc6455.ts";
import { ServerUpgrade } from "../../src/transport/websocket/upgrade.ts";
import { latin1 } from "./wire.ts";

/** An open client's endpoint; its mask keys are all zero, so that its frames can be read in hex. */
export function openClient(limits?: WebSocketLimits): WebSocketEndpoint {
  const handshake = { request: latin1("GET"), accept: "x", subprotocols: [], label: "ws://broker.example/" };
  const endpoint = new WebSocketEndpoint({
    role: "client",
    handshake,
    random: { getRandomValues() {} },
    now: 0,
    limits,
  });
  flush(endpoint);
  const response = "HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
  assertEquals(endpoint.receive(latin1(response), 0).map(({ kind }) => kind), ["open"]);
  return endpoint;
}

/** An open server's endpoint. */
export function openServer(limits?: WebSocketLimits): WebSocketEndpoint {
  const policy = { subprotocols: [], origins: "any" } as const;
  const endpoint = new WebSocketEndpoint({
    role: "server",
    upgrade: new ServerUpgrade(policy, limits),
    now: 0,
    limits,
  });
  const request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
  assertEquals(endpoint.receive(latin1(request), 0).map(({ kind }) => kind), ["request"]);
  endpoint.accept("x");
  flush(endpoint);
  return endpoint;
}

/** All bytes that an endpoint has to transmit. */
export function flush(endpoint: WebSocketEndpoint): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let piece = endpoint.transmit(); piece !== undefined; piece = endpoint.transmit()) pieces.push(piece);
  assertEquals(endpoint.bufferedAmount, 0);
  return concat(pieces);
}

/** The close event, which has to be the only one, and the last. */
export function closeOf(events: readonly EndpointEvent[]): CloseEvent {
  const last = events.at(-1);
  assert(last?.kind === "close", `the last event is ${last?.kind}`);
  assertEquals(events.filter(({ kind }) => kind === "close").length, 1);
  return last;
}

/** Events in a form that does not depend on the size of pieces: `.` ends a message. */
export function summary(events: readonly EndpointEvent[]): string[] {
  const lines: string[] = [];
  let open = false;
  for (const event of events) {
    if (event.kind !== "bytes") {
      lines.push(describe(event));
      open = false;
      continue;
    }
    const text = encodeHex(event.bytes) + (event.last ? "." : "");
    if (open) lines[lines.length - 1] += text;
    else if (text !== "") lines.push(text);
    open = !event.last;
  }
  return lines;
}

function describe(event: Exclude<EndpointEvent, { kind: "bytes" }>): string {
  switch (event.kind) {
    case "pong":
      return `pong ${encodeHex(event.bytes)}`;
    case "close":
      return `close ${event.code} ${JSON.stringify(event.reason)} ${event.error?.closeCode ?? ""}`.trimEnd();
    default:
      return event.kind;
  }
}
