/**
 * What people type who do not know the command line yet, and the errors that they get.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AmqpError } from "../../mod.ts";
import type { SaslMechanism } from "../../src/sasl/mechanism.ts";
import { Broker } from "../../src/broker/broker.ts";
import { parse } from "../../src/cli/arguments.ts";
import { commands } from "../../src/cli/commands.ts";
import { connectOptions, isClearOnly } from "../../src/cli/connecting.ts";
import { addressed, type Context } from "../../src/cli/context.ts";
import { UsageError } from "../../src/cli/terminal.ts";
import { type Channel, ScriptedPeer } from "../../src/testing/mod.ts";
import { TRACE_SCHEMA } from "../../src/trace/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";
import { commandLine, root, run, start, watch } from "./run.ts";

/** The error for a command line; undefined if it parses. */
async function mistake(line: string, env: Record<string, string> = {}): Promise<string | undefined> {
  const [name, ...words] = line.split(" ");
  try {
    const context = parse(commands[name!]!, words, env) as unknown as Context;
    if (commands[name!]!.args.includes(" ADDRESS")) {
      const { url } = addressed(context);
      await connectOptions(context.flags, url);
    }
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

test("cli: what was meant is told of words too many, flags misspelt, and values and URLs that are missing", async () => {
  const url = "amqp://localhost";
  const cases: [line: string, told: string | undefined][] = [
    [`send ${url} orders one two three`, undefined],
    [`receive ${url} orders two`, 'there is an argument too many: "two"'],
    ["receive orders two --url amqp://localhost", 'there is an argument too many: "two"'],
    ["receive orders two", "URL is missing: as the first argument, --url or WEBAMQP_URL"],
    [`request ${url} time what is it`, 'there is an argument too many: "is"; a text with blanks needs quotes'],
    ["broker 5672", 'there is an argument too many: "5672"'],
    ["completion bash zsh", 'there is an argument too many: "zsh"'],
    [`bench ${url} a b`, 'there is an argument too many: "b"'],
    [`send ${url} orders --cuont 5`, "Unknown option '--cuont', did you mean \"--count\"?"],
    [`send ${url} orders --jsno`, "Unknown option '--jsno', did you mean \"--json\"?"],
    [`send ${url} orders --ttl 5`, "Unknown option '--ttl', write --set ttl=VALUE"],
    [`send ${url} orders --message-id 5`, "Unknown option '--message-id', write --set message-id=VALUE"],
    [`receive ${url} orders --max 5`, "Unknown option '--max'"],
    [`send ${url} orders --count`, '--count has no value; one that begins with "-" is written --count=-VALUE'],
    [`send ${url} orders -n -5`, '--count has no value; one that begins with "-" is written --count=-VALUE'],
    [
      "send localhost:5672 orders x",
      '"localhost:5672" is no URL: write "amqp://localhost:5672" or "ws://localhost:5672"',
    ],
    [
      "receive broker.example orders",
      '"broker.example" is no URL: write "amqp://broker.example" or "ws://broker.example"',
    ],
    ["receive orders", "URL is missing: as the first argument, --url or WEBAMQP_URL"],
    [`receive ${url}`, "ADDRESS is missing"],
    [
      `receive amqp://shop@localhost orders`,
      'password of "shop" is missing: in the URL, --password or WEBAMQP_PASSWORD',
    ],
    [`receive ${url} orders --user shop`, 'password of "shop" is missing: in the URL, --password or WEBAMQP_PASSWORD'],
    [`receive ${url} orders --password x`, "user name is missing: in the URL, --user or WEBAMQP_USER"],
    [`receive ${url} orders --mechanism scram-sha-256`, "user name is missing: in the URL, --user or WEBAMQP_USER"],
    [
      `receive ${url} orders --mechanism digest-md5`,
      '--mechanism "digest-md5" is none of anonymous, external, none, plain, scram-sha-1, scram-sha-256, scram-sha-512, ' +
      "bearer, oauthbearer, xoauth2",
    ],
    [`receive ${url} orders --ca /nowhere/ca.pem`, '--ca "/nowhere/ca.pem" cannot be read: ENOENT'],
  ];
  for (const [line, told] of cases) assertEquals(await mistake(line), told, line);
});

test("cli: files that cannot be read are told before anything is sent", async () => {
  for (const flag of ["--file", "--lines", "--json-lines"]) {
    for (const [path, code] of [["/nowhere/file", "ENOENT"], [tmpdir(), "EISDIR"]]) {
      const { status, out, err } = await run(["send", "amqp://127.0.0.1:1", "orders", flag, path!]);
      assertEquals([status, out, err], [
        2,
        "",
        `webamqp: ${flag} "${path}" cannot be read: ${code}\nSee webamqp send --help\n`,
      ]);
    }
  }
  const { status, err } = await run(["send", "amqp://127.0.0.1:1", "orders", "x", "--trace", "/nowhere/trace"]);
  assertEquals([status, err.split("\n")[0]], [2, 'webamqp: --trace "/nowhere/trace" cannot be written: ENOENT']);
});

test("cli: credentials come from the URL, flags and the environment together, by the strongest mechanism", async () => {
  const heard: string[] = [];
  const broker = new Broker({
    sasl: { users: { shop: "p/q@r" } },
    trace: ({ body }) => void (body?.kind === "saslInit" && heard.push(body.mechanism)),
  });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const place = `127.0.0.1:${listener.port}`;
  const env = { WEBAMQP_PASSWORD: "p/q@r" };
  const ways: [words: string[], env?: Record<string, string>][] = [
    [[`amqp://shop:p%2Fq%40r@${place}`, "orders", "x"]],
    [[`amqp://shop@${place}`, "orders", "x"], env],
    [[`ws://${place}`, "orders", "x", "--user", "shop"], env],
    [["orders", "x"], { ...env, WEBAMQP_URL: `ws://${place}`, WEBAMQP_USER: "shop" }],
    [[`ws://shop@${place}`, "orders", "x", "--mechanism", "PLAIN"], env],
    [[`ws://shop@${place}`, "orders", "x", "--mechanism", "scram-sha-256"], env],
  ];
  for (const [words, env] of ways) {
    const { status, err } = await run(["send", ...words], { env });
    assertEquals(status, 0, err);
  }
  await broker.close();
  await listener.close();
  assertEquals(heard, [...Array(4).fill("SCRAM-SHA-512"), "PLAIN", "SCRAM-SHA-256"]);
});

test("cli: a message that cannot be sent is told with its line, once", async () => {
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const words = ["send", `amqp://127.0.0.1:${listener.port}`, "orders", "--json-lines", "-"];
  const bad = '{"body":1,"properties":{"subject":5}}';
  const first = await run(words, { input: `{"body":1}\n${bad}\nnot JSON\n` });
  assertEquals([first.status, first.err.match(/line \d/g)], [2, ["line 2"]], first.err);
  const second = await run(words, { input: '{"body":1}\nnot JSON\n' });
  assertEquals([second.status, second.err.match(/line \d/g)], [2, ["line 2"]], second.err);
  assertMatch(second.err, /1 message sent: 1 accepted/);
  await broker.close();
  await listener.close();
});

test("cli: a message that cannot be sent ends the command, though its input stays open", async () => {
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const [program, ...words] = commandLine(["send", `amqp://127.0.0.1:${listener.port}`, "orders", "--json-lines", "-"]);
  const child = spawn(program, words, { cwd: root, stdio: ["pipe", "ignore", "ignore"] });
  const ended = new Promise((resolve) => child.on("close", (...how) => resolve(how)));
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  child.stdin.write('{"body":1,"properties":{"subject":5}}\n');
  const how = await ended;
  clearTimeout(late);
  child.stdin.destroy();
  await broker.close();
  await listener.close();
  assertEquals(how, [2, null]);
});

test("cli: when time is up it is told what is missing", async () => {
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const url = `amqp://127.0.0.1:${listener.port}`;
  const received = await run(["receive", url, "orders", "-n", "5", "-t", "0.2"]);
  assertEquals([received.status, received.err], [3, "webamqp: time is up, 0 of 5 messages came\n"]);
  const benched = await run(["bench", url, "topic/nobody", "-n", "5000000", "-t", "0.001"]);
  assertEquals(benched.status, 3, benched.err);
  assertMatch(benched.err, /webamqp: time is up, [\d,]+ of 5,000,000 messages came/);
  await broker.close();
  await listener.close();
});

test("cli: a broker that leaves a drain without an answer is told when time is up", async () => {
  const accept = (channel: Channel): void => {
    const peer = new ScriptedPeer({ over: channel, ignore: ["empty", "flow", "end"] });
    peer.expectOpening();
    peer.expect("begin").respond();
    peer.expect("attach").respond();
    peer.expect("detach").respond();
    peer.expectClosing();
  };
  const listener = await listen({ host: "127.0.0.1", port: 0, accept });
  for (const [command, what] of [["drain", "removed"], ["browse", "seen"]] as const) {
    const { status, err } = await run([command, `amqp://127.0.0.1:${listener.port}`, "orders", "-t", "0.2"]);
    assertEquals([status, err], [
      3,
      `webamqp: time is up, the broker has not told whether that is all\n0 messages ${what}\n`,
    ]);
  }
  await listener.close();
});

test("cli: a trace may be anybody's: lines of other things are counted, and none writes to the terminal", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-test-"));
  const path = join(folder, "trace.jsonl");
  const lines = [
    { file_schema: TRACE_SCHEMA },
    5,
    null,
    { time: 1, name: "transport:event", data: null },
    { time: "1", name: "transport:event", data: {} },
    { time: 1, name: "transport:event", data: { connection: 1, event: "a\u001b[31m", reason: "b\n0.1 2 --\u009b" } },
    {
      time: 2,
      name: "amqp:frame_sent",
      data: { connection: 1, frame: { kind: "\u001b[2J" }, faults: [null, { text: "\n" }] },
    },
    { time: 2, name: "amqp:frame_sent", data: { connection: 1, faults: 5 } },
  ];
  writeFileSync(path, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n{"time":`);
  const { status, out, err } = await run(["trace", "--from", path]);
  assertEquals([status, err], [0, "webamqp: 5 lines of the trace cannot be read\n2 frames\n"]);
  assertEquals([out.split("\n").length, /(?!\n)\p{Control}/u.test(out)], [6, false], out);
  const other = await run(["trace", "--from", join(folder, "..")]);
  assertStringIncludes(other.err, "EISDIR");
  rmSync(folder, { recursive: true });
});

test("cli: whatever connects writes the trace that it is asked for", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-test-"));
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const url = `amqp://127.0.0.1:${listener.port}`;
  const path = join(folder, "trace.jsonl");
  const opens = (): number[] =>
    readFileSync(path, "utf8").split("\n").slice(1, -1).map((line) => JSON.parse(line).data)
      .filter(({ frame }) => frame?.kind === "open").map(({ connection }) => connection);
  const cases: [words: string[], opens: number[]][] = [
    [["send", url, "orders", "one"], [1, 1]],
    [["receive", url, "orders", "-n", "1"], [1, 1]],
    [["bench", url, "-n", "10"], [1, 1, 2, 2]],
    [["doctor", url, "orders"], [1, 1]],
  ];
  for (const [words, expected] of cases) {
    const { status, err } = await run([...words, "--trace", path]);
    assertEquals([status, opens().sort()], [0, expected], `${words[0]} ${err}`);
  }
  await broker.close();
  await listener.close();
  rmSync(folder, { recursive: true });
});

test("cli: a trace that its disk has no room for is told with its file, and disturbs nothing", async () => {
  // `/dev/full` is a file that is always full; only Linux has it.
  if (!existsSync("/dev/full")) return;
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const { status, err } = await run([
    "send",
    `amqp://127.0.0.1:${listener.port}`,
    "orders",
    "x",
    "--trace",
    "/dev/full",
  ]);
  await broker.close();
  await listener.close();
  assertEquals(status, 0, err);
  assertMatch(err, /^webamqp: Cannot write trace to "\/dev\/full": .*[Nn]o space left on device/);
});

test("cli: the trace of a gateway is one of the client", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-test-"));
  const path = join(folder, "trace.jsonl");
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const words = ["gateway", `amqp://127.0.0.1:${listener.port}`, "-l", "0", "--json", "--trace", path];
  const gateway = start(words);
  const { port } = JSON.parse(await gateway.line());
  assertEquals((await run(["send", `ws://127.0.0.1:${port}`, "orders", "x"])).status, 0);
  gateway.signal("SIGINT");
  assertEquals((await gateway.result).status, 0);
  await broker.close();
  await listener.close();
  const frames = readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const transfers = frames.filter(({ data }) => data?.frame?.kind === "transfer").map(({ name }) => name);
  assertEquals(transfers, ["amqp:frame_sent"]);
  rmSync(folder, { recursive: true });
});

test("cli: the version, and the name of a command that was misspelt", async () => {
  for (const word of ["version", "--version", "-V"]) assertMatch((await run([word])).out, /^webamqp \d+\.\d+\.\d+\n$/);
  for (const [word, meant] of [["recieve", "receive"], ["snd", "send"], ["brows", "browse"], ["doc", "doctor"]]) {
    const { status, err } = await run([word!]);
    assertEquals([status, err.split("\n")[0]], [2, `webamqp: there is no command "${word}", did you mean "${meant}"?`]);
  }
});

test("cli: a trace ends when its reader has seen enough, and says where it cannot be written", async () => {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-test-"));
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const words = commandLine(["trace", `amqp://127.0.0.1:${listener.port}`, "-l", "0"]);
  const piped = `${words.map((word) => `'${word}'`).join(" ")} | { read -r line; echo "$line"; }`;
  const tracing = watch(spawn("sh", ["-c", piped], { cwd: root, stdio: ["pipe", "pipe", "pipe"] }));
  const { 1: url } = /(ws:\S+),/.exec(await tracing.line())!;
  // Whether further connections are accepted depends on what has been written so far.
  for (let status: unknown = 0; status === 0;) status = (await run(["send", url!, "orders", "x"])).status;
  const { status, err } = await tracing.result;
  assertEquals([status, err.includes("callback")], [0, false], err);
  await broker.close();
  await listener.close();
  writeFileSync(join(folder, "hex"), "414d5150 00010000\n");
  const nowhere = await run(["trace", "--from", join(folder, "hex"), "--out", "/nowhere/trace"]);
  assertEquals([nowhere.status, nowhere.err.split("\n")[0]], [
    2,
    'webamqp: --out "/nowhere/trace" cannot be written: ENOENT',
  ]);
  rmSync(folder, { recursive: true });
});

test("cli: a password goes in clear to another host only where --cleartext says so", async () => {
  const hidden = async (line: string): Promise<(string | undefined)[]> => {
    const { flags } = parse(commands.send!, line.split(" "), {});
    const { auth } = await connectOptions(flags, "amqp://shop:secret@broker.example");
    return [auth].flat().map((mechanism) => {
      const { name, needsPrivacy } = mechanism as SaslMechanism;
      return needsPrivacy ? name : undefined;
    });
  };
  assertEquals((await hidden("orders")).at(-1), "PLAIN");
  assertEquals((await hidden("orders --cleartext")).at(-1), undefined);
  assertEquals(await hidden("orders --mechanism plain"), ["PLAIN"]);
  assertEquals(await hidden("orders --mechanism plain --cleartext"), [undefined]);
  const refused = (offers: string): AmqpError =>
    new AmqpError(
      "amqp:not-allowed",
      `Cannot authenticate with SCRAM-SHA-512, SCRAM-SHA-256: server offers "${offers}" (h:5672)`,
    );
  assertEquals(
    ["PLAIN", "ANONYMOUS, PLAIN", "EXTERNAL", "SCRAM-SHA-1, PLAIN"].map((offers) => isClearOnly(refused(offers))),
    [
      true,
      true,
      false,
      false,
    ],
  );
  assertEquals(isClearOnly(new Error("PLAIN")), false);
});
