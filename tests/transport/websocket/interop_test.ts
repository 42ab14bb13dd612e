import { closeCode } from "../../../src/transport/websocket/frames.ts";
import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { type RawData, WebSocket, WebSocketServer } from "ws";
import {
  type CloseEvent,
  type EndpointEvent,
  WebSocketEndpoint,
  type WebSocketLimits,
} from "../../../src/transport/websocket/rfc6455.ts";
import { acceptKey, prepareUpgrade } from "../../../src/transport/websocket/handshake.ts";
import { ServerUpgrade } from "../../../src/transport/websocket/upgrade.ts";
import { test } from "../../harness.ts";
import { latin1 } from "../wire.ts";

const MIB = 1_048_576;

/** An endpoint on a real socket: writes what it transmits, keeps its events. */
class Live {
  readonly endpoint: WebSocketEndpoint;
  readonly socket: Socket;
  readonly heard: EndpointEvent[] = [];
  readonly #gone: Promise<unknown>;
  #waiting: (() => void) | undefined;

  constructor(endpoint: WebSocketEndpoint, socket: Socket) {
    this.endpoint = endpoint;
    this.socket = socket;
    this.#gone = once(socket, "close");
    socket.on("data", (bytes: Uint8Array) => this.turn(endpoint.receive(bytes, performance.now())));
    socket.on("end", () => this.turn(endpoint.end()));
    socket.on("error", (error) => this.turn(endpoint.end(error)));
    this.turn([]);
  }

  /** Handles events and writes output; called after every command. */
  turn(events: readonly EndpointEvent[]): void {
    this.heard.push(...events);
    for (let bytes = this.endpoint.transmit(); bytes !== undefined; bytes = this.endpoint.transmit()) {
      this.socket.write(bytes);
    }
    if (this.endpoint.outputEnded && !this.socket.writableEnded) this.socket.end();
    if (this.endpoint.state === "closed") this.socket.destroy();
    this.#waiting?.();
  }

  send(bytes: Uint8Array): void {
    this.endpoint.sendBinary(bytes);
    this.turn([]);
  }

  close(code: number, reason: string): void {
    this.endpoint.close(performance.now(), code, reason);
    this.turn([]);
  }

