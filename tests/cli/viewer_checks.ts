/**
 * Opens the viewer in Chromium and looks at what it shows; exits with 0 if all is as it should be, 77 without a browser.
 *
 *     node tests/cli/viewer_checks.ts trace TRACE.html EMPTY.html
 *     node tests/cli/viewer_checks.ts many MANY.html
 *     node tests/cli/viewer_checks.ts crowd CROWD.html
 *     node tests/cli/viewer_checks.ts hostile HOSTILE.html
 *
 * @module
 */

/// <reference lib="dom" />

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { chromium, type Page } from "playwright-core";

const PROGRAM = "/usr/bin/chromium";

async function text(page: Page, selector: string): Promise<string> {
  return await page.locator(selector).first().textContent() ?? "";
}

async function checkTrace(page: Page, path: string): Promise<void> {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => request.url().startsWith("file:") || errors.push(`asks for ${request.url()}`));
  await page.goto(pathToFileURL(path).href);
  assertMatch(await text(page, "#status"), /^\d+ frames · 1 connection · /);
  assertEquals(await page.locator("#welcome").isVisible(), false);
  const labels = await page.locator(".row:visible .label b").allTextContents();
  // The runtime's own WebSocket reports no steps.
  const common = labels.filter((label) => label !== "tcp" && label !== "upgraded").slice(0, 7);
  assertEquals(common, ["connecting", "connected", "sasl mechanisms", "sasl init", "sasl outcome", "open", "open"]);
  // Only visible rows have elements.
  assert(await page.locator(".row").count() < 80);
  // Keyboard: the fault, its delivery, its timeline.
  await page.keyboard.press("e");
  assertMatch(await text(page, "#panel .fault"), /message rejected: amqp:not-found.*messaging|transport 2\.8\.15/);
  await page.keyboard.press("d");
  assertMatch(await text(page, "#panel h3"), /^Delivery \d+ of orders$/);
  assertMatch(await text(page, "#panel"), /rejected · settled after/);
  assertEquals(await page.locator("#panel .life a").count() >= 2, true);
  await page.click("#tabs [data-tab=faults]");
  assertMatch(await text(page, "#panel h2"), /^transport 2\.8\.15/);
  // A receiver that gives no credit: which sender waits, and since when.
  await page.click("#tabs [data-tab=waits]");
  await page.keyboard.press("e");
  const waits = await text(page, "#panel");
  assertMatch(waits, /sender dry: no creditsince [\d.]+ (µs|ms|s)/);
  // Filters, folding, search.
  const everything = Number(await page.evaluate(() => document.getElementById("spacer")!.offsetHeight));
  await page.click(".node.link:has-text('dry')");
  const filtered = Number(await page.evaluate(() => document.getElementById("spacer")!.offsetHeight));
  assert(filtered < everything, `${filtered} of ${everything}`);
  await page.keyboard.press("Escape");
  assert(await page.locator(".row .times").count() > 0);
  await page.keyboard.press("f");
  assertEquals(await page.locator(".row:visible .times").count(), 0);
  await page.keyboard.press("/");
  await page.keyboard.type("no such coffee");
  assertEquals(await text(page, "#matches"), "1 found");
  assertMatch(await text(page, ".row.selected .label"), /^disposition/);
  await page.keyboard.press("Escape");
  const before = await page.evaluate(() => document.documentElement.dataset.theme);
  await page.keyboard.press("t");
  assert(await page.evaluate(() => document.documentElement.dataset.theme) !== before);
  assertEquals(await page.locator("#plots canvas").count(), 4);
  await page.locator("#plots canvas").first().click({ position: { x: 200, y: 30 } });
  assert((await text(page, "#plots small")).length > 0);
  assertEquals(errors, []);
}

async function checkFiles(page: Page, path: string): Promise<void> {
  // The viewer without a trace: a packed trace is dropped on it, then one that was cut off.
  await page.goto(`${pathToFileURL(path).href}`);
  assertEquals(await page.locator("#welcome").isVisible(), true);
  for (
    const [name, pattern] of [["trace.jsonl.gz", /^\d+ frames · 1 connection/], [
      "cut.jsonl.gz",
      /^\d+ frames/,
    ]] as const
  ) {
    const packed = [...readFileSync(join(dirname(path), name))];
    const dropped = await page.evaluateHandle(([name, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], name));
      return transfer;
    }, [name, packed] as [string, number[]]);
    await page.dispatchEvent("body", "drop", { dataTransfer: dropped });
    await page.waitForSelector("#welcome", { state: "hidden" });
    assertMatch(await text(page, "#status"), pattern);
  }
}

async function checkMany(page: Page, path: string): Promise<void> {
  await page.goto(pathToFileURL(path).href);
  assertMatch(await text(page, "#status"), /^100,\d{3} frames/);
  await page.keyboard.press("f");
  await page.keyboard.press("G");
  assertMatch(await text(page, ".row.selected b"), /close/);
  assert(await page.locator(".row").count() < 80);
}

async function checkCrowd(page: Page, path: string): Promise<void> {
  await page.goto(pathToFileURL(path).href);
  assertMatch(await text(page, "#status"), / 6 connections /);
  // The connections that have no lane of their own share the last one, which says so, as each of their frames does.
  assertEquals(
    await page.locator("#lanes span:first-child").allTextContents(),
    [1, 2, 3, "4…"].map((n) => `client ${n}`),
  );
  await page.keyboard.press("G");
  assertEquals(await text(page, ".row.selected .label .times"), "6");
  await page.locator("#tree .node", { hasText: "Connection 6" }).click();
  assertEquals(await page.locator("#lanes span:first-child").allTextContents(), ["client 6"]);
  assertEquals(await page.locator(".row:visible .label .times", { hasText: /^6$/ }).count(), 0);
  const panel = page.locator("#panel");
  assert(
    await panel.evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth),
    "a long name leaves the panel",
  );
}

async function checkHostile(page: Page, path: string): Promise<void> {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => request.url().startsWith("file:") || errors.push(`asks for ${request.url()}`));
  await page.goto(pathToFileURL(path).href);
  assertMatch(await text(page, "#status"), /^\d+ frames · 2 connections · .* · 14 lines not readable$/);
  const count = await page.locator(".row:visible").count();
  assert(count > 10);
  for (let i = 0; i < count; i++) {
    await page.locator(".row:visible").nth(i).click();
    for (const tab of ["frame", "delivery", "waits", "faults"]) await page.click(`#tabs [data-tab=${tab}]`);
  }
  for (const node of await page.locator("#tree .node").all()) await node.click();
  assertMatch(await text(page, "#tree"), /<img src=x/);
  assertEquals(await page.locator("#tree img, #rows img, #panel img, #plots img").count(), 0);
  assertEquals(await page.evaluate(() => Object.hasOwn(globalThis, "harmed")), false);
  assertEquals(errors, []);
}

if (!existsSync(PROGRAM)) process.exit(77);
const browser = await chromium.launch({
  executablePath: PROGRAM,
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1_440, height: 900 } });
  const [which, first, second] = process.argv.slice(2);
  if (which === "many") await checkMany(page, first!);
  else if (which === "hostile") await checkHostile(page, first!);
  else if (which === "crowd") await checkCrowd(page, first!);
  else {
    await checkTrace(page, first!);
    await checkFiles(page, second!);
  }
} finally {
  await browser.close();
}
