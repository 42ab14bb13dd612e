/**
 * Composites: to bytes, from bytes, and to text, all by the table of definitions.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { isBytes, isMap } from "../base/kinds.ts";
import { typeOf } from "./codes.ts";
import { MAX_DELIVERY_TAG_BYTES } from "./limits.ts";
import {
  anyForm,
  archetypeName,
  archetypes,
  booleanForm,
  codeOfName,
  compositeForm,
  enumerationForm,
  type FieldPlan,
  fieldsForm,
  messageIdForm,
  type Plan,
  planAt,
  planOf,
  timestampForm,
  uintForm,
  unsettledForm,
} from "./plans.ts";
import { Reader } from "./reader.ts";
import { ambiguousType, type WireTypes, wireTypesOf } from "./wire_types.ts";
import { hex, hexByte, quote } from "../base/text.ts";
import { AmqpArray, Described, type Fields, Typed } from "./values.ts";
import type { Composite, CompositeOf, Composites, DefaultedFields, Kind, UnknownState } from "./types.ts";
import { Writer } from "./writer.ts";

export { print } from "./print.ts";

/** A composite of the given kind in which every field that has a default is set. */
export type FilledOf<T, K extends Kind> =
  & Omit<T, DefaultedFields[K]>
  & { [F in DefaultedFields[K] & keyof Composites[K]]: NonNullable<Composites[K][F]> };

/** A composite in which every field that has a default is set. */
export type WithDefaults<T extends Composite> = T extends { kind: infer K extends Kind } ? FilledOf<T, K> : never;

// A composite in this file: values by field name.
type FieldValues = Record<string, unknown>;

/**
 * Writes a composite by its `kind`; nothing is written if it throws.
 *
 * Only fields that are set are written; one that equals its default is not left out, as a forwarder must be able to tell the
 * two apart.
 *
 * @throws {TypeError} If a mandatory field is missing, or a value has another type.
 * @throws {RangeError} If the wire type of a field cannot hold its value.
 */
export function encodeComposite(writer: Writer, composite: Composite): void {
  encodeAs(writer, composite.kind, composite, undefined);
}

/**
 * Writes a composite of the given kind, as {@linkcode encodeComposite} does; `known` are the wire types that its fields were
 * decoded with, where they differ from the table's.
 */
export function encodeAs<K extends Kind>(
  writer: Writer,
  kind: K,
  composite: CompositeOf<K>,
  known: WireTypes | undefined = wireTypesOf(composite),
): void {
  const start = writer.length;
  try {
    encodeFields(writer, planOf(kind), composite as FieldValues & typeof composite, known);
  } catch (error) {
    writer.truncate(start);
    throw error;
  }
}

/**
 * Reads a composite, and sets its `kind`.
 *
 * @throws {AmqpError} If there is none, a field has another type, or a mandatory one is missing.
 */
export function decodeComposite(reader: Reader): Composite {
  const plan = readPlan(reader, reader.code());
  if (plan === undefined || !plan.hasKind) throw reader.fail("the descriptor is not that of a known composite");
  return decodeFields(reader, plan) as Composite;
}

/** Reads a composite that provides the archetype, given as its bit. */
export function decodeProvider(reader: Reader, archetype: number): Composite {
  return decodeNested(reader, archetype, reader.code()) as Composite;
}

/** Reads the fields of a composite whose descriptor was read already. */
export function decodeAs<K extends Kind>(reader: Reader, kind: K): CompositeOf<K> {
  return decodeFields(reader, planOf(kind)) as CompositeOf<K>;
}

/**
 * Reads the descriptor of a composite or a section.
 *
 * @returns The numeric descriptor, also for a symbolic one [types 1.4]; -1 for one that is not in the specification.
 */
export function readDescriptor(reader: Reader): number {
  const code = reader.code();
  if (code === 0x53) return reader.code();
  switch (typeOf(code)) {
    case "ulong":
      return Number(reader.scalar(code));
    case "symbol":
      return codeOfName(reader.symbol(code)) ?? -1;
    default:
      reader.value(code);
      return -1;
  }
}