  /** Takes the first event of a kind, now or later. */
  async next<Kind extends EndpointEvent["kind"]>(kind: Kind): Promise<EndpointEvent & { kind: Kind }> {
    for (;;) {
      const index = this.heard.findIndex((event) => event.kind === kind);
      if (index >= 0) return this.heard.splice(index, 1)[0] as EndpointEvent & { kind: Kind };
      assert(!this.heard.some((event) => event.kind === "close"), `closed while waiting for ${kind}`);
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  /** The next whole message. */
  async message(): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for (;;) {
      const { bytes, last } = await this.next("bytes");
      pieces.push(bytes);
      if (last) return concat(pieces);
    }
  }

  /** The close event, once the socket is gone too. */
  async closed(): Promise<CloseEvent> {
    const event = await this.next("close");
    await this.#gone;
    assertEquals(this.endpoint.state, "closed");
    return event;
  }
}

/** The messages, pongs and the close of a `ws` socket, recorded from the start. */
class Peer {
  readonly socket: WebSocket;
  readonly #heard: { kind: string; data: Uint8Array; code: number }[] = [];
  #waiting: (() => void) | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: RawData) => this.#push("message", new Uint8Array(data as Uint8Array)));
    socket.on("pong", (data: Uint8Array) => this.#push("pong", new Uint8Array(data)));
    socket.on("close", (code: number, reason: Uint8Array) => this.#push("close", new Uint8Array(reason), code));
    socket.on("error", () => {});
  }

  async next(kind: "message" | "pong" | "close"): Promise<{ data: Uint8Array; code: number }> {
    for (;;) {
      const index = this.#heard.findIndex((event) => event.kind === kind);
      if (index >= 0) return this.#heard.splice(index, 1)[0]!;
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  #push(kind: string, data: Uint8Array, code = 0): void {
    this.#heard.push({ kind, data, code });
    this.#waiting?.();
  }
}

/** Our client against the server of `ws`. */
async function withServer(
  run: (live: Live, peer: Peer) => Promise<void>,
  limits?: WebSocketLimits,
): Promise<void> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 32 * MIB });
  try {
    await once(server, "listening");
    const connection = once(server, "connection");
    const live = await dial((server.address() as AddressInfo).port, limits);
    await live.next("open");
    const [socket] = await connection;
    await run(live, new Peer(socket as WebSocket));
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

async function dial(port: number, limits?: WebSocketLimits): Promise<Live> {
  const url = new URL(`ws://127.0.0.1:${port}/$amqp`);
  const handshake = await prepareUpgrade({ url, crypto, subprotocols: ["amqp", "AMQPWSB10"] });
  const socket = connect(port, "127.0.0.1");
  const endpoint = new WebSocketEndpoint({ role: "client", handshake, random: crypto, now: performance.now(), limits });
  return new Live(endpoint, socket);
}

/** The client of `ws` against our server. */
async function withClient(
  run: (live: Live, peer: Peer) => Promise<void>,
  limits?: WebSocketLimits,
): Promise<void> {
  const { server, port, live } = await listen(limits);
  try {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`, ["mqtt", "amqp"], { maxPayload: 32 * MIB });
    const peer = new Peer(socket);
    const opened = once(socket, "open");
    const ours = await live;
    const { request } = await ours.next("request");
    assertEquals(request.subprotocol, "amqp");
    ours.endpoint.accept(await acceptKey(request.key, crypto.subtle));
    ours.turn([]);
    await opened;
    assertEquals([socket.protocol, socket.extensions], ["amqp", ""]);
    await run(ours, peer);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

async function listen(limits?: WebSocketLimits): Promise<{ server: Server; port: number; live: Promise<Live> }> {
  // A half that ends must not end the other: the endpoint decides.
  const server = createServer({ allowHalfOpen: true });
  const live = once(server, "connection").then(([socket]) => {
    const policy = { subprotocols: ["amqp"], origins: [] };
    const endpoint = new WebSocketEndpoint({
      role: "server",
      upgrade: new ServerUpgrade(policy, limits),
      now: performance.now(),
      limits,
    });
    return new Live(endpoint, socket as Socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port, live };
}

const sides = [["our client, ws server", withServer], ["ws client, our server", withClient]] as const;

/** Closes in order from our side, so that nothing is left open. */
async function finish(live: Live, peer: Peer): Promise<void> {
  live.close(1000, "");
  assertEquals((await live.closed()).code, 1000);
  assertEquals((await peer.next("close")).code, 1000);
}

function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8)) & 0xff;
  return bytes;
}

function sameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  assertEquals(actual.findIndex((byte, i) => byte !== expected[i]), -1);
}

for (const [name, joined] of sides) {
  test(`interop, ${name}: binary messages of all length forms, both ways`, () =>
    joined(async (live, peer) => {
      for (const length of [1, 125, 126, 65_535, 65_536, 300_000]) {
        const bytes = pattern(length);
        live.send(bytes);
        sameBytes((await peer.next("message")).data, bytes);
        peer.socket.send(bytes);
        sameBytes(await live.message(), bytes);
      }
      await finish(live, peer);
    }, { maxSentMessageBytes: Infinity }));

  test(`interop, ${name}: 16 MiB in one message, both ways`, () =>
    joined(async (live, peer) => {
      const bytes = pattern(16 * MIB);
      live.send(bytes);
      sameBytes((await peer.next("message")).data, bytes);
      peer.socket.send(bytes);
      sameBytes(await live.message(), bytes);
      await finish(live, peer);
    }, { maxSentMessageBytes: Infinity }));

  test(`interop, ${name}: by default a long flush is cut into messages of 65535 bytes`, () =>
    joined(async (live, peer) => {
      const bytes = pattern(200_000);
      live.send(bytes);
      const lengths: number[] = [];
      for (let i = 0; i < 4; i++) lengths.push((await peer.next("message")).data.length);
      assertEquals(lengths, [65_535, 65_535, 65_535, 3_395]);
      await finish(live, peer);
    }));

  test(`interop, ${name}: many small messages in one write`, () =>
    joined(async (live, peer) => {
      for (let i = 0; i < 2_000; i++) live.endpoint.sendBinary(Uint8Array.of(i, i >>> 8));
      live.turn([]);
      for (let i = 0; i < 2_000; i++) assertEquals((await peer.next("message")).data, Uint8Array.of(i, i >>> 8));
      await finish(live, peer);
    }));

  test(`interop, ${name}: fragments with a ping between them`, () =>
    joined(async (live, peer) => {
      peer.socket.send(latin1("AM"), { fin: false });
      peer.socket.ping(latin1("between"));
      peer.socket.send(latin1("QP"), { fin: true });
      assertEquals(await live.message(), latin1("AMQP"));
      assertEquals((await peer.next("pong")).data, latin1("between"));
      await finish(live, peer);
    }));

  test(`interop, ${name}: ping and pong both ways`, () =>
    joined(async (live, peer) => {
      for (const payload of ["", "x", "y".repeat(125)]) {
        live.endpoint.ping(latin1(payload));
        live.turn([]);
        assertEquals((await live.next("pong")).bytes, latin1(payload));
        peer.socket.ping(latin1(payload));
        assertEquals((await peer.next("pong")).data, latin1(payload));
      }
      await finish(live, peer);
    }));

  test(`interop, ${name}: text ends with 1003`, () =>
    joined(async (live, peer) => {
      peer.socket.send("text");
      const { code, error } = await live.closed();
      assertEquals([code, error?.closeCode], [1006, 1003]);
      assertEquals((await peer.next("close")).code, 1003);
    }));

  for (
    const [code, reason] of [[1000, ""], [1001, "going"], [1011, "é"], [3000, "x".repeat(123)], [4999, "y"]] as const
  ) {
    test(`interop, ${name}: we close with ${code}`, () =>
      joined(async (live, peer) => {
        live.close(code, reason);
        const { data, code: seen } = await peer.next("close");
        assertEquals([seen, new TextDecoder().decode(data)], [code, reason]);
        assertEquals((await live.closed()).code, code);
      }));

    test(`interop, ${name}: they close with ${code}`, () =>
      joined(async (live, peer) => {
        peer.socket.close(code, reason);
        const event = await live.closed();
        assertEquals([event.code, event.reason, event.error], [code, reason, undefined]);
        assertEquals((await peer.next("close")).code, code);
      }));
  }

  test(`interop, ${name}: they close without a code, or vanish`, async () => {
    await joined(async (live, peer) => {
      peer.socket.close();
      assertEquals((await live.closed()).code, closeCode.noStatus);
      await peer.next("close");
    });
    await joined(async (live, peer) => {
      peer.socket.terminate();
      const { code, error } = await live.closed();
      assertEquals([code, error?.code], [closeCode.abnormal, "connection-lost"]);
      await peer.next("close");
    });
  });
}

test("interop, our client, ws server: a refusal is told with its status and body", async () => {
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    verifyClient: (_info: unknown, done: (ok: boolean, code: number, message: string) => void) =>
      done(false, 403, "no entry"),
  });
  await once(server, "listening");
  const live = await dial((server.address() as AddressInfo).port);
  const { error } = await live.closed();
  assertEquals([error?.code, error?.status], ["handshake-failed", 403]);
  assertEquals(new TextDecoder().decode(error?.body), "no entry");
  await new Promise((resolve) => server.close(resolve));
});

test("interop, ws client, our server: a subprotocol that is not spoken is refused with 400", async () => {
  const { server, port, live } = await listen();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, ["mqtt"]);
  const failed = once(socket, "error");
  const { error } = await (await live).closed();
  assertEquals([error?.code, error?.status], ["subprotocol-mismatch", 400]);
  const [seen] = await failed;
  assert(String(seen).includes("400"), String(seen));
  await new Promise((resolve) => server.close(resolve));
});
