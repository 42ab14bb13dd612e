/**
 * The trace file of a command, and its viewer.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { jsonLines, type TraceOptions, type TraceWriter } from "../trace/writer.ts";
import { type Context, fileMistake } from "./context.ts";
import { counted, type Terminal } from "./terminal.ts";

export interface TraceFile {
  /** Writes a frame. */
  readonly writer: TraceWriter;
  /** Ends the file, and opens the viewer for `--view`. */
  finish(): Promise<void>;
}

/** Most lines that the viewer opens, far more than a person looks through. */
const MAX_VIEWED = 1_000_000;

/** The first lines of a trace, for the viewer. */
export class ViewedLines {
  readonly #most: number;
  readonly #lines: string[] = [];
  #dropped = 0;

  constructor(most: number = MAX_VIEWED) {
    this.#most = most;
  }

  push(line: string): void {
    if (this.#lines.length < this.#most) this.#lines.push(line);
    else this.#dropped++;
  }

  /** Opens the viewer, and says what it lacks. */
  async view(terminal: Pick<Terminal, "report" | "env">): Promise<void> {
    await openViewer(this.#lines.join(""), terminal);
    if (this.#dropped === 0) return;
    const lines = counted(this.#dropped, "line");
    terminal.report(
      `webamqp: The viewer has the first ${this.#most} lines, ${lines} more are left out; "--trace" writes all`,
    );
  }
}

/** Begins the trace of the flags `--trace` (or `--out`) and `--view`; undefined without either. */
export async function traceFile(
  { flags, terminal }: Pick<Context, "flags" | "terminal">,
  title: string,
  vantage: NonNullable<TraceOptions["vantage"]>,
  onLine?: (line: string) => void,
): Promise<TraceFile | undefined> {
  const path = flags.text("trace") ?? flags.text("out");
  const view = flags.on("view");
  if (path === undefined && !view && onLine === undefined) return undefined;
  const file = path === undefined ? undefined : createWriteStream(path);
  if (file !== undefined) {
    const opened = new Promise((resolve, reject) => file.once("open", resolve).once("error", reject));
    await opened.catch((error) => {
      throw fileMistake(flags.text("trace") === undefined ? "out" : "trace", path!, error, "written");
    });
    file.on("error", (error) => terminal.report(`webamqp: Cannot write trace to "${path}": ${error.message}`));
  }
  const viewed = view ? new ViewedLines() : undefined;
  const writer = jsonLines((line) => {
    file?.write(line);
    viewed?.push(line);
    onLine?.(line);
  }, { title, vantage });
  return {
    writer,
    async finish() {
      if (file !== undefined) await new Promise<void>((resolve) => file.end(() => resolve()));
      await viewed?.view(terminal);
    },
  };
}

/** Writes the viewer with a trace in it, opens it in the browser, and prints its URL. */
export async function openViewer(trace: string, terminal: Pick<Terminal, "report" | "env">): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "webamqp-"));
  const path = join(folder, "trace.html");
  await writeFile(path, await viewerWith(trace));
  const url = pathToFileURL(path).href;
  terminal.report(`Viewer: ${url}`);
  const [program, ...args] = opener(terminal.env);
  if (program === undefined) return;
  const child = spawn(program, [...args, url], { stdio: "ignore", detached: true });
  // Without a desktop, the printed URL is enough.
  child.on("error", () => {});
  child.unref();
}

function opener(env: Terminal["env"]): string[] {
  if (env.BROWSER !== undefined) return env.BROWSER === "" ? [] : [env.BROWSER];
  switch (process.platform) {
    case "darwin":
      return ["open"];
    case "win32":
      return ["explorer.exe"];
    default:
      return ["xdg-open"];
  }
}

/** The viewer as one HTML file that shows `trace`. */
export async function viewerWith(trace: string): Promise<string> {
  const page = await viewerPage();
  // Nothing else could end the script element.
  const text = trace.replaceAll("<", "\\u003c");
  return page.replace('<script type="application/jsonl" id="trace">', (tag) => tag + text);
}

/** The viewer as one HTML file, which a trace can be dropped on. */
async function viewerPage(): Promise<string> {
  try {
    const { default: text } = await import("./viewer.html", { with: { type: "text" } }) as { default: string };
    return text;
  } catch {
    // Node imports only code.
    return await readFile(fileURLToPath(new URL("./viewer.html", import.meta.url)), "utf8");
  }
}