/** Picks the fields of a kind from an object that may have more, such as options. */
export function fieldsOf<K extends Kind>(
  kind: K,
  from: { readonly [F in keyof CompositeOf<K>]?: CompositeOf<K>[F] | null },
): Partial<CompositeOf<K>> {
  const found: FieldValues = {};
  for (const { key } of planOf(kind).fields) {
    const value = (from as FieldValues)[key] ?? undefined;
    if (value !== undefined) found[key] = value;
  }
  return found as Partial<CompositeOf<K>>;
}

/** The composite with its defaults filled in; nested composites stay as they are. */
export function withDefaults<T extends Composite>(composite: T): WithDefaults<T>;
export function withDefaults<K extends Kind>(composite: CompositeOf<K>, kind: K): FilledOf<CompositeOf<K>, K>;
export function withDefaults(composite: FieldValues & { kind?: Kind }, kind = composite.kind): FieldValues {
  const filled: FieldValues = { ...composite };
  for (const { key, defaultValue } of planOf(kind!).fields) {
    if (defaultValue !== undefined) filled[key] ??= defaultValue;
  }
  return filled;
}

/** A composite as a described value, for places where any value may stand: a message body, an entry of a map. */
export function toDescribed(composite: Composite): Described {
  const writer = new Writer(256, true);
  encodeComposite(writer, composite);
  return new Reader(writer.take()).value() as Described;
}

/**
 * The composite of a described value; undefined if the value is none, or its descriptor is unknown.
 *
 * @throws {AmqpError} With scope `"delivery"` if the descriptor is known and the value does not match it.
 */
export function fromDescribed(value: unknown): Composite | undefined {
  if (!(value instanceof Described)) return undefined;
  const writer = new Writer(256, true);
  writer.value(value);
  const reader = new Reader(writer.take(), undefined, "delivery");
  const plan = readPlan(reader, reader.code());
  return plan?.hasKind ? decodeFields(reader, plan) as Composite : undefined;
}

function encodeFields(writer: Writer, plan: Plan, composite: FieldValues, known?: WireTypes): void {
  writer.u8(0x00);
  writer.u8(0x53);
  writer.u8(plan.code);
  const { fields } = plan;
  const values = plan.values?.(composite as never);
  const start = writer.open();
  let count = 0;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i];
    const value = values === undefined ? composite[field.key] : values[i];
    if (isAbsent(value)) {
      if (field.mandatory) throw new TypeError(`Cannot encode ${plan.kind}: field "${field.key}" is mandatory`);
      continue;
    }
    // Nulls are written only when a value follows them, so that none are trailing.
    for (; count < i; count++) writer.u8(0x40);
    count++;
    try {
      if (!known?.writeField?.(writer, known.get(field.key), value)) encodeField(writer, field, value, composite);
    } catch (error) {
      throw located(error, `${plan.kind}, field "${field.key}"`);
    }
  }
  writer.close(start, 0xc0, count);
}

// An empty array for several values is the same as null [types 1.4].
function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null || Array.isArray(value) && value.length === 0;
}

function encodeField(writer: Writer, field: FieldPlan, value: unknown, composite: FieldValues): void {
  if (field.multiple) {
    if (!Array.isArray(value)) throw new TypeError("Cannot encode array: the value is not an array");
    return writer.typed("array", new AmqpArray(field.type, value));
  }
  switch (field.form) {
    case uintForm:
      return writer.uint(value);
    case timestampForm:
      return writer.typed("timestamp", value instanceof Typed ? value.value : value);
    case enumerationForm:
      return encodeName(writer, field, value);
    case fieldsForm:
      return writer.record(value as Record<string, never>, "symbol");
    case unsettledForm:
      return encodeUnsettled(writer, value);
    case compositeForm:
      return encodeNested(writer, field.archetype, value);
    case messageIdForm:
      return encodeMessageId(writer, value);
    case anyForm:
      return writer.valueAs(wireTypesOf(composite)?.get(field.key), value as never);
    default:
      return writer.typed(field.type, value);
  }
}

