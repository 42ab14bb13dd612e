import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { main } from "../examples/demo.ts";
import { Broker, type BrokerOptions } from "../src/broker/broker.ts";
import { connect } from "../src/client/connect.ts";
import type { Connection } from "../src/client/connection.ts";
import { random, seed, test } from "./harness.ts";
import { serve } from "./serve.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Runs the demo over a broker of the test's, with another client that may interfere. */
async function demo(
  contents: Uint8Array | string,
  meddle: (client: Connection, broker: Broker) => Promise<void> = () => Promise.resolve(),
  options: BrokerOptions = {},
): Promise<{ status: number; text: string; broker: Broker }> {
  const folder = mkdtempSync(join(tmpdir(), "demo-"));
  await using broker = new Broker(options);
  const server = await serve((channel) => void broker.accept(channel));
  try {
    const file = join(folder, "file");
    writeFileSync(file, contents);
    const client = await connect(server.url);
    await meddle(client, broker);
    const lines: string[] = [];
    const status = await main([file, "--url", server.url, "--wait", "1"], (line) => lines.push(line));
    await client.close({ timeoutMs: 0 });
    return { status, text: lines.join("\n"), broker };
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
}

function count(text: string): string[] {
  return [...text.matchAll(/^(?:SENT|RECEIVED) +(.*), all accepted$/gm)].map(([, numbers]) => numbers!);
}

const files: Record<string, [contents: Uint8Array | string, numbers: string]> = {
  "an empty file": ["", "0 messages, 0 bytes"],
  "one line without its end": ["hello", "1 message, 5 bytes"],
  "empty lines": ["\n\n\n", "3 messages, 3 bytes"],
  "lines that end as on Windows, the last not at all": ["a\r\nb\r\n\r\nc", "4 messages, 9 bytes"],
  "bytes that are no UTF-8": [Uint8Array.of(0xff, 0xfe, 0x0a, 0xc3, 0x28, 0x0a, 0, 0x80), "3 messages, 8 bytes"],
  "a line longer than a message": ["x".repeat(150_000) + "\ny\n", "4 messages, 150,003 bytes"],
  "lines as long as a message, to the byte": [
    ("x".repeat(65_535) + "\n").repeat(3) + "x".repeat(65_536),
    "4 messages, 262,144 bytes",
  ],
};
for (const [what, [contents, numbers]] of Object.entries(files)) {
  test(`demo: ${what} arrives byte for byte`, async () => {
    const { status, text } = await demo(contents);
    assertEquals([status, count(text)], [0, [numbers, numbers]], text);
    assertStringIncludes(text, "OK        in order, byte for byte the same");
  });
}

test("demo: random bytes arrive byte for byte, whatever lines they make", async () => {
  const contents = random(seed()).bytes(500_000);
  const { status, text } = await demo(contents);
  assertEquals(status, 0, text);
  for (const numbers of count(text)) assert(numbers.endsWith(" messages, 500,000 bytes"), text);
});

test("demo: a message that goes elsewhere is missed", async () => {
  const { status, text } = await demo("line\n".repeat(1_000), async (client) => {
    const thief = client.receiver("demo", { credit: "manual", settle: "manual" });
    thief.grant(1);
    await thief.ready();
    void thief.receive().then((delivery) => delivery.accept());
  });
  assertEquals(status, 1, text);
  assertMatch(text, /^FAILED {4}1 message lost or late, the first is message \d+$/m);
  assertEquals(count(text), ["1,000 messages, 5,000 bytes", "999 messages, 4,995 bytes"]);
});

test("demo: a message that comes late is noticed", async () => {
  const { status, text } = await demo("line\n".repeat(1_000), async (client) => {
    const slow = client.receiver("demo", { credit: 20, settle: "manual" });
    await slow.ready();
    void slow.receive().then(async (delivery) => {
      // The others have passed this point once so many have come here.
      for (let i = 0; i < 19; i++) (await slow.receive()).release();
      delivery.release();
    });
  });
  assertEquals(status, 1, text);
  assertMatch(text, /^FAILED {4}.*(out of order|late)/m);
});

test("demo: messages of somebody else are left where they are", async () => {
  const { status, text } = await demo("line\n", async (client) => {
    await client.sender("demo").send({ body: "not yours" });
  });
  assertEquals(status, 1, text);
  assertStringIncludes(text, 'FAILED  Queue "demo" holds messages of somebody else');
});

test("demo: what an earlier run has left does no harm", async () => {
  const { status, text } = await demo("line\n", async (client) => {
    await client.sender("demo").send({ applicationProperties: { "demo-run": "earlier" }, body: "old" });
  });
  assertEquals([status, count(text)], [0, ["1 message, 5 bytes", "1 message, 5 bytes"]], text);
});

test("demo: a broker that takes nothing, or refuses, ends it", async () => {
  const stuck = await demo("line\n".repeat(10), async (client, broker) => {
    await client.sender("demo").send({ applicationProperties: { "demo-run": "earlier" } });
    // A message that fills the queue.
    await client.receiver("demo", { credit: 1, settle: "manual" }).receive();
    assertEquals(broker.queue("demo")!.unsettled, 1);
  }, { queue: { maxMessages: 1 } });
  assertEquals(stuck.status, 1, stuck.text);
  assertStringIncludes(stuck.text, "FAILED  Nothing has moved for 1 s");
  const refused = await demo("line\n", undefined, { autoCreate: false });
  assertEquals(refused.status, 1);
  assertStringIncludes(refused.text, 'there is no "demo"');
});

test("demo: wrong arguments are told from failures, and secrets are not printed", async () => {
  const run = async (...args: string[]): Promise<[number, string]> => {
    const lines: string[] = [];
    return [await main(args, (line) => lines.push(line)), lines.join("\n")];
  };
  for (const args of [["a", "b"], ["--nonsense"], ["--wait", "soon"], ["--url", "nowhere"]]) {
    const [status, text] = await run(...args);
    assertEquals([status, text.startsWith("Usage:")], [2, true]);
  }
  const [status, text] = await run("README.md", "--url", "ws://user:hunter2@127.0.0.1:1/?token=hunter2");
  assertEquals([status, text.includes("hunter2")], [1, false], text);
});

test("demo: the embedded broker is there on every runtime", async () => {
  const lines: string[] = [];
  const status = await main([join(root, "LICENSE")], (line) => lines.push(line));
  assertEquals(status, 0, lines.join("\n"));
  assertMatch(lines[1]!, /^BROKER {4}embedded, ws:\/\/127\.0\.0\.1:\d+, queue "demo"$/);
});

test("demo: the task of the package exits with the result", async () => {
  for (const [args, expected] of [[[], 0], [["LICENSE"], 0], [["no such file"], 1]] as const) {
    const child = spawn(join(root, "node_modules/.bin/deno"), ["run", "--quiet", "-A", "examples/demo.ts", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => text += part);
    const [status] = await once(child, "close");
    assertEquals(status, expected, text);
    assertStringIncludes(text, expected === 0 ? "OK " : "FAILED ");
  }
});
