/**
 * Holds the mutations to the source, which goes on changing: each names a place that is there once, and tests that are there.
 *
 * @module
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Mutation } from "./table.ts";

/** What of a mutation does not fit the tree under `root`, in words; nothing if it does. */
export function misfits({ file, from, to, tests }: Mutation, root: string): string[] {
  const faults = tests.filter((name) => !existsSync(join(root, name))).map((name) => `${file}: no such test: ${name}`);
  if (tests.length === 0) faults.push(`${file}: no test is named for: ${from}`);
  if (from === to) faults.push(`${file}: changes nothing: ${from}`);
  const path = join(root, file);
  const places = existsSync(path) ? readFileSync(path, "utf8").split(from).length - 1 : 0;
  if (places !== 1) faults.push(`${file}: stands there ${places} times instead of once: ${from}`);
  return faults;
}
