/**
 * The options that links are attached with.
 *
 * @module
 */

import { type Environment, randomName } from "../base/environment.ts";
import { type CodecLimits, MAX_DEPTH, MAX_ELEMENTS } from "../codec/limits.ts";
import type { Coordinator, Fields, ReceiverSettleMode, SenderSettleMode, Source, Target } from "../codec/types.ts";
import { definitions } from "../codec/definitions.ts";
import { quote } from "../base/text.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { SessionOptions } from "../engine/session.ts";
import { checkAddress, checkOptions, type OptionKinds } from "../base/options.ts";
import type { ReceiveSettings } from "./receive_options.ts";
import type { Recovery } from "./recovery.ts";

/** Options common to senders and receivers. */
export interface LinkSettings {
  /**
   * The node's address at the peer. Absent for a dynamic node; absent or null for a sender without a fixed target, each of
   * whose messages names its own in property `to`.
   */
  address?: string | null | undefined;
  /** Asks the peer to create a node for this link, whose address becomes the link's. Default: false. */
  dynamic?: boolean | undefined;
  /** The link's name. Default: random. A name in use between the two containers takes over that link. */
  name?: string | undefined;
  /** Which deliveries are sent settled; the sender's choice prevails. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode | undefined;
  /** `"second"` settles in two steps, the sender first; the receiver's choice prevails. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode | undefined;
  /** Further fields of the source. */
  source?: Partial<Omit<Source, "kind">> | undefined;
  /** Further fields of the target, or a transaction coordinator in its place. */
  target?: Partial<Omit<Target, "kind">> | Coordinator | undefined;
  /** Capabilities wanted of the peer. */
  desiredCapabilities?: string[] | undefined;
  /** Properties of the link, sent in the attach. */
  properties?: Fields | undefined;
}

/** Settings of a sender beside those of its link. */
export interface SendSettings {
  /**
   * Messages of one `sendAll` or `writable` that may wait for their outcome at a time, whatever the credit. They are held in
   * memory until then, and no more than this many are sent per round trip. Default: 2,048.
   */
  maxInFlight?: number | undefined;
  /**
   * What happens to messages without a known outcome when the connection is lost: `"resend"` sends them again, in order and
   * before all others, so each arrives at least once; `"resume"` resumes each delivery, so it arrives exactly once where the
   * peer supports that, see {@linkcode resume}, whose result has more options; `"fail"` ends them as lost. Settled and
   * aborted messages, and those of a transaction, are never sent again. Default: `"resend"`.
   */
  recovery?: "resend" | "fail" | "resume" | Recovery | undefined;
}

/** Options of a sender. */
export type SenderOptions = LinkSettings & SendSettings;

/** Options of a receiver. */
export interface ReceiverOptions extends LinkSettings, ReceiveSettings {
  /** Largest message accepted, in bytes; 0 for no limit. Default: 64 MiB, without a limit with `stream: true`. */
  maxMessageSize?: number | undefined;
  /** Filters at the source by name, each a described value; made by the functions of `./filters`. */
  filter?: Fields | undefined;
}

const LINK_KINDS: OptionKinds<LinkSettings> = {
  address: "string or null",
  dynamic: "boolean",
  name: "string",
  sndSettleMode: '"mixed", "settled" or "unsettled"',
  rcvSettleMode: '"first" or "second"',
  source: "object (address is meant)",
  target: "object (address is meant)",
  desiredCapabilities: "array of string",
  properties: "object",
};

/**
 * Merges the two ways to name an address into one checked object.
 *
 * @throws {TypeError} If there is no address where one is needed, or an option does not exist or is of the wrong kind.
 */
export function checkedOptions<T extends LinkSettings>(
  role: "sender" | "receiver",
  address: string | T,
  options?: T,
): T {
  const doing = `attach ${role}`;
  const isObject = typeof address === "object" && address !== null;
  if (!isObject) checkAddress(doing, address);
  else if (options !== undefined) refuse("both arguments are options, give one of them");
  const given = isObject ? address : options;
  checkOptions(doing, given, role === "sender" ? senderKinds() : receiverKinds());
  const merged = isObject ? address : { ...options, address } as T;
  const { dynamic, source, target } = merged;
  checkTerminus(doing, "source", source);
  checkTerminus(doing, isCoordinator(target) ? "coordinator" : "target", target);
  const node: Partial<Source> = (role === "receiver" ? source : isCoordinator(target) ? undefined : target) ?? {};
  // A sender without a fixed target has no `address` key; null is explicit.
  const free = merged.address === null || role === "sender" && !("address" in merged);
  const other = node.address ?? merged.address;
  if (dynamic || node.dynamic) {
    // The peer names the node [messaging 3.5.3].
    if (other) refuse(`a dynamic node gets its address from the peer, leave out ${quote(other)}`);
  } else if (!free && node.address === undefined) checkAddress(doing, merged.address);
  if (merged.address && other !== merged.address) {
    refuse(`addresses ${quote(merged.address)} and ${quote(other!)} are given, leave out one of them`);
  }
  return merged;

  function refuse(state: string): never {
    throw new TypeError(`Cannot ${doing}: ${state}`);
  }
}

