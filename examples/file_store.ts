/**
 * Unsettled deliveries in a file, for `resume({ store })`: what a program has sent or settled and its peer has not heard of yet is
 * there for the next process, also after `kill -9`.
 *
 * Runs on Deno, Bun and Node. Each link has a file, to which a line is added for whatever is kept or forgotten; a promise resolves
 * when its line is on the disk, and lines of one turn are written together.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type FileHandle, mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { UnsettledDelivery, UnsettledStore } from "../mod.ts";

// Lines that nothing depends on any more, from where on a file is written anew when it is loaded.
const COMPACT_AT = 1_000;

interface Line {
  readonly tag: string;
  readonly payload?: string;
  readonly messageFormat?: number;
  readonly state?: string;
}

/** A directory of unsettled deliveries, which one process uses at a time. */
export class FileStore implements UnsettledStore {
  readonly #directory: string;
  readonly #files = new Map<string, Promise<LinkFile>>();

  /** Keeps its files in `directory`, which is made where there is none. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  async load(link: string): Promise<Iterable<UnsettledDelivery>> {
    const kept = new Map<string, UnsettledDelivery>();
    const path = this.path(link);
    const text = await readFile(path, "utf8").catch(() => "");
    const lines = text.split("\n");
    // The last line has no end if the process ended while it was written.
    lines.pop();
    for (const line of lines) {
      const { tag, payload, messageFormat = 0, state = "" } = JSON.parse(line) as Line;
      if (payload === undefined) kept.delete(tag);
      else kept.set(tag, { tag: bytes(tag), payload: bytes(payload), messageFormat, state: bytes(state) });
    }
    if (lines.length - kept.size >= COMPACT_AT || !text.endsWith("\n")) await rewrite(path, lines, kept);
    return kept.values();
  }

  async put(link: string, { tag, payload, messageFormat, state }: UnsettledDelivery): Promise<void> {
    const line: Line = { tag: base64(tag), payload: base64(payload), messageFormat, state: base64(state) };
    await (await this.#file(link)).add(JSON.stringify(line));
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await (await this.#file(link)).add(JSON.stringify({ tag: base64(tag) }));
  }

  /** Where the file of a link is. */
  path(link: string): string {
    return join(this.#directory, `${encodeURIComponent(link)}.jsonl`);
  }

  /** Closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#files.values()) await (await file).close();
  }

  #file(link: string): Promise<LinkFile> {
    let file = this.#files.get(link);
    if (file === undefined) this.#files.set(link, file = LinkFile.open(this.#directory, this.path(link)));
    return file;
  }
}

/** The file of one link. */
class LinkFile {
  readonly #handle: FileHandle;
  #waiting: string[] = [];
  #writing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(directory: string, path: string): Promise<LinkFile> {
    await mkdir(directory, { recursive: true });
    return new LinkFile(await open(path, "a"));
  }

  /** Resolves when the line is on the disk. */
  add(line: string): Promise<void> {
    this.#waiting.push(line);
    return this.#writing = this.#writing.then(() => this.#write());
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close();
  }

  async #write(): Promise<void> {
    const lines = this.#waiting;
    if (lines.length === 0) return;
    this.#waiting = [];
    await this.#handle.appendFile(`${lines.join("\n")}\n`);
    await this.#handle.datasync();
  }
}

// Under another name first, so that there is a whole file at any time.
async function rewrite(path: string, lines: string[], kept: ReadonlyMap<string, unknown>): Promise<void> {
  if (lines.length === 0) return;
  const compact = lines.length - kept.size >= COMPACT_AT;
  const wanted = compact ? lines.filter((line) => isKept(JSON.parse(line) as Line, kept)) : lines;
  const file = await open(`${path}.new`, "w");
  await file.appendFile(wanted.map((line) => `${line}\n`).join(""));
  await file.datasync();
  await file.close();
  await rename(`${path}.new`, path);
}

function isKept({ tag, payload }: Line, kept: ReadonlyMap<string, unknown>): boolean {
  return payload !== undefined && kept.has(tag);
}

function base64(data: Uint8Array): string {
  return Buffer.from(data).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
