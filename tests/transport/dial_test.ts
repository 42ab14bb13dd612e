import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { TransportError } from "../../src/base/errors.ts";
import { dial, type DialOptions } from "../../src/transport/websocket/standard.ts";
import { test } from "../harness.ts";
import { record } from "./channel_log.ts";
import { alive, FakeSocket } from "./socket/fake_socket.ts";

const URL_WITH_SECRETS = "wss://user:password@broker.example/amqp/$servicebus?sig=secret&x=1";

interface Attempt {
  /** The only socket made. */
  readonly socket: FakeSocket;
  readonly url: string;
  readonly offered: readonly string[];
  readonly result: ReturnType<typeof dial>;
}

/** Dials with a WebSocket that does nothing until the test says so. */
function attempt(options: DialOptions = {}, url: string | URL = "ws://broker.example/"): Attempt {
  let made: { socket: FakeSocket; url: string; offered: readonly string[] } | undefined;
  class Scripted extends FakeSocket {
    override readyState = 0;
    constructor(url: string, offered: string[]) {
      super();
      made = { socket: this, url, offered };
    }
  }
  const result = dial(url, { webSocket: Scripted, ...options });
  assert(made !== undefined, "no socket was made");
  return { ...made, result };
}

function open({ socket }: Attempt, protocol: string | null = "amqp"): void {
  socket.readyState = 1;
  socket.protocol = protocol;
  socket.emit("open");
}

/** The events of a runtime whose handshake fails. */
function failed({ socket }: Attempt, message: string | undefined, close?: number): void {
  socket.readyState = 3;
  socket.emit("error", { message, error: message === undefined ? undefined : new Error(message) });
  if (close !== undefined) socket.emit("close", { code: close });
}

/** An abort signal that counts its listeners. */
function countedSignal(): { controller: AbortController; listeners(): number } {
  const controller = new AbortController();
  let count = 0;
  for (const [name, change] of [["addEventListener", 1], ["removeEventListener", -1]] as const) {
    const original = controller.signal[name] as (...args: unknown[]) => void;
    controller.signal[name] = (...args: unknown[]): void => {
      count += change;
      original.apply(controller.signal, args);
    };
  }
  return { controller, listeners: () => count };
}

test("WSB-2: offers amqp and resolves once the server has chosen it", async () => {
  const trial = attempt();
  assertEquals(trial.offered, ["amqp"]);
  assertEquals(trial.url, "ws://broker.example/");
  assertEquals(trial.socket.binaryType, "arraybuffer");
  open(trial);
  const channel = await trial.result;
  assertEquals(channel.protocol, "amqp");
  assertEquals(trial.socket.sent, []);
});

test("WSB-6: offers all names and accepts any one of them", async () => {
  const trial = attempt({ subprotocols: ["amqp", "AMQPWSB10"] });
  assertEquals(trial.offered, ["amqp", "AMQPWSB10"]);
  open(trial, "AMQPWSB10");
  assertEquals((await trial.result).protocol, "AMQPWSB10");
});

test("WSB-4, WSB-7: any other answer closes the socket, and nothing is sent", async () => {
  for (const protocol of ["", null, "other", "AMQP", "amqp ", "mqtt-amqp", "amqp, amqp"]) {
    const trial = attempt();
    open(trial, protocol);
    const error = await assertRejects(() => trial.result, TransportError);
    assertEquals(error.code, "subprotocol-mismatch");
    assertEquals(trial.socket.closes, [[4002, ""]]);
    assertEquals(trial.socket.sent, []);
    trial.socket.end(4002);
  }
  const trial = attempt();
  open(trial, "other");
  const message = 'Cannot open WebSocket to "ws://broker.example/": server chose subprotocol "other" of "amqp"';
  await assertRejects(() => trial.result, TransportError, message);
  trial.socket.end(4002);
});

test("WSB-21: bytes right behind the handshake are kept", async () => {
  const trial = attempt();
  open(trial);
  trial.socket.receive(1, 2);
  const log = record(await trial.result);
  trial.socket.receive(3);
  await Promise.resolve();
  assertEquals(log.bytes(), Uint8Array.of(1, 2, 3));
});

