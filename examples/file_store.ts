/**
 * Unsettled deliveries in a file, for `resume({ store })`: messages and outcomes that a program has sent, and whose
 * settlement is not complete, are there for the next process, also after `kill -9`.
 *
 * Runs on Deno, Bun and Node. Each link has a file, to which every `put` and `delete` adds a line; a promise resolves
 * when its line is on the disk, and lines of one turn are written together.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type FileHandle, mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { UnsettledDelivery, UnsettledStore } from "../mod.ts";

// Lines that nothing depends on any more, from where on a file is written anew when it is read.
const COMPACT_AT = 1_000;

interface Line {
  readonly tag: string;
  readonly payload?: string;
  readonly messageFormat?: number;
  readonly state?: string;
}

/** A directory of unsettled deliveries, which one process uses at a time, by one of these. */
export class FileStore implements UnsettledStore {
  readonly #directory: string;
  readonly #files = new Map<string, LinkFile>();

  /** Keeps its files in `directory`, which is made where there is none. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  load(link: string): Promise<Iterable<UnsettledDelivery>> {
    return this.#file(link).load();
  }

  async put(link: string, { tag, payload, messageFormat, state }: UnsettledDelivery): Promise<void> {
    await this.#file(link).add({ tag: base64(tag), payload: base64(payload), messageFormat, state: base64(state) });
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await this.#file(link).add({ tag: base64(tag) });
  }

  /** Where the file of a link is. */
  path(link: string): string {
    return join(this.#directory, `${encodeURIComponent(link)}.jsonl`);
  }

  /** Closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#files.values()) await file.close();
  }

  #file(link: string): LinkFile {
    let file = this.#files.get(link);
    if (file === undefined) this.#files.set(link, file = new LinkFile(this.#directory, this.path(link)));
    return file;
  }
}

/** The file of one link. Whatever is done to it waits for what was asked for before. */
class LinkFile {
  readonly #directory: string;
  readonly #path: string;
  #handle: FileHandle | undefined;
  // The bytes of whole lines; undefined before the file was read, and after it was not written as it should be.
  #size: number | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #batch: { readonly lines: Line[]; readonly written: Promise<void> } | undefined;

  constructor(directory: string, path: string) {
    this.#directory = directory;
    this.#path = path;
  }

  load(): Promise<Iterable<UnsettledDelivery>> {
    this.#batch = undefined;
    return this.#next(async () => (await this.#read()).values());
  }

  /** Resolves when the line is on the disk. */
  add(line: Line): Promise<void> {
    if (this.#batch === undefined) {
      const lines: Line[] = [];
      const written = this.#next(() => {
        this.#batch = undefined;
        return this.#write(textOf(lines));
      });
      this.#batch = { lines, written };
    }
    this.#batch.lines.push(line);
    return this.#batch.written;
  }

  close(): Promise<void> {
    return this.#next(async () => {
      await this.#handle?.close();
      this.#handle = this.#size = undefined;
    });
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #read(): Promise<ReadonlyMap<string, UnsettledDelivery>> {
    await mkdir(this.#directory, { recursive: true });
    const handle = this.#handle ??= await open(this.#path, "a");
    const data = await readFile(this.#path);
    // The last line has no end if the process ended while it was written.
    const size = data.lastIndexOf("\n") + 1;
    if (size < data.length) await handle.truncate(size);
    this.#size = size;
    const lines = data.toString("utf8", 0, size).split("\n").slice(0, -1).map((line) => JSON.parse(line) as Line);
    const kept = new Map<string, UnsettledDelivery>();
    for (const { tag, payload, messageFormat = 0, state = "" } of lines) {
      if (payload === undefined) kept.delete(tag);
      else kept.set(tag, { tag: bytes(tag), payload: bytes(payload), messageFormat, state: bytes(state) });
    }
    if (lines.length - kept.size >= COMPACT_AT) {
      await this.#rewrite(lines.filter(({ tag, payload }) => payload !== undefined && kept.has(tag)));
    }
    return kept;
  }

  async #write(text: string): Promise<void> {
    if (this.#size === undefined) await this.#read();
    const size = this.#size!;
    this.#size = undefined;
    try {
      await this.#handle!.appendFile(text);
      await this.#handle!.datasync();
    } catch (error) {
      // Whoever is told that it failed must not find it in the file.
      await this.#handle!.truncate(size);
      throw error;
    }
    this.#size = size + Buffer.byteLength(text);
  }

  // Under another name first, so that there is a whole file at any time.
  async #rewrite(lines: readonly Line[]): Promise<void> {
    const text = textOf(lines);
    const file = await open(`${this.#path}.new`, "a");
    try {
      await file.truncate();
      await file.appendFile(text);
      await file.datasync();
      await rename(`${this.#path}.new`, this.#path);
    } catch (error) {
      await file.close();
      throw error;
    }
    const old = this.#handle!;
    this.#handle = file;
    this.#size = Buffer.byteLength(text);
    await old.close();
  }
}

function textOf(lines: readonly Line[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

function base64(data: Uint8Array): string {
  return Buffer.from(data).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
