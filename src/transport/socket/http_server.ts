/**
 * WebSockets at an existing HTTP server of Node, such as that of Express or Fastify.
 *
 * @module
 */

import { systemEnvironment } from "../../base/environment.ts";
import { Log, type LogOption } from "../../base/log.ts";
import { checkOptions, type OptionKinds } from "../../base/options.ts";
import type { Channel, PeerInfo } from "../channel.ts";
import type { HeaderField, RequestHead } from "../http/head.ts";
import { adopt, clientCertificate } from "../runtime/node.ts";
import { acceptedSubprotocols, UPGRADE_KINDS, type UpgradeOptions } from "../websocket/upgrade.ts";
import { Callbacks } from "./callbacks.ts";
import { type HttpServiceOptions, isServed, openUpgrade, WEB_SOCKET_LIMIT_KINDS } from "./listen_http.ts";
import type { PausableChannel } from "./socket.ts";

/** The settings of {@linkcode upgradeListener}. */
export interface UpgradeListenerOptions extends Omit<HttpServiceOptions, "health"> {
  /** Accepts every channel: an acceptor or a broker. */
  acceptor?: { accept(channel: Channel, info: PeerInfo): unknown } | undefined;
  /** Accepts every channel, instead of `acceptor`; sets `onbytes` and `onclose` before it returns. */
  accept?: ((channel: PausableChannel, info: PeerInfo & { readonly request: RequestHead }) => void) | undefined;
  /** Receives failures of callbacks. Default: prints them to the console; null for nobody. */
  log?: LogOption | undefined;
}

const KINDS: OptionKinds<Omit<UpgradeListenerOptions, keyof UpgradeOptions>> = {
  acceptor: "object with accept",
  accept: "function",
  paths: "function or array of string",
  authenticate: "function",
  log: "function or null",
  limits: WEB_SOCKET_LIMIT_KINDS,
};

/** The part of a request of `node:http` that is used. */
export interface IncomingRequest {
  /** The method. */
  readonly method?: string | undefined;
  /** The request target. */
  readonly url?: string | undefined;
  /** The version, such as `1.1`. */
  readonly httpVersion: string;
  /** The names and values of the header fields in turn, as they were sent. */
  readonly rawHeaders: readonly string[];
}

/** The part of a server of `node:http` that is used. */
interface UpgradingServer {
  listenerCount?(event: "upgrade"): number;
}

/**
 * Makes a listener for `upgrade` events of a server of `node:http` or `node:https`.
 *
 * Requests for other `paths` are left to the server's other listeners, or answered with 404. The server still owns its
 * port: closing it waits for these WebSockets, too, which end in order when the acceptor is closed, before or after. A server of
 * `node:https` with `requestCert` says by SASL EXTERNAL who its clients are, not on Bun, which shows no certificate.
 *
 * @example
 * ```ts ignore
 * import { createServer } from "node:http";
 * import { Broker } from "@webamqp/amqp/broker";
 * import { upgradeListener } from "@webamqp/amqp/node";
 *
 * const broker = new Broker();
 * const server = createServer(app);
 * server.on("upgrade", upgradeListener({ acceptor: broker, paths: ["/amqp"] }));
 * server.listen(8080);
 * ```
 *
 * @throws {TypeError} If neither or both of `acceptor` and `accept` are given, or another option cannot be used.
 */
export function upgradeListener(
  options: UpgradeListenerOptions,
): (request: IncomingRequest, socket: unknown, head: Uint8Array) => void {
  checkOptions("listen for upgrades", options ?? null, { ...KINDS, ...UPGRADE_KINDS });
  const { acceptor, accept } = options;
  if ((acceptor === undefined) === (accept === undefined)) {
    throw new TypeError('Cannot listen for upgrades: give one of "acceptor" and "accept"');
  }
  // Otherwise the first request would end the process.
  acceptedSubprotocols(options.subprotocols);
  const callbacks = new Callbacks(new Log(options.log, systemEnvironment), () => "upgradeListener");
  const http = callbacks.guard(options);
  return (request, socket, head) => {
    const target = request.url ?? "/";
    const { server } = socket as { server?: UpgradingServer };
    if (!isServed(http, target) && (server?.listenerCount?.("upgrade") ?? 1) > 1) return;
    const connection = adopt(socket);
    const headers: HeaderField[] = [];
    const { rawHeaders } = request;
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) headers.push([rawHeaders[i]!, rawHeaders[i + 1]!]);
    const version = request.httpVersion === "1.1" ? "HTTP/1.1" : "HTTP/1.0";
    const secure = (socket as { encrypted?: boolean }).encrypted === true;
    const certificate = clientCertificate(socket);
    const peer: PeerInfo = { secure, certificate, remoteAddress: connection.remoteAddress };
    openUpgrade(connection, { method: request.method ?? "GET", target, version, headers }, new Uint8Array(head), {
      options: http,
      peer,
      results: {
        onupgraded: (channel, request, protocol) => {
          if (accept === undefined) {
            callbacks.hand(channel, "acceptor", () => acceptor?.accept(channel, { ...peer, protocol }));
          } else callbacks.hand(channel, "accept", () => accept(channel, { ...peer, protocol, request }));
        },
      },
    });
  };
}
