/**
 * The settings of a connection, and their defaults.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { fieldsOf } from "../codec/composite.ts";
import type { FastPath } from "../codec/frame.ts";
import { type CodecLimits, DEFAULT_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE } from "../codec/limits.ts";
import type { Fields, Open } from "../codec/types.ts";
import type { CostOptions } from "./budgets.ts";
import type { FrameTrace } from "./events.ts";
import type { Handshake } from "./handshake.ts";
import type { SessionOptions, TakeLink } from "./session.ts";

/** Largest transfer that we send, in bytes: two full flushes, or a receiver would have to put a third one of two bytes to them. */
export const MAX_SENT_TRANSFER_BYTES = 131_070;
/** Highest channel by default: 256 sessions on a connection. */
export const DEFAULT_CHANNEL_MAX = 255;
/** Links on a connection by default: four sessions full of them. */
export const DEFAULT_MAX_LINKS = 4_096;
/** Idle time-out that we announce by default, in milliseconds; the connection ends after twice that. */
export const DEFAULT_IDLE_TIME_OUT = 60_000;
/** Shortest idle time-out of a peer that we accept, in milliseconds; a shorter one would be a storm of empty frames. */
const MIN_PEER_IDLE_TIME_OUT = 100;
/** Default time from the first byte to the peer's open, in milliseconds. */
export const DEFAULT_OPEN_TIMEOUT_MS = 30_000;
/** Default time for the answer to a close, in milliseconds. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 5_000;
/** Largest SASL frame that we accept by default, in bytes; the specification's 512 is too small for tokens. */
export const DEFAULT_SASL_MAX_FRAME_SIZE = 65_536;
/** Default size of a flush, in bytes: it fits one WebSocket message that any host accepts [wsb 2.4]. */
export const DEFAULT_FLUSH_BYTES = 65_535;

/** The owner of our end of a connection. */
export interface EndpointOwner {
  /** Returns the server's answer to an open, which overrides the settings; an error refuses the connection. */
  answerOpen(open: Open): Partial<Omit<Open, "kind">>;
}

/** The settings of our end of a connection. */
export interface ConnectionOptions extends CostOptions {
  /** Creates the exchange before AMQP, and sets the role by it: a `ClientHandshake` or a `ServerHandshake`. */
  handshake: () => Handshake;
  /** The name of this container. */
  containerId: string;
  /** The virtual host that the client asks for. */
  hostname?: string;
  /**
   * Largest frame that we accept, in bytes, at least 512; it bounds the transfers that we send, too, or one large message would
   * hold up all others. Default: {@linkcode DEFAULT_MAX_FRAME_SIZE}.
   */
  maxFrameSize?: number;
  /** Highest channel that the peer may use. Default: {@linkcode DEFAULT_CHANNEL_MAX}. */
  channelMax?: number;
  /**
   * Links at a time on all sessions; beyond them, links that the peer attaches are refused. A peer that leaves as many refused
   * ones attached is closed. Default: {@linkcode DEFAULT_MAX_LINKS}.
   */
  maxLinks?: number;
  /** Idle time-out to announce, in milliseconds, 0 for none. Default: {@linkcode DEFAULT_IDLE_TIME_OUT}. */
  idleTimeOut?: number;
  properties?: Fields;
  offeredCapabilities?: string[];
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /** Largest SASL frame that we accept, in bytes. Default: {@linkcode DEFAULT_SASL_MAX_FRAME_SIZE}. */
  saslMaxFrameSize?: number;
  /** Settings of the sessions that the peer begins. */
  session?: SessionOptions;
  /** Makes our end of a link that the peer attaches, as `takeLink` does. Default: such links are refused. */
  takeLink?: TakeLink;
  /** Largest open frame that we send, in bytes. Default: {@linkcode MIN_MAX_FRAME_SIZE}, which every peer accepts. */
  maxOpenSize?: number;
  /** Time for the peer's open, in milliseconds. Default: {@linkcode DEFAULT_OPEN_TIMEOUT_MS}. */
  openTimeoutMs?: number;
  /** Time for the answer to a close, in milliseconds. Default: {@linkcode DEFAULT_CLOSE_TIMEOUT_MS}. */
  closeTimeoutMs?: number;
  /** Limits of the decoder. */
  limits?: CodecLimits;
  /** The reader of the frames that come with every message, for busy connections. Default: the table of definitions. */
  fastPath?: FastPath | undefined;
  /** Called with every frame. */
  trace?: (frame: FrameTrace) => void;
}

/** Our open: the options, overridden by the `answer` to the peer's open. */
export function openOf(options: ConnectionOptions, answer: Partial<Omit<Open, "kind">>): Open {
  return {
    ...fieldsOf("open", options),
    containerId: options.containerId,
    maxFrameSize: options.maxFrameSize ?? DEFAULT_MAX_FRAME_SIZE,
    channelMax: options.channelMax ?? DEFAULT_CHANNEL_MAX,
    idleTimeOut: (options.idleTimeOut ?? DEFAULT_IDLE_TIME_OUT) || undefined,
    ...answer,
    kind: "open",
  };
}

/** The error of a peer's open whose limits are below those that we accept, if any [transport 2.4.1]. */
export function faultOfOpen(maxFrameSize: number, idleTimeOut: number = 0): AmqpError | undefined {
  if (maxFrameSize < MIN_MAX_FRAME_SIZE) {
    return new AmqpError(
      condition.invalidField,
      `Cannot take open: max-frame-size is ${maxFrameSize}, below ${MIN_MAX_FRAME_SIZE}`,
    );
  }
  if (idleTimeOut === 0 || idleTimeOut >= MIN_PEER_IDLE_TIME_OUT) return undefined;
  return new AmqpError(
    condition.notAllowed,
    `Cannot take open: idle-time-out is ${idleTimeOut}, below ${MIN_PEER_IDLE_TIME_OUT}`,
  );
}
