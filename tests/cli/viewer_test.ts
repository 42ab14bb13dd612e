/**
 * The viewer: built from its sources, opened by the command line, drawn by a browser.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { gzipSync } from "node:zlib";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "../../mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { jsonLines } from "../../src/trace/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test, testOnNode } from "../harness.ts";
import { read } from "../source.ts";
import { root, run, start, watch } from "./run.ts";
import { sourcesHash } from "../../tools/viewer/build.ts";
import { ViewedLines, viewerWith } from "../../src/cli/trace_file.ts";

/** A trace with a rejected message and a link without credit, or one of many frames. */
async function record(messages: number, dry: boolean): Promise<string> {
  const lines: string[] = [];
  const trace = jsonLines((line) => lines.push(line), { title: "orders" });
  const server = acceptor({
    onReceiver: (request) => {
      const receiver = request.accept({ credit: request.address === "dry" ? 0 : 100, settle: "manual" });
      void receiver.serve((delivery) => {
        if (delivery.message.body !== 7) return delivery.accept();
        delivery.reject({ condition: "amqp:not-found", description: "no such coffee" });
      });
    },
  });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: server });
  const connection = await connect(`ws://127.0.0.1:${listener.port}`, { trace });
  const sender = connection.sender("orders");
  if (dry) void connection.sender("dry").send({ body: 1 }).catch(() => {});
  for (let i = 0; i < messages; i++) {
    const sent = sender.send({ body: i }).catch(() => {});
    if (i % 10 === 9) await sent;
  }
  await connection.close({ timeoutMs: dry ? 50 : 5_000 });
  await server.close();
  await listener.close();
  return lines.join("");
}

// Repeats the frames of a short trace.
function many(trace: string, count: number): string {
  const [head, ...lines] = trace.trimEnd().split("\n");
  const transfer = JSON.parse(lines.find((line) => line.includes('"kind":"transfer"'))!);
  const made = Array.from({ length: count }, (_, i) => {
    const { frame, ...data } = transfer.data;
    return JSON.stringify({
      ...transfer,
      time: 100 + i / 10,
      data: { ...data, frame: { ...frame, deliveryId: i, settled: true } },
    });
  });
  const at = lines.findIndex((line) => line.includes('"kind":"transfer"'));
  return [head, ...lines.slice(0, at), ...made, ...lines.filter((line) => line.includes('"kind":"close"'))].join("\n");
}

test("viewer: the file was built from its sources: npm run viewer", () => {
  const [built] = /<meta name="sources" content="\w+">/.exec(read("src/cli/viewer.html")) ?? [];
  assertEquals(built, `<meta name="sources" content="${sourcesHash()}">`);
});

testOnNode("viewer: a trace, and files that are dropped, in Chromium", () =>
  inChromium(async (folder) => {
    const trace = await record(60, true);
    const packed = gzipSync(trace);
    writeFileSync(join(folder, "trace.html"), await viewerWith(trace));
    writeFileSync(join(folder, "empty.html"), await viewerWith(""));
    writeFileSync(join(folder, "trace.jsonl.gz"), packed);
    writeFileSync(join(folder, "cut.jsonl.gz"), packed.subarray(0, packed.length - 200));
    return ["trace", "trace.html", "empty.html"];
  }));

/** A trace whose every text is an attack, with lines that belong to no trace. */
async function hostile(): Promise<string> {
  const harm = `</script><img src=x onerror="globalThis.harmed=1"><script>globalThis.harmed=1</script>`;
  const lines = (await record(3, true)).replaceAll('"orders"', () => JSON.stringify(`orders${harm}`)).split("\n");
  const event = (data: unknown, time: unknown = 1): string => JSON.stringify({ time, name: "amqp:frame_sent", data });
  return [
    ...lines.slice(0, 2),
    "null",
    "5",
    "[]",
    '"x"',
    "{}",
    harm,
    event(null),
    event({ connection: harm }),
    event({ frame: {} }),
    event({ frame: { kind: "open", containerId: { toString: 1 } } }),
    event({ event: { toString: 1 } }),
    event({ event: harm, [harm]: harm }),
    event({ connection: 2, channel: 7, frame: { kind: harm, error: harm } }, -1e300),
    event({ connection: 2, frame: { kind: "attach", name: harm, role: 5, handle: harm, source: 5 } }, 1e300),
    event({
      connection: 2,
      frame: { kind: "disposition", first: 0, last: 4_294_967_295, state: [harm] },
      payload: 1e15,
    }),
    event({ connection: 2, channel: 7, frame: { kind: harm, error: harm } }, -1e14),
    event({ connection: 2, frame: { kind: "attach", name: harm, role: 5, handle: harm, source: 5 } }, 1e14),
    ...lines.slice(2, -2),
    lines.at(-2)!.slice(0, -20),
  ].join("\n");
}

testOnNode("viewer: a hostile trace is text and nothing more, in Chromium", () =>
  inChromium(async (folder) => {
    writeFileSync(join(folder, "hostile.html"), await viewerWith(await hostile()));
    return ["hostile", "hostile.html"];
  }));

