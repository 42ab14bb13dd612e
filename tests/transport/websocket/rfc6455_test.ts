import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { encodeHex } from "@std/encoding";
import {
  type EndpointEvent,
  WebSocketEndpoint,
  type WebSocketLimits,
} from "../../../src/transport/websocket/rfc6455.ts";
import { acceptKey, prepareUpgrade } from "../../../src/transport/websocket/handshake.ts";
import { ServerUpgrade } from "../../../src/transport/websocket/upgrade.ts";
import { type Random, random, seed, test } from "../../harness.ts";
import { closeOf, flush, openClient, openServer, summary } from "../endpoints.ts";
import { everyCut, hex, latin1, randomCut } from "../wire.ts";

// Frames below are a server's unless said otherwise; those of a client have the mask key 00000000.

/** The events and the answer of an open endpoint for these bytes. */
function receive(endpoint: WebSocketEndpoint, bytes: Uint8Array, now = 0): { events: string[]; sent: string } {
  const events = summary(endpoint.receive(bytes, now));
  return { events, sent: encodeHex(flush(endpoint)) };
}

/** The same at every cut of the bytes, each with a new endpoint. */
function receiveCut(open: () => WebSocketEndpoint, bytes: Uint8Array): { events: string[]; sent: string } {
  const found = [...everyCut(bytes)].map((pieces) => {
    const endpoint = open();
    const events = summary(pieces.flatMap((piece) => endpoint.receive(piece, 0)));
    return { events, sent: encodeHex(flush(endpoint)) };
  });
  for (const other of found) assertEquals(other, found[0]!);
  return found[0]!;
}

test("vectors: the specification's frames through an open client and an open server", () => {
  assertEquals(receiveCut(openClient, hex("82 05 48656c6c6f")), { events: ["48656c6c6f."], sent: "" });
  assertEquals(receiveCut(openServer, hex("82 85 37fa213d 7f9f4d5158")), { events: ["48656c6c6f."], sent: "" });
  assertEquals(receiveCut(openClient, hex("02 03 48656c 80 02 6c6f")), { events: ["48656c6c6f."], sent: "" });
  assertEquals(receiveCut(openServer, hex("89 85 37fa213d 7f9f4d5158")), { events: [], sent: "8a0548656c6c6f" });
  assertEquals(receiveCut(openServer, hex("8a 85 37fa213d 7f9f4d5158")), { events: ["pong 48656c6c6f"], sent: "" });
});

test("WSB-12: text fails with 1003, what came before it is delivered", () => {
  assertEquals(receiveCut(openClient, hex("82 01 aa 81 05 48656c6c6f 82 01 bb")), {
    events: ["aa.", 'close 1006 "" 1003'],
    sent: "888200000000" + "03eb",
  });
});

test("WSB-26: a violation is answered with its code at once, and what was queued is not sent any more", () => {
  const cases: [frames: string, code: string][] = [
    ["c2 00", "03ea"],
    ["83 00", "03ea"],
    ["82 80", "03ea"],
    ["80 00", "03ea"],
    ["82 7e 0001", "03ea"],
    ["88 01 03", "03ea"],
    ["88 02 03ed", "03ea"],
    ["88 03 03e8 ff", "03ef"],
    ["82 7f 7fffffffffffffff", "03f1"],
  ];
  for (const [frames, code] of cases) {
    const endpoint = openClient();
    endpoint.sendBinary(latin1("AMQP bytes"));
    const { events, sent } = receive(endpoint, hex(frames));
    assertEquals([events.length, sent], [1, `888200000000${code}`], frames);
    assertEquals([endpoint.state, endpoint.outputEnded, endpoint.nextTimeout()], ["ending", true, 5_000]);
    endpoint.sendBinary(latin1("AMQP bytes"));
    assertEquals(receive(endpoint, hex("82 01 aa 89 00 88 00")), { events: [], sent: "" });
    assertEquals(summary(endpoint.end()), []);
    assertEquals(endpoint.state, "closed");
  }
});

