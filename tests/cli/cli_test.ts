/**
 * The command line from outside: a real program, its output, its exit codes, its end by a signal.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type AmqpError, condition, connect } from "../../mod.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { commands } from "../../src/cli/commands.ts";
import { linesOf } from "../../src/cli/terminal.ts";
import { jsonLines } from "../../src/trace/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test, testOnNode } from "../harness.ts";
import { keyPair } from "../pki.ts";
import { connectProxy, PROXY_USER } from "../transport/proxy/connect_proxy.ts";
import { commandLine, root, run, runProgram, start, watch } from "./run.ts";

interface Served {
  readonly broker: Broker;
  readonly url: string;
  [Symbol.asyncDispose](): Promise<void>;
}

async function serve(options: BrokerOptions = {}): Promise<Served> {
  const broker = new Broker(options);
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  return {
    broker,
    url: `ws://127.0.0.1:${listener.port}`,
    async [Symbol.asyncDispose]() {
      await broker.close();
      await listener.close();
    },
  };
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-test-"));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("cli: help of each command fits a screen, and so does that of all", async () => {
  for (const words of [["help"], ["help", "connection"], ...Object.keys(commands).map((name) => [name, "--help"])]) {
    const { status, out } = await run(words);
    assertEquals(status, 0, words.join(" "));
    const lines = out.trimEnd().split("\n");
    assert(lines.length <= 24, `${words.join(" ")} has ${lines.length} lines`);
    const long = lines.find((line) => line.length > 80);
    assertEquals(long, undefined, words.join(" "));
  }
});

test("cli: send and receive, by arguments, lines, JSON Lines and the environment", async () => {
  await using served = await serve();
  const env = { WEBAMQP_URL: served.url };
  const sent = await runProgram(["send", "orders", "one coffee", "two teas", "-s", "subject=drinks", "-p", "n=5"], {
    env,
  });
  assertEquals([sent.status, sent.out], [0, ""]);
  assertMatch(sent.err, /^2 messages sent: 2 accepted \(/);
  const first = await runProgram(["receive", "orders", "-n", "1", "--json"], { env });
  assertEquals([first.status, JSON.parse(first.out)], [0, {
    properties: { subject: "drinks" },
    applicationProperties: { n: 5 },
    body: "one coffee",
  }]);
  assertEquals((await run(["receive", served.url, "orders", "-n", "1"])).out, "two teas\n");

  await run(["send", served.url, "lines"], { input: "a\nb\n" });
  assertEquals((await run(["drain", served.url, "lines", "--print"])).out, "a\nb\n");

  const line = {
    header: { durable: true },
    properties: { messageId: { $ulong: "7" } },
    body: { list: [1, "x", null] },
  };
  const json = await run(["send", served.url, "json", "--json-lines", "-", "--json"], {
    input: `${JSON.stringify(line)}\n`,
  });
  assertEquals({ ...JSON.parse(json.out), seconds: 0 }, { sent: 1, accepted: 1, seconds: 0 });
  const back = await run(["receive", served.url, "json", "-n", "1", "--json"]);
  assertEquals(JSON.parse(back.out), line);
});

test("cli: a file goes as one message and comes back byte for byte", async () => {
  await using served = await serve();
  await withFolder(async (folder) => {
    const path = join(folder, "body");
    writeFileSync(path, Uint8Array.from({ length: 100_000 }, (_, i) => i * 31));
    assertEquals((await run(["send", served.url, "files", "--file", path])).status, 0);
    const browsed = await run(["browse", served.url, "files", "--json"]);
    const { data } = JSON.parse(browsed.out);
    assertEquals(data, readFileSync(path).toString("base64"));
    assertEquals(served.broker.queue("files")!.messages, 1);
    const again = await run(["send", served.url, "again", "--json-lines", "-"], { input: browsed.out });
    assertEquals(again.status, 0, again.err);
    assertEquals(JSON.parse((await run(["browse", served.url, "again", "--json"])).out).data, data);
  });
});

test("cli: made-up messages by count and size, each with its outcome", async () => {
  await using served = await serve({ queue: { maxMessages: 100_000 } });
  const { status, out } = await run(["send", served.url, "many", "-n", "3000", "--size", "50", "--json"]);
  assertEquals([status, JSON.parse(out).accepted], [0, 3_000]);
  assertEquals(served.broker.queue("many")!.messages, 3_000);
  const drained = await run(["drain", served.url, "many", "-n", "1000"]);
  assertStringIncludes(drained.err, "1,000 messages removed");
  assertEquals((await run(["drain", served.url, "many", "-n", "500", "--json"])).out, '{"removed":500}\n');
  assertEquals(served.broker.queue("many")!.messages, 1_500);
});

test("cli: receive takes no more than it was asked for", async () => {
  await using served = await serve({ queue: { maxDeliveries: 1, deadLetter: "dead" } });
  await run(["send", served.url, "few", "1", "2", "3"]);
  assertEquals((await run(["receive", served.url, "few", "-n", "2"])).out, "1\n2\n");
  assertEquals([served.broker.queue("few")!.messages, served.broker.queue("dead")?.messages ?? 0], [1, 0]);
});

test("cli: request and respond, with a text, a command, and nobody", async () => {
  await using served = await serve();
  const text = start(["respond", served.url, "time", "noon", "-n", "1"]);
  assertEquals((await run(["request", served.url, "time", "now"])).out, "noon\n");
  assertEquals((await text.result).status, 0);
  const command = start(["respond", served.url, "shout", "--exec", "tr a-z A-Z", "-n", "1", "--json"]);
  assertEquals((await run(["request", served.url, "shout", "one coffee"])).out, "ONE COFFEE\n");
  assertEquals((await command.result).out, '{"answered":1}\n');
  const nobody = await runProgram(["request", served.url, "nobody", "now", "-t", "0.3"]);
  assertEquals([nobody.status, nobody.err], [3, 'webamqp: no answer from "nobody" in 0.3 s\n']);
});

test("cli: exit codes and errors say what to do", async () => {
  await using served = await serve({ sasl: { users: { user: "hunter2" } }, queues: { orders: {} }, autoCreate: false });
  const url = served.url.replace("//", "//user:hunter2@");
  const cases: [words: string[], status: number, text: string][] = [
    [[], 2, ""],
    [["sned"], 2, 'no command "sned"'],
    [["send"], 2, "ADDRESS is missing"],
    [["send", "orders", "x"], 2, "URL is missing"],
    [["send", url, "orders", "--nonsense"], 2, "--nonsense"],
    [["send", url, "orders", "x", "--file", "y"], 2, "messages come from one of"],
    [["send", url, "orders", "x", "-s", "sbject=1"], 2, "is not one of durable"],
    [["send", url, "orders", "x", "-n", "some"], 2, '--count "some" is not a whole number'],
    [["send", "sb://example", "orders", "x"], 2, "azure"],
    [["send", url, "nowhere", "x"], 1, "nowhere"],
    [["send", url.replace("hunter2", "guess"), "orders", "x"], 1, "auth"],
    [["send", "ws://user:hunter2@127.0.0.1:1", "orders", "x"], 1, "127.0.0.1:1"],
    [["receive", url, "orders", "-n", "1", "-t", "0.2"], 3, ""],
  ];
  for (const [words, status, text] of cases) {
    const result = await run(words);
    assertEquals(result.status, status, `${words.join(" ")}: ${result.err}`);
    assertStringIncludes(result.err, text);
    assertEquals(result.err.includes("hunter2"), false, result.err);
  }
});

test("cli: what is not accepted makes it fail, and --keep-going counts on", async () => {
  await using served = await serve({ maxMessageSize: 1_000, durable: "reject" });
  const result = await run([
    "send",
    served.url,
    "orders",
    "x",
    "-n",
    "3",
    "-s",
    "durable=true",
    "--keep-going",
    "--json",
  ]);
  assertEquals([result.status, JSON.parse(result.out).rejected], [1, 3]);
});

test("cli: what is sent settled has no outcome, and is not told as one", async () => {
  await using served = await serve();
  const { status, out } = await run(["send", served.url, "orders", "-n", "3", "--settled", "--json"]);
  const { sent, settled, accepted } = JSON.parse(out);
  assertEquals([status, sent, settled, accepted], [0, 3, 3, undefined]);
});

test("cli: Ctrl-C closes in order", async () => {
  await using served = await serve();
  const receiving = start(["receive", served.url, "orders"]);
  await run(["send", served.url, "orders", "x"]);
  assertEquals(await receiving.line(), "x");
  const [connection] = served.broker.connections;
  receiving.signal("SIGINT");
  assertEquals((await receiving.result).status, 0);
  await connection!.closed;
  assertEquals(connection!.error, undefined);
  const sending = start(["send", served.url, "orders", "-n", "100000000", "--json"]);
  const deadline = Date.now() + 15_000;
  while (served.broker.messages < 100 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  sending.signal("SIGINT");
  const { status, out } = await sending.result;
  assertEquals(status, 130);
  assert(JSON.parse(out).accepted > 0);
});

test("cli: a reader that has enough ends it", async () => {
  await using served = await serve();
  await run(["send", served.url, "orders", "-n", "5000", "--size", "1000"]);
  const { status } = await watch(
    spawn("sh", ["-c", `${quoted(commandLine(["browse", served.url, "orders"]))} | head -n 1`], {
      cwd: root,
      stdio: ["pipe", "pipe", "pipe"],
    }),
  ).result;
  assertEquals(status, 0);
});

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
}

test("cli: broker with users and queues, told by the line it prints, ended by a signal", async () => {
  const broker = start(["broker", "--listen", "0", "--user", "shop:secret", "--queue", "orders", "--json"]);
  const { port } = JSON.parse(await broker.line());
  const url = `ws://shop:secret@127.0.0.1:${port}`;
  await using connection = await connect(url, { reconnect: false });
  await connection.sender("orders").send({ body: "x" });
  const refused = await run(["send", url, "other", "x"]);
  assertEquals(refused.status, 1);
  broker.signal("SIGTERM");
  assertEquals((await broker.result).status, 0);
  await connection.closed;
  assertEquals((connection.error as AmqpError).condition, condition.connectionForced);
});

test("cli: a connection that is lost ends it, with --reconnect it goes on", async () => {
  const served = await serve();
  for (const queue of ["a", "b"]) await run(["send", served.url, queue, "x"]);
  const receiving = start(["receive", served.url, "a"]);
  const patient = start(["receive", served.url, "b", "--reconnect"]);
  await Promise.all([receiving.line(), patient.line()]);
  await served[Symbol.asyncDispose]();
  const { status, err } = await receiving.result;
  assertEquals(status, 1);
  assertMatch(err, /webamqp: /);
  patient.signal("SIGINT");
  assertEquals((await patient.result).status, 0);
});

test("cli: gateway joins a WebSocket and TCP", async () => {
  await using served = await serve();
  const gateway = start(["gateway", served.url.replace("ws:", "amqp:"), "--listen", "127.0.0.1:0", "--json"]);
  const { port } = JSON.parse(await gateway.line());
  const sent = await run(["send", `ws://127.0.0.1:${port}`, "orders", "x"]);
  assertEquals(sent.status, 0, sent.err);
  gateway.signal("SIGINT");
  assertEquals((await gateway.result).status, 0);
  assertEquals(served.broker.queue("orders")!.messages, 1);
});

type Failures = readonly [target: string, step: string, advice: RegExp][];

async function assertFailures(failures: Failures): Promise<void> {
  await Promise.all(failures.map(async ([target, step, advice]) => {
    const { status, out } = await run(["doctor", ...target.split(" "), "--json", "-t", "5"]);
    const last = JSON.parse(out.trimEnd().split("\n").at(-1)!);
    assertEquals([status, last.step, last.ok], [1, step, false], out);
    assertMatch(last.advice, advice);
    assertEquals(out.includes("guess"), false);
  }));
}

function portOf(server: { address(): unknown }): number {
  return (server.address() as AddressInfo).port;
}

test("cli: doctor tells each step, and the one that fails with what to do", async () => {
  await using served = await serve({ sasl: { users: { user: "secret" } } });
  const url = served.url.replace("//", "//user:secret@");
  const well = await run(["doctor", url, "orders", "--json"]);
  const steps = well.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(steps.map(({ step, ok }) => [step, ok]), [
    ["dns", true],
    ["tcp", true],
    ["upgrade", true],
    ["sasl", true],
    ["sender", true],
    ["receiver", true],
  ]);
  assertEquals(well.status, 0);
  const failures: [url: string, step: string, advice: RegExp][] = [
    ["ws://127.0.0.1:1", "tcp", /Nothing listens/],
    [url.replace("ws:", "wss:"), "tls", /Does port/],
    [url.replace("secret", "guess"), "sasl", /password/],
    ["ws://nowhere.invalid", "dns", /spelling/],
  ];
  await using proxy = await connectProxy({ auth: "basic" });
  const { cert, key } = keyPair("server");
  const secured = await listen({ host: "127.0.0.1", port: 0, acceptor: served.broker, tls: { cert, key } });
  const misled = createServer((_, response) => response.writeHead(404).end())
    .on("upgrade", (_, socket) => socket.resume().end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
  const other = createTcpServer((socket) => socket.on("error", () => {}).resume().end("AMQP\0\0\x09\x01"));
  for (const server of [misled, other]) await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  failures.push(
    [`wss://127.0.0.1:${secured.port}`, "tls", /--ca/],
    [`ws://127.0.0.1:${portOf(misled)}/x`, "upgrade", /path/],
    [`amqp://127.0.0.1:${portOf(other)}`, "sasl", /another AMQP/],
    [served.url, "sasl", /--user/],
    [`${served.url} --proxy ${proxy.url.replace("//", "//puser:guess@")}`, "upgrade", /--proxy-basic/],
  );
  await assertFailures(failures);
  const through = proxy.url.replace("//", `//${PROXY_USER.username}:${encodeURIComponent(PROXY_USER.password)}@`);
  assertEquals((await run(["doctor", url, "--proxy", through, "--proxy-basic"])).status, 0);
  await secured.close();
  for (const server of [misled, other]) await new Promise((done) => server.close(done));
});

test("cli: doctor tells what to do where something else answers than a broker", async () => {
  const says = (text: string) => createTcpServer((socket) => socket.on("error", () => {}).resume().end(text));
  const moved = says("HTTP/1.1 302 Found\r\nlocation: /amqp\r\ncontent-length: 0\r\n\r\n");
  const broken = says("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
  const closing = says("");
  const servers = [moved, broken, closing];
  for (const server of servers) await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  await assertFailures([
    [`ws://127.0.0.1:${portOf(moved)}/x`, "upgrade", /elsewhere: try the URL/],
    [`ws://127.0.0.1:${portOf(broken)}/x`, "upgrade", /cannot serve now/],
    [`amqp://127.0.0.1:${portOf(broken)}`, "sasl", /try ws:/],
    [`amqp://127.0.0.1:${portOf(closing)}`, "sasl", /try amqps:/],
    ["ws://127.0.0.1:2 --proxy http://127.0.0.1:1", "tcp", /No proxy listens/],
    [`ws://127.0.0.1:2 --proxy http://127.0.0.1:${portOf(closing)}`, "upgrade", /opens no tunnel/],
  ]);
  for (const server of servers) await new Promise((done) => server.close(done));
});

test("cli: doctor takes a proxy at an IPv6 address as one, and tells no password of a proxy's URL", async () => {
  const { out } = await run(["doctor", "amqp://127.0.0.1:1", "--proxy", "socks5://[::1]:1", "--json", "-t", "5"]);
  const { step, ok, found } = JSON.parse(out.split("\n")[0]!);
  assertEquals([step, ok, found], ["dns", true, "is an address"], out);
  const bad = await run(["doctor", "amqp://127.0.0.1:1", "--proxy", "socks5://user:s3cret@ho st:1080"]);
  assertMatch(bad.out + bad.err, /Cannot use proxy: url cannot be parsed/);
  assertEquals((bad.out + bad.err).includes("s3cret"), false);
});

test("cli: bench measures the embedded broker", async () => {
  const { status, out } = await run(["bench", "-n", "500", "--size", "10", "--json"]);
  const result = JSON.parse(out);
  assertEquals([status, result.messages, result.size], [0, 500, 10]);
  assert(result.messagesPerSecond > 0 && result.latencyMs.p50 <= result.latencyMs.p99);
});

test("cli: completion of bash completes commands and flags; all shells parse theirs", async () => {
  const { out } = await run(["completion", "bash"]);
  const complete = (line: string): string => {
    const words = line.split(" ");
    const script =
      `${out}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; ` +
      `_webamqp; echo "\${COMPREPLY[*]}"`;
    return spawnSync("bash", ["-c", script], { encoding: "utf8" }).stdout.trim();
  };
  assertEquals(complete("webamqp bro"), "browse broker");
  assertEquals(complete("webamqp send --keep"), "--keep-going");
  for (const shell of ["zsh", "fish"]) assertStringIncludes((await run(["completion", shell])).out, "keep-going");
  assertEquals((await run(["completion", "tcsh"])).status, 2);
});

testOnNode("cli: one binary by `bun build --compile`", async () => {
  await withFolder(async (folder) => {
    const binary = join(folder, "webamqp");
    const bun = join(root, "node_modules/.bin/bun");
    const built = await watch(
      spawn(bun, ["build", "--compile", "src/cli/main.ts", "--outfile", binary], {
        cwd: root,
        stdio: ["pipe", "pipe", "pipe"],
      }),
    ).result;
    assertEquals(built.status, 0, built.err);
    await using served = await serve();
    const child = spawn(binary, ["send", served.url, "orders", "x", "--json"], {
      cwd: folder,
      env: { ...process.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { status, out } = await watch(child).result;
    assertEquals([status, JSON.parse(out).accepted], [0, 1]);
    // The output includes the viewer.
    const trace = join(folder, "trace.jsonl");
    const jsonl: string[] = [];
    jsonLines((line) => jsonl.push(line))({ direction: "out", channel: 0, body: { kind: "close" }, payloadBytes: 0 });
    writeFileSync(trace, jsonl.join(""));
    const viewing = spawn(binary, ["trace", "--from", trace, "--view"], {
      cwd: folder,
      env: { ...process.env, BROWSER: "", TMPDIR: folder },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const viewed = await watch(viewing).result;
    assertEquals(viewed.status, 0, viewed.err);
    const page = readFileSync(fileURLToPath(/Viewer: (.*)/.exec(viewed.err)![1]!), "utf8");
    assertEquals([page.includes('"kind":"close"'), page.includes("<title>")], [true, true]);
  });
});

test("cli: lines of the input are the same however it comes in pieces", async () => {
  const text = "one\r\n\nthree \u20ac\n\rfour\r\n\n\nlast";
  const bytes = new TextEncoder().encode(text);
  for (const ending of ["", "\n"]) {
    const input = new Uint8Array([...bytes, ...new TextEncoder().encode(ending)]);
    for (let size = 1; size <= input.length; size++) {
      const pieces = async function* (): AsyncGenerator<Uint8Array, void, void> {
        for (let at = 0; at < input.length; at += size) yield await Promise.resolve(input.subarray(at, at + size));
      };
      const lines = await Array.fromAsync(linesOf(pieces()));
      assertEquals(lines, ["one", "", "three \u20ac", "\rfour", "", "", "last"], `${size} bytes`);
    }
  }
});
