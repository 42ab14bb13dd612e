/**
 * Limits on the size of messages and the cost of decoding, and the weights of values.
 *
 * @module
 */

import type { OptionKinds } from "../base/options.ts";

/** Limits on the cost of decoding, whatever the bytes say. */
export interface CodecLimits {
  /** Deepest nesting of compound and described values. Default: {@linkcode MAX_DEPTH}; more than 1,000 counts as 1,000. */
  readonly maxDepth: number;
  /** Most array elements without a byte of their own in one frame or message. Default: {@linkcode MAX_ELEMENTS}. */
  readonly maxElements: number;
  /**
   * Most values in one message, of about 32 bytes of memory each; heavy ones count several times. Default: {@linkcode
   * MAX_VALUES}.
   */
  readonly maxValues?: number | undefined;
  /** Most values in one frame without its payload. Default: {@linkcode MAX_FRAME_VALUES}. */
  readonly maxFrameValues?: number | undefined;
  /**
   * True refuses messages that are readable but deviate from the specification: annotation keys that are strings or ulongs,
   * sections in another order, null in a data section, a symbol where a string belongs, an application property that is described
   * or compound. Default: false.
   */
  readonly strict?: boolean | undefined;
}

export const CODEC_LIMIT_KINDS: OptionKinds<CodecLimits> = {
  maxDepth: "number from 1",
  maxElements: "number",
  maxValues: "number from 1",
  maxFrameValues: "number from 1",
  strict: "boolean",
};

/** Largest frame that every peer takes, whatever it announced or will announce [transport 2.4.1]. */
export const MIN_MAX_FRAME_SIZE = 512;

/** Longest delivery tag, of a transfer or in an attach's map [transport 2.8.7]. */
export const MAX_DELIVERY_TAG_BYTES = 32;

/** Largest frame that we accept by default, in bytes: a body of 64 KiB, a common size, arrives in one. */
export const DEFAULT_MAX_FRAME_SIZE = 131_072;

/** Largest message that a receiver accepts by default, in bytes; without a limit one delivery could fill the memory. */
export const DEFAULT_MAX_MESSAGE_SIZE = 67_108_864n;

/** Deeper than any known peer nests, and far from overflowing the stack. */
export const MAX_DEPTH = 32;

/** Elements without bytes cost the sender nothing and us a slot each: seven bytes may announce 2^32 of them. */
export const MAX_ELEMENTS = 65_536;

/** Enough for two hundred thousand records of five fields; 256 MiB of memory at most: four bytes can become 500. */
export const MAX_VALUES = 8_388_608;

/** Enough for an attach with ten thousand unsettled deliveries; all other frames have a few dozen values. */
export const MAX_FRAME_VALUES = 131_072;

/** The Map of no engine holds more entries. */
export const MAX_MAP_ENTRIES = 0xff_ffff;

// Weights of values beside their place in a container, in units of 32 bytes: measured by tests/fuzz/weight.ts on V8.
export const EMPTY_WEIGHT = 2;
export const LIST_WEIGHT = 6;
export const MAP_WEIGHT = 8;
export const ENTRY_WEIGHT = 3;
export const BINARY_WEIGHT = 4;
export const OBJECT_WEIGHT = 2;
export const TYPES_WEIGHT = 14;
