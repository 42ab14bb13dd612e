/**
 * The constructor codes of the primitive types [types 1.6].
 *
 * @module
 */

import type { PrimitiveType } from "./values.ts";

/** The wire type of a constructor code, undefined where there is none. */
export function typeOf(code: number): PrimitiveType | undefined {
  switch (code) {
    case 0x40:
      return "null";
    case 0x41: // true
    case 0x42: // false
    case 0x56:
      return "boolean";
    case 0x50:
      return "ubyte";
    case 0x60:
      return "ushort";
    case 0x43: // 0
    case 0x52: // 8 bits
    case 0x70:
      return "uint";
    case 0x44: // 0
    case 0x53: // 8 bits
    case 0x80:
      return "ulong";
    case 0x51:
      return "byte";
    case 0x61:
      return "short";
    case 0x54: // 8 bits
    case 0x71:
      return "int";
    case 0x55: // 8 bits
    case 0x81:
      return "long";
    case 0x72:
      return "float";
    case 0x82:
      return "double";
    case 0x74:
      return "decimal32";
    case 0x84:
      return "decimal64";
    case 0x94:
      return "decimal128";
    case 0x73:
      return "char";
    case 0x83:
      return "timestamp";
    case 0x98:
      return "uuid";
    case 0xa0: // length of 8 bits
    case 0xb0: // length of 32 bits
      return "binary";
    case 0xa1:
    case 0xb1:
      return "string";
    case 0xa3:
    case 0xb3:
      return "symbol";
    case 0x45: // empty
    case 0xc0: // size and count of 8 bits
    case 0xd0: // size and count of 32 bits
      return "list";
    case 0xc1:
    case 0xd1:
      return "map";
    case 0xe0:
    case 0xf0:
      return "array";
    default:
      return undefined;
  }
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
