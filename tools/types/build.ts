/**
 * Writes the composites of the specification as interfaces, from the table of definitions and the docstrings in docs.ts:
 * src/codec/message_types.ts and src/codec/types.ts. A test holds the files to this.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { definitions, enumerations } from "../../src/codec/definitions.ts";
import { docs, enumerationDocs } from "./docs.ts";

type Key = keyof typeof definitions;

// Composites that are only found where their kind is known, and so carry no `kind`.
const PLAIN: readonly string[] = ["error", "header", "properties"];
const TYPES: Readonly<Record<string, string>> = {
  ubyte: "number",
  ushort: "number",
  uint: "number",
  ulong: "bigint",
  symbol: "string",
  binary: "Uint8Array",
  timestamp: 'Date | Typed<"timestamp">',
  fields: "Fields",
  map: "Unsettled",
  error: "ErrorFields",
  "*source": "Source",
  "*target": "Target | Coordinator",
  "*deliveryState": "DeliveryState",
  "*outcome": "Outcome",
  "*messageId": "MessageId",
  "*address": "string",
  "*txnId": "Uint8Array",
  "*globalTxId": "Value",
};

/** The files, by their path. */
export function generate(): Map<string, string> {
  const kinds = Object.keys(definitions) as Key[];
  const strangers = Object.keys(docs).filter((kind) => !(kind in definitions));
  if (strangers.length > 0) throw new Error(`Cannot write types: there is no ${strangers.join(", ")}`);
  const frames = [...provide("frame"), ...provide("saslFrame")];
  return new Map([
    ["src/codec/message_types.ts", messageTypes(kinds.filter((kind) => !frames.includes(kind)))],
    ["src/codec/types.ts", frameTypes(kinds, frames)],
  ]);
}

function messageTypes(kinds: Key[]): string {
  const names = Object.entries(enumerations).map(([name, { values }]) =>
    `/** ${enumerationDocs[name]} */\nexport type ${capital(name)} = ${quoted(values)};`
  );
  return `${head("Object types for messages, links and transactions.")}
import type { Fields, Typed, Value } from "./values.ts";

${names.join("\n")}

/** The id of a message: text, a ulong as \`bigint\`, bytes, or a uuid. */
export type MessageId = string | bigint | Uint8Array | Typed<"uuid">;

/** Unsettled deliveries by tag, with the state that this end last knew. */
export type Unsettled = Map<Uint8Array, DeliveryState | null>;

${kinds.map(composite).join("\n")}
/** The final state of a delivery. */
export type Outcome = ${union("outcome")};
/** A delivery state of the peer that cannot be read: of a type that this side does not know, or malformed. */
export interface UnknownState {
  /** The kind of the state, which is no composite and cannot be sent. */
  kind: "unknown";
  /** What is wrong with it: \`amqp:not-implemented\` for a type that is not known, otherwise mostly \`amqp:decode-error\`. */
  error: ErrorFields;
}
/** The state of a delivery, final or not. */
export type DeliveryState = ${union("deliveryState")} | UnknownState;
/** The condition on which a dynamic node is deleted. */
export type LifetimePolicy = ${union("lifetimePolicy")};
/** An end of a link. */
export type Terminus = Source | Target | Coordinator;
`;
}

function frameTypes(kinds: Key[], frames: Key[]): string {
  const names = kinds.filter((kind) => !frames.includes(kind)).map(typeName);
  const others = ["DeliveryState", ...Object.keys(enumerations).map(capital), "Unsettled"];
  const defaulted = kinds.map((kind) => {
    const fields = Object.entries<string>(definitions[kind].fields).filter(([, field]) => field.includes("="));
    return [kind, fields.length === 0 ? "never" : quoted(fields.map(([name]) => name))] as const;
  });
  const text = frames.map(composite).join("\n");
  const used = [...names, ...others.filter((name) => new RegExp(`\\b${name}\\b`).test(text))].sort();
  return `${head("All object types of AMQP; this file has the frame bodies.")}
import type {
${used.map((name) => `  ${name},`).join("\n")}
} from "./message_types.ts";
import type { Fields } from "./values.ts";

export * from "./wrappers.ts";
export * from "./values.ts";
export type * from "./message_types.ts";

${text}
/** The nine frame bodies of AMQP proper. */
export type Performative = ${union("frame")};
/** The five frame bodies of the SASL layer. */
export type SaslFrameBody = ${union("saslFrame")};

/** The object type of each composite, by its key in the table. */
export interface Composites {
${kinds.map((kind) => `  /** ${docs[kind].is} */\n  ${kind}: ${typeName(kind)};`).join("\n")}
}

/** The key of a composite in the table of definitions, such as \`"open"\`. */
export type Kind = keyof Composites;

/** The object type of a kind. */
export type CompositeOf<K extends Kind> = Composites[K];

/** Any composite with a \`kind\`. */
export type Composite = Extract<Composites[Kind], { kind: Kind }>;

/** The names of the fields of each composite that have a default. */
export interface DefaultedFields {
${
    defaulted.map(([kind, fields]) => `  /** Fields of {@linkcode ${typeName(kind)}}. */\n  ${kind}: ${fields};`).join(
      "\n",
    )
  }
}
`;
}

function head(what: string): string {
  return `/**
 * ${what} Written by tools/types/build.ts, from the table of definitions.
 *
 * @module
 */
`;
}

function composite(kind: Key): string {
  const { is, fields } = docs[kind] ?? {};
  const table: Readonly<Record<string, string>> = definitions[kind].fields;
  if (is === undefined || Object.keys(table).join() !== Object.keys(fields).join()) {
    throw new Error(`Cannot write types: docs and fields of ${kind} differ: ${Object.keys(fields ?? {})}`);
  }
  const lines = [`/** ${is} */`, `export interface ${typeName(kind)} {`];
  if (!PLAIN.includes(kind)) lines.push("  /** The kind of the composite. */", `  kind: "${kind}";`);
  for (const [name, field] of Object.entries(table)) {
    const mandatory = field.endsWith("!");
    lines.push(`  /** ${fields[name]} */`);
    lines.push(`  ${name}${mandatory ? "" : "?"}: ${fieldType(field)}${mandatory ? "" : " | undefined"};`);
  }
  return `${lines.join("\n")}\n}\n`;
}

function provide(archetype: string): Key[] {
  const kinds = Object.keys(definitions) as Key[];
  return kinds.filter((kind) => (definitions[kind].provides as readonly string[]).includes(archetype));
}

function union(archetype: string): string {
  return provide(archetype).map(typeName).join(" | ");
}

function typeName(kind: string): string {
  return docs[kind].name ?? capital(kind);
}

function fieldType(field: string): string {
  const [, base, list] = /^([^![=]+)(\[\])?/.exec(field)!;
  const type = base in enumerations ? capital(base) : TYPES[base] ?? base;
  return list === undefined ? type : `${type}[]`;
}

function capital(name: string): string {
  return `${name[0].toUpperCase()}${name.slice(1)}`;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(" | ");
}

if (import.meta.main) {
  for (const [path, text] of generate()) writeFileSync(new URL(`../../${path}`, import.meta.url), text);
}
