/**
 * The constructor codes of the primitive types [types 1.6].
 *
 * @module
 */

import type { PrimitiveType } from "./values.ts";

// By code; the comment says how one differs from the others of its type.
const types: { readonly [code: number]: PrimitiveType | undefined } = {
  0x40: "null",
  0x41: "boolean", // true
  0x42: "boolean", // false
  0x56: "boolean",
  0x50: "ubyte",
  0x60: "ushort",
  0x43: "uint", // 0
  0x52: "uint", // 8 bits
  0x70: "uint",
  0x44: "ulong", // 0
  0x53: "ulong", // 8 bits
  0x80: "ulong",
  0x51: "byte",
  0x61: "short",
  0x54: "int", // 8 bits
  0x71: "int",
  0x55: "long", // 8 bits
  0x81: "long",
  0x72: "float",
  0x82: "double",
  0x74: "decimal32",
  0x84: "decimal64",
  0x94: "decimal128",
  0x73: "char",
  0x83: "timestamp",
  0x98: "uuid",
  0xa0: "binary", // length of 8 bits
  0xb0: "binary", // length of 32 bits
  0xa1: "string",
  0xb1: "string",
  0xa3: "symbol",
  0xb3: "symbol",
  0x45: "list", // empty
  0xc0: "list", // size and count of 8 bits
  0xd0: "list", // size and count of 32 bits
  0xc1: "map",
  0xd1: "map",
  0xe0: "array",
  0xf0: "array",
};

let fullCodes: { [type: string]: number } | undefined;

/** The wire type of a constructor code, undefined where there is none. */
export function typeOf(code: number): PrimitiveType | undefined {
  return types[code];
}

/** The constructor code of a type in its widest form: the highest that it has. */
export function fullCode(type: PrimitiveType): number {
  if (fullCodes === undefined) {
    fullCodes = {};
    for (const code in types) fullCodes[types[code]!] = Number(code);
  }
  return fullCodes[type]!;
}

/**
 * The least number of bytes that a value takes after its constructor; the high nibble tells it [types 1.3].
 *
 * For values of variable size this is the width of the size field.
 */
export function leastWidth(code: number): number {
  switch (code >> 4) {
    case 0x4:
      return 0;
    case 0x6:
      return 2;
    case 0x7:
    case 0xb:
    case 0xd:
    case 0xf:
      return 4;
    case 0x8:
      return 8;
    case 0x9:
      return 16;
    default:
      return 1;
  }
}