test("WSB-16: a flush is one message, and what is longer than 65535 bytes is cut", () => {
  const endpoint = openServer();
  endpoint.sendBinary(new Uint8Array(65_535));
  assertEquals(flush(endpoint).length, 4 + 65_535);
  endpoint.sendBinary(new Uint8Array(65_536));
  const bytes = flush(endpoint);
  assertEquals([bytes.length, encodeHex(bytes.subarray(4 + 65_535))], [4 + 65_535 + 3, "820100"]);
  endpoint.sendBinary(new Uint8Array(0));
  assertEquals(flush(endpoint).length, 0);
  const free = openServer({ maxSentMessageBytes: Infinity });
  free.sendBinary(new Uint8Array(16_777_216));
  assertEquals(flush(free).length, 10 + 16_777_216);
});

test("WSB-17: empty messages bring no bytes and end nothing", () => {
  assertEquals(receiveCut(openClient, hex("82 00 02 00 80 00 82 01 aa")).events.join(""), "..aa.");
});

test("WS-26, WSB-23: a ping is answered with its payload, several in one turn by the last only", () => {
  assertEquals(receiveCut(openClient, hex("89 02 0102")), { events: [], sent: "8a8200000000" + "0102" });
  assertEquals(receive(openClient(), hex("89 01 01 89 01 02 82 01 aa 89 01 03")), {
    events: ["aa."],
    sent: "8a8100000000" + "03",
  });
  const full = "aa".repeat(125);
  assertEquals(receive(openServer(), hex(`89 fd 00000000 ${full}`)).sent, `8a7d${full}`);
});

test("WS-26: no pong after the own close frame, none unasked, and an unasked one is let through", () => {
  const endpoint = openClient();
  endpoint.close(0);
  assertEquals(flush(endpoint).length, 8);
  assertEquals(receive(endpoint, hex("89 01 01")), { events: [], sent: "" });
  assertEquals(receive(openClient(), hex("8a 01 07")), { events: ["pong 07"], sent: "" });
  const asked = openClient();
  asked.receive(hex("89 01 01"), 0);
  asked.close(0);
  assertEquals(encodeHex(flush(asked)), "888200000000" + "03e8");
});

test("WS-27 and ATK-17: a flood of pings keeps one pong waiting, and ends when it is faster than the limit", () => {
  const endpoint = openServer({ maxControlRate: 10 });
  const ping = () => hex("89 84 00000000 01020304");
  for (let second = 1; second <= 5; second++) {
    for (let i = 0; i < 10; i++) assertEquals(endpoint.receive(ping(), 1_000 * second), []);
  }
  assertEquals(encodeHex(flush(endpoint)), "8a0401020304");
  const events = Array.from({ length: 11 }, () => endpoint.receive(ping(), 6_500)).flat();
  assertEquals(summary(events), ['close 1006 "" 1008']);
  assertEquals(encodeHex(flush(endpoint)), "8802" + "03f0");
  const byDefault = openServer();
  const burst = concat(Array.from({ length: 1_001 }, () => hex("8a 80 00000000")));
  assertEquals(closeOf(byDefault.receive(burst, 0)).error?.closeCode, 1008);
});

test("WSB-17 and ATK-17: empty messages count as control frames do, the empty end of a message does not", () => {
  const empty = hex("82 00"), ended = hex("02 01 aa 80 00");
  const honest = openClient({ maxControlRate: 10 });
  for (let i = 0; i < 50; i++) assertEquals(receive(honest, ended.slice()).events, ["aa."]);
  for (let i = 0; i < 10; i++) honest.receive(empty.slice(), 0);
  assertEquals(honest.state, "open");
  assertEquals(summary(honest.receive(empty.slice(), 999)), ['close 1006 "" 1008']);
  const slow = openClient({ maxControlRate: 1 });
  for (let second = 0; second < 100; second++) slow.receive(empty.slice(), 1_000 * second);
  assertEquals(slow.state, "open");
  const flood = concat(Array.from({ length: 2_000 }, () => hex("82 80 00000000")));
  const events = openServer().receive(flood, 0);
  assertEquals([closeOf(events.slice(-1)).error?.closeCode, events.length], [1008, 1_001]);
});

test("WS-28: a close frame of two bytes as the last of a read is handled at once", () => {
  assertEquals(receive(openClient(), hex("88 00")), { events: ['close 1005 ""'], sent: "888000000000" });
});

