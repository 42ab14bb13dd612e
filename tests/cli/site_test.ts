/**
 * The front page of the documentation, and the demo in it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSite, sourcesHash } from "../../tools/site/build.ts";
import { test, testOnNode } from "../harness.ts";
import { read } from "../source.ts";
import { root, watch } from "./run.ts";

// Outside of a test: esbuild starts a worker on first use, which deno reports as a leak.
const page = buildSite();

test("site: the front page was built from its sources: npm run site", () => {
  const [, built] = /<meta name="sources" content="(\w+)">/.exec(read("docs/index.html")) ?? [];
  assertEquals(built, sourcesHash());
});

testOnNode("site: the front page's demo sends, asks and shows its frames, in Chromium", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-site-"));
  try {
    const path = join(folder, "index.html");
    writeFileSync(path, page);
    const checks = fileURLToPath(new URL("./site_checks.ts", import.meta.url));
    const child = spawn(join(root, "node_modules/.bin/node"), [checks, path], {
      cwd: root,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { status, err } = await watch(child).result;
    if (status === 77) return console.log("SKIPPED: there is no Chromium on this machine");
    assertEquals(status, 0, err);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
