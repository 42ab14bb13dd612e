/**
 * Traces of real connections as JSON Lines, and captures of their bytes as the same traces.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { connect, plain } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { traceCapture, unpacked } from "../../src/trace/capture.ts";
import { fromJson, type Json, toJson } from "../../src/trace/json.ts";
import { jsonLines, type TraceEvent } from "../../src/trace/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";

interface Piece {
  readonly out: boolean;
  readonly bytes: Uint8Array;
}

/** An exchange of a client and a broker, as frames of both and as bytes. */
async function exchange(scheme: "ws" | "amqp"): Promise<{ pieces: Piece[]; client: string[]; server: string[] }> {
  const pieces: Piece[] = [];
  const client: string[] = [], server: string[] = [];
  const trace = jsonLines((line) => server.push(line), { vantage: "server" });
  const broker = new Broker({ sasl: { users: { user: "hunter2" } }, trace });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const relay = createServer((socket) => {
    const upstream = connectTcp(listener.port, "127.0.0.1");
    socket.on("data", (bytes) => {
      pieces.push({ out: true, bytes: new Uint8Array(bytes) });
      upstream.write(bytes);
    }).on("error", () => {}).on("close", () => upstream.destroy());
    upstream.on("data", (bytes) => {
      pieces.push({ out: false, bytes: new Uint8Array(bytes) });
      socket.write(bytes);
    }).on("error", () => {}).on("close", () => socket.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const connection = await connect(`${scheme}://127.0.0.1:${(relay.address() as AddressInfo).port}`, {
    transport: "socket",
    auth: plain("user", "hunter2"),
    trace: jsonLines((line) => client.push(line), { title: "a test" }),
    properties: { "api-key": "hunter2", product: "test" },
  });
  await connection.sender("orders").send({ body: "one coffee" });
  const delivery = await connection.receiver("orders", { credit: 1 }).receive();
  delivery.accept();
  await connection.close();
  await broker.close();
  await listener.close();
  await new Promise((resolve) => relay.close(resolve));
  return { pieces, client, server };
}

function events(lines: readonly string[]): TraceEvent[] {
  return lines.slice(1).map((line) => JSON.parse(line));
}

// Only what both sides and a capture see alike; the time of flows depends on the turn.
function story(lines: readonly string[], flip = false): string[] {
  return events(lines).filter(({ data }) => data.frame !== undefined && data.frame.kind !== "flow").map((event) => {
    const out = (event.name === "amqp:frame_sent") !== flip;
    return `${out ? ">" : "<"} ${event.data.frame!.kind} ${event.data.link ?? ""}`.trim();
  }).sort();
}

function captured(bytes: Uint8Array<ArrayBuffer>): string[] {
  const lines: string[] = [];
  traceCapture(bytes, (line) => lines.push(line), { title: "capture" });
  return lines;
}

test("trace: a connection as JSON Lines, secrets hidden, the same from both sides", async () => {
  const { client, server } = await exchange("ws");
  const { file_schema, title, trace } = JSON.parse(client[0]!);
  assertEquals([file_schema, title, trace.vantage_point.type], ["urn:webamqp:trace:1", "a test", "client"]);
  const text = client.join("") + server.join("");
  assertEquals(text.includes("hunter2"), false);
  assertStringIncludes(text, '"product":"test"');
  assertEquals(story(client).filter((line) => /transfer|disposition/.test(line)), [
    "< disposition orders",
    "< transfer orders",
    "> disposition orders",
    "> transfer orders",
  ]);
  assertEquals(story(server, true), story(client));
  const [sent] = events(client).filter(({ data }) => data.frame?.kind === "transfer");
  assert(sent!.data.payload! > 0 && sent!.data.after!.unsettledOut === 1 && sent!.data.after!.credit! >= 0);
  const times = events(client).map(({ time }) => time);
  assertEquals(times, [...times].sort((a, b) => a - b));
  assertEquals(events(client).filter(({ data }) => data.faults !== undefined), []);
});

test("trace: captured bytes give the trace of the client, as pcap with and without WebSocket, and as text", async () => {
  for (const scheme of ["ws", "amqp"] as const) {
    const { pieces, client } = await exchange(scheme);
    const lines = captured(pcap(pieces));
    assertEquals(story(lines), story(client), scheme);
    for (const little of [true, false]) {
      assertEquals(story(captured(pcapng(pcap(pieces), little))), story(client), `${scheme}, pcapng`);
    }
    assertEquals(lines.join("").includes("hunter2"), false);
    assertEquals(events(lines).filter(({ data }) => data.faults !== undefined), []);
    if (scheme === "ws") continue;
    const hex = pieces.map(({ out, bytes }) => `${out ? ">" : "<"} ${[...bytes].map(twoDigits).join(" ")}`).join("\n");
    assertEquals(story(captured(new TextEncoder().encode(hex))), story(client));
  }
});

test("trace: a capture may be disordered, doubled and cut; what is lost is told", async () => {
  const { pieces, client } = await exchange("amqp");
  assertEquals(story(captured(pcap(pieces, (all) => all.flatMap((one) => [one, one])))), story(client));
  const swapped = pcap(pieces, ([first, second, third, ...rest]) => [first!, third!, second!, ...rest]);
  assertEquals(story(captured(swapped)), story(client));
  const lost = captured(pcap(pieces, (all) => all.filter((_, i) => i !== 3)));
  assertEquals(events(lost).filter(({ data }) => data.event === "gap").length, 1);
  const whole = pcap(pieces);
  assert(captured(whole.slice(0, whole.length - 5)).length > 5);
});

test("trace: what gzip has packed is unpacked, and as much as is there of what was cut off", async () => {
  const text = new TextEncoder().encode("a line of a trace\n".repeat(10_000));
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  assertEquals(await unpacked(text), text);
  assertEquals(await unpacked(packed), text);
  const cut = await unpacked(packed.slice(0, packed.length - 12));
  assertEquals(cut, text.slice(0, cut.length));
  // A few bytes of gzip may hold any number.
  await assertRejects(() => unpacked(packed, 100_000), RangeError, "more than 100000 bytes");
  assertEquals((await unpacked(packed, text.length)).length, text.length);
});

test("trace: what is no capture is refused; TLS is told", () => {
  assertThrows(() => captured(new TextEncoder().encode("hello there")), TypeError, "Cannot read");
  const tls = captured(pcap([{ out: true, bytes: Uint8Array.of(0x16, 0x03, 0x01, 0x00, 0x05, 1) }]));
  assertEquals(events(tls).map(({ data }) => data.event), ["connection", "encrypted"]);
});

test("trace: a head of HTTP that never ends is given up, however long the capture goes on", () => {
  // Inserting each piece behind all earlier ones would take minutes.
  const bytes = new TextEncoder().encode("a".repeat(1_400));
  const pieces = Array.from(
    { length: 4_000 },
    (_, i) => ({ out: true, bytes: i === 0 ? new TextEncoder().encode("GET /") : bytes }),
  );
  const told = events(captured(pcap(pieces))).map(({ data }) => data.event);
  assertEquals(told, ["connection", "not readable"]);
});

test("ATK-18: trace: hexadecimal text with a million blanks in a row is read like any other", () => {
  // Trying each of the blanks as the begin of a column of text would take hours.
  const header = "41 4d 51 50 00 01 00 00";
  const blanks = " ".repeat(1_000_000);
  assertEquals(
    captured(new TextEncoder().encode(`${header.slice(0, 8)}${blanks}${header.slice(8)} `)),
    captured(new TextEncoder().encode(header)),
  );
});

test("trace: a gateway tells the frames of each relay", async () => {
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const lines: string[] = [];
  const running = await gateway({
    listen: { host: "127.0.0.1", port: 0 },
    target: `amqp://127.0.0.1:${listener.port}`,
    trace: jsonLines((line) => lines.push(line), { vantage: "network" }),
  });
  for (let i = 0; i < 2; i++) {
    const connection = await connect(`ws://127.0.0.1:${running.port}`);
    await connection.sender("orders").send({ body: "x" });
    await connection.close();
  }
  await running.close();
  await broker.close();
  await listener.close();
  assertEquals([...new Set(events(lines).map(({ data }) => data.connection))], [1, 2]);
});

test("trace: JSON of AMQP values reads back as they were", () => {
  const values: Json[] = [
    null,
    true,
    1.5,
    "text",
    { $binary: "00ff" },
    { $long: "-9223372036854775808" },
    { $ulong: "18446744073709551615" },
    { $uint: 5 },
    { $symbol: "amqp:x" },
    { $uuid: "00112233-4455-6677-8899-aabbccddeeff" },
    { $timestamp: "2026-11-28T00:00:00.000Z" },
    { $map: [[1, "a"], [{ $binary: "00" }, null]] },
    { $described: [{ $symbol: "x:y" }, [1, 2]] },
    { $array: ["symbol", "a", "b"] },
    { a: [1, { b: "c" }] },
    { $map: [["$key", 1]] },
  ];
  for (const value of values) assertEquals(toJson(fromJson(value)), value);
});

test("json: a value of another form than its type says so", () => {
  const cases: [json: Json, said: string][] = [
    [{ $map: 5 }, '"$map" has no list but a number'],
    [{ $map: [["a"]] }, '"$map" has 1 values, not a pair'],
    [{ $described: "x" }, '"$described" has no list but a string'],
    [{ $array: null }, '"$array" has no list but null'],
    [{ $long: "five" }, '"$long" is no whole number'],
    [{ $ulong: "" }, '"$ulong" is no whole number'],
    [{ $timestamp: "soon" }, '"$timestamp" is no date'],
    [{ $float16: 1 }, '"$float16" is not a type'],
  ];
  for (const [json, said] of cases) assertThrows(() => fromJson(json), TypeError, `Cannot read JSON: ${said}`);
});

test("trace: a capture's lengths and times are not trusted, and a connection is asked for twice", () => {
  const section = numbers([0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff, 28]);
  for (const type of [1, 6]) assertEquals(captured(concat([section, numbers([type, 12, 12])])).length, 1);
  // Seconds, of which 64 bits are some hundred thousand million years.
  const seconds = [1, 32, 0x0001_0000, 65_535, 0x0009_0001, 0x0000_0000, 0, 32];
  const frame = segment(true, 1, 0x18, Uint8Array.from([0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0, 0, 0]));
  const late = [6, 32 + frame.length, 0, 0xffff_ffff, 0xffff_ffff, frame.length, frame.length];
  const lines = captured(concat([section, numbers([...seconds, ...late]), frame, numbers([32 + frame.length])]));
  assertStringIncludes(lines[0]!, "+275760-09-13");
  assertEquals(events(lines).map(({ data }) => data.event), ["connection"]);

  const syn = segment(true, 0xffff_ffff, 0x02, new Uint8Array(0));
  assertEquals(events(captured(pcap([], () => [syn, syn]))).length, 1);
});

function twoDigits(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

// One TCP stream in Ethernet and IPv4, without checksums, which are not checked.
function pcap(pieces: readonly Piece[], change = (all: Uint8Array[]): Uint8Array[] => all): Uint8Array<ArrayBuffer> {
  const next = { out: 1_000, in: 0xffff_fff0 };
  const segments = [
    segment(true, next.out++, 0x02, new Uint8Array(0)),
    segment(false, next.in++, 0x12, new Uint8Array(0)),
  ];
  for (const { out, bytes } of pieces) {
    const way = out ? "out" : "in";
    segments.push(segment(out, next[way], 0x18, bytes));
    next[way] = (next[way] + bytes.length) >>> 0;
  }
  const parts: Uint8Array[] = [numbers([0xa1b2c3d4, 0x00020004, 0, 0, 65_535, 1])];
  change(segments).forEach((bytes, i) => {
    parts.push(numbers([1_700_000_000, i * 10, bytes.length, bytes.length]), bytes);
  });
  return concat(parts);
}

// The packets of a pcap as pcapng, in nanoseconds.
function pcapng(classic: Uint8Array<ArrayBuffer>, little: boolean): Uint8Array<ArrayBuffer> {
  const view = new DataView(classic.buffer);
  const block = (type: number, body: readonly number[], data = new Uint8Array(0)): Uint8Array[] => {
    const padded = new Uint8Array(Math.ceil(data.length / 4) * 4);
    padded.set(data);
    const length = 12 + body.length * 4 + padded.length;
    return [numbers([type, length, ...body], little), padded, numbers([length], little)];
  };
  const linkType = little ? 1 : 0x0001_0000, nanoseconds = little ? [0x0001_0009, 9, 0] : [0x0009_0001, 0x0900_0000, 0];
  const parts = [
    ...block(0x0a0d0d0a, [0x1a2b3c4d, 1, 0xffff_ffff, 0xffff_ffff]),
    ...block(1, [linkType, 65_535, ...nanoseconds]),
  ];
  for (let at = 24; at < classic.length;) {
    const time = BigInt(view.getUint32(at)) * 1_000_000_000n + BigInt(view.getUint32(at + 4)) * 1_000n;
    const length = view.getUint32(at + 8);
    const words = [0, Number(time >> 32n), Number(time & 0xffff_ffffn), length, length];
    parts.push(...block(6, words, classic.slice(at + 16, at + 16 + length)));
    at += 16 + length;
  }
  return concat(parts);
}

function numbers(words: readonly number[], little = false): Uint8Array {
  const view = new DataView(new ArrayBuffer(words.length * 4));
  words.forEach((word, i) => view.setUint32(4 * i, word, little));
  return new Uint8Array(view.buffer);
}

function segment(out: boolean, sequence: number, flags: number, bytes: Uint8Array): Uint8Array {
  const packet = new Uint8Array(54 + bytes.length);
  const view = new DataView(packet.buffer);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, 40 + bytes.length);
  view.setUint8(23, 6);
  view.setUint32(26, out ? 0x7f000001 : 0x7f000002);
  view.setUint32(30, out ? 0x7f000002 : 0x7f000001);
  view.setUint16(34, out ? 50_000 : 5_672);
  view.setUint16(36, out ? 5_672 : 50_000);
  view.setUint32(38, sequence);
  view.setUint8(46, 0x50);
  view.setUint8(47, flags);
  packet.set(bytes, 54);
  return packet;
}