test("ping: the payload comes back; too long, too early and too late", () => {
  const endpoint = openClient();
  endpoint.ping(hex("0102"));
  assertEquals(encodeHex(flush(endpoint)), "898200000000" + "0102");
  endpoint.ping();
  assertEquals(encodeHex(flush(endpoint)), "898000000000");
  assertThrows(() => endpoint.ping(new Uint8Array(126)), RangeError);
  endpoint.close(0);
  flush(endpoint);
  endpoint.ping();
  endpoint.sendBinary(hex("aa"));
  assertEquals(flush(endpoint).length, 0);
  const handshake = { request: latin1("GET"), accept: "x", subprotocols: [], label: "ws://broker.example/" };
  const early = new WebSocketEndpoint({ role: "client", handshake, random: crypto, now: 0 });
  assertThrows(() => early.ping(), TypeError);
  assertThrows(() => early.sendBinary(hex("aa")), TypeError);
});

test("WS-29 to WS-32: a close frame is answered once with its code, and nothing is sent or read after it", () => {
  const cases: [payload: string, event: string, answer: string][] = [
    ["00", 'close 1005 ""', "8800"],
    ["02 03e8", 'close 1000 ""', "880203e8"],
    ["05 0fa0 c3a90a", 'close 4000 "é\\n"', "88020fa0"],
    ["02 03f6", 'close 1014 ""', "880203f6"],
    ["02 0bb8", 'close 3000 ""', "88020bb8"],
    ["02 1387", 'close 4999 ""', "88021387"],
  ];
  for (const [payload, event, answer] of cases) {
    const masked = hex(`88${payload}`);
    const frame = concat([Uint8Array.of(0x88, 0x80 | masked[1]!, 0, 0, 0, 0), masked.subarray(2)]);
    const after = hex("82 81 00000000 aa 88 80 00000000");
    assertEquals(receiveCut(openServer, concat([frame, after])), { events: [event], sent: answer });
  }
});

test("WSB-27 and WSB-28: bytes before a close frame are delivered before it is told, what was queued is dropped", () => {
  const endpoint = openServer();
  endpoint.sendBinary(latin1("queued"));
  assertEquals(receive(endpoint, hex("82 81 00000000 aa 02 82 00000000 bbcc 88 82 00000000 03e9")), {
    events: ["aa.", "bbcc", 'close 1001 ""'],
    sent: "880203e9",
  });
});

test("WS-30: only what may stand in a frame can be sent", () => {
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.5, NaN]) {
    assertThrows(() => openClient().close(0, code), RangeError);
  }
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4999]) {
    const endpoint = openServer();
    endpoint.close(0, code);
    assertEquals(flush(endpoint), Uint8Array.of(0x88, 2, code >> 8, code & 255));
  }
});

test("WS-31: a long reason is cut between two characters", () => {
  const endpoint = openServer();
  endpoint.close(0, 1000, "é".repeat(100));
  const bytes = flush(endpoint);
  assertEquals(bytes.length, 2 + 2 + 122);
  assertEquals(receive(openClient(), bytes).events, [`close 1000 "${"é".repeat(61)}"`]);
});

test("WS-33: after the own close frame bytes still come in, until the peer's or until time is up", () => {
  for (const [role, endpoint] of [["client", openClient()], ["server", openServer()]] as const) {
    const mask = role === "server" ? "00000000" : "";
    const length = (n: number) => (n + (role === "server" ? 0x80 : 0)).toString(16).padStart(2, "0");
    endpoint.sendBinary(hex("01"));
    endpoint.close(10, 1001);
    endpoint.close(11, 1000);
    assert(encodeHex(flush(endpoint)).endsWith("03e9"));
    assertEquals([endpoint.state, endpoint.outputEnded, endpoint.nextTimeout()], ["closing", false, 5_010]);
    assertEquals(receive(endpoint, hex(`82 ${length(1)} ${mask} aa`)).events, ["aa."]);
    assertEquals(receive(endpoint, hex(`88 ${length(2)} ${mask} 03e9`), 20), { events: ['close 1001 ""'], sent: "" });
    // The server closes the socket first; the client waits for that, for a second at most.
    const due = role === "server" ? 5_020 : 1_020;
    assertEquals([endpoint.state, endpoint.outputEnded, endpoint.nextTimeout()], ["ending", role === "server", due]);
    assertEquals(endpoint.end(), []);
    assertEquals([endpoint.state, endpoint.outputEnded, endpoint.nextTimeout()], ["closed", true, undefined]);
  }
});