function encodeName(writer: Writer, field: FieldPlan, value: unknown): void {
  const index = field.names.indexOf(value as string);
  if (index < 0) throw new RangeError(`Cannot encode ${field.base}: ${quote(String(value))} is not one`);
  if (field.type === "symbol") writer.symbol(value);
  else writer.typed(field.type, field.type === "boolean" ? index === 1 : index);
}

function encodeUnsettled(writer: Writer, value: unknown): void {
  if (!isMap(value)) throw new TypeError("Cannot encode map: the value is not a Map");
  const start = writer.open();
  for (const [tag, state] of value) {
    writer.binary(tag);
    if (state === null || state === undefined) writer.u8(0x40);
    else encodeNested(writer, archetypes.deliveryState, state);
  }
  writer.close(start, 0xc1, 2 * value.size);
}

function encodeNested(writer: Writer, archetype: number, value: unknown): void {
  const plan = planOf(archetype === archetypes.error ? "error" : (value as Composite).kind);
  if ((plan.provides & archetype) === 0) {
    throw new TypeError(`Cannot encode ${archetypeName(archetype)}: "${plan.kind}" is not one`);
  }
  encodeFields(writer, plan, value as FieldValues);
}

function encodeMessageId(writer: Writer, value: unknown): void {
  if (typeof value === "string") return writer.string(value);
  if (typeof value === "bigint") return writer.typed("ulong", value);
  if (isBytes(value)) return writer.binary(value);
  if (value instanceof Typed && isMessageIdType(value.type)) return writer.typed(value.type, value.value);
  const remedy = typeof value === "number" ? `; write String(${value}) or BigInt(${value})` : "";
  throw new TypeError(`Cannot encode message id: it is neither string, bigint, Uint8Array nor uuid${remedy}`);
}

function isMessageIdType(type: string | undefined): boolean {
  return type === "ulong" || type === "uuid" || type === "binary" || type === "string";
}

function located(error: unknown, where: string): unknown {
  if (error instanceof TypeError) return new TypeError(`${error.message} (${where})`, { cause: error });
  if (error instanceof RangeError) return new RangeError(`${error.message} (${where})`, { cause: error });
  return error;
}

function decodeFields(reader: Reader, plan: Plan): unknown {
  const { subject, field: outerField, end } = reader;
  reader.subject = plan.kind;
  reader.field = undefined;
  const { fields } = plan;
  const count = reader.openList(reader.code());
  if (count > fields.length) throw reader.fail(`there are ${count} fields instead of ${fields.length}`);
  const composite: FieldValues = plan.hasKind ? { kind: plan.kind } : {};
  let present = 0;
  const isSpared = reader.skips && SPARED.includes(plan.kind);
  let fault: AmqpError | undefined;
  for (let i = 0; i < count; i++) {
    const code = reader.code();
    if (code === 0x40) continue;
    const field = fields[i];
    reader.field = field.key;
    // A begin is an answer or none.
    const value = isSpared && !field.mandatory && field.key !== "remoteChannel"
      ? reader.attempt(() => decodeFieldOrSeveral(reader, field, code, composite))
      : decodeFieldOrSeveral(reader, field, code, composite);
    if (value instanceof AmqpError) fault ??= value;
    else if (value !== undefined) {
      composite[field.key] = value;
      present |= 1 << i;
    }
  }
  reader.field = undefined;
  if (fault !== undefined) composite.unread = unknown(fault);
  if ((plan.mandatory & ~present) !== 0) throw missing(reader, plan, present);
  reader.close(end);
  reader.subject = subject;
  reader.field = outerField;
  return composite;
}

// Where the mandatory fields are known, others that cannot be read are the matter of one session or link alone.
const SPARED = ["begin", "attach", "flow", "transfer"];

/** What is wrong with a performative of which an optional field could not be read, and is left out. */
export function unreadOf(composite: object): UnknownState | undefined {
  return (composite as { unread?: UnknownState }).unread;
}