test("WSB-28: a socket that ends right behind the handshake still gives its bytes, then its end", async () => {
  const trial = attempt();
  open(trial);
  trial.socket.receive(1);
  trial.socket.end(1000);
  const log = record(await trial.result);
  await log.closed;
  assertEquals(log.events, [Uint8Array.of(1), { code: 1000, reason: "" }]);
});

test("WSB-33, WSB-34: user info is not sent, the path stays as it is", async () => {
  const url = new URL(URL_WITH_SECRETS);
  const trial = attempt({}, url);
  assertEquals(trial.url, "wss://broker.example/amqp/$servicebus?sig=secret&x=1");
  assertEquals(url.href, URL_WITH_SECRETS, "the caller's URL is left alone");
  open(trial);
  await trial.result;
});

test("WSB-33: only WebSocket URLs without a fragment are dialled", async () => {
  for (const url of ["http://h/", "amqp://h/", "ws://h/#x", "ws://h/#", "", "h", "ws://u:secret@[/", "secret:x@h"]) {
    const error = await assertRejects(() => dial(url, { webSocket: FakeSocket }), TypeError);
    assert(!error.message.includes("secret"), error.message);
    assert(error.cause === undefined);
  }
});

test("WSB-6, ATK-15: names that are no tokens are refused before anything is sent", async () => {
  for (const subprotocols of [[""], ["a b"], ["a,b"], ["a\r\nb"], ["amqp\u00e9"], ["amqp", "amqp"]]) {
    await assertRejects(() => dial("ws://h/", { subprotocols, webSocket: FakeSocket }), TypeError, "subprotocol");
  }
});

test("WS-8: the HTTP status is told where the runtime tells it", async () => {
  const texts = [
    "NetworkError: failed to connect to WebSocket: Invalid status code: 401",
    "failed to connect to WebSocket: Invalid status code: 401",
    "WebSocket connection to 'wss://broker.example/amqp/$servicebus?sig=secret&x=1' failed: Expected 101 status code: 401",
    "Failed to establish the WebSocket connection: expected server to reply with HTTP status code 101 (switching protocols), but received 401 instead.",
    "Unexpected server response: 401",
  ];
  for (const text of texts) {
    const trial = attempt({}, URL_WITH_SECRETS);
    failed(trial, text, 1006);
    const error = await assertRejects(() => trial.result, TransportError);
    assertEquals(error.code, "handshake-failed");
    assertEquals(error.status, 401);
    assertEquals(error.message, 'Cannot open WebSocket to "wss://broker.example/amqp/$servicebus": status is 401');
  }
});

test("WS-36: what the runtime says otherwise is passed on, silence is named", async () => {
  const cases = [
    ["NetworkError: failed to connect to WebSocket: tcp connect error", "connect-failed", "tcp connect error"],
    ["WebSocket connection to 'ws://h/?a' failed: Failed to connect", "connect-failed", "Failed to connect"],
    ["WebSocket connection to 'ws://h/?a' failed: Missing client protocol", "subprotocol-mismatch", "client protocol"],
    ["WebSocket connection to 'ws://h/?a' failed: Mismatch client protocol", "subprotocol-mismatch", "client protocol"],
    ["Server sent no subprotocol", "subprotocol-mismatch", "Server sent no subprotocol"],
    ["Received network error or non-101 status code.", "connect-failed", "Received network error or non-101"],
    ["Uncaught Error: Network connection lost.", "connect-failed", ": Network connection lost."],
    ["", "connect-failed", "runtime does not tell why"],
    [undefined, "connect-failed", "runtime does not tell why"],
  ] as const;
  for (const [text, code, told] of cases) {
    const trial = attempt();
    failed(trial, text, 1006);
    const error = await assertRejects(() => trial.result, TransportError, told);
    assertEquals(error.code, code);
    assertEquals(error.status, undefined);
  }
});

test("WS-36: a failed handshake ends once, with an error event only, a close event only, or both", async () => {
  const errorOnly = attempt();
  failed(errorOnly, "x");
  await assertRejects(() => errorOnly.result, TransportError, "x");
  // As in Node 22.
  const connectingForEver = attempt({ closeTimeoutMs: 1_000_000 });
  connectingForEver.socket.emit("error", { message: "z" });
  await assertRejects(() => connectingForEver.result, TransportError, "z");
  const closeOnly = attempt();
  closeOnly.socket.end(1006);
  await assertRejects(() => closeOnly.result, TransportError, "does not tell why; does something listen");
  const both = attempt();
  failed(both, "y", 0);
  await assertRejects(() => both.result, TransportError, "y");
  both.socket.emit("open");
});

