/**
 * Checks that the manifests agree: deno, JSR and npm see one package.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { VERSION } from "../src/cli/help.ts";
import { test } from "./harness.ts";
import { list, read } from "./source.ts";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
  readonly workspace: readonly string[];
  readonly tasks: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly publish: { readonly include: readonly string[] };
}

function manifest(path: string): Manifest {
  return JSON.parse(read(path));
}

const deno = manifest("deno.json");
const jsr = manifest("jsr.json");
const npm = manifest("package.json");
const standIns = list("compat/std", "/package.json").map((path) => path.slice(0, -"/package.json".length));

test("manifests: deno.json and jsr.json describe one package", () => {
  for (const key of ["name", "version", "license", "exports", "imports", "workspace", "publish"] as const) {
    assertEquals(jsr[key], deno[key], key);
  }
  // By its exports the package finds itself under node and bun: the examples import it by name.
  for (const key of ["name", "version", "license", "exports"] as const) assertEquals(npm[key], deno[key], key);
  assertEquals(VERSION, deno.version);
});

test("manifests: what is exported exists and is published", () => {
  for (const path of Object.values(deno.exports)) {
    assert(read(path).startsWith("/**\n"), `${path} has no module documentation`);
    const published = jsr.publish.include.some((name) => path === `./${name}` || path.startsWith(`./${name}/`));
    assert(published, `${path} is not published`);
  }
});

test("manifests: each stand-in for @std serves deno and npm alike", () => {
  const std = Object.keys(deno.imports).filter((name) => name.startsWith("@std/")).sort();
  assertEquals(standIns.map((folder) => manifest(`${folder}/package.json`).name), std);
  assertEquals([...deno.workspace].sort(), standIns.map((folder) => `./${folder}`));
  for (const folder of standIns) {
    const forDeno = manifest(`${folder}/deno.json`), forNpm = manifest(`${folder}/package.json`);
    const { name, version } = forNpm;
    assertEquals([forDeno.name, forDeno.version], [name, version]);
    assertEquals(forDeno.imports, { "deno-std/": `npm:/deno-std@${npm.devDependencies["deno-std"]}/` });
    assertEquals(npm.devDependencies[name], `file:./${folder}`);
    // The stand-in must satisfy the version asked of JSR, or deno would look it up there.
    assertEquals(deno.imports[name], `jsr:${name}@^${version.split(".")[0]}`);
  }
});

test("manifests: every tool is pinned to one version", () => {
  const pinned = { ...npm.devDependencies, ...npm.optionalDependencies };
  for (const [name, version] of Object.entries(pinned)) assert(/^(\d+(\.\d+){2}|file:.*)$/.test(version), name);
});

test("manifests: the lock file names no host", () => {
  assertEquals(read("package-lock.json").match(/"resolved": "\w+:.*/g), null);
});

test("manifests: deno tasks run the scripts of the same names, and need no npm for it", () => {
  const names = Object.keys(npm.scripts);
  assertEquals(deno.tasks, Object.fromEntries(names.map((name) => [name, `sh .ci/task ${name}`])));
  // The stand-in for npm, so that the scripts can call each other.
  assert(read(".ci/task").includes('npm() { eval "$(script "$2")"; }'));
});
