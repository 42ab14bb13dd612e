/**
 * Values as rhea's own codec sees them on the wire: the chosen type and the content.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import rhea from "rhea";

// The type of each constructor code [types 1.6].
const TYPE_OF_CODE: Readonly<Record<number, string>> = {
  0x40: "null",
  0x41: "boolean",
  0x42: "boolean",
  0x43: "uint",
  0x44: "ulong",
  0x45: "list",
  0x50: "ubyte",
  0x51: "byte",
  0x52: "uint",
  0x53: "ulong",
  0x54: "int",
  0x55: "long",
  0x56: "boolean",
  0x60: "ushort",
  0x61: "short",
  0x70: "uint",
  0x71: "int",
  0x72: "float",
  0x73: "char",
  0x74: "decimal32",
  0x80: "ulong",
  0x81: "long",
  0x82: "double",
  0x83: "timestamp",
  0x84: "decimal64",
  0x94: "decimal128",
  0x98: "uuid",
  0xa0: "binary",
  0xa1: "string",
  0xa3: "symbol",
  0xb0: "binary",
  0xb1: "string",
  0xb3: "symbol",
  0xc0: "list",
  0xc1: "map",
  0xd0: "list",
  0xd1: "map",
  0xe0: "array",
  0xf0: "array",
};

/** A value: its wire type and content, in any of the type's encodings. */
export type Shape = { type: string; value: unknown; descriptor?: Shape };

/** A value of rhea's that knows its encoding. */
export interface WireTyped {
  /** The encoding. */
  readonly type: { readonly typecode: number };
  /** A plain value, or more of these. */
  readonly value: unknown;
  /** The descriptor. */
  readonly descriptor?: WireTyped;
  /** The encoding of an array's items. */
  readonly array_constructor?: { readonly typecode: number };
}

type Make<T> = (value: T) => WireTyped;
type MakeArray = (items: unknown[], itemCode: number) => WireTyped;

/** Makes rhea's values in each encoding; its typings leave most of it out. */
export interface WireTypes
  extends
    Record<"Null" | "True" | "False" | "Uint0" | "Ulong0" | "List0", () => WireTyped>,
    Record<"Boolean" | "Ubyte" | "Ushort" | "Uint" | "SmallUint" | "SmallUlong" | "CharUTF32", Make<number>>,
    Record<"Byte" | "Short" | "Int" | "SmallInt" | "SmallLong" | "Float" | "Double" | "Timestamp", Make<number>>,
    Record<"Ulong" | "Long", Make<number | Buffer>>,
    Record<"Decimal32" | "Decimal64" | "Decimal128" | "Uuid" | "Vbin8" | "Vbin32", Make<Buffer>>,
    Record<"Str8" | "Str32" | "Sym8" | "Sym32", Make<string>>,
    Record<"List8" | "List32" | "Map8" | "Map32", Make<WireTyped[]>>,
    Record<"Array8" | "Array32", MakeArray> {
  /** Puts a value under a descriptor. */
  described(descriptor: WireTyped, value: WireTyped): WireTyped;
  /** Reads values. */
  Reader: new (buffer: Buffer) => { read(): WireTyped; remaining(): number };
}

/** rhea's types. */
export const wire: WireTypes = rhea.types as unknown as WireTypes;

/** The sections that rhea reads from the bytes of one message. */
export function readShapes(bytes: Uint8Array): Shape[] {
  const reader = new wire.Reader(Buffer.from(bytes));
  const shapes: Shape[] = [];
  while (reader.remaining() > 0) shapes.push(shapeOf(reader.read()));
  return shapes;
}

/** The shape of a value of rhea's. */
export function shapeOf({ type: { typecode }, value, descriptor, array_constructor }: WireTyped): Shape {
  const type = TYPE_OF_CODE[typecode]!;
  const shape: Shape = { type, value: contentOf(type, value, array_constructor?.typecode) };
  if (descriptor !== undefined) shape.descriptor = shapeOf(descriptor);
  return shape;
}

function contentOf(type: string, value: unknown, itemCode: number | undefined): unknown {
  switch (type) {
    case "boolean":
      return Boolean(value);
    case "ulong":
    case "long":
      if (!(value instanceof Uint8Array)) return BigInt(value as number);
      return type === "ulong" ? Buffer.from(value).readBigUInt64BE() : Buffer.from(value).readBigInt64BE();
    case "timestamp":
      return new Date(value as number).getTime();
    case "list":
    case "map":
      return (value as WireTyped[]).map(shapeOf);
    case "array": {
      const of = TYPE_OF_CODE[itemCode!]!;
      return [of, ...(value as unknown[]).map((item) => contentOf(of, plain(item), undefined))];
    }
    default:
      return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
  }
}

// Items of an array are typed when read, bare when written.
function plain(item: unknown): unknown {
  return item !== null && typeof item === "object" && "type" in item ? (item as WireTyped).value : item;
}