test("WS-33 and ATK-17: a peer that does not answer a close frame, or does not let go, is given up", () => {
  const endpoint = openClient({ closeTimeoutMs: 100 });
  endpoint.close(0);
  assertEquals([endpoint.nextTimeout(), endpoint.tick(99)], [100, []]);
  const { code, error } = closeOf(endpoint.tick(100));
  assertEquals([code, error?.code, endpoint.state], [1006, "timeout", "closed"]);

  const lingering = openClient({ closeTimeoutMs: 100 });
  lingering.receive(hex("88 00"), 0);
  assertEquals([lingering.tick(99), lingering.state], [[], "ending"]);
  assertEquals([lingering.tick(100), lingering.state], [[], "closed"]);
});

test("ATK-17: close frames without end are answered once, also those that cross", () => {
  const endpoint = openClient();
  endpoint.close(0, 1000);
  const loop = concat(Array.from({ length: 5_000 }, () => hex("88 02 03e9")));
  assertEquals(receive(endpoint, loop), { events: ['close 1001 ""'], sent: "888200000000" + "03e8" });
});

test("WS-34: no close frame is 1006, one without a code is 1005", () => {
  const cause = new Error("reset");
  for (const endpoint of [openClient(), openServer()]) {
    const { code, reason, error } = closeOf(endpoint.end(cause));
    assertEquals([code, reason, error?.code, error?.cause], [1006, "", "connection-lost", cause]);
    assertEquals([endpoint.state, endpoint.end(), endpoint.receive(hex("82 00"), 0)], ["closed", [], []]);
  }
  const half = openClient();
  half.close(0);
  assertEquals(closeOf(half.end()).error?.code, "connection-lost");
  assertEquals(receive(openClient(), hex("88 00")).events, ['close 1005 ""']);
});

test("WS-35: each failure has its code: 1002 protocol, 1003 text, 1007 UTF-8, 1008 flood, 1009 size", () => {
  const limits = { maxMessageBytes: 4, maxFragments: 2, maxControlRate: 2 };
  for (
    const [frames, code] of [
      ["92 00", 1002],
      ["81 00", 1003],
      ["88 03 03e8 80", 1007],
      ["02 00 00 00 00 00", 1008],
      ["89 00 89 00 89 00", 1008],
      ["82 05", 1009],
    ] as const
  ) {
    const { error } = closeOf(openClient(limits).receive(hex(frames), 0));
    assertEquals([error?.code, error?.closeCode], ["protocol-violation", code]);
  }
});

test("close: before it is open there is nobody to tell", () => {
  const policy = { subprotocols: [], origins: "any" } as const;
  const endpoint = new WebSocketEndpoint({ role: "server", upgrade: new ServerUpgrade(policy), now: 0 });
  endpoint.close(0);
  assertEquals([endpoint.state, flush(endpoint).length, endpoint.nextTimeout(), endpoint.end()], [
    "closed",
    0,
    undefined,
    [],
  ]);
});

test("ATK-17: a huge length costs nothing: each read is handed on, none is kept", () => {
  const endpoint = openClient({ maxMessageBytes: Number.MAX_SAFE_INTEGER });
  assertEquals(endpoint.receive(hex("82 7f 001fffffffffffff"), 0), []);
  for (let i = 0; i < 100; i++) {
    const read = new Uint8Array(1_000);
    const [event, ...rest] = endpoint.receive(read, 0);
    assert(event?.kind === "bytes" && rest.length === 0);
    assertEquals([event.bytes.buffer === read.buffer, event.bytes.length, event.last], [true, 1_000, false]);
  }
});

