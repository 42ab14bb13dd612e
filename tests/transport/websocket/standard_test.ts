import { assert, assertEquals, assertInstanceOf, assertStrictEquals, assertThrows } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import type { ChannelClose } from "../../../src/transport/channel.ts";
import { WebSocketChannel } from "../../../src/transport/websocket/web_socket_channel.ts";
import { webSocketChannel } from "../../../src/transport/websocket/standard.ts";
import { test } from "../../harness.ts";
import { record } from "../channel_log.ts";
import { alive, FakeSocket } from "../socket/fake_socket.ts";

const MICROTASK = Promise.resolve();
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

function transportError(close: ChannelClose): TransportError {
  assertInstanceOf(close.cause, TransportError);
  return close.cause;
}

test("WSB-11: binaryType is set at once, whatever form bytes come in", () => {
  const socket = new FakeSocket();
  const log = record(webSocketChannel(socket));
  assertEquals(socket.binaryType, "arraybuffer");
  const dirty = bytes(9, 9, 1, 2, 9);
  socket.emit("message", { data: bytes(5, 6).buffer });
  socket.emit("message", { data: dirty.subarray(2, 4) });
  socket.emit("message", { data: new DataView(dirty.buffer, 3, 1) });
  assertEquals(log.events, [bytes(5, 6), bytes(1, 2), bytes(2)]);
  assert(log.events.every((event) => Object.getPrototypeOf(event) === Uint8Array.prototype));
});

test("WSB-12: a text message ends the channel with 1003, or 4003 where the runtime allows no other", async () => {
  for (const [allows, sent] of [[() => true, 1003], [undefined, 4003]] as const) {
    const socket = new FakeSocket();
    if (allows) socket.allows = allows;
    const log = record(webSocketChannel(socket));
    socket.receive(1);
    socket.emit("message", { data: "text" });
    socket.receive(2);
    assertEquals(socket.closes, [[sent, "Only binary messages are allowed"]]);
    await MICROTASK;
    assertEquals(log.events, [bytes(1)], "the end is told when the socket has ended");
    socket.end(sent);
    const close = await log.closed;
    assertEquals(close.code, 1003);
    assertEquals(transportError(close).code, "protocol-violation");
    assertEquals(transportError(close).message, "Cannot receive WebSocket message: type is text");
  }
});

test("WSB-11: a Blob ends the channel instead of arriving late or as nothing", async () => {
  const socket = new FakeSocket();
  const log = record(webSocketChannel(socket));
  socket.emit("message", { data: new Blob(["x"]) });
  socket.end(4003);
  assertEquals(transportError(await log.closed).message, "Cannot receive WebSocket message: type is Blob");
});

test("WSB-16: sends messages of at most 65,535 bytes, uncopied", () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const large = new Uint8Array(65_535 * 2 + 1);
  channel.send(large);
  assertEquals(socket.sent.map((message) => message.length), [65_535, 65_535, 1]);
  assert(socket.sent.every((message) => message.buffer === large.buffer));
  const exact = new Uint8Array(65_535);
  channel.send(exact);
  assertStrictEquals(socket.sent[3], exact);
});

test("WSB-16: the longest message is an option", () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket, { maxMessageBytes: 2 });
  channel.send(bytes(0, 1, 2, 3, 4).subarray(1));
  assertEquals(socket.sent, [bytes(1, 2), bytes(3, 4)]);
  for (const value of [0, -1, 0.5, NaN]) {
    assertThrows(() => webSocketChannel(new FakeSocket(), { maxMessageBytes: value }), RangeError, "maxMessageBytes");
    assertThrows(() => webSocketChannel(new FakeSocket(), { closeTimeoutMs: value }), RangeError, "closeTimeoutMs");
  }
});

test("WSB-17: an empty binary message is ignored, and none is sent", () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const log = record(channel);
  socket.receive();
  channel.send(bytes());
  assertEquals(log.events, []);
  assertEquals(socket.sent, []);
});

test("WSB-21: bytes that come before onbytes is set are kept, in order, and nothing overtakes them", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  socket.receive(1);
  await MICROTASK;
  socket.receive(2);
  const log = record(channel);
  assertEquals(log.events, [], "never from inside the assignment");
  socket.receive(3);
  await MICROTASK;
  socket.receive(4);
  assertEquals(log.events, [bytes(1), bytes(2), bytes(3), bytes(4)]);
});

test("WSB-28: bytes before the close frame come before the end, which is told once", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  socket.receive(1);
  socket.end(1001, "going");
  const log = record(channel);
  await log.closed;
  socket.end(1000);
  socket.emit("error", { message: "Network connection lost." });
  socket.receive(2);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(log.events, [bytes(1), { code: 1001, reason: "going" }]);
});

test("WSB-28: a listener that throws loses neither the bytes behind it nor the end", async () => {
  const socket = new FakeSocket();
  const thrower = webSocketChannel(socket);
  const seen: unknown[] = [];
  thrower.onbytes = (piece) => {
    seen.push(piece);
    if (piece[0] === 1) throw new Error("Listener failed");
  };
  thrower.onclose = ({ code }) => seen.push(code);
  assertThrows(() => socket.receive(1), Error, "Listener failed");
  socket.receive(2);
  socket.end(1000);
  await MICROTASK;
  assertEquals(seen, [bytes(1), bytes(2), 1000]);
});

