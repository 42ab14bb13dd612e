/**
 * Runs this package against programs that it shares no code with, and prints what was run.
 *
 * `npm run interop` runs all suites, `npm run interop chromium` only that one. What they need is installed here and
 * nowhere else. A suite that cannot run here is left out, unless it was asked for by its name: then that is a failure.
 *
 * @module
 */

import process from "node:process";
import { stripVTControlCharacters } from "node:util";
import { type Prepare, Skipped } from "./suite.ts";

/** A suite is a module of this folder; add further ones here. */
const SUITES: Readonly<Record<string, () => Promise<{ prepare: Prepare }>>> = {
  activemq: () => import("./activemq.ts"),
  artemis: () => import("./artemis.ts"),
  "broker-j": () => import("./broker_j.ts"),
  azure: () => import("./azure.ts"),
  "azure-go": () => import("./azure_go.ts"),
  "azure-python": () => import("./azure_python.ts"),
  chromium: () => import("./chromium.ts"),
  cyrus: () => import("./cyrus.ts"),
  fe2o3: () => import("./fe2o3.ts"),
  "go-amqp": () => import("./go_amqp.ts"),
  jms: () => import("./jms.ts"),
  nginx: () => import("./nginx.ts"),
  proton: () => import("./proton.ts"),
  "proton-python": () => import("./proton_python.ts"),
  proxies: () => import("./tunnels.ts"),
  rabbitmq: () => import("./rabbitmq.ts"),
  "rabbitmq-clients": () => import("./rabbitmq_clients.ts"),
  terminal: () => import("./terminal.ts"),
  tshark: () => import("./tshark.ts"),
  ws: () => import("./ws.ts"),
};

/** A program that hangs is a failure. */
const CHECK_TIMEOUT_MS = 60_000;

interface Row {
  readonly peer: string;
  readonly check: string;
  readonly result: string;
}

async function runSuite(name: string, report: (row: Row) => void): Promise<void> {
  const { prepare } = await SUITES[name]();
  const suite = await prepare();
  try {
    for (const [check, run] of Object.entries(suite.checks)) {
      const start = performance.now();
      const result = await withinTime(run()).then(
        () => `passed in ${Math.round(performance.now() - start)} ms`,
        failure,
      );
      report({ peer: suite.peer, check, result });
    }
  } finally {
    await suite.close();
  }
}

// The stacks of foreign programs would break the table.
function failure(error: unknown): string {
  if (error instanceof Skipped) return `skipped: ${error.message}`;
  const lines = stripVTControlCharacters(String(error)).split("\n").map((line) => line.trim());
  return `FAILED: ${lines.filter((line) => line !== "").join(" ").slice(0, 400)}`;
}

function withinTime(run: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`No end within ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS);
  return Promise.race([run, promise]).finally(() => clearTimeout(timer));
}

function table(rows: readonly Row[]): string {
  const all = [{ peer: "Peer", check: "Check", result: "Result" }, ...rows];
  const widthOf = (key: keyof Row): number => Math.max(...all.map((row) => row[key].length));
  const [peer, check] = [widthOf("peer"), widthOf("check")];
  return all.map((row) => `${row.peer.padEnd(peer)}  ${row.check.padEnd(check)}  ${row.result}`).join("\n");
}

// Exiting also ends the programs of the suites.
process.once("SIGINT", () => process.exit(130));

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(SUITES);
const unknown = chosen.filter((name) => !Object.hasOwn(SUITES, name));
if (unknown.length > 0) {
  console.error(`There is no suite ${unknown.join(", ")}; there are ${Object.keys(SUITES).join(", ")}`);
  process.exit(2);
}
const rows: Row[] = [];
for (const name of chosen) {
  await runSuite(name, (row) => rows.push(row)).catch((error) => {
    rows.push({ peer: name, check: "starts and ends", result: failure(error) });
  });
}
const failed = rows.filter(({ result }) => result.startsWith("FAILED")).length;
const skipped = rows.filter(({ result }) => result.startsWith("skipped")).length;
console.log(`${table(rows)}\n\n${rows.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && (skipped === 0 || process.argv.length === 2) ? 0 : 1);
