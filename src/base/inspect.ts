/**
 * What `console.log` shows of an object on Deno, Bun and Node, which share one symbol for it.
 *
 * @module
 */

type Inspect = (value: unknown, options: unknown) => string;

/** What an object tells of itself: what a person would ask, never a secret. */
export interface Inspected {
  /** @ignore Its facts by name. */
  facts(): Record<string, unknown>;
}

/**
 * Has `console.log` show the facts of all objects of a class.
 *
 * Called when the first of them is made, and not where the class is declared: that would be work at load.
 */
export function showFacts(prototype: Inspected, name: string): void {
  const key = Symbol.for("nodejs.util.inspect.custom");
  if (Object.hasOwn(prototype, key)) return;
  Object.defineProperty(prototype, key, {
    value(this: Inspected, _depth: number, options: unknown, inspect?: Inspect): unknown {
      const facts = Object.fromEntries(Object.entries(this.facts()).filter(([, fact]) => fact !== undefined));
      return inspect === undefined ? facts : `${name} ${inspect(facts, options)}`;
    },
    configurable: true,
  });
}
