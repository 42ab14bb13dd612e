/**
 * Opens the front page of the documentation in Chromium and tries its demo; exits with 77 where there is no browser.
 *
 * @module
 */

/// <reference lib="dom" />

import { assertEquals, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const PROGRAM = "/usr/bin/chromium";

if (!existsSync(PROGRAM)) process.exit(77);
const browser = await chromium.launch({
  executablePath: PROGRAM,
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1_280, height: 1_400 } });
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(pathToFileURL(process.argv[2]!).href);
  await page.locator("#state:has-text('connected')").waitFor();
  await page.click("#one");
  await page.locator("#state:has-text('sent and accepted')").waitFor();
  await page.click("#hundred");
  await page.locator("#state:has-text('100 sent and accepted')").waitFor();
  await page.click("#request");
  await page.locator("#state:has-text('answer: ONE COFFEE')").waitFor();
  await page.click("#reject");
  const viewer = page.frameLocator("#viewer");
  await viewer.locator("#faults-button:has-text('1 fault')").waitFor();
  assertMatch(await viewer.locator("#status").textContent() ?? "", /^\d{3} frames/);
  if (process.argv[3] !== undefined) await page.screenshot({ path: process.argv[3] });
  assertEquals(errors, []);
} finally {
  await browser.close();
}
