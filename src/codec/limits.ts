/**
 * What decoding may cost, and what values weigh.
 *
 * @module
 */

/** How much decoding may cost, whatever the bytes say. */
export interface CodecLimits {
  /** How deep compound and described values may nest. Default: {@linkcode MAX_DEPTH}; more than 1,000 counts as that. */
  readonly maxDepth: number;
  /** How many array elements without a byte of their own one frame or message may have. Default: {@linkcode MAX_ELEMENTS}. */
  readonly maxElements: number;
  /**
   * How many values one message may have, heavy ones counted several times: about 32 bytes of memory each. Default:
   * {@linkcode MAX_VALUES}.
   */
  readonly maxValues?: number | undefined;
  /** The same of one frame without its payload. Default: {@linkcode MAX_FRAME_VALUES}. */
  readonly maxFrameValues?: number | undefined;
  /**
   * True refuses messages that are readable but not by the letter: keys of annotations that are strings or ulongs, sections
   * in another order, null in a data section, a symbol where a string belongs. Default: false.
   */
  readonly strict?: boolean | undefined;
}

/** Deeper than what any known peer nests, and far from what would overflow the stack. */
export const MAX_DEPTH = 32;

/** Such elements cost the sender nothing and us a slot each: seven bytes may announce 2^32 of them. */
export const MAX_ELEMENTS = 65_536;

/** Two hundred thousand records of five fields; 256 MiB of memory, whatever the shape: four bytes can become 500. */
export const MAX_VALUES = 8_388_608;

/** An attach that tells of ten thousand unsettled deliveries; all other frames have a few dozen values. */
export const MAX_FRAME_VALUES = 131_072;

/** No engine's Map holds more entries. */
export const MAX_MAP_ENTRIES = 0xff_ffff;

// What values weigh beside their place in a container, in units of 32 bytes: measured by tests/fuzz/weight.ts on V8.
export const EMPTY_WEIGHT = 2;
export const LIST_WEIGHT = 6;
export const MAP_WEIGHT = 8;
export const ENTRY_WEIGHT = 3;
export const BINARY_WEIGHT = 4;
export const OBJECT_WEIGHT = 2;
export const TYPES_WEIGHT = 14;
