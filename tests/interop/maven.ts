/**
 * Downloads programs for the JVM from Maven's repositories, cached for the next run, and starts them.
 *
 * @module
 */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Skipped } from "./suite.ts";

/** A library by its coordinates, `group:artifact:version`. */
export type Coordinates = string;

const KEPT = join(tmpdir(), "webamqp-interop-jars");

/** A class path of libraries with their dependencies, except those that a test does not need. */
export function jars(name: string, libraries: readonly Coordinates[], without: readonly string[] = []): string {
  const folder = join(KEPT, name);
  if (existsSync(folder)) return join(folder, "*");
  for (const tool of ["java", "mvn"]) {
    try {
      execFileSync(tool, [tool === "java" ? "-version" : "--version"], { stdio: "ignore" });
    } catch {
      throw new Skipped(`there is no ${tool} on this machine`);
    }
  }
  const building = join(KEPT, `${name}.${process.pid}`);
  mkdirSync(building, { recursive: true });
  writeFileSync(join(building, "pom.xml"), pom(libraries, without));
  const goal = ["dependency:copy-dependencies", "-DoutputDirectory=."];
  execFileSync("mvn", ["-q", "-B", ...goal], { cwd: building, stdio: ["ignore", "inherit", "inherit"] });
  renameSync(building, folder);
  return join(folder, "*");
}

function pom(libraries: readonly Coordinates[], without: readonly string[]): string {
  const coordinates = (text: Coordinates): string => {
    const [group, artifact, version] = text.split(":");
    return `<groupId>${group}</groupId><artifactId>${artifact}</artifactId>` +
      (version === undefined ? "" : `<version>${version}</version>`);
  };
  const exclusions = without.map((one) => `<exclusion>${coordinates(one)}</exclusion>`).join("");
  const dependencies = libraries.map((one) =>
    `<dependency>${coordinates(one)}<exclusions>${exclusions}</exclusions></dependency>`
  );
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>interop</groupId><artifactId>interop</artifactId><version>1</version>
<dependencies>${dependencies.join("")}</dependencies></project>`;
}

/** The JVM's settings: small, for checks on small machines, or as fast as possible. */
export type JavaOptions = "small" | "fast";

/** The command that runs a source file of the folder `jvm`. */
export function java(
  classPath: string,
  file: string,
  args: readonly string[],
  options: JavaOptions = "small",
): [string, ...string[]] {
  const source = fileURLToPath(new URL(`jvm/${file}`, import.meta.url));
  const flags = options === "fast" ? ["-Xmx2g"] : ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
  return ["java", ...flags, "-cp", classPath, source, ...args];
}

/** Runs a program that prints one line a check, `ok NAME` or `FAILED NAME: reason`; returns the failures by name. */
export async function runChecks(command: readonly [string, ...string[]]): Promise<Map<string, string | undefined>> {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  const results = new Map<string, string | undefined>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [, result, name, reason] = /^(ok|FAILED) ([^:]+)(?:: (.*))?$/.exec(line) ?? [];
    if (name !== undefined) results.set(name, result === "ok" ? undefined : reason ?? "no reason");
  }
  return results;
}