// A field that does not exist would be dropped in silence when the terminus is encoded.
function checkTerminus(doing: string, kind: "source" | "target" | "coordinator", terminus: object | undefined): void {
  const kinds: Record<string, string> = { kind: "" };
  for (const field in definitions[kind].fields) kinds[field] = field === "address" ? "string or null" : "";
  checkOptions(doing, terminus, kinds, kind === "source" ? "source." : "target.");
}

export const OUTCOMES: string[] = [
  "amqp:accepted:list",
  "amqp:rejected:list",
  "amqp:released:list",
  "amqp:modified:list",
];

/** The container that attaches a link. */
export interface Container {
  readonly containerId: string;
  readonly environment: Environment;
}

export function senderAttach(options: SenderOptions, { containerId, environment }: Container): AttachOptions {
  const { name = randomName(environment), dynamic, source, target } = options;
  const address = options.address ?? undefined;
  return {
    ...options,
    name,
    // A peer uses only the outcomes listed, and the default for deliveries that it settles without one.
    source: {
      kind: "source",
      address: containerId,
      outcomes: OUTCOMES,
      defaultOutcome: { kind: "released" },
      ...source,
    },
    flowAfterAttach: options.name !== undefined,
    target: isCoordinator(target) ? target : { kind: "target", address, dynamic, ...target },
  };
}

/** The attach of a further sender to the same node with the same settings, for a single message. */
export function streamAttach(
  settings: AttachOptions,
  address: string | undefined,
  environment: Environment,
): AttachOptions {
  const target = settings.target as Target;
  return {
    ...settings,
    name: randomName(environment),
    flowAfterAttach: false,
    target: { ...target, address, dynamic: undefined },
  };
}

export function receiverAttach(options: ReceiverOptions, { containerId, environment }: Container): AttachOptions {
  const { name = randomName(environment), dynamic, filter, source, target, stream } = options;
  const { maxMessageSize = stream ? 0 : undefined } = options;
  if (filter && source?.filter) {
    throw new TypeError('Cannot attach receiver: "filter" and "source.filter" are given, merge them');
  }
  const address = options.address ?? undefined;
  return {
    ...options,
    name,
    // Without these a peer need accept no outcome but accepted: Broker-J ends the link at the first other one.
    source: {
      kind: "source",
      address,
      dynamic,
      filter,
      outcomes: OUTCOMES,
      defaultOutcome: { kind: "modified", deliveryFailed: true },
      ...source,
    },
    flowAfterAttach: options.name !== undefined,
    target: isCoordinator(target) ? target : { kind: "target", address: containerId, ...target },
    maxMessageSize: maxMessageSize === undefined ? undefined : BigInt(maxMessageSize),
  };
}

function isCoordinator(target: LinkSettings["target"]): target is Coordinator {
  return target !== undefined && "kind" in target && target.kind === "coordinator";
}

function senderKinds(): OptionKinds<SenderOptions> {
  return {
    ...LINK_KINDS,
    maxInFlight: "number from 1",
    recovery: '"resend", "resume", "fail" or object with forSender',
  };
}

function receiverKinds(): OptionKinds<ReceiverOptions> {
  return {
    ...LINK_KINDS,
    credit: 'number or "manual"',
    settle: '"auto" or "manual"',
    maxMessageSize: "whole number or bigint",
    filter: "object as selector() makes",
    filterMismatch: '"error" or "ignore"',
    recovery: '"resend", "resume" or object with forReceiver',
    stream: "boolean",
  };
}

export const SESSION_KINDS: OptionKinds<SessionOptions> = {
  incomingWindow: "whole number from 0 to 4294967295",
  handleMax: "whole number from 0 to 4294967295",
  initialOutgoingId: "whole number from 0 to 4294967295",
  desiredCapabilities: "array of string",
  offeredCapabilities: "array of string",
  properties: "object",
};

/** The decoding limits, with defaults. */
export function codecLimits(limits: Partial<CodecLimits> = {}): CodecLimits {
  const { maxDepth = MAX_DEPTH, maxElements = MAX_ELEMENTS, maxValues, maxFrameValues, strict } = limits;
  return { maxDepth, maxElements, maxValues, maxFrameValues, strict };
}
