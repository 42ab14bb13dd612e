/**
 * Which built-in class a value is of, also one of another realm: an iframe, a context of `node:vm`, jsdom in a test runner. Each
 * realm has built-in classes of its own, so `instanceof` sees none of the others; files of src ask here instead
 * (tests/layers_test.ts).
 *
 * @module
 */

/** Whether a value is a `Uint8Array`, of which a `Buffer` is one. */
export function isBytes(value: unknown): value is Uint8Array {
  // The second test is for what has failed the first: most values that are asked about are bytes of this realm, or none at all.
  return value instanceof Uint8Array || (ArrayBuffer.isView(value) && tagOf(value) === "Uint8Array");
}

/** Whether a value is a `Map`. */
export function isMap(value: unknown): value is Map<unknown, unknown> {
  return value instanceof Map || tagOf(value) === "Map";
}

/** Whether a value is a `Date`. */
export function isDate(value: unknown): value is Date {
  // Dates alone have no tag; most values are told from them by what they lack.
  return value instanceof Date ||
    ((value as Partial<Date> | null | undefined)?.getTime !== undefined &&
      Object.prototype.toString.call(value) === "[object Date]");
}

/** Whether a value is a promise, of whichever library. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === "function";
}

function tagOf(value: unknown): unknown {
  return (value as { [Symbol.toStringTag]?: unknown } | null | undefined)?.[Symbol.toStringTag];
}
