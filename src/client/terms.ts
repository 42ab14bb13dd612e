/**
 * What links are attached with.
 *
 * @module
 */

import { type Environment, randomName } from "../base/environment.ts";
import { type CodecLimits, MAX_DEPTH, MAX_ELEMENTS } from "../codec/reader.ts";
import type { Fields, ReceiverSettleMode, SenderSettleMode, Source, Target } from "../codec/types.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { ReceiveTerms } from "./receiver.ts";
import type { SendTerms } from "./sender.ts";

/** What a sender and a receiver are attached with alike. */
export interface LinkTerms {
  /** The node's address at the peer. May be left out for a dynamic node, or a sender without a fixed target. */
  address?: string;
  /** Asks the peer to make a node for this link; its address is then that of the link. Default: false. */
  dynamic?: boolean;
  /** The link's name. Default: a random one. A name that is in use between the two containers takes the link over. */
  name?: string;
  /** Which deliveries are sent settled; the sender's word counts. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode;
  /** `"second"` settles in two steps, the sender first; the receiver's word counts. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode;
  /** Further fields of the source. */
  source?: Partial<Omit<Source, "kind">>;
  /** Further fields of the target. */
  target?: Partial<Omit<Target, "kind">>;
  /** Capabilities wanted of the peer. */
  desiredCapabilities?: string[];
  /** Link properties. */
  properties?: Fields;
}

/** What a sender is attached with. */
export type SenderOptions = LinkTerms & SendTerms;

/** What a receiver is attached with. */
export interface ReceiverOptions extends LinkTerms, ReceiveTerms {
  /** Largest message that this end takes, in bytes. Default: 64 MiB for a receiver, none for a sender. */
  maxMessageSize?: number;
  /** Filters at the source by their name, each a described value; compare `remote.source.filter` for those in force. */
  filter?: Fields;
}

/** One object out of the two ways to name an address. */
export function terms<T extends LinkTerms>(address: string | T, options?: T): T {
  return typeof address === "string" ? { ...options, address } as T : address;
}

/** What attaches a link: its name, and where it runs. */
export interface Container {
  /** Names it to the peer. */
  readonly containerId: string;
  /** Where it runs. */
  readonly environment: Environment;
}

/** The attach of a sender. */
export function senderAttach(options: SenderOptions, { containerId, environment }: Container): AttachOptions {
  const { name = randomName(environment), address, dynamic, source, target } = options;
  return {
    ...options,
    name,
    source: { kind: "source", address: containerId, ...source },
    target: { kind: "target", address, dynamic, ...target },
  };
}

/** The attach of a receiver. */
export function receiverAttach(options: ReceiverOptions, { containerId, environment }: Container): AttachOptions {
  const { name = randomName(environment), address, dynamic, filter, source, target, maxMessageSize } = options;
  return {
    ...options,
    name,
    source: { kind: "source", address, dynamic, filter, ...source },
    target: { kind: "target", address: containerId, ...target },
    maxMessageSize: maxMessageSize === undefined ? undefined : BigInt(maxMessageSize),
  };
}

/** Bounds of decoding, with the default where none is given. */
export function codecLimits(limits: Partial<CodecLimits> = {}): CodecLimits {
  return { maxDepth: limits.maxDepth ?? MAX_DEPTH, maxElements: limits.maxElements ?? MAX_ELEMENTS };
}
