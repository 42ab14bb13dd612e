/**
 * rhea at one end of a real WebSocket and this module at the other; all of it ends with the test.
 *
 * @module
 */

import type { AddressInfo } from "node:net";
import rhea, { type Connection, type Container, type EventContext, type Message, type Sender } from "rhea";
import { WebSocket, WebSocketServer } from "ws";
import { type Acceptor, acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { serve } from "../serve.ts";

export type { EventContext };

/** A message as rhea takes it: sections flattened, any value where its typings want one of theirs. */
export type RheaMessage = { body: unknown } & { [field: string]: unknown };

/** Options of rhea's connections; its typings tie them to TCP. */
export type RheaOptions = Record<string, unknown>;

/** A rhea container that accepts WebSockets. */
export interface RheaServer extends AsyncDisposable {
  readonly url: string;
  /** Emits the events of all connections, sessions and links. */
  readonly container: Container;
  /** The sockets that are open. */
  readonly sockets: ReadonlySet<WebSocket>;
}

/** A rhea connection that was dialled. */
export interface RheaClient extends AsyncDisposable {
  readonly connection: Connection;
  /** The socket, at the moment if it connects again. */
  readonly socket: WebSocket;
}

/** An acceptor behind this runtime's own WebSocket server. */
export interface AcceptorServer extends AsyncDisposable {
  readonly url: string;
  /** Accepts the connections. */
  readonly acceptor: Pick<Acceptor, "accept" | "close">;
}

const HOST = "127.0.0.1";

/** Starts a rhea server that accepts `users`, or anybody without them; `options` are those of its connections. */
export async function rheaServer(
  options: RheaOptions = {},
  users?: (username: string, password: string) => boolean | Promise<boolean>,
): Promise<RheaServer> {
  const container = silent(rhea.create_container());
  if (users !== undefined) container.sasl_server_mechanisms.enable_plain(users);
  const server = new WebSocketServer({
    host: HOST,
    port: 0,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has("amqp") ? "amqp" : false,
  });
  const sockets = new Map<WebSocket, Promise<void>>();
  server.on("connection", (socket) => {
    sockets.set(
      socket,
      new Promise((resolve) =>
        socket.on("close", () => {
          sockets.delete(socket);
          resolve();
        })
      ),
    );
    container.websocket_accept(socket as never, options as never);
  });
  await new Promise<void>((resolve) => server.on("listening", () => resolve()));
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://${HOST}:${port}`,
    container,
    get sockets() {
      return new Set(sockets.keys());
    },
    async [Symbol.asyncDispose]() {
      const closed = [...sockets.values()];
      for (const socket of sockets.keys()) socket.close();
      await Promise.all(closed);
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/**
 * Dials with rhea, without waiting.
 *
 * There is no SASL without `options.username`, and no reconnect without `options.reconnect`.
 */
export function rheaDial(url: string, options: RheaOptions = {}): RheaClient {
  const container = silent(rhea.create_container());
  let socket: WebSocket | undefined;
  const ended: Promise<void>[] = [];
  class Kept extends WebSocket {
    constructor(url: string, protocols: string[], options: object) {
      super(url, protocols, options);
      socket = this;
      ended.push(new Promise((resolve) => this.on("close", () => resolve())));
    }
  }
  const dial = container.websocket_connect(Kept as never);
  const connection = container.connect({
    connection_details: dial(url, ["amqp"], { perMessageDeflate: false }),
    reconnect: false,
    ...options,
  } as never);
  return {
    connection,
    get socket() {
      return socket!;
    },
    async [Symbol.asyncDispose]() {
      connection.close();
      await Promise.all(ended);
    },
  };
}

/** Dials with rhea, anonymously unless `options` say otherwise, and waits until the connection is open. */
export async function rheaClient(url: string, options: RheaOptions = {}): Promise<RheaClient> {
  const client = rheaDial(url, { username: "anonymous", ...options });
  await once(client.connection, "connection_open");
  return client;
}

/** Starts an acceptor, or another service of channels. */
export async function acceptorServer(
  options: AcceptorOptions | AcceptorServer["acceptor"] = {},
): Promise<AcceptorServer> {
  const taker = "accept" in options ? options : acceptor(options);
  const server = await serve((channel) => void taker.accept(channel));
  return {
    url: server.url,
    acceptor: taker,
    async [Symbol.asyncDispose]() {
      await taker.close({ timeoutMs: 1_000 });
      await server.close();
    },
  };
}

interface Emitter {
  once(name: string, listener: (context: EventContext) => void): unknown;
}

/** Waits for the next event of a name. */
export function once(emitter: Emitter, name: string): Promise<EventContext> {
  return new Promise((resolve) => emitter.once(name, resolve));
}

/**
 * Sends `messages` in order with a rhea sender, as its credit and its buffer of 2,048 deliveries allow.
 *
 * In a later turn: as the accepting side rhea writes transfers ahead of its own attach.
 */
export function sendAll(sender: Sender, messages: Iterable<RheaMessage>): void {
  const queue = messages[Symbol.iterator]();
  let next = queue.next();
  const pump = () => {
    for (; !next.done && sender.sendable(); next = queue.next()) sender.send(next.value as Message);
  };
  sender.on("sendable", () => void setImmediate(pump));
}

/** Waits until the peer has handled everything that rhea sent: begins a session and waits for the peer's begin. */
export async function rheaRoundTrip(connection: Connection): Promise<void> {
  const session = connection.create_session();
  session.begin();
  await once(session, "session_open");
  session.close();
  await once(session, "session_close");
}

// rhea prints to the console, or throws, events without a listener.
function silent(container: Container): Container {
  for (const name of ["disconnected", "error", "protocol_error"]) container.on(name, () => {});
  return container;
}
