/**
 * Composites as one line of text, for traces and error messages.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import { describeKind } from "../base/options.ts";
import { archetypes, compositeForm, enumerationForm, type FieldPlan, planOf, unsettledForm } from "./plans.ts";
import { hex, quote } from "../base/text.ts";
import type { Composite, Kind, UnknownState, Unsettled } from "./types.ts";
import { AmqpArray, Described, Typed } from "./values.ts";

const LONGEST_LINE = 2000;
const LONGEST_BINARY = 32;
const MAX_ITEMS = 16;
const MAX_LEVELS = 6;

/**
 * A composite as one line, such as `attach(name="a", handle=0, role=sender)`.
 *
 * Safe to log: there is no control character, a long line is cut, and of the binaries in SASL frames, which are passwords and
 * proofs, only the length is shown. Fields that are not set are left out.
 *
 * @example
 * ```ts
 * import { print } from "@webamqp/amqp";
 *
 * console.assert(print({ kind: "detach", handle: 0, closed: true }) === "detach(handle=0, closed=true)");
 * ```
 */
export function print(composite: Composite): string {
  if (typeof composite?.kind !== "string") {
    throw new TypeError(`Cannot print composite: it is ${describeKind(composite)}, which has no "kind"`);
  }
  const line = printComposite(composite.kind, composite, 0);
  return line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line;
}

function printComposite(kind: Kind | "unknown", composite: object, level: number): string {
  if (kind === "unknown") return `unknown(${printComposite("error", (composite as UnknownState).error, level)})`;
  const plan = planOf(kind);
  const values = composite as Record<string, unknown>;
  const parts: string[] = [];
  for (const field of plan.fields) {
    const value = values[field.key];
    if (value === undefined || value === null) continue;
    const isSecret = (plan.provides & archetypes.saslFrame) !== 0 && isBytes(value);
    parts.push(`${field.key}=${isSecret ? `<${value.length} bytes>` : printField(field, value, level + 1)}`);
  }
  // See unreadOf in composite.ts.
  const { unread } = values as { unread?: UnknownState };
  if (unread !== undefined) parts.push(`unread=${printComposite("unknown", unread, level + 1)}`);
  return `${kind}(${parts.join(", ")})`;
}

function printField(field: FieldPlan, value: unknown, level: number): string {
  switch (field.form) {
    case enumerationForm:
      return printName(value);
    case compositeForm:
      return printComposite(field.base === "error" ? "error" : (value as Composite).kind, value as object, level);
    case unsettledForm:
      return printEntries([...value as Unsettled], (state) => {
        return state === null ? "null" : printComposite(state.kind as Kind, state, level + 1);
      });
    default:
      return printValue(value, level);
  }
}

function printValue(value: unknown, level: number): string {
  if (typeof value === "string") return quote(value);
  if (typeof value !== "object" || value === null) return String(value);
  if (level > MAX_LEVELS) return "…";
  const inner = (item: unknown): string => printValue(item, level + 1);
  if (isBytes(value)) return printBinary(value);
  if (isDate(value)) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (value instanceof Typed) return `${value.type} ${inner(value.value)}`;
  if (value instanceof Described) return `@${inner(value.descriptor)} ${inner(value.value)}`;
  if (value instanceof AmqpArray) return `[${printItems(value.items, inner)}]`;
  if (Array.isArray(value)) return `[${printItems(value, inner)}]`;
  return printEntries(isMap(value) ? [...value] : Object.entries(value), inner);
}

function printEntries<T>(entries: readonly [unknown, T][], print: (value: T) => string): string {
  return `{${printItems(entries, ([key, value]) => `${printName(key)}=${print(value)}`)}}`;
}

function printItems<T>(items: readonly T[], print: (item: T) => string): string {
  const shown = items.slice(0, MAX_ITEMS).map(print);
  if (items.length > MAX_ITEMS) shown.push(`… ${items.length - MAX_ITEMS} more`);
  return shown.join(", ");
}

// Bare where the name cannot be mistaken for anything else.
function printName(name: unknown): string {
  if (typeof name === "string" && /^[\w.:-]{1,80}$/.test(name)) return name;
  return printValue(name, MAX_LEVELS);
}

function printBinary(bytes: Uint8Array): string {
  const shown = `0x${hex(bytes.subarray(0, LONGEST_BINARY))}`;
  return bytes.length > LONGEST_BINARY ? `${shown}… ${bytes.length} bytes` : shown;
}
