/**
 * A copy of the source that can be changed, and whether a mutation fits it: each names a place that is there once, and tests that
 * are there.
 *
 * @module
 */

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mutation } from "./table.ts";

const COPIED = ["mod.ts", "src", "tests", "examples", "compat", "deno.json", "jsr.json", "package.json", "README.md"];

/** A copy of the tree. */
export class Copy implements Disposable {
  /** Where it is. */
  readonly root: string = mkdtempSync(join(tmpdir(), "mutate-"));

  /** Copies what tests need of the tree at `origin`. */
  constructor(origin: string) {
    for (const name of COPIED) cpSync(join(origin, name), join(this.root, name), { recursive: true });
    symlinkSync(join(origin, "node_modules"), join(this.root, "node_modules"));
  }

  /** What `use` gives while the copy is changed. */
  changed<T>({ file, from, to }: Pick<Mutation, "file" | "from" | "to">, use: () => T): T {
    const path = join(this.root, file);
    const source = readFileSync(path, "utf8");
    writeFileSync(path, source.replace(from, () => to));
    try {
      return use();
    } finally {
      writeFileSync(path, source);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

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
