import { assert, assertEquals, assertRejects } from "@std/assert";
import { appendFile, mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileStore } from "../../examples/file_store.ts";
import {
  DurableObjectStore,
  type DurableStorage,
  type Kv,
  KvStore,
  type Sqlite,
  SqliteStore,
} from "../../examples/stores.ts";
import type { UnsettledDelivery, UnsettledStore } from "../../mod.ts";
import { test } from "../harness.ts";

function delivery(n: number, state: number[] = []): UnsettledDelivery {
  const tag = Uint8Array.of(0, 0, 0, 0, 0, 0, n >> 8, n);
  return { tag, payload: Uint8Array.of(n, 0, 255), messageFormat: n, state: Uint8Array.from(state) };
}

function plain({ tag, payload, messageFormat, state }: UnsettledDelivery): unknown {
  return { tag: [...tag], payload: [...payload], messageFormat, state: [...state] };
}

/** Checks the contract of a store; `again` is the store of the next process. */
async function check(store: UnsettledStore, again: () => UnsettledStore): Promise<void> {
  assertEquals([...await store.load("a/sender/link")], []);
  const kept = [1, 2, 9, 10, 16, 255, 256, 300].map((n) => delivery(n, n % 2 === 0 ? [1, 2] : []));
  await Promise.all(kept.map((one) => store.put("a/sender/link", one)));
  await store.put("a/sender/link2", delivery(3));
  await store.put("a/sender/link 2", delivery(4));
  await store.put("a/receiver/link", delivery(1));
  await Promise.all([store.delete("a/sender/link", delivery(9).tag), store.delete("a/sender/link", delivery(77).tag)]);
  await store.put("a/sender/link", delivery(10, [7]));
  const expected = kept.filter(({ messageFormat }) => messageFormat !== 9)
    .map((one) => plain(one.messageFormat === 10 ? delivery(10, [7]) : one));
  assertEquals(Array.from(await again().load("a/sender/link"), plain), expected);
  assertEquals(Array.from(await again().load("a/receiver/link"), plain), [plain(delivery(1))]);
}

/** A map ordered by its keys, as databases have it. */
class Sorted {
  readonly #values = new Map<string, unknown>();

  list(prefix: string): [string, unknown][] {
    return [...this.#values].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => a < b ? -1 : 1);
  }

  set(key: string, value: unknown): void {
    this.#values.set(key, structuredClone(value));
  }

  delete(key: string): void {
    this.#values.delete(key);
  }
}

test("stores: Deno KV keeps what is unsettled, in order, for the next process", async () => {
  const sorted = new Sorted();
  const text = (key: (string | Uint8Array)[]): string =>
    key.map((part) => typeof part === "string" ? `${part}\n` : String.fromCharCode(...part)).join("");
  const kv: Kv = {
    async *list<T>({ prefix }: { prefix: (string | Uint8Array)[] }) {
      for (const [, value] of sorted.list(text(prefix))) yield { value: value as T };
    },
    set: (key, value) => Promise.resolve(sorted.set(text(key), value)),
    delete: (key) => Promise.resolve(sorted.delete(text(key))),
  };
  await check(new KvStore(kv), () => new KvStore(kv));
});

test("stores: the storage of a Durable Object keeps what is unsettled, in order, for the next process", async () => {
  const sorted = new Sorted();
  const storage: DurableStorage = {
    list: <T>({ prefix }: { prefix: string }) => Promise.resolve(new Map(sorted.list(prefix)) as Map<string, T>),
    put: (key, value) => Promise.resolve(sorted.set(key, value)),
    delete: (key) => Promise.resolve(sorted.delete(key)),
  };
  await check(new DurableObjectStore(storage), () => new DurableObjectStore(storage));
});

test("stores: SQLite keeps what is unsettled, in order, for the next process", async () => {
  // The module has another name on each runtime.
  const name = "Bun" in globalThis ? "bun:sqlite" : "node:sqlite";
  const { Database, DatabaseSync = Database } = await import(name) as Record<string, new (path: string) => Sqlite>;
  const database = new DatabaseSync!(":memory:");
  await check(new SqliteStore(database), () => new SqliteStore(database));
  (database as unknown as { close(): void }).close();
});

test("stores: files keep what is unsettled, and get over a line that was not written to its end", async () => {
  const directory = await mkdtemp(join(tmpdir(), "webamqp-"));
  try {
    const stores = [new FileStore(directory)];
    await check(stores[0]!, () => {
      stores.push(new FileStore(directory));
      return stores.at(-1)!;
    });
    const torn = new FileStore(directory);
    await appendFile(torn.path("a/receiver/link"), '{"tag":"AAAA');
    assertEquals(Array.from(await torn.load("a/receiver/link"), plain), [plain(delivery(1))]);
    await torn.put("a/receiver/link", delivery(2));
    assertEquals(Array.from(await torn.load("a/receiver/link")).length, 2);
    for (const store of [...stores, torn]) await store[Symbol.asyncDispose]();
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("stores: a file that is written anew is the one that is written on", async () => {
  const directory = await mkdtemp(join(tmpdir(), "webamqp-"));
  try {
    const store = new FileStore(directory);
    for (let i = 0; i < 600; i++) {
      const kept = store.put("link", delivery(5));
      const gone = store.delete("link", delivery(5).tag);
      await Promise.all([kept, gone]);
    }
    await store.put("link", delivery(1));
    const large = (await stat(store.path("link"))).size;
    // A call during a load waits for it.
    const loaded = store.load("link");
    await store.put("link", delivery(2));
    assertEquals(Array.from(await loaded, plain), [plain(delivery(1))]);
    await store.put("link", delivery(3));
    assert((await stat(store.path("link"))).size < large / 100);
    await store[Symbol.asyncDispose]();
    const next = new FileStore(directory);
    assertEquals(Array.from(await next.load("link"), plain), [1, 2, 3].map((n) => plain(delivery(n))));
    await next[Symbol.asyncDispose]();
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("stores: a file that cannot be read is an error, and not an empty one", async () => {
  const directory = await mkdtemp(join(tmpdir(), "webamqp-"));
  try {
    const store = new FileStore(directory);
    await mkdir(store.path("link"));
    await assertRejects(() => store.load("link"), Error, "EISDIR");
    await assertRejects(() => store.put("link", delivery(1)), Error, "EISDIR");
    // The failure may have passed by the next call.
    await rm(store.path("link"), { recursive: true });
    await store.put("link", delivery(2));
    assertEquals(Array.from(await store.load("link"), plain), [plain(delivery(2))]);
    await store[Symbol.asyncDispose]();
  } finally {
    await rm(directory, { recursive: true });
  }
});
