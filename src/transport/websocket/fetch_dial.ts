/**
 * WebSockets with headers in Cloudflare Workers, opened by `fetch`.
 *
 * @module
 */

import { abortReason, throwIfAborted } from "../../base/wait.ts";
import { checkSubprotocols, isChosen } from "../url.ts";
import { TransportError } from "../../base/errors.ts";
import type { SocketDialOptions } from "../socket/dial.ts";
import { checkExtraHeaders } from "./handshake.ts";
import {
  cannotOpen,
  type DialedChannel,
  subprotocolMismatch,
  webSocketChannel,
  type WebSocketLike,
} from "./standard.ts";
import { guard, HANDSHAKE_TIMEOUT_MS } from "../channel.ts";

/**
 * Opens a WebSocket by `fetch`.
 *
 * @throws {TypeError} If a header or subprotocol cannot be sent.
 * @throws {TransportError} With code `"handshake-failed"` and the status, `"subprotocol-mismatch"`, `"timeout"`, or
 * `"connect-failed"`.
 * @throws The abort reason of `signal`.
 */
export async function dialByFetch(url: URL, options: SocketDialOptions): Promise<DialedChannel> {
  const subprotocols = checkSubprotocols(options.subprotocols);
  const headers = new Headers(options.headers as Record<string, string>);
  checkExtraHeaders([...headers]);
  headers.set("upgrade", "websocket");
  if (subprotocols.length > 0) headers.set("sec-websocket-protocol", subprotocols.join(", "));
  const label = cannotOpen(url);
  const response = await request(url, headers, { ...options, label });
  const { webSocket } = response;
  if (webSocket == null) {
    await response.body?.cancel();
    const { status } = response;
    throw new TransportError("handshake-failed", `${label}: status is ${status}`, {
      status,
      headers: [...response.headers],
    });
  }
  webSocket.accept();
  const channel = webSocketChannel(webSocket, options);
  const protocol = response.headers.get("sec-websocket-protocol") ?? "";
  if (!isChosen(protocol, subprotocols)) {
    channel.close(1002);
    throw subprotocolMismatch(url, protocol, subprotocols);
  }
  return Object.assign(channel, { protocol });
}

async function request(
  url: URL,
  headers: Headers,
  { signal, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS, label }: SocketDialOptions & { label: string },
): Promise<UpgradeResponse> {
  throwIfAborted(signal);
  const controller = new AbortController();
  const abort = (): void => controller.abort(abortReason(signal));
  const timer = guard(handshakeTimeoutMs, () => {
    controller.abort(new TransportError("timeout", `${label}: no answer within ${handshakeTimeoutMs} ms`));
  });
  signal?.addEventListener("abort", abort);
  try {
    // A redirect could send the headers to another server.
    const init: RequestInit = { headers, redirect: "manual", signal: controller.signal };
    return await fetch(url.href.replace(/^ws/, "http"), init) as UpgradeResponse;
  } catch (cause) {
    if (controller.signal.aborted) throw controller.signal.reason;
    throw new TransportError("connect-failed", `${label}: ${(cause as Error).message}`, { cause });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

interface UpgradeResponse extends Response {
  readonly webSocket?: (WebSocketLike & { accept(): void }) | null;
}
