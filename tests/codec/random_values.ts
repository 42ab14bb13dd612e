/**
 * Random AMQP values of every type, each with its decoded form.
 *
 * @module
 */

import {
  AmqpArray,
  Described,
  type PrimitiveType,
  type PrimitiveValues,
  Typed,
  type Value,
} from "../../src/codec/types.ts";
import type { Random } from "../harness.ts";

/** A value to encode and its decoded form; they differ where the type needs no wrapper. */
export interface Pair {
  readonly given: Value;
  readonly decoded: Value;
}

const scalarTypes = [
  "null",
  "boolean",
  "ubyte",
  "ushort",
  "uint",
  "ulong",
  "byte",
  "short",
  "int",
  "long",
  "float",
  "double",
  "decimal32",
  "decimal64",
  "decimal128",
  "char",
  "timestamp",
  "uuid",
  "binary",
  "string",
  "symbol",
] as const;

/** A value of any type, at most `depth` levels deep. */
export function randomValue(random: Random, depth: number): Pair {
  switch (depth > 0 ? random.int(12) : 11) {
    case 0:
    case 1:
      return randomList(random, depth - 1);
    case 2:
    case 3:
      return randomMap(random, depth - 1);
    case 4:
      return same(randomArray(random, depth - 1));
    case 5: {
      const descriptor = random.pick<Value>([5n, 2n ** 40n, "a:b", new Typed("string", "x"), null]);
      const { given, decoded } = randomValue(random, depth - 1);
      return { given: new Described(descriptor, given), decoded: new Described(descriptor, decoded) };
    }
    default:
      return randomScalar(random);
  }
}

function randomScalar(random: Random): Pair {
  const type = random.pick(scalarTypes);
  const value = randomOf(random, type);
  const given = new Typed(type, value);
  switch (type) {
    case "decimal32":
    case "decimal64":
    case "decimal128":
    case "char":
    case "uuid":
    case "symbol":
      return same(given);
    case "timestamp":
      return typeof value === "bigint" ? same(given) : { given, decoded: value };
    default:
      return { given, decoded: value };
  }
}

/** A random value of a primitive type, often at its limits. */
function randomOf(random: Random, type: (typeof scalarTypes)[number]): PrimitiveValues[(typeof scalarTypes)[number]] {
  switch (type) {
    case "null":
      return null;
    case "boolean":
      return random.int(2) === 1;
    case "ubyte":
      return random.pick([0, 1, 255, random.int(256)]);
    case "ushort":
      return random.pick([0, 255, 256, 65535, random.int(65536)]);
    case "uint":
      return random.pick([0, 1, 255, 256, 2 ** 31, 2 ** 32 - 1, random.int(2 ** 32)]);
    case "ulong":
      return random.pick([0n, 1n, 255n, 256n, 2n ** 64n - 1n, BigInt.asUintN(64, randomBigInt(random))]);
    case "byte":
      return random.pick([0, -128, 127, random.int(256) - 128]);
    case "short":
      return random.pick([0, -32768, 32767, random.int(65536) - 32768]);
    case "int":
      return random.pick([0, -1, 127, 128, -128, -129, 2 ** 31 - 1, -(2 ** 31), random.int(2 ** 32) | 0]);
    case "long":
      return random.pick([0n, -1n, 127n, 128n, -128n, -129n, 2n ** 63n - 1n, -(2n ** 63n), randomBigInt(random)]);
    case "float":
      return random.pick([0, -0, 1.5, NaN, Infinity, Math.fround(random.int(1e9) / 7)]);
    case "double":
      return random.pick([0, -0, 0.1, NaN, -Infinity, 2 ** 53, random.int(1e9) / 7]);
    case "decimal32":
      return random.bytes(4);
    case "decimal64":
      return random.bytes(8);
    case "decimal128":
      return random.bytes(16);
    case "char":
      return random.pick(["a", "\0", "é", "€", "😀", "\u{10ffff}"]);
    case "timestamp":
      return random.pick<Date | bigint>([
        new Date(0),
        new Date(-8.64e15),
        2n ** 62n,
        new Date(random.int(2 ** 32) * 1000),
      ]);
    case "uuid":
      return randomUuid(random);
    case "binary":
      return random.bytes(random.pick([0, 1, 30, 255, 256, random.int(600)]));
    case "string":
      return randomText(random, ["a", "z", "\0", "é", "€", "😀", "\ufeff"]);
    case "symbol":
      return randomText(random, ["a", "b", "-", ":", "\0", "\x7f"]);
  }
}

function randomList(random: Random, depth: number): Pair {
  const pairs = randomPairs(random, depth);
  return { given: pairs.map(({ given }) => given), decoded: pairs.map(({ decoded }) => decoded) };
}

function randomMap(random: Random, depth: number): Pair {
  const given = new Map<Value, Value>();
  const decoded = new Map<Value, Value>();
  for (const [i, value] of randomPairs(random, depth).entries()) {
    const key = randomKey(random, i);
    given.set(key.given, value.given);
    decoded.set(key.decoded, value.decoded);
  }
  return { given, decoded };
}

// Numbered, so that no two are equal.
function randomKey(random: Random, i: number): Pair {
  return random.pick<Pair>([
    same(`key ${i}`),
    same(new Typed("symbol", `key ${i}`)),
    same(BigInt(i) - 5n),
    { given: new Typed("uint", 1000 + i), decoded: 1000 + i },
    { given: new Typed("int", -1000 - i), decoded: -1000 - i },
    same(new Date(i)),
    same(Uint8Array.of(i, i >> 8)),
    same([`key ${i}`]),
  ]);
}

function randomPairs(random: Random, depth: number): Pair[] {
  const length = random.int(20) === 0 ? 100 + random.int(200) : random.int(5);
  return Array.from({ length }, () => randomValue(random, length > 5 ? 0 : depth));
}

function randomArray(random: Random, depth: number): AmqpArray {
  const length = random.int(20) === 0 ? 100 + random.int(200) : random.int(5);
  const descriptors = random.int(5) === 0 ? [5n, "d"].slice(random.int(2)) : [];
  const type = random.pick<PrimitiveType>([...scalarTypes, "list", "array", "map"]);
  const items = Array.from({ length }, () => {
    switch (type) {
      case "list":
        return [random.int(2) === 0, "x".repeat(random.int(100))];
      case "map":
        return new Map<Value, Value>([["k", "x".repeat(random.int(300))]]);
      case "array":
        return depth > 0 && length < 5 ? randomArray(random, depth - 1) : new AmqpArray("symbol", ["a", "b"]);
      default:
        return randomOf(random, type);
    }
  });
  return new AmqpArray(type, items, descriptors);
}

function randomBigInt(random: Random): bigint {
  return BigInt.asIntN(64, BigInt(random.int(2 ** 32)) << 32n | BigInt(random.int(2 ** 32)));
}

function randomUuid(random: Random): string {
  const digits = Array.from(random.bytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function randomText(random: Random, letters: readonly string[]): string {
  const length = random.pick([0, 1, 4, 15, 16, 17, 32, 33, 64, 65, 255, 256, random.int(600)]);
  const kind = random.int(2) === 0 ? letters.slice(0, 1) : letters;
  return Array.from({ length }, () => random.pick(kind)).join("");
}

function same(value: Value): Pair {
  return { given: value, decoded: value };
}