test("ATK-18: what waits is counted, so that a sender can hold back; a small message costs what it is", () => {
  const endpoint = openServer();
  for (let i = 0; i < 1_000; i++) endpoint.sendBinary(new Uint8Array(100));
  assertEquals(endpoint.bufferedAmount, 102_000);
  const pieces: number[] = [];
  for (let piece = endpoint.transmit(); piece !== undefined; piece = endpoint.transmit()) pieces.push(piece.length);
  assertEquals([pieces.reduce((sum, length) => sum + length), endpoint.bufferedAmount], [102_000, 0]);
  assert(pieces.length < 10, `${pieces.length} writes`);
});

// Bugs of the Java classes that this replaces.

test("6.4: messages above 4 KiB and above 64 KiB pass in both directions", () => {
  const payload = random(seed()).bytes(300_000);
  const client = openClient({ maxSentMessageBytes: Infinity });
  client.sendBinary(payload);
  const server = openServer({ maxSentMessageBytes: Infinity });
  const events = server.receive(flush(client), 0);
  assertEquals(summary(events), [`${encodeHex(payload)}.`]);
  server.sendBinary(payload);
  assertEquals(summary(client.receive(flush(server), 0)), [`${encodeHex(payload)}.`]);
});

test("6.4: data after a ping, continuations, and pongs behind each other do not get lost or mixed up", () => {
  const frames = hex("89 01 01 02 01 aa 8a 00 00 01 bb 89 01 02 80 01 cc 8a 01 07 82 01 dd");
  const { events } = receiveCut(openClient, frames);
  assertEquals(events, ["aa", "pong ", "bbcc.", "pong 07", "dd."]);
});

test("6.4: a close frame is answered, and a ping too, with a whole frame, masked by a client", () => {
  const keys = { getRandomValues: (array: Uint8Array) => array.fill(0x5a) };
  const handshake = { request: latin1("GET"), accept: "x", subprotocols: [], label: "ws://broker.example/" };
  const client = new WebSocketEndpoint({ role: "client", handshake, random: keys, now: 0 });
  flush(client);
  client.receive(
    latin1("HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n\x89\x01A"),
    0,
  );
  assertEquals(encodeHex(flush(client)), "8a815a5a5a5a" + "1b");
  assertEquals(receive(client, hex("88 02 03e8")).sent, "88825a5a5a5a" + "59b2");
});

/** Two endpoints that have shaken hands over a wire that cuts at random. */
async function joined(source: Random, limits?: WebSocketLimits): Promise<Wire> {
  const handshake = await prepareUpgrade({ url: new URL("wss://h/$x"), crypto, subprotocols: ["amqp"] });
  const client = new WebSocketEndpoint({ role: "client", handshake, random: crypto, now: 0, limits });
  const policy = { subprotocols: ["amqp"], origins: [] };
  const server = new WebSocketEndpoint({ role: "server", upgrade: new ServerUpgrade(policy, limits), now: 0, limits });
  const wire = new Wire(client, server, source);
  wire.run();
  const [event] = wire.heard.server.splice(0);
  assert(event?.kind === "request");
  server.accept(await acceptKey(event.request.key, crypto.subtle));
  wire.run();
  const [opened] = wire.heard.client.splice(0);
  assert(opened?.kind === "open" && opened.subprotocol === "amqp");
  assertEquals([client.state, server.state], ["open", "open"]);
  return wire;
}

/** Carries bytes between two endpoints as sockets do, until both are idle. */
class Wire {
  readonly heard: { client: EndpointEvent[]; server: EndpointEvent[] } = { client: [], server: [] };
  readonly #ended = new Set<"client" | "server">();
  readonly client: WebSocketEndpoint;
  readonly server: WebSocketEndpoint;
  readonly #source: Random;

  constructor(client: WebSocketEndpoint, server: WebSocketEndpoint, source: Random) {
    this.client = client;
    this.server = server;
    this.#source = source;
  }

  run(): void {
    let moved = true;
    while (moved) {
      const there = this.#carry("client", "server");
      moved = this.#carry("server", "client") || there;
    }
  }

