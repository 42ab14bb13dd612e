/**
 * Unsettled deliveries in a database, for `resume({ store })`: Deno KV, SQLite, and the storage of a Durable Object. Each takes
 * an object of the runtime, of which it declares only the members that it uses.
 *
 * @module
 */

import type { UnsettledDelivery, UnsettledStore } from "../mod.ts";

/** What `await Deno.openKv()` gives. A value of it has 64 KiB at the most. */
export interface Kv {
  list<T>(selector: { prefix: (string | Uint8Array)[] }): AsyncIterable<{ value: T }>;
  set(key: (string | Uint8Array)[], value: unknown): Promise<unknown>;
  delete(key: (string | Uint8Array)[]): Promise<void>;
}

/** In Deno KV, whose keys are in the order of their bytes. */
export class KvStore implements UnsettledStore {
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  async load(link: string): Promise<UnsettledDelivery[]> {
    const kept: UnsettledDelivery[] = [];
    for await (const { value } of this.#kv.list<UnsettledDelivery>({ prefix: ["unsettled", link] })) kept.push(value);
    return kept;
  }

  async put(link: string, delivery: UnsettledDelivery): Promise<void> {
    await this.#kv.set(["unsettled", link, delivery.tag], delivery);
  }

  delete(link: string, tag: Uint8Array): Promise<void> {
    return this.#kv.delete(["unsettled", link, tag]);
  }
}

/** What `new DatabaseSync(path)` of `node:sqlite` gives, and `new Database(path)` of `bun:sqlite`. */
export interface Sqlite {
  exec(sql: string): unknown;
  prepare(sql: string): {
    all(...values: (string | number | Uint8Array)[]): unknown[];
    run(...values: (string | number | Uint8Array)[]): unknown;
  };
}

/** In SQLite: what a handler writes to the same database, in a transaction with `put`, happens exactly once as well. */
export class SqliteStore implements UnsettledStore {
  readonly #database: Sqlite;

  constructor(database: Sqlite) {
    this.#database = database;
    database.exec(
      "CREATE TABLE IF NOT EXISTS unsettled (link TEXT, tag BLOB, payload BLOB, messageFormat INTEGER, state BLOB, " +
        "PRIMARY KEY (link, tag)) WITHOUT ROWID",
    );
  }

  load(link: string): UnsettledDelivery[] {
    const rows = this.#database.prepare(
      "SELECT tag, payload, messageFormat, state FROM unsettled WHERE link = ? ORDER BY tag",
    ).all(link);
    return rows as UnsettledDelivery[];
  }

  put(link: string, { tag, payload, messageFormat, state }: UnsettledDelivery): void {
    this.#database.prepare("INSERT OR REPLACE INTO unsettled VALUES (?, ?, ?, ?, ?)")
      .run(link, tag, payload, messageFormat, state);
  }

  delete(link: string, tag: Uint8Array): void {
    this.#database.prepare("DELETE FROM unsettled WHERE link = ? AND tag = ?").run(link, tag);
  }
}

/** What `state.storage` of a Durable Object is. A value of it has 128 KiB at the most, or 2 MB with SQLite below. */
export interface DurableStorage {
  list<T>(options: { prefix: string }): Promise<Map<string, T>>;
  put(key: string, value: unknown): Promise<void>;
  delete(key: string): Promise<unknown>;
}

/** In the storage of a Durable Object, whose keys are in the order of their texts. */
export class DurableObjectStore implements UnsettledStore {
  readonly #storage: DurableStorage;

  constructor(storage: DurableStorage) {
    this.#storage = storage;
  }

  async load(link: string): Promise<Iterable<UnsettledDelivery>> {
    return (await this.#storage.list<UnsettledDelivery>({ prefix: keyOf(link) })).values();
  }

  put(link: string, delivery: UnsettledDelivery): Promise<void> {
    const { tag, payload, messageFormat, state } = delivery;
    // The bytes of the payload alone, and not of all that was written beside it.
    return this.#storage.put(keyOf(link, tag), { tag, payload: payload.slice(), messageFormat, state });
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await this.#storage.delete(keyOf(link, tag));
  }
}

// Without blanks in its name no link's keys begin with those of another.
function keyOf(link: string, tag: Uint8Array = new Uint8Array(0)): string {
  return `unsettled ${encodeURIComponent(link)} ${
    Array.from(tag, (byte) => byte.toString(16).padStart(2, "0")).join("")
  }`;
}