test("WSB-27: a close frame of the peer is told with its code; 1005 for none", async () => {
  for (const code of [1000, 1001, 1005, 1011, 4001]) {
    const socket = new FakeSocket();
    const log = record(webSocketChannel(socket));
    socket.end(code, "why");
    assertEquals(await log.closed, { code, reason: "why" });
  }
});

test("WS-34: a connection that breaks is 1006 with a cause, also where Deno says 0", async () => {
  for (const code of [0, 1006, undefined]) {
    const socket = new FakeSocket();
    const log = record(webSocketChannel(socket));
    socket.readyState = 3;
    socket.emit("close", { code });
    const close = await log.closed;
    assertEquals(close.code, 1006);
    assertEquals(transportError(close).code, "connection-lost");
  }
});

test("WS-34: an error without a close event ends the channel, as after Node 22's", async () => {
  const socket = new FakeSocket();
  const log = record(webSocketChannel(socket));
  const error = new Error("Unexpected EOF");
  socket.readyState = 3;
  socket.emit("error", { message: error.message, error });
  const close = await log.closed;
  assertEquals(close.code, 1006);
  assertEquals(transportError(close).message, "Connection lost: Unexpected EOF");
  assertStrictEquals(transportError(close).cause, error);
  socket.end(1006);
  await MICROTASK;
  assertEquals(log.events.length, 1);
});

test("WS-34: an error that a close event follows keeps its cause", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const log = record(channel);
  socket.readyState = 2;
  socket.emit("error", { error: new Error("Invalid frame") });
  channel.send(bytes(1));
  socket.end(1006);
  assertEquals(transportError(await log.closed).message, "Connection lost: Invalid frame");
  assertEquals(socket.sent, []);
});

test("WS-34: an error that nothing follows is given up after closeTimeoutMs", async () => {
  const socket = new FakeSocket();
  const log = record(webSocketChannel(socket, { closeTimeoutMs: 1 }));
  socket.emit("error", { message: "odd" });
  assertEquals(transportError(await alive(log.closed)).message, "Connection lost: odd");
  assertEquals(socket.terminated, 1);
});

test("WSB-24: close sends 1000 by default, once, and nothing is sent or received behind it", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const log = record(channel);
  channel.send(bytes(1));
  channel.close();
  channel.close(1011);
  channel.send(bytes(2));
  socket.receive(3);
  socket.emit("message", { data: "text" });
  socket.end(1000);
  assertEquals(await log.closed, { code: 1000, reason: "" });
  assertEquals(log.events.length, 1);
  assertEquals(socket.sent, [bytes(1)]);
  assertEquals(socket.closes, [[1000, ""]]);
});

test("WSB-31: codes that the runtime refuses move to the private range; those never sent become none", () => {
  const cases: Array<[number, unknown[]]> = [
    [1000, [1000, ""]],
    [1001, [4001, ""]],
    [1002, [4002, ""]],
    [1008, [4008, ""]],
    [1011, [4011, ""]],
    [3001, [3001, ""]],
    [4999, [4999, ""]],
    [1005, []],
    [1006, []],
    [1015, []],
    [5000, []],
    [0, []],
  ];
  for (const [code, expected] of cases) {
    const socket = new FakeSocket();
    const channel = webSocketChannel(socket);
    channel.close(code);
    assertEquals(socket.closes, [expected], `${code}`);
    socket.end(1000);
  }
});

test("WSB-31: a reason is cut at 123 bytes of UTF-8, between code points", () => {
  const cases = [
    ["x".repeat(123), "x".repeat(123)],
    ["x".repeat(124), "x".repeat(123)],
    ["é".repeat(62), "é".repeat(61)],
    ["x".repeat(120) + "😀", "x".repeat(120)],
    ["x".repeat(119) + "😀!", "x".repeat(119) + "😀"],
  ];
  for (const [reason, expected] of cases) {
    const socket = new FakeSocket();
    const channel = webSocketChannel(socket);
    channel.close(1000, reason);
    assertEquals(socket.closes, [[1000, expected]]);
    socket.end(1000);
  }
});

test("WS-33: a peer that never answers the close is given up, and dropped where the runtime can", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket, { closeTimeoutMs: 1 });
  const log = record(channel);
  channel.close();
  const close = await alive(log.closed);
  assertEquals(close.code, 1006);
  assertEquals(transportError(close).code, "timeout");
  assertEquals(transportError(close).message, "Cannot close WebSocket: no answer within 1 ms");
  assertEquals(socket.terminated, 1);
  socket.end(1000);
  await MICROTASK;
  assertEquals(log.events.length, 1);
});