  #carry(from: "client" | "server", to: "client" | "server"): boolean {
    const bytes = flush(this[from]);
    for (const piece of randomCut(bytes, this.#source)) this.heard[to].push(...this[to].receive(piece, 0));
    if (bytes.length > 0) return true;
    if (!this[from].outputEnded || this.#ended.has(from)) return false;
    this.#ended.add(from);
    this.heard[to].push(...this[to].end());
    return true;
  }
}

test("two endpoints: bytes arrive in order and whole, pings are answered, at any cut and either side closing", async () => {
  const source = random(seed());
  for (let round = 0; round < 60; round++) {
    const wire = await joined(source, { maxSentMessageBytes: source.pick([1, 100, 65_535]), maxControlRate: Infinity });
    const sent = { client: [] as Uint8Array[], server: [] as Uint8Array[] };
    for (let step = source.int(30); step > 0; step--) {
      const from = source.pick(["client", "server"] as const);
      const action = source.int(5);
      if (action === 0) wire.run();
      else if (action === 1) wire[from].ping(source.bytes(source.int(126)));
      else {
        const bytes = source.bytes(source.int(source.pick([3, 300, 3_000])));
        sent[from].push(bytes);
        wire[from].sendBinary(bytes);
      }
    }
    const closer = source.pick(["client", "server"] as const);
    const other = closer === "client" ? "server" : "client";
    wire.run();
    wire[closer].close(0, 4_321, "enough");
    // Both at once is valid too, and then neither sees an answer to its own.
    const both = source.int(3) === 0;
    if (both) wire[other].close(0, 1_001, "gone");
    wire.run();
    for (const [from, to] of [["client", "server"], ["server", "client"]] as const) {
      const bytes = wire.heard[to].flatMap((event) => event.kind === "bytes" ? [event.bytes] : []);
      assertEquals(encodeHex(concat(bytes)), encodeHex(concat(sent[from])));
      assertFalse(wire.heard[to].some((event) => event.kind === "open" || event.kind === "request"));
    }
    assertEquals(summary([closeOf(wire.heard[other])]), ['close 4321 "enough"']);
    assertEquals(summary([closeOf(wire.heard[closer])]), [both ? 'close 1001 "gone"' : 'close 4321 ""']);
    assertEquals([wire.client.state, wire.server.state], ["closed", "closed"]);
  }
});

test("two endpoints: 16 MiB in one message, and cut as by default", async () => {
  const source = random(seed());
  const payload = new Uint8Array(16_777_216);
  for (let at = 0; at < payload.length; at += 65_536) crypto.getRandomValues(payload.subarray(at, at + 65_536));
  for (const maxSentMessageBytes of [Infinity, 65_535]) {
    const wire = await joined(source, { maxSentMessageBytes });
    for (const from of ["client", "server"] as const) {
      wire[from].sendBinary(payload);
      wire.run();
      const heard = wire.heard[from === "client" ? "server" : "client"].splice(0);
      let at = 0;
      for (const event of heard) {
        assert(event.kind === "bytes");
        for (let i = 0; i < event.bytes.length; i += 997) assert(event.bytes[i] === payload[at + i]);
        at += event.bytes.length;
      }
      assertEquals(at, payload.length);
    }
  }
});

test("ATK-17: whatever arrives, an endpoint goes on or ends in one close, and never throws or piles up", () => {
  const source = random(seed());
  for (let round = 0; round < 3_000; round++) {
    const role = source.pick(["client", "server"] as const);
    const endpoint = role === "client" ? openClient() : openServer();
    const frames: Uint8Array[] = [];
    for (let count = source.int(6); count >= 0; count--) {
      const payload = source.bytes(source.int(12));
      const first = source.pick([0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, source.int(256)]);
      const mask = role === "server" ? [0x80 | payload.length, 0, 0, 0, 0] : [payload.length];
      frames.push(Uint8Array.of(first, ...mask), payload);
    }
    const bytes = concat(frames);
    for (let i = source.int(3); i > 0; i--) bytes[source.int(bytes.length)] = source.int(256);
    const events = randomCut(bytes, source).flatMap((piece) => endpoint.receive(piece, 0));
    if (source.int(2) === 0) endpoint.close(0);
    if (source.int(2) === 0) events.push(...endpoint.tick(1e9));
    events.push(...endpoint.end());
    const { code, error } = closeOf(events);
    assert(code === 1006 ? error !== undefined : error === undefined);
    // At most one pong and one close frame, whatever came.
    assert(flush(endpoint).length <= 2 * (14 + 125));
    assertEquals(endpoint.state, "closed");
  }
});
