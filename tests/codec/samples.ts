/**
 * A value for every field of every composite, made from the table.
 *
 * @module
 */

import { definitions, enumerations } from "../../src/codec/definitions.ts";
import { type CompositeOf, type Kind, uuid } from "../../src/codec/types.ts";

/** A composite of the kind with every field set. */
export function sample<K extends Kind>(kind: K): CompositeOf<K> {
  const composite: Record<string, unknown> = {};
  if (kind !== "error" && kind !== "header" && kind !== "properties") composite.kind = kind;
  for (const [key, type] of Object.entries(definitions[kind].fields)) composite[key] = sampleField(type);
  return composite as unknown as CompositeOf<K>;
}

/** A value for a field of the table. */
export function sampleField(field: string): unknown {
  const value = sampleValue(field.replace(/\[\]|!|=.*/g, ""));
  return field.includes("[]") ? [value, value] : value;
}

function sampleValue(type: string): unknown {
  if (type in enumerations) return enumerations[type as keyof typeof enumerations].values[1];
  switch (type) {
    case "boolean":
      return true;
    case "ubyte":
      return 5;
    case "ushort":
      return 500;
    case "uint":
      return 70000;
    case "ulong":
      return 2n ** 63n;
    case "string":
    case "*address":
      return "text";
    case "symbol":
      return "symbol";
    case "binary":
    case "*txnId":
      return Uint8Array.of(1, 2, 3);
    case "timestamp":
      return new Date(1e12);
    case "fields":
      return Object.assign(Object.create(null), { one: 1, two: "2" });
    case "map":
      return new Map([[Uint8Array.of(1), null], [Uint8Array.of(2), { kind: "accepted" }]]);
    case "error":
      return { condition: "amqp:not-found" };
    case "*source":
      return { kind: "source", address: "from" };
    case "*target":
      return { kind: "coordinator", capabilities: ["amqp:local-transactions"] };
    case "*deliveryState":
      return { kind: "received", sectionNumber: 1, sectionOffset: 2n };
    case "*outcome":
      return { kind: "modified", deliveryFailed: true };
    case "*messageId":
      return uuid("00112233-4455-6677-8899-aabbccddeeff");
    case "*globalTxId":
      return "global";
    default:
      throw new Error(`There is no sample of ${type}`);
  }
}