test("WS-33: a peer that is merely slow is not given up; the close frame follows the last byte", async () => {
  const socket = new FakeSocket();
  let left = 40;
  Object.defineProperty(socket, "bufferedAmount", { get: () => left });
  const channel = webSocketChannel(socket, { closeTimeoutMs: 20 });
  const log = record(channel);
  channel.close();
  const closed = alive(log.closed);
  while (left > 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals(socket.closes, []);
    left--;
  }
  assertEquals(transportError(await closed).code, "timeout");
  assertEquals(socket.closes, [[1000, ""]]);
});

test("WS-33: a peer that takes nothing is given up, and the socket does not stay open", async () => {
  const socket = new FakeSocket();
  socket.bufferedAmount = 1;
  const channel = webSocketChannel(socket, { closeTimeoutMs: 1 });
  const log = record(channel);
  channel.close();
  assertEquals(transportError(await alive(log.closed)).code, "timeout");
  assertEquals(socket.closes, [[1000, ""]]);
  assertEquals(socket.terminated, 1);
});

test("WSB-27: Workers leave the answer to a close frame to the program", async () => {
  for (const [code, answer] of [[1000, [1000, ""]], [1001, [4001, ""]], [1005, []]] as const) {
    const socket = new FakeSocket();
    const log = record(webSocketChannel(socket));
    socket.readyState = 2;
    socket.emit("close", { code });
    assertEquals((await log.closed).code, code);
    assertEquals(socket.closes, [[...answer]]);
  }
});

test("WSB-21: what is sent before a server's socket is open waits, and so does the close", async () => {
  const socket = new FakeSocket();
  socket.readyState = 0;
  const channel = webSocketChannel(socket);
  const log = record(channel);
  channel.send(bytes(1));
  channel.send(bytes(2));
  channel.close(3000);
  assertEquals(channel.bufferedAmount, 2);
  assertEquals(socket.closes, []);
  socket.readyState = 1;
  socket.emit("open");
  assertEquals(socket.sent, [bytes(1), bytes(2)]);
  assertEquals(socket.closes, [[3000, ""]]);
  assertEquals(channel.bufferedAmount, 0);
  socket.end(3000);
  await log.closed;
});

test("WS-34: a socket that is closed already ends at once", async () => {
  const socket = new FakeSocket();
  socket.readyState = 3;
  assertEquals((await record(webSocketChannel(socket)).closed).code, 1006);
});

test("WS-34: a runtime that refuses to send ends the channel, not the caller", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const log = record(channel);
  socket.refusal = new TypeError("Can't call WebSocket send() after close().");
  channel.send(new Uint8Array(200_000));
  const close = await log.closed;
  assertEquals(transportError(close).code, "connection-lost");
  assertStrictEquals(transportError(close).cause, socket.refusal);
});

test("ATK-18: ready resolves at 256 KiB and below, and when the channel ends", async () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  socket.bufferedAmount = 256 * 1024;
  await channel.ready();
  socket.bufferedAmount++;
  assertEquals(channel.bufferedAmount, 256 * 1024 + 1);
  let resolved = 0;
  const ready = Promise.all([channel.ready(), channel.ready()]).then(() => resolved++);
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(resolved, 0);
  socket.bufferedAmount--;
  await ready;
  socket.bufferedAmount = 1 << 30;
  const last = channel.ready();
  socket.end(1000);
  await last;
  assertEquals(channel.bufferedAmount, 0);
  await channel.ready();
});

test("ATK-18: a carrier that asks to hold gets no more until it has drained", async () => {
  const sent: number[] = [];
  const closes: unknown[] = [];
  let room = 2;
  const channel = new WebSocketChannel({
    bufferedAmount: 0,
    send: (message) => sent.push(message[0]) < room,
    close: (code) => closes.push(code),
    terminate: () => {},
  }, { maxMessageBytes: 200 * 1024 });
  const log = record(channel);
  channel.opened();
  for (let index = 0; index < 6; index++) channel.send(new Uint8Array(100 * 1024).fill(index));
  assertEquals(sent, [0, 1]);
  assertEquals(channel.bufferedAmount, 4 * 100 * 1024);
  let ready = false;
  const waiting = channel.ready().then(() => ready = true);
  room = 3;
  channel.drained();
  await MICROTASK;
  assertEquals([...sent, ready], [0, 1, 2, false]);
  room = 5;
  channel.drained();
  await waiting;
  assertEquals(sent, [0, 1, 2, 3, 4]);
  channel.close();
  assertEquals(closes, [], "the close waits for what was sent before it");
  channel.drained();
  assertEquals(sent, [0, 1, 2, 3, 4, 5]);
  assertEquals(closes, [1000]);
  channel.closed(1000);
  await log.closed;
});

test("ATK-14: no URL and no error that holds one gets into the cause", async () => {
  const socket = new FakeSocket();
  const log = record(webSocketChannel(socket));
  const message = "WebSocket connection to 'wss://u:secret@h/p?sig=secret' failed: Protocol error";
  socket.readyState = 3;
  socket.emit("error", { message, error: new Error(message) });
  const error = transportError(await log.closed);
  assertEquals(error.message, "Connection lost: Protocol error");
  assertEquals(error.cause, undefined);
});