test("ATK-14: neither user info nor query gets into an error, also not by its cause", async () => {
  const text = "WebSocket connection to 'wss://broker.example/amqp?sig=secret&x=1' failed: odd ws://u:secret@h?secret";
  const trial = attempt({}, URL_WITH_SECRETS);
  failed(trial, text, 1006);
  const { message, cause } = await assertRejects(() => trial.result, TransportError);
  assertEquals(message, 'Cannot open WebSocket to "wss://broker.example/amqp/$servicebus": odd (URL)');
  assertEquals(cause, undefined);
});

test("WS-36: a constructor that throws is a failed attempt", async () => {
  const cause = new DOMException("Insecure WebSocket in a secure page", "SecurityError");
  class Refusing extends FakeSocket {
    constructor() {
      super();
      throw cause;
    }
  }
  const error = await assertRejects(() => dial("ws://h/?secret", { webSocket: Refusing }), TransportError);
  assertEquals(error.code, "connect-failed");
  assertEquals(error.message, 'Cannot open WebSocket to "ws://h/": Insecure WebSocket in a secure page');
  assertStrictEquals(error.cause, cause);
});

test("WS-36: a runtime without WebSocket is named as the reason", async () => {
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, "WebSocket")!;
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    const error = await assertRejects(() => dial("ws://h/"), TransportError, "needs version 22");
    assertEquals(error.code, "not-supported");
  } finally {
    Object.defineProperty(globalThis, "WebSocket", descriptor);
  }
});

test("WS-36: an aborted signal rejects with its reason, before a socket is made or while it connects", async () => {
  const reason = new Error("Enough");
  class Unwanted extends FakeSocket {
    constructor() {
      super();
      throw new Error("A socket was made");
    }
  }
  const early = dial("ws://h/", { webSocket: Unwanted, signal: AbortSignal.abort(reason) });
  assertStrictEquals(await early.catch((error) => error), reason);

  const { controller, listeners } = countedSignal();
  const trial = attempt({ signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await trial.result.catch((error) => error), reason);
  assertEquals(trial.socket.closes, [[1000, ""]]);
  assertEquals(listeners(), 0);
  failed(trial, "WebSocket was closed before the connection was established", 1006);
});

test("WS-36: a socket that opens after all is closed, and nothing is sent", async () => {
  const controller = new AbortController();
  const trial = attempt({ signal: controller.signal });
  trial.socket.close = () => {};
  controller.abort();
  await assertRejects(() => trial.result, DOMException);
  Reflect.deleteProperty(trial.socket, "close");
  open(trial);
  assertEquals(trial.socket.closes.length, 1);
  assertEquals(trial.socket.sent, []);
  trial.socket.end(1000);
});

test("WS-36: a signal that is aborted after the handshake does nothing, and nobody listens to it", async () => {
  const { controller, listeners } = countedSignal();
  const trial = attempt({ signal: controller.signal });
  assertEquals(listeners(), 1);
  open(trial);
  const log = record(await trial.result);
  assertEquals(listeners(), 0);
  controller.abort();
  assertEquals(trial.socket.closes, []);
  trial.socket.end(1000);
  assertEquals((await log.closed).code, 1000);

  const failing = countedSignal();
  const other = attempt({ signal: failing.controller.signal });
  failed(other, "x", 1006);
  await assertRejects(() => other.result, TransportError);
  assertEquals(failing.listeners(), 0);
});

test("WS-9: a handshake that takes longer than its limit is given up", async () => {
  const trial = attempt({ handshakeTimeoutMs: 1 });
  const error = await alive(assertRejects(() => trial.result, TransportError, "no answer within 1 ms"));
  assertEquals(error.code, "timeout");
  assertEquals(trial.socket.closes, [[1000, ""]]);
  failed(trial, "closed", 1006);
  for (const option of ["handshakeTimeoutMs", "closeTimeoutMs", "maxMessageBytes"]) {
    await assertRejects(() => dial("ws://h/", { webSocket: FakeSocket, [option]: 0 }), RangeError, option);
  }
});
