/**
 * What `console.log` and `JSON.stringify` show of connections, links and the like. A file of its own, as parts that load later
 * share it with connections, which a program that publishes has none of.
 *
 * @module
 */

type Inspect = (value: unknown, options: unknown) => string;

/** An object that prints its facts, never a secret. */
export interface Inspected {
  /** @ignore The facts by name. */
  facts(): Record<string, unknown>;
}

/**
 * Makes `console.log` and `JSON.stringify`, which log writers use, print the facts of all objects of a class.
 *
 * Called when the first object is made, since doing it at the class's declaration would be work at load.
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
  Object.defineProperty(prototype, "toJSON", {
    value(this: Inspected): unknown {
      return this.facts();
    },
    configurable: true,
  });
}