function missing(reader: Reader, plan: Plan, present: number): Error {
  const field = plan.fields.find(({ mandatory }, i) => mandatory && (present & 1 << i) === 0);
  return reader.fail(`field "${field?.key}" is mandatory`);
}

function decodeFieldOrSeveral(reader: Reader, field: FieldPlan, code: number, composite: FieldValues): unknown {
  return field.multiple ? decodeSeveral(reader, field, code) : decodeField(reader, field, code, composite);
}

function decodeField(reader: Reader, field: FieldPlan, code: number, composite: FieldValues): unknown {
  switch (field.form) {
    case uintForm:
      if (code !== 0x52 && code !== 0x70 && code !== 0x43) return decodeOther(reader, field, code, composite);
      return reader.uint(code);
    case booleanForm:
      if (code !== 0x41 && code !== 0x42 && code !== 0x56) throw mistyped(reader, code, "boolean");
      return reader.boolean(code);
    case timestampForm:
      if (code !== 0x83) return decodeOther(reader, field, code, composite);
      return reader.timestamp();
    case enumerationForm:
      return decodeName(reader, field, code);
    case fieldsForm:
      // rhea writes the keys of an error's info as strings; such a rejection must not end the connection. The annotations of a
      // modified outcome go into the message, where keys are read as leniently.
      return readRecord(reader, code, "symbol", field.key === "info" || field.key === "messageAnnotations");
    case unsettledForm:
      return decodeUnsettled(reader, code);
    case compositeForm:
      return decodeProvided(reader, field.archetype, code);
    case messageIdForm:
      if (!isMessageIdType(typeOf(code))) return decodeOther(reader, field, code, composite);
      return reader.value(code);
    case anyForm: {
      const type = ambiguousType(code);
      if (type !== undefined) reader.noteTypes(composite).set(field.key, type);
      return reader.value(code);
    }
    default:
      if (typeOf(code) !== field.type) return decodeOther(reader, field, code, composite);
      return reader.scalar(code);
  }
}

function decodeOther(reader: Reader, field: FieldPlan, code: number, composite: FieldValues): unknown {
  const value = reader.decodeOtherType?.(reader, field, code, composite);
  if (value === undefined) throw mistyped(reader, code, field.form === messageIdForm ? "message-id" : field.type);
  return value;
}

// One value may stand alone or in an array; an empty array is no value [types 1.4].
function decodeSeveral(reader: Reader, field: FieldPlan, code: number): unknown[] | undefined {
  if (typeOf(code) === field.type) return [reader.scalar(code)];
  const array = reader.value(code);
  if (!(array instanceof AmqpArray) || array.descriptors.length > 0) throw mistyped(reader, code, field.type);
  if (array.items.length === 0) return undefined;
  if (array.type !== field.type) throw reader.fail(`the array is of ${array.type}, not ${field.type}`);
  return array.items as unknown[];
}

function decodeName(reader: Reader, field: FieldPlan, code: number): string {
  if (typeOf(code) !== field.type) throw mistyped(reader, code, field.type);
  const value = reader.scalar(code);
  const name = field.type === "symbol" ? field.names.find((name) => name === value) : field.names[Number(value)];
  if (name !== undefined) return name;
  throw reader.fail(`${quote(String(value))} is not a ${field.base}`, condition.invalidField);
}

function decodeUnsettled(reader: Reader, code: number): Map<Uint8Array, unknown> {
  const { end } = reader;
  const count = reader.openMap(code);
  const unsettled = new Map<Uint8Array, unknown>();
  const tags = new Set<string>();
  for (let i = 0; i < count; i += 2) {
    const tagCode = reader.code();
    if (typeOf(tagCode) !== "binary") throw mistyped(reader, tagCode, "binary");
    const tag = reader.binary(tagCode);
    if (tag.length > MAX_DELIVERY_TAG_BYTES) {
      throw reader.fail(`a delivery tag has ${tag.length} bytes`, condition.invalidField);
    }
    if (tags.size === tags.add(hex(tag)).size) throw reader.fail("a delivery tag occurs twice");
    const stateCode = reader.code();
    unsettled.set(tag, stateCode === 0x40 ? null : decodeProvided(reader, archetypes.deliveryState, stateCode));
  }
  reader.close(end);
  return unsettled;
}

