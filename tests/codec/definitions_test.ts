import { assert, assertEquals } from "@std/assert";
import { decodeAs, encodeAs, readDescriptor } from "../../src/codec/composite.ts";
import { codeOfName } from "../../src/codec/plans.ts";
import { definitions, enumerations, sections } from "../../src/codec/definitions.ts";
import type { CompositeOf, Described, Kind, Value } from "../../src/codec/types.ts";
import { Reader } from "../../src/codec/reader.ts";
import { condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { decode, wire, written } from "./bytes.ts";
import { sample, sampleField } from "./samples.ts";
import { choices, composites, describedTypes, restricted } from "./xml_fixture.ts";

/** `idle-time-out` is `idleTimeOut`. */
function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** The primitive type under a restricted type; enumerations and field maps stay as they are. */
function baseOf(type: string, requires: string | undefined): string {
  if (type === "*") return `*${camelCase(requires!)}`;
  if (camelCase(type) in enumerations) return camelCase(type);
  if (restricted[type] === "map") return "fields";
  return type in restricted ? baseOf(restricted[type], undefined) : type;
}

/** The table's entry for a field of the XML. */
function expectedField(field: string): [name: string, type: string] {
  const match = /^([\w-]+): (\S+)(?: requires ([\w-]+))?( multiple)?( mandatory)?(?: default (\S+))?$/.exec(field);
  assert(match !== null, field);
  const [, name, type, requires, multiple, mandatory, byDefault] = match;
  const marks = `${multiple ? "[]" : ""}${mandatory ? "!" : ""}${byDefault ? `=${byDefault}` : ""}`;
  return [camelCase(name), baseOf(type, requires) + marks];
}

// The defaults of the header are in the text, not in the XML [messaging 3.2.1].
const headerDefaults: Record<string, string> = {
  durable: "=false",
  priority: "=4",
  firstAcquirer: "=false",
  deliveryCount: "=0",
};

test("TYP-9 MSG-3: the table of composites is that of the specification", () => {
  assertEquals(Object.keys(definitions).length, composites.length);
  for (const { name, code, descriptor, provides, fields } of composites) {
    const definition = definitions[camelCase(name) as Kind];
    assertEquals(definition.code, code);
    assertEquals(codeOfName(descriptor), code);
    assertEquals(codeOfName(descriptor.replace("-", "_")), descriptor.includes("-") ? undefined : code);
    assertEquals<readonly string[]>(definition.provides, provides.map(camelCase));
    const expected = fields.map(expectedField).map(([field, type]) => {
      return [field, type + (name === "header" && headerDefaults[field] || "")];
    });
    assertEquals<unknown>(Object.entries(definition.fields), expected);
  }
});

test("TRM-1 SASL-5: the enumerations are those of the specification", () => {
  const names = [
    "role",
    "sender-settle-mode",
    "receiver-settle-mode",
    "terminus-durability",
    "terminus-expiry-policy",
    "sasl-code",
  ];
  assertEquals(Object.keys(enumerations), names.map(camelCase));
  for (const name of names) {
    const { type, values } = enumerations[camelCase(name) as keyof typeof enumerations];
    const { source, values: expected } = choices[name];
    assertEquals<string>(type, source);
    const wireValues = values.map((value: string, i: number) => {
      return [value, type === "boolean" ? String(i === 1) : type === "symbol" ? value : String(i)];
    });
    assertEquals(Object.fromEntries(wireValues), expected);
  }
});

test("MSG-1: the sections that are no composites are those of the specification", () => {
  const keys: Record<string, keyof typeof sections> = { "amqp-sequence": "sequence", "amqp-value": "value" };
  assertEquals(Object.keys(sections).length, describedTypes.length);
  for (const [name, code, descriptor] of describedTypes) {
    assertEquals<unknown>(sections[keys[name] ?? camelCase(name) as keyof typeof sections], { code, name: descriptor });
  }
});

test("ERR-1: the error conditions are those of the specification", () => {
  const names = ["amqp-error", "connection-error", "session-error", "link-error", "transaction-error"];
  const expected = names.flatMap((name) => Object.values(choices[name].values));
  assertEquals(Object.values<string>(condition).sort(), expected.sort());
});

test("TYP-9: every field of every composite stands in its place on the wire", () => {
  for (const { name, code, fields } of composites) {
    const kind = camelCase(name) as Kind;
    const mandatory = fields.filter((field) => field.includes(" mandatory"));
    for (const [i, field] of fields.entries()) {
      const only: Record<string, unknown> = {};
      for (const each of [...mandatory, field]) {
        const [key, type] = expectedField(each);
        only[key] = sampleField(type);
      }
      const described = decode(written((writer) => encodeAs(writer, kind, only as CompositeOf<Kind>))) as Described;
      assertEquals(described.descriptor, BigInt(code));
      const list = described.value as Value[];
      const last = Math.max(i, ...mandatory.map((each) => fields.indexOf(each)));
      assertEquals(list.length, last + 1, `${kind} has trailing nulls with ${field}`);
      for (const [at, value] of list.entries()) {
        assertEquals(value !== null, at === i || fields[at].includes(" mandatory"), `${kind}, ${field}, at ${at}`);
      }
    }
  }
});

test("TYP-9: every composite with all of its fields comes back as it was", () => {
  for (const kind of Object.keys(definitions) as Kind[]) {
    const composite = sample(kind);
    const { fields, code } = definitions[kind];
    assertEquals(Object.keys(composite).filter((key) => key !== "kind"), Object.keys(fields));
    const hex = written((writer) => encodeAs(writer, kind, composite));
    const reader = new Reader(wire(hex));
    assertEquals(reader.code(), 0x00);
    assertEquals(readDescriptor(reader), code);
    const decoded = decodeAs(reader, kind);
    assertEquals(decoded, composite);
    assertEquals(reader.remaining, 0);
    assertEquals(written((writer) => encodeAs(writer, kind, decoded)), hex);
  }
});
