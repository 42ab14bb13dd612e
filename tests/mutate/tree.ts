/**
 * A copy of the source to change, and the check that a mutation fits: its text occurs once, and its tests exist.
 *
 * @module
 */

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mutation } from "./table.ts";

const NOT_COPIED = [".git", "node_modules"];

export class Copy implements Disposable {
  readonly root: string = mkdtempSync(join(tmpdir(), "mutate-"));

  /** Copies the tree at `origin`, and shares its packages. */
  constructor(origin: string) {
    const copied = readdirSync(origin).filter((name) => !NOT_COPIED.includes(name));
    for (const name of copied) cpSync(join(origin, name), join(this.root, name), { recursive: true });
    symlinkSync(join(origin, "node_modules"), join(this.root, "node_modules"));
  }

  /** The result of `use` while the copy is changed. */
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

/** The reasons why a mutation does not fit the tree under `root`; empty if it does. */
export function misfits({ file, from, to, tests }: Mutation, root: string): string[] {
  const faults = tests.filter((name) => !existsSync(join(root, name))).map((name) => `${file}: no such test: ${name}`);
  if (tests.length === 0) faults.push(`${file}: no test is named for: ${from}`);
  if (from === to) faults.push(`${file}: changes nothing: ${from}`);
  const path = join(root, file);
  const places = existsSync(path) ? readFileSync(path, "utf8").split(from).length - 1 : 0;
  if (places !== 1) faults.push(`${file}: stands there ${places} times instead of once: ${from}`);
  return faults;
}
