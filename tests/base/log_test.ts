import { assertEquals } from "@std/assert";
import { Log, LOG_INTERVAL_MS, type LogEntry, MAX_LOG_CAUSES } from "../../src/base/log.ts";
import { test } from "../harness.ts";

function logged(now: () => number = () => 0) {
  const entries: LogEntry[] = [];
  return { entries, log: new Log((entry) => entries.push(entry), { now }) };
}

function waits(address: string, error?: Error): LogEntry {
  return { level: "warning", code: "send-waits", message: `Cannot send to "${address}" yet`, address, error };
}

/** Runs `work`, and returns what it would have printed to the console. */
function printed(work: () => void): unknown[][] {
  const { warn, error } = console;
  const lines: unknown[][] = [];
  console.warn = (...parts) => lines.push(["warn", ...parts]);
  console.error = (...parts) => lines.push(["error", ...parts]);
  try {
    work();
  } finally {
    Object.assign(console, { warn, error });
  }
  return lines;
}

test("log: a cause is told once a minute, then with how often it was kept back", () => {
  let now = 0;
  const { entries, log } = logged(() => now);
  for (let i = 0; i < 5; i++) log.write(waits("orders"));
  now = LOG_INTERVAL_MS - 1;
  log.write(waits("orders"));
  assertEquals(entries.length, 1);
  now = LOG_INTERVAL_MS;
  log.write(waits("orders"));
  log.write(waits("orders"));
  assertEquals(entries.map(({ repeated }) => repeated), [undefined, 5]);
});

test("log: another address, code or error is another cause", () => {
  const { entries, log } = logged();
  log.write(waits("orders"));
  log.write(waits("bills"));
  log.write(waits("orders", new Error("one")));
  log.write(waits("orders", new Error("two")));
  log.write({ ...waits("orders"), code: "no-credit" });
  assertEquals(entries.length, 5);
});

test("log: causes without end are told up to a limit, and keep no memory", () => {
  let now = 0;
  const { entries, log } = logged(() => now);
  for (let i = 0; i < 10 * MAX_LOG_CAUSES; i++) log.write(waits(`made up ${i}`));
  assertEquals(entries.length, MAX_LOG_CAUSES);
  now = LOG_INTERVAL_MS;
  log.write(waits("orders"));
  assertEquals(entries.at(-1)?.address, "orders");
});

test("log: by default it is printed, null silences it, and one that throws ends nothing", () => {
  const error = new Error("boom");
  assertEquals(printed(() => new Log(undefined, { now: () => 0 }).write(waits("orders"))), [
    ["warn", 'webamqp: Cannot send to "orders" yet'],
  ]);
  assertEquals(
    printed(() => new Log(undefined, { now: () => 0 }).write({ ...waits("orders", error), level: "error" })),
    [["error", 'webamqp: Cannot send to "orders" yet', error]],
  );
  assertEquals(printed(() => new Log(null, { now: () => 0 }).write(waits("orders"))), []);
  const failing = new Log(() => {
    throw error;
  }, { now: () => 0 });
  assertEquals(printed(() => failing.write(waits("orders"))), [
    ["error", 'webamqp: Cannot log: option "log" threw', error],
  ]);
});

test("log: one whose promise rejects is printed, too, and ends nothing", async () => {
  const error = new Error("boom");
  const { error: print } = console;
  const lines: unknown[][] = [];
  console.error = (...parts) => lines.push(parts);
  try {
    new Log(() => Promise.reject(error), { now: () => 0 }).write(waits("orders"));
    for (let i = 0; i < 10; i++) await undefined;
  } finally {
    console.error = print;
  }
  assertEquals(lines, [['webamqp: Cannot log: option "log" threw', error]]);
});
