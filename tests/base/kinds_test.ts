import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import { isBytes, isDate, isMap, isPromise } from "../../src/base/kinds.ts";
import { Broker } from "../../src/broker/broker.ts";
import { data, decodeMessage, encodeMessage, type Message, timestamp } from "../../mod.ts";
import { bundle } from "../bundle.ts";
import { test, testOnNode } from "../harness.ts";
import { listen } from "../../src/transport/sockets.ts";

// Values as an iframe, a context of node:vm or jsdom has them: of classes that are not this realm's.
function foreign(expression: string): never {
  return runInNewContext(expression) as never;
}

const wholeBundle = bundle(`
  export * from "./mod.ts";
  export { channelPair } from "./src/transport/pair.ts";
  export { scram } from "./src/sasl/mod.ts";
`);

test("kinds: built-in classes are told in whichever realm a value was made", () => {
  const date: unknown = foreign("new Date()");
  assert(!(date instanceof Date));
  assert(isBytes(foreign("new Uint8Array(2).subarray(1)")) && isBytes(new Uint8Array(1)) && isBytes(Buffer.from("a")));
  assert(isDate(foreign("new Date(5)")) && isDate(new Date(NaN)));
  assert(isMap(foreign("new Map()")) && isMap(new Map()));
  assert(isPromise(foreign("Promise.resolve()")) && isPromise({ then() {} }));
  const others: unknown[] = [
    undefined,
    null,
    5,
    "text",
    {},
    [],
    { get: 1, getTime: 2, then: 3 },
    new Float32Array(1),
    new Uint8ClampedArray(1),
    new ArrayBuffer(1),
    new Set(),
    new WeakMap(),
    foreign("new Int8Array(1)"),
    foreign("({ getTime() {} })"),
  ];
  for (const value of others) {
    assertEquals([isBytes(value), isDate(value), isMap(value), isPromise(value)], [false, false, false, false]);
  }
});

test("kinds: a message with values of another realm has the bytes that ours would have", () => {
  const text = `({
    messageAnnotations: { "x-when": new Date(5), "x-bytes": new Uint8Array([7]) },
    properties: { userId: new Uint8Array([1]), messageId: new Uint8Array([2]), creationTime: new Date(9) },
    applicationProperties: { when: new Date(6), bytes: new Uint8Array([8]) },
    body: BODY,
  })`;
  const bodies = [
    "new Uint8Array([1, 2, 3])",
    "new Date(1_000)",
    "new Map([['a', new Uint8Array([4])], ['b', [new Date(7), { c: new Map() }]]])",
    "[new Map([[new Uint8Array([1]), 2]])]",
  ];
  for (const body of bodies) {
    const source = text.replace("BODY", body);
    const own = encodeMessage((0, eval)(source) as Message);
    assertEquals(encodeMessage(foreign(source)), own, body);
    assertEquals(encodeMessage(decodeMessage(foreign(`new Uint8Array([${own}])`))), own);
  }
  assertEquals(encodeMessage({ body: data(foreign("[new Uint8Array([1]), new Uint8Array([2])]")) }).length, 12);
  assertEquals(timestamp(foreign("new Date(3)")).value, 3n);
});

// Jest runs tests with jsdom in a realm of its own, into which TextEncoder, sockets and timers come from Node's.
testOnNode("kinds: the package works in a realm whose TextEncoder and sockets are of another", async () => {
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
  const code = wholeBundle.code.replace(
    /export\s*\{([^}]*)\};?\s*$/,
    (_, names: string) => `Object.assign(exports, {${names.replace(/([\w$]+) as (\w+)/g, "$2: $1")}});`,
  );
  const host = Object.fromEntries([
    "AbortController",
    "AbortSignal",
    "ReadableStream",
    "TextDecoder",
    "TextEncoder",
    "URL",
    "WebSocket",
    "clearTimeout",
    "console",
    "crypto",
    "performance",
    "process",
    "queueMicrotask",
    "setImmediate",
    "setTimeout",
  ].map((name) => [name, (globalThis as Record<string, unknown>)[name]]));
  const round = `${code}
    (async () => {
      const { connect, json, plain, scram } = exports;
      const got = [];
      for (const [scheme, auth] of [["ws", plain("user", "secret")], ["amqp", scram("user", "secret")]]) {
        const connection = await connect(scheme + "://127.0.0.1:" + port, { auth, reconnect: false });
        const receiver = connection.receiver("q");
        for (const body of ["text", json({ a: 1 }), new TextEncoder().encode("bytes"), new Map([["a", 1]])]) {
          await connection.send("q", { body });
          const delivery = await receiver.receive();
          got.push(typeof body === "string" ? delivery.message.text() : JSON.stringify(delivery.message));
          await delivery.accept();
        }
        await connection.close();
      }
      return got.join();
    })()`;
  const got = await (runInNewContext(round, { ...host, port: listener.port, exports: {} }) as Promise<string>);
  assertEquals(got.match(/text/g)?.length, 2, got);
  assertEquals(got.match(/bytes/g)?.length, 2, got);
  await broker.close();
});
