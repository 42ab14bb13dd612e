/**
 * Checks the published files: the list that goes to JSR, and the package that npm users get from there.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { startBroker } from "./broker_server.ts";
import { test, testOnNode } from "./harness.ts";
import { start } from "./program.ts";
import { install } from "./published.ts";
import { list, read } from "./source.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
// The program itself: the script in `.bin` needs Node where npm has not installed it.
const deno = join(root, list("node_modules/@deno", "/deno")[0]!);
const ALONE = ["CHANGELOG.md", "LICENSE", "README.md", "deno.json", "jsr.json", "mod.ts"];

for (const manifest of ["deno.json", "jsr.json"]) {
  test(`publish: with ${manifest} the module, its manifests and its texts go out, and nothing else`, () => {
    const args = ["publish", "--dry-run", "--allow-dirty", "--no-check", "--config", manifest];
    const { stdout, stderr, status } = spawnSync(deno, args, {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    const printed = `${stdout}${stderr}`;
    const files = [...printed.matchAll(/file:\/\/(\S+)/g)].map(([, path]) => path!.slice(root.length)).sort();
    assertEquals([status, files], [0, [...ALONE, ...list("src", ".ts"), ...list("src", ".html")].sort()], printed);
  });
}

const project = install({ declarations: true });

test("publish: each file tells its declarations by itself", () => {
  assertEquals(project.faults, []);
});

const PROGRAM = `
import { AmqpError, connect, type Connection, type Delivery, json, type Message, OutcomeError, plain, publish, uint } from "@webamqp/amqp";
import { acceptor } from "@webamqp/amqp/server";
import { Broker } from "@webamqp/amqp/broker";

export async function main(url: string, signal: AbortSignal | undefined): Promise<number> {
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  const connection: Connection = await connect(url, { auth: plain("user", "secret"), signal });
  const message: Message = { body: json({ a: 1 }), properties: { messageId: "1" }, applicationProperties: { n: uint(5) } };
  try {
    const outcome = await connection.sender("orders").send(message, { signal });
    if (outcome?.kind !== "accepted") return 1;
  } catch (error) {
    if (error instanceof OutcomeError || error instanceof AmqpError) return error.retryable ? 2 : 3;
  }
  for await (const delivery of connection.receiver({ address: "orders", credit: 5 })) {
    const taken: Delivery = delivery;
    const bytes: Uint8Array | undefined = taken.message.properties?.correlationId instanceof Uint8Array
      ? taken.message.properties.correlationId
      : undefined;
    if (bytes === undefined) break;
    for await (const part of taken.stream()) if (part.length > 5) break;
  }
  await publish(url, "orders", { body: new Uint8Array(3) });
  await connection.close();
  await broker.close();
  return typeof acceptor === "function" ? 0 : 4;
}
`;

const { exports: entries } = JSON.parse(read("deno.json")) as { exports: Record<string, string> };
// Every entry, so that no declarations depend on this package's own settings.
const ENTRIES = Object.keys(entries).map((path, i) => `export * as entry${i} from "@webamqp/amqp${path.slice(1)}";\n`);

// The libraries of a browser project as Vite makes one, and the one that README names.
const ES2022 = ["es2022", "dom", "dom.iterable", "dom.asynciterable", "esnext.disposable"].map((name) =>
  `lib.${name}.d.ts`
);

interface Settings {
  readonly moduleResolution: ts.ModuleResolutionKind;
  readonly module: ts.ModuleKind;
  readonly dom: boolean;
  readonly lib?: string[];
}

const SETTINGS: { readonly [name: string]: Settings } = {
  "bundler, ES2022 with the DOM": {
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    module: ts.ModuleKind.ESNext,
    dom: true,
    lib: ES2022,
  },
  "bundler, with the DOM": {
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    module: ts.ModuleKind.ESNext,
    dom: true,
  },
  "nodenext, with the DOM": {
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    module: ts.ModuleKind.NodeNext,
    dom: true,
  },
  "bundler, without the DOM": {
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    module: ts.ModuleKind.ESNext,
    dom: false,
  },
  "nodenext, without the DOM": {
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    module: ts.ModuleKind.NodeNext,
    dom: false,
  },
};

for (const [name, { dom, lib, ...resolution }] of Object.entries(SETTINGS)) {
  testOnNode(`publish: a strict program type-checks against the package: ${name}`, () => {
    const file = join(project.folder, "program.ts");
    writeFileSync(file, `${PROGRAM}${ENTRIES.join("")}`);
    const program = ts.createProgram([file], {
      ...resolution,
      target: ts.ScriptTarget.ESNext,
      lib: lib ?? ["lib.esnext.d.ts", ...dom ? ["lib.dom.d.ts", "lib.dom.asynciterable.d.ts"] : []],
      // Declares what browsers and runtimes share, such as AbortSignal.
      types: dom ? [] : ["node"],
      typeRoots: [join(root, "node_modules/@types")],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
    });
    const ours = ts.getPreEmitDiagnostics(program).filter(({ file }) => !file?.fileName.includes("@types/"));
    assertEquals(
      ours.map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`),
      [],
    );
  });
}

test("publish: a program runs with the package as it is installed", async () => {
  await using broker = await startBroker();
  const file = join(project.folder, "run.js");
  writeFileSync(
    file,
    `import { connect } from "@webamqp/amqp";
const connection = await connect(process.argv[2]);
await connection.sender("orders").send({ body: "one coffee" });
const delivery = await connection.receiver("orders").receive();
console.log(delivery.message.text());
delivery.accept();
await connection.close();
`,
  );
  const program = start(file, [broker.url]);
  assertEquals(await program.lines.next(), { value: "one coffee", done: false });
  assertEquals(await program.end(), 0);
});

test("publish: the command line runs from the package as it is installed, as the README says", async () => {
  await using broker = await startBroker();
  const [, line] = /&& node (node_modules\/@webamqp\/amqp\/\S+) receive/.exec(read("README.md"))!;
  const main = join(project.folder, line);
  const sending = start(main, ["send", broker.url, "orders", "one coffee"]);
  assertEquals(await sending.end(), 0);
  const receiving = start(main, ["receive", broker.url, "orders", "--count", "1"]);
  const { value } = await receiving.lines.next();
  assertEquals([String(value).includes("one coffee"), await receiving.end()], [true, 0]);
});

testOnNode(
  "publish: an option that may be left out takes undefined, as from process.env, whatever the compiler is told",
  () => {
    const refusing: string[] = [];
    for (const path of list("src", ".ts").filter((path) => !/^src\/(?:engine|cli|codec)\//.test(path))) {
      for (
        const [, name, body] of read(path).matchAll(
          /^export interface (\w+(?:Options|Settings))\b[^\n]*\{\n([^]*?)^\}/gm,
        )
      ) {
        for (const [, option, type] of body.matchAll(/^ {2}(?:readonly )?(\w+)\?: (.*);$/gm)) {
          if (!type.includes("undefined")) refusing.push(`${path}: ${name}.${option}`);
        }
      }
    }
    assertEquals(refusing, []);
  },
);