// What cannot be read of one delivery, one link or one error must not end the connection.
function decodeProvided(reader: Reader, archetype: number, code: number): unknown {
  if (!reader.skips || !isExtensible(archetype) && archetype !== archetypes.error) {
    return decodeNested(reader, archetype, code);
  }
  const decoded = reader.attempt(() => decodeNested(reader, archetype, code));
  if (!(decoded instanceof AmqpError)) return decoded;
  return archetype === archetypes.error ? unknown(decoded).error : unknown(decoded);
}

// Stands for what could not be read.
function unknown({ condition, message }: AmqpError): UnknownState {
  return { kind: "unknown", error: { condition, description: message } };
}

// Whether a peer may have types of its own that provide the archetype.
function isExtensible(archetype: number): boolean {
  return (archetype & (archetypes.source | archetypes.target | archetypes.deliveryState)) !== 0;
}

function decodeNested(reader: Reader, archetype: number, code: number): unknown {
  const plan = readPlan(reader, code);
  if (plan !== undefined && (plan.provides & archetype) !== 0) return decodeFields(reader, plan);
  // An unknown kind of node or outcome is something that this side lacks, not a mistake of the peer [messaging 3.5].
  const isLacking = plan === undefined && isExtensible(archetype);
  throw reader.fail(
    `the descriptor is not that of a known ${archetypeName(archetype)}`,
    isLacking ? condition.notImplemented : condition.decodeError,
  );
}

function readPlan(reader: Reader, code: number): Plan | undefined {
  if (code !== 0x00) throw reader.fail(`constructor 0x${hexByte(code)} is not that of a described value`);
  return planAt(readDescriptor(reader));
}

function mistyped(reader: Reader, code: number, type: string): Error {
  return reader.fail(`constructor 0x${hexByte(code)} is not ${type}`);
}

// A spread object stays an ordinary one to V8; one of Object.create(null) is a hash table, which takes twice the time to fill,
// and four times the memory.
const nothing = {};

/**
 * Reads a map whose keys all are symbols or all are strings; `lenient` accepts the other kind of key as well, and ulongs and
 * the longs of go-amqp, which become their digits.
 */
export function readRecord(
  reader: Reader,
  code: number,
  keyType: "symbol" | "string",
  lenient: boolean = reader.lenient,
): Fields {
  const outer = reader.end;
  const count = reader.openMap(code);
  // No prototype: "__proto__" is a key like any other.
  const record: Fields = { ...nothing, __proto__: null };
  let known: WireTypes | undefined;
  let order: string[] | undefined;
  for (let i = 0; i < count; i += 2) {
    const keyCode = reader.code();
    const type = typeOf(keyCode);
    const isOther = type !== keyType;
    if (isOther && !(lenient && /^(symbol|string|u?long)$/.test(type!))) {
      throw reader.fail(`a map key has constructor 0x${hexByte(keyCode)}, not ${keyType}`);
    }
    const key = type === "symbol" ? reader.symbol(keyCode) : String(reader.scalar(keyCode));
    if (key in record) throw reader.fail(`map key ${quote(key)} occurs twice`);
    // An object moves integer keys to the front.
    if (order === undefined && isDigit(key.charCodeAt(0))) order = Object.keys(record);
    order?.push(key);
    const code = reader.peek();
    const valueType = ambiguousType(code);
    // Lists, maps and arrays, and the empty list.
    const isCompound = code >= 0xc0 || code === 0x45;
    record[key] = reader.value();
    if (valueType === undefined && !isOther && !isCompound) continue;
    known ??= reader.noteTypes(record);
    if (isCompound) known.isNested = true;
    if (valueType !== undefined) known.set(key, valueType);
    if (isOther) (known.keys ??= new Map()).set(key, type!);
  }
  reader.close(outer);
  if (order !== undefined) (known ?? reader.noteTypes(record)).order = order;
  return record;
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}
