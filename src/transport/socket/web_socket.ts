/**
 * Opens this module's own WebSocket over a socket. A file of its own, which only `ws:` and `wss:` load.
 *
 * @module
 */

import { abortReason } from "../../base/wait.ts";
import { TransportError } from "../../base/errors.ts";
import type { ChannelClose } from "../channel.ts";
import type { HeaderField } from "../http/head.ts";
import { checkSubprotocols, type RemoteUrl } from "../url.ts";
import { prepareUpgrade } from "../websocket/handshake.ts";
import { SocketWebSocket } from "../websocket/own.ts";
import { WebSocketEndpoint } from "../websocket/rfc6455.ts";
import type { WebSocketChannelOptions } from "../websocket/web_socket_channel.ts";
import type { PausableChannel, Socket } from "./socket.ts";
import type { StepOptions } from "./steps.ts";

/** The options of dialling that the request for a WebSocket depends on. */
interface RequestOptions {
  readonly subprotocols?: readonly string[] | undefined;
  readonly headers?: Readonly<Record<string, string>> | Iterable<readonly [name: string, value: string]> | undefined;
  readonly hostHeader?: string | undefined;
}

/** Makes the request, and so checks its options, before anything is dialled. */
export function prepareHandshake(target: RemoteUrl, options: RequestOptions): ReturnType<typeof prepareUpgrade> {
  const subprotocols = checkSubprotocols(options.subprotocols);
  return prepareUpgrade({
    url: target.url,
    crypto,
    subprotocols,
    host: options.hostHeader,
    headers: headerFields(options.headers),
  });
}

function headerFields(headers: RequestOptions["headers"] = []): HeaderField[] {
  // What a callback returned may be anything: a number has no entries, and a text is none.
  const given: object = typeof headers === "object" && headers !== null ? headers : [undefined];
  const entries = Symbol.iterator in given ? given : Object.entries(given);
  return Array.from(entries as Iterable<readonly [string, string]>, (field) => {
    if (Array.isArray(field) && field.length > 1 && field.every((part) => typeof part === "string")) {
      return [field[0], field[1]];
    }
    throw new TypeError(
      'Cannot use headers: they are no object such as { authorization: "Bearer …" }, nor pairs of strings',
    );
  });
}

/** Resolves with the WebSocket once the server has agreed to it. */
export function openWebSocket(
  socket: Socket,
  handshake: Awaited<ReturnType<typeof prepareUpgrade>>,
  options: WebSocketChannelOptions & StepOptions,
): Promise<PausableChannel & { readonly protocol: string }> {
  const { signal, timeoutMs, closeTimeoutMs, maxMessageBytes } = options;
  return new Promise((resolve, reject) => {
    const endpoint = new WebSocketEndpoint({
      role: "client",
      handshake,
      random: crypto,
      now: performance.now(),
      limits: { handshakeTimeoutMs: timeoutMs, closeTimeoutMs, maxSentMessageBytes: maxMessageBytes },
    });
    const settle = (): void => {
      signal?.removeEventListener("abort", abort);
      channel.onclose = undefined;
    };
    const abort = (): void => {
      settle();
      channel.close();
      reject(abortReason(signal));
    };
    const channel = new SocketWebSocket(socket, endpoint, {
      closeTimeoutMs,
      onopen: ({ subprotocol }) => {
        settle();
        try {
          options.onstep?.({ event: "upgraded", status: 101, subprotocol });
        } catch (error) {
          // Thrown on, it would end the process, and leave the attempt pending.
          channel.close();
          return reject(error);
        }
        resolve(Object.assign(channel, { protocol: subprotocol }));
      },
    });
    const closed = ({ cause }: ChannelClose): void => {
      settle();
      reject(cause ?? new TransportError("connect-failed", "Cannot open WebSocket: connection ended"));
    };
    channel.onclose = closed;
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
  });
}
