import { assertEquals, assertThrows } from "@std/assert";
import { checkFunction, checkOptions, describeKind, meant } from "../../src/base/options.ts";
import { test } from "../harness.ts";

const KINDS = {
  credit: 'number or "manual"',
  settle: '"auto" or "manual"',
  auth: "object, function or null",
  idleTimeOut: "number",
  desiredCapabilities: "array",
  concurrency: "number",
  signal: "object",
  source: "",
  filter: "object",
};

function refused(options: unknown): string {
  return assertThrows(() => checkOptions("connect", options, KINDS), TypeError).message;
}

test("options: a name that does not exist is refused, and the one that was meant is named", () => {
  for (
    const [given, name] of [
      ["idleTimeout", "idleTimeOut"],
      ["idle_time_out", "idleTimeOut"],
      ["IdleTimeOut", "idleTimeOut"],
      ["crdit", "credit"],
      ["credit_window", "credit"],
      ["prefetch", "credit"],
      ["password", "auth"],
      ["autoaccept", "settle"],
      ["username", "auth"],
      ["concurency", "concurrency"],
      ["desiredCapability", "desiredCapabilities"],
    ]
  ) {
    assertEquals(refused({ [given]: 1 }), `Cannot connect: there is no option "${given}", "${name}" is meant`);
  }
});

test("options: where nothing is near, all that there are are named", () => {
  assertEquals(
    refused({ banana: undefined }),
    'Cannot connect: there is no option "banana", but credit, settle, auth, idleTimeOut, desiredCapabilities, ' +
      "concurrency, signal, source, filter",
  );
  // Names that every object inherits are no options, nor is a synonym of an option that this call lacks.
  for (const name of ["constructor", "toString", "__proto__x"]) refused({ [name]: 1 });
  assertEquals(meant("heartbeat", ["credit"]), undefined);
  assertEquals(meant("toString", ["credit"]), undefined);
});

test("options: a value of the wrong kind is refused by its kind, which is not its content", () => {
  assertEquals(refused({ credit: "10" }), 'Cannot connect: option "credit" is "10", not number or "manual"');
  assertEquals(refused({ settle: "atuo" }), 'Cannot connect: option "settle" is "atuo", not "auto" or "manual"');
  assertEquals(refused({ settle: true }), 'Cannot connect: option "settle" is a boolean, not "auto" or "manual"');
  assertEquals(refused({ auth: "secret" }), 'Cannot connect: option "auth" is a string, not object, function or null');
  assertEquals(refused({ idleTimeOut: null }), 'Cannot connect: option "idleTimeOut" is null, not number');
  assertEquals(
    refused({ desiredCapabilities: {} }),
    'Cannot connect: option "desiredCapabilities" is an empty object, not array',
  );
  assertEquals(refused({ filter: [1] }), 'Cannot connect: option "filter" is an array, not object');
  assertEquals(refused({ signal: Symbol("a") }), 'Cannot connect: option "signal" is a symbol, not an AbortSignal');
});

test("options: what is no object is refused", () => {
  assertEquals(refused("orders"), "Cannot connect: options are a string, not an object");
  assertEquals(refused(null), "Cannot connect: options are null, not an object");
  assertEquals(refused([1]), "Cannot connect: options are an array, not an object");
});

test("options: what is right, undefined or inherited passes", () => {
  checkOptions("connect", undefined, KINDS);
  checkOptions("connect", {
    credit: "manual",
    settle: "auto",
    auth: null,
    idleTimeOut: undefined,
    desiredCapabilities: [],
    signal: AbortSignal.abort(),
    source: Symbol("anything"),
  }, KINDS);
  checkOptions("connect", Object.create({ nonsense: 1 }), KINDS);
});

test("options: a name as long as it likes is compared in no time and cut in the error", () => {
  const message = refused({ ["x".repeat(100_000)]: 1 });
  assertEquals(message.length < 400, true);
});

test("options: kinds are described without content", () => {
  assertEquals(describeKind({ username: "user", password: "secret" }), 'an object with "username", "password"');
  assertEquals(describeKind(new Date(0)), "an object of class Date");
  assertEquals(describeKind(Object.create(null)), "an empty object");
  assertEquals(describeKind(undefined), "undefined");
  assertThrows(
    () => checkFunction("serve", "handler", { a: 1 }),
    TypeError,
    'Cannot serve: handler is an object with "a", not a function',
  );
});
