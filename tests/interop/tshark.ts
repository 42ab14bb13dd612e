/**
 * tshark, of Wireshark, as the judge of what our client and our listener send.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { file, HOST, scratch } from "./daemon.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

// By default, tshark knows AMQP over TCP only.
const IN_WEBSOCKETS = `DissectorTable.get("ws.protocol"):add("amqp", Dissector.get("amqp"))\n`;
const DEADLINE_MS = 10_000;
const PERFORMATIVES: Readonly<Record<string, string>> = {
  "16": "open",
  "17": "begin",
  "18": "attach",
  "19": "flow",
  "20": "transfer",
  "21": "disposition",
  "22": "detach",
  "23": "end",
  "24": "close",
};

/** Installs tshark; captures are made by the checks. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    installDebian("tshark", "/usr/bin/tshark");
    const folder = scratch();
    running.defer(() => rmSync(folder, { recursive: true }));
    file(folder, "amqp.lua", IN_WEBSOCKETS);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return Promise.resolve({
      peer: `tshark ${debianVersion("tshark")}`,
      checks: onEach(runtimes, (runtime) => ({
        "every frame over ws is well formed": () => judge(runtime, "ws", folder),
        "every frame over amqp is well formed": () => judge(runtime, "amqp", folder),
      })),
    });
  });
}

async function judge(runtime: Runtime, scheme: "ws" | "amqp", folder: string): Promise<void> {
  const port = await runtime.call("listen");
  const path = join(folder, `${runtime.name}-${scheme}.pcapng`);
  const capture = spawn("dumpcap", ["-q", "-i", "lo", "-B", "64", "-f", `tcp port ${port}`, "-w", path], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(capture, "close");
  for await (const line of createInterface({ input: capture.stderr })) if (line.startsWith("File:")) break;
  try {
    const place = (address: string) => ({ url: `${scheme}://user:secret@${HOST}:${port}`, address });
    await runtime.call("roundTrip", place("one"));
    await runtime.call("settle", place("settle"), ["accept", "release", "reject", "accept", "accept"]);
    await runtime.call("many", place("many"), 100);

    const layer = scheme === "ws" ? "http" : "amqp";
    const read = ["-r", path, "-X", `lua_script:${join(folder, "amqp.lua")}`, "-d", `tcp.port==${port},${layer}`];
    const counts = await countsOf(read);
    assertEquals(counts, {
      open: 6,
      begin: 6,
      attach: 12,
      flow: counts.flow,
      transfer: 2 + 4 + 5 + 200,
      disposition: counts.disposition,
      detach: 12,
      end: counts.end,
      close: 6,
    });
    assertEquals(await tshark([...read, "-Y", "_ws.malformed || (amqp && _ws.expert.severity >= 0x600000)"]), "");
  } finally {
    capture.kill("SIGINT");
    await ended;
  }
}

// A capture lags behind, so it is read until it has all closes.
async function countsOf(read: readonly string[]): Promise<Record<string, number>> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const counts = Object.fromEntries(Object.values(PERFORMATIVES).map((name) => [name, 0]));
    const fields = await tshark([...read, "-Y", "amqp.performative", "-T", "fields", "-e", "amqp.performative"]);
    for (const code of fields.split(/[,\s]+/)) if (code in PERFORMATIVES) counts[PERFORMATIVES[code]]++;
    if (counts.close === 6) return counts;
    assert(Date.now() < deadline, `Only ${JSON.stringify(counts)} were captured`);
  }
}

async function tshark(args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)("tshark", args)).stdout;
  } catch (error) {
    // A file being written may end within a packet; all packets before it were read.
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    if (!stderr.includes("cut short in the middle of a packet")) throw error;
    return stdout;
  }
}