testOnNode("viewer: 100,000 frames, in Chromium", () =>
  inChromium(async (folder) => {
    writeFileSync(join(folder, "many.html"), await viewerWith(many(await record(60, true), 100_000)));
    return ["many", "many.html"];
  }));

testOnNode(
  "viewer: connections that share a lane are told apart, and long names stay in the panel, in Chromium",
  () =>
    inChromium(async (folder) => {
      const lines = (await record(3, false)).replaceAll('"orders"', () => `"orders/${"x".repeat(200)}"`).trim().split(
        "\n",
      );
      const ids = [1, 2, 3, 4, 5, 6];
      const crowd = ids.flatMap((id) =>
        lines.slice(1).map((line) => line.replace('"connection":1', `"connection":${id}`))
      );
      writeFileSync(join(folder, "crowd.html"), await viewerWith([lines[0], ...crowd].join("\n")));
      return ["crowd", "crowd.html"];
    }),
);

async function inChromium(make: (folder: string) => Promise<string[]>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-viewer-"));
  try {
    const [which, ...names] = await make(folder);
    const checks = fileURLToPath(new URL("./viewer_checks.ts", import.meta.url));
    const node = join(root, "node_modules/.bin/node");
    const args = [checks, which!, ...names.map((name) => join(folder, name))];
    const { status, err } = await watch(spawn(node, args, { cwd: root, stdio: ["pipe", "pipe", "pipe"] })).result;
    if (status === 77) return console.log("SKIPPED: there is no Chromium on this machine");
    assertEquals(status, 0, err);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("viewer: --view writes it with the trace in it, --from reads traces and captures", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-viewer-"));
  try {
    const path = join(folder, "trace.jsonl");
    writeFileSync(path, await record(3, false));
    const viewed = await run(["trace", "--from", path, "--view"]);
    assertEquals(viewed.status, 0, viewed.err);
    const url = /Viewer: (file:\S+)/.exec(viewed.err)![1]!;
    const page = readFileSync(fileURLToPath(url), "utf8");
    assert(page.includes('"title":"orders"'));
    assert(page.startsWith("<!DOCTYPE html>"));
    // Packed, and cut off in its last line.
    const cut = join(folder, "cut.jsonl.gz");
    writeFileSync(cut, gzipSync(readFileSync(path).subarray(0, -20)));
    const short = await run(["trace", "--from", cut]);
    assertEquals([short.status, short.out.includes("open(")], [0, true], short.err);
    assertEquals((await run(["trace", "--from", join(folder, "none")])).status, 2);
    const printed = await run(["trace", "--from", path]);
    assertStringIncludes(printed.out, "-> [0] open(");
    const hex = await run(["trace", "--from", "-", "--json"], { input: "414d5150 00010000\n00000008 02000000\n" });
    assertEquals(hex.out.trimEnd().split("\n").length, 2);
    assertEquals((await run(["trace", "--from", "-"], { input: "what is this\n" })).status, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("viewer: a trace of more lines than it takes says how many are left out", async () => {
  for (const [lines, dropped] of [[3, undefined], [5, "2 lines more are left out"]] as const) {
    const reports: string[] = [];
    const viewed = new ViewedLines(3);
    for (let i = 0; i < lines; i++) viewed.push(`{"line":${i}}\n`);
    await viewed.view({ report: (text) => void reports.push(text), env: { BROWSER: "" } });
    const page = fileURLToPath(reports[0]!.replace("Viewer: ", ""));
    assertEquals([readFileSync(page, "utf8").includes('{"line":2}\n'), reports.length], [true, dropped ? 2 : 1]);
    if (dropped !== undefined) assertStringIncludes(reports[1]!, `the first 3 lines, ${dropped}`);
    rmSync(dirname(page), { recursive: true });
  }
});

test("viewer: trace --listen --target writes the frames between a client and a broker", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-viewer-"));
  const broker = start(["broker", "-l", "0", "--json"]);
  const { port } = JSON.parse(await broker.line());
  const out = join(folder, "out.jsonl");
  const tracing = start(["trace", "-l", "0", "--target", `amqp://127.0.0.1:${port}`, "--out", out]);
  try {
    const url = /ws:\S+(?=,)/.exec(await tracing.line())![0];
    assertEquals((await run(["send", url, "orders", "x"])).status, 0);
    tracing.signal("SIGINT");
    assertEquals((await tracing.result).status, 0);
    const kinds = readFileSync(out, "utf8").trimEnd().split("\n").slice(1).map((line) => JSON.parse(line));
    const sent = kinds.filter(({ name, data }) => name === "amqp:frame_sent" && data.frame?.kind === "transfer");
    assertEquals(sent.map(({ data }) => data.link), ["orders"]);
  } finally {
    broker.signal("SIGINT");
    await broker.result;
    rmSync(folder, { recursive: true });
  }
});
