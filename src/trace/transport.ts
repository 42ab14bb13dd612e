/**
 * Transport events for traces: how channels are opened and how they end.
 *
 * @module
 */

import { systemEnvironment } from "../base/environment.ts";
import { Log, type LogOption } from "../base/log.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import type { Channel, ChannelClose, PeerInfo, TransportEvent } from "../transport/channel.ts";
import type { DialAnyOptions } from "../transport/dial.ts";

type TransportListener = (event: TransportEvent) => void;
/** A function that opens channels, as the option `dial` of `connect`. */
export type TracedDial = (url: URL, options: DialAnyOptions) => Channel | Promise<Channel>;

/** Opens channels as `dial` does, and passes each step and their end to `listener`, whose errors go to `log`. */
export function tracedDial(dial: TracedDial, listener: TransportListener, log: LogOption | undefined): TracedDial {
  listener = guarded(listener, log);
  return async (url, options) => {
    const { protocol, host, pathname } = url;
    // A query may hold a token; text before an "@" would be hidden as a password.
    const place = `${protocol}//${host}${pathname.replaceAll("@", "%40")}`;
    listener({ event: "connecting", url: place });
    try {
      const channel = await dial(url, { ...options, onstep: listener });
      const { protocol: subprotocol } = channel as { readonly protocol?: string };
      listener({ event: "connected", url: place, ...(subprotocol && { subprotocol }) });
      return tracedChannel(channel, listener);
    } catch (error) {
      listener({ event: "failed", url: place, ...describedError(error) });
      throw error;
    }
  };
}

/** The channel of an accepted client, which is passed to `listener` like its end; errors of `listener` go to `log`. */
export function tracedAccepted(
  channel: Channel,
  info: PeerInfo | undefined,
  listener: TransportListener,
  log: LogOption | undefined,
): Channel {
  listener = guarded(listener, log);
  const { remoteAddress, secure, protocol, certificate } = info ?? {};
  listener({
    event: "accepted",
    from: remoteAddress,
    secure,
    subprotocol: protocol,
    certificate: certificate && Object.entries(certificate.subject).map((pair) => pair.join("=")).join(", "),
  });
  return tracedChannel(channel, listener);
}

export function closedEvent({ code, reason, cause }: ChannelClose): TransportEvent {
  return { event: "closed", code, ...(reason !== "" && { reason }), ...(cause !== undefined && describedError(cause)) };
}

export function describedError(error: unknown): Record<string, string | number> {
  const { message = String(error) } = Object(error) as { message?: string };
  if (error instanceof AmqpError) return { error: message, condition: error.condition };
  if (!(error instanceof TransportError)) return { error: message };
  const { code, status } = error;
  return { error: message, code, ...(status !== undefined && { status }) };
}

// An observer must not disturb the traffic.
function guarded(listener: TransportListener, option: LogOption | undefined): TransportListener {
  const log = new Log(option, systemEnvironment);
  return (event) => {
    try {
      listener(event);
    } catch (error) {
      const message = `Cannot trace event "${event.event}": option "trace" threw; mend it`;
      log.write({ level: "error", code: "callback-failed", message, error });
    }
  };
}

function tracedChannel(channel: Channel, listener: TransportListener): Channel {
  return new TracedChannel(channel, listener);
}

class TracedChannel implements Channel {
  readonly #channel: Channel;
  readonly #listener: TransportListener;
  #onclose: ((close: ChannelClose) => void) | undefined;

  constructor(channel: Channel, listener: TransportListener) {
    this.#channel = channel;
    this.#listener = listener;
  }

  get onbytes(): Channel["onbytes"] {
    return this.#channel.onbytes;
  }
  set onbytes(listener: Channel["onbytes"]) {
    this.#channel.onbytes = listener;
  }

  get onclose(): Channel["onclose"] {
    return this.#onclose;
  }
  set onclose(listener: Channel["onclose"]) {
    this.#onclose = listener;
    this.#channel.onclose = this.#tell;
  }
  readonly #tell = (close: ChannelClose): void => {
    this.#listener(closedEvent(close));
    this.#onclose?.(close);
  };

  get bufferedAmount(): number {
    return this.#channel.bufferedAmount;
  }

  get copied(): boolean {
    return this.#channel.copied ?? false;
  }

  ready(): Promise<void> {
    return this.#channel.ready();
  }

  send(bytes: Uint8Array): void {
    this.#channel.send(bytes);
  }

  close(code?: number, reason?: string, timeoutMs?: number): void {
    this.#channel.close(code, reason, timeoutMs);
  }

  get closeNow(): NonNullable<Channel["closeNow"]> | undefined {
    return this.#channel.closeNow?.bind(this.#channel);
  }
}
