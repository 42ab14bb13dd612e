/**
 * The settings of a connection, and what they are by default.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { fieldsOf } from "../codec/composite.ts";
import type { FastPath } from "../codec/frame.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Fields, Open } from "../codec/types.ts";
import type { Budget, CostLimits } from "./budgets.ts";
import type { FrameTrace } from "./events.ts";
import type { Handshake } from "./handshake.ts";
import type { SessionOptions, TakeLink } from "./session.ts";

/** Largest frame that every peer takes, whatever it announced or will announce [transport 2.4.1]. */
export const MIN_MAX_FRAME_SIZE = 512;
/** Largest frame that we take by default, in bytes: a body of 64 KiB, which many have, arrives in one. */
export const DEFAULT_MAX_FRAME_SIZE = 131_072;
/** Highest channel by default: 256 sessions on a connection. */
export const DEFAULT_CHANNEL_MAX = 255;
/** Links on a connection by default: four sessions full of them. */
export const DEFAULT_MAX_LINKS = 4_096;
/** Idle time-out that we announce by default, in milliseconds; the connection is given up after twice that. */
export const DEFAULT_IDLE_TIME_OUT = 60_000;
/** Shortest idle time-out of a peer that we agree to keep, in milliseconds; less would be a storm of empty frames. */
export const MIN_PEER_IDLE_TIME_OUT = 100;
/** How long the peer may take from the first byte to its open, in milliseconds. */
export const DEFAULT_OPEN_TIMEOUT_MS = 30_000;
/** How long the peer may take to answer a close, in milliseconds. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 5_000;
/** Largest SASL frame that we take by default, in bytes; the specification's 512 is too small for tokens. */
export const DEFAULT_SASL_MAX_FRAME_SIZE = 65_536;
/** One flush, in bytes: what fits into one WebSocket message that any host takes [wsb 2.4]. */
export const DEFAULT_FLUSH_BYTES = 65_535;

/** The settings of our end of a connection. */
export interface ConnectionOptions extends CostLimits {
  /** Makes what comes before AMQP, and with it which side this is: a `ClientHandshake` or a `ServerHandshake`. */
  handshake: () => Handshake;
  /** Names this container to the peer. */
  containerId: string;
  /** The virtual host that the client wants. */
  hostname?: string;
  /**
   * Largest frame that we take, in bytes, at least 512; transfers that we send are no larger either, or one large message
   * would keep all others waiting. Default: {@linkcode DEFAULT_MAX_FRAME_SIZE}.
   */
  maxFrameSize?: number;
  /** Highest channel that the peer may use. Default: {@linkcode DEFAULT_CHANNEL_MAX}. */
  channelMax?: number;
  /**
   * Links at a time on all sessions, from where on those that the peer attaches are refused. A peer that leaves as many
   * refused ones attached is closed. Default: {@linkcode DEFAULT_MAX_LINKS}.
   */
  maxLinks?: number;
  /**
   * Bytes of deliveries that have arrived in part, on all links at a time; the link of one that passes it ends. Default:
   * {@linkcode DEFAULT_MAX_UNFINISHED_BYTES}.
   */
  maxUnfinishedBytes?: number;
  /** What several connections together may have of them. Default: no limit but that of each. */
  unfinished?: Budget;
  /** Idle time-out to announce, in milliseconds, 0 for none. Default: {@linkcode DEFAULT_IDLE_TIME_OUT}. */
  idleTimeOut?: number;
  properties?: Fields;
  offeredCapabilities?: string[];
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /** Largest SASL frame that we take, in bytes. Default: {@linkcode DEFAULT_SASL_MAX_FRAME_SIZE}. */
  saslMaxFrameSize?: number;
  /** Settings of the sessions that the peer begins. */
  session?: SessionOptions;
  /** Makes our end of a link that the peer attaches, such as `takeLink` does. Default: such links are refused. */
  takeLink?: TakeLink;
  /** What the server answers to an open, over its own settings; what it throws refuses the connection. */
  answerOpen?: (open: Open) => Partial<Omit<Open, "kind">>;
  /** Largest open frame that we send, in bytes. Default: {@linkcode MIN_MAX_FRAME_SIZE}, which every peer takes. */
  maxOpenSize?: number;
  /** Milliseconds until the peer's open. Default: {@linkcode DEFAULT_OPEN_TIMEOUT_MS}. */
  openTimeoutMs?: number;
  /** Milliseconds that a close may go unanswered. Default: {@linkcode DEFAULT_CLOSE_TIMEOUT_MS}. */
  closeTimeoutMs?: number;
  /** Bounds of what is decoded. */
  limits?: CodecLimits;
  /** What reads the frames that come with every message; for connections that see many. Default: the table of definitions. */
  fastPath?: FastPath | undefined;
  /** Told of every frame. */
  trace?: (frame: FrameTrace) => void;
}

/** Our open: what the options say, and what the `answer` to the peer's open has over them. */
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

/** What is wrong with the peer's open, if its limits are below what may be asked of us [transport 2.4.1]. */
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
