/**
 * The table of definitions, prepared for the hot path: the fields of each kind as an array of small objects, built at first
 * use.
 *
 * @module
 */

import { definitions, enumerations, sections } from "./definitions.ts";
import { valuesInOrder } from "./fast_path.ts";
import type { Kind } from "./types.ts";
import type { PrimitiveType } from "./values.ts";

export interface Plan {
  /** The key in the table. */
  readonly kind: Kind;
  /** The numeric descriptor. */
  readonly code: number;
  /** One bit for each archetype that the kind provides, and one for the kind itself if a field asks for it. */
  readonly provides: number;
  /** Whether objects of this kind have a `kind`. */
  readonly hasKind: boolean;
  /** The fields in wire order. */
  readonly fields: readonly FieldPlan[];
  /** One bit for each mandatory field. */
  readonly mandatory: number;
  /** The values of a composite in wire order, for kinds of many fields that come with every message. */
  readonly values: ((composite: never) => unknown[]) | undefined;
}

export interface FieldPlan {
  readonly key: string;
  /** How the field is encoded and decoded: one of the constants below. */
  readonly form: number;
  /** The wire type of the value, or of each of several values. */
  readonly type: PrimitiveType;
  /** The type in the table: an archetype, an enumeration, a primitive. */
  readonly base: string;
  /** The bit of the archetype that a composite in this field must provide. */
  readonly archetype: number;
  /** The names of an enumeration, in the order of their wire values. */
  readonly names: readonly string[];
  /** Whether the field takes several values. */
  readonly multiple: boolean;
  /** Whether the field must have a value. */
  readonly mandatory: boolean;
  /** The value that an absent one stands for, if any. */
  readonly defaultValue: unknown;
}

/** A primitive without a form of its own below. */
const plainForm = 0;
/** A uint, the most frequent primitive. */
export const uintForm = 1;
export const booleanForm = 9;
export const timestampForm = 2;
/** A name that stands for a wire value. */
export const enumerationForm = 3;
/** A map keyed by symbols. */
export const fieldsForm = 4;
/** The map of unsettled deliveries. */
export const unsettledForm = 5;
/** A composite that provides an archetype. */
export const compositeForm = 6;
/** A message id, of one of four types. */
export const messageIdForm = 7;
/** Any value. */
export const anyForm = 8;

/** The archetypes that a composite can provide, as bits. An error is the only composite that fields ask for by kind. */
export const archetypes = {
  frame: 1,
  saslFrame: 2,
  section: 4,
  source: 8,
  target: 16,
  deliveryState: 32,
  outcome: 64,
  lifetimePolicy: 128,
  error: 256,
} as const;

let byKind: { [kind: string]: Plan | undefined } | undefined;
let byCode: (Plan | undefined)[] | undefined;

export function planOf(kind: Kind): Plan {
  byKind ??= Object.create(null) as NonNullable<typeof byKind>;
  return byKind[kind] ??= makePlan(kind);
}

/** The plan of a numeric descriptor; undefined if the specification has no such composite. */
export function planAt(code: number): Plan | undefined {
  return byCode?.[code] ?? findPlan(code);
}

/** The numeric descriptor for a symbolic one, of a composite or a section; undefined if the specification has none. */
export function codeOfName(name: string): number | undefined {
  const kind = /^amqp:([a-z-]+):list$/.exec(name)?.[1].replace(/-(.)/g, (_, first: string) => first.toUpperCase());
  if (kind !== undefined && Object.hasOwn(definitions, kind)) return definitions[kind as Kind].code;
  return Object.values(sections).find((section) => section.name === name)?.code;
}

/** The name of an archetype's bit. */
export function archetypeName(archetype: number): string {
  return Object.entries(archetypes).find(([, bit]) => bit === archetype)?.[0] ?? "composite";
}

function findPlan(code: number): Plan | undefined {
  const kinds = Object.keys(definitions) as Kind[];
  const kind = kinds.find((kind) => definitions[kind].code === code);
  if (kind === undefined) return undefined;
  byCode ??= [];
  return byCode[code] = planOf(kind);
}

function makePlan(kind: Kind): Plan {
  if (!Object.hasOwn(definitions, kind)) throw new TypeError(`Cannot encode composite: there is no kind "${kind}"`);
  const definition = definitions[kind];
  const fields = Object.entries(definition.fields).map(([key, field]) => makeField(key, field));
  let mandatory = 0;
  for (const [i, field] of fields.entries()) mandatory |= field.mandatory ? 1 << i : 0;
  const hasKind = kind !== "error" && kind !== "header" && kind !== "properties";
  let provides = kind === "error" ? archetypes.error : 0;
  for (const archetype of definition.provides) provides |= archetypes[archetype];
  const values = valuesInOrder[kind as keyof typeof valuesInOrder];
  return { kind, code: definition.code, provides, hasKind, fields, mandatory, values };
}

function makeField(key: string, field: string): FieldPlan {
  const [, base, multiple, mandatory, byDefault] = /^([*\w]+)(\[\])?(!)?(?:=(.+))?$/.exec(field)!;
  const names = base in enumerations ? enumerations[base as keyof typeof enumerations] : undefined;
  return {
    key,
    form: formOf(base),
    type: base === "*address" ? "string" : base === "*txnId" ? "binary" : names?.type ?? base as PrimitiveType,
    base,
    archetype: archetypes[base.replace("*", "") as keyof typeof archetypes] ?? 0,
    names: names?.values ?? [],
    multiple: multiple !== undefined,
    mandatory: mandatory !== undefined,
    defaultValue: byDefault && defaultOf(base, byDefault),
  };
}

function formOf(base: string): number {
  if (base in enumerations) return enumerationForm;
  switch (base) {
    case "uint":
      return uintForm;
    case "boolean":
      return booleanForm;
    case "timestamp":
      return timestampForm;
    case "fields":
      return fieldsForm;
    case "map":
      return unsettledForm;
    case "*messageId":
      return messageIdForm;
    case "*globalTxId":
      return anyForm;
    case "error":
    case "*source":
    case "*target":
    case "*deliveryState":
    case "*outcome":
      return compositeForm;
    default:
      return plainForm;
  }
}

function defaultOf(base: string, text: string): unknown {
  if (base === "boolean") return text === "true";
  return base in enumerations ? text : Number(text);
}
