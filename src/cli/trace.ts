/**
 * `webamqp trace`.
 *
 * @module
 */

import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { printable } from "../base/text.ts";
import { gateway, type GatewayTrace } from "../gateway/gateway.ts";
import { traceCapture, unpacked } from "../trace/capture.ts";
import { isHead, readLine } from "../trace/reader.ts";
import { jsonLines, TRACE_SCHEMA, type TraceEvent, type TransportEvent } from "../trace/writer.ts";
import { commandLabel, contentOf } from "./connecting.ts";
import { type Context, fileMistake, missingUrl, splitUrl } from "./context.ts";
import { announce, asClient, listenOptions, untilInterrupted } from "./servers.ts";
import { bytesOfStream, counted, UsageError } from "./terminal.ts";
import { openViewer, traceFile } from "./trace_file.ts";

/** Prints frames: those between clients and a broker, or those of a capture. */
export function trace(context: Context): Promise<number> {
  const from = context.flags.text("from");
  if (from !== undefined) return convert(context, from);
  return watch(context);
}

async function watch(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, rest } = splitUrl(context);
  const target = flags.text("target") ?? url;
  if (target === undefined && rest.length > 0) throw missingUrl("TARGET", rest[0]);
  if (target === undefined) throw new UsageError("TARGET is missing: the URL of the broker, or --from FILE");
  const options = await listenOptions(flags);
  const ca = await contentOf(flags, "ca");
  const opened = await traceFile(context, `${commandLabel(target)}`, "network");
  let frames = 0;
  const quiet = opened !== undefined && flags.text("out") !== undefined && !flags.on("json");
  // A reader that has seen enough, such as `head`, ends the command.
  const enough = new AbortController();
  const show = (text: string): void => {
    try {
      void terminal.write(text);
    } catch {
      enough.abort();
    }
  };
  // The first line is the trace's head, which only `--json` prints.
  let started = flags.on("json");
  const lines = quiet ? undefined : jsonLines((line) => {
    if (flags.on("json")) show(line);
    else if (started) show(`${textOf(JSON.parse(line))}\n`);
    started = true;
  }, { vantage: "network" });
  const file = opened && asClient(opened.writer), shown = lines && asClient(lines);
  const trace = (frame: GatewayTrace): void => {
    frames++;
    file?.(frame);
    shown?.(frame);
  };
  const transport = (event: TransportEvent): void => {
    file?.transport(event);
    shown?.transport(event);
  };
  const running = await gateway({
    listen: options,
    target,
    dial: { ...(ca !== undefined && { tls: { ca } }) },
    onError: (error) => terminal.report(`webamqp: ${(error as Error).message}`),
    trace: Object.assign(trace, { transport }),
  });
  if (!flags.on("json")) await announce("Gateway", running, context, options.tls !== undefined);
  await untilInterrupted(AbortSignal.any([signal, enough.signal]));
  await running.close({ drainMs: 0 });
  terminal.report(counted(frames, "frame"));
  await opened?.finish();
  return 0;
}

// Reads a capture, or a trace.
async function convert(context: Context, path: string): Promise<number> {
  const { flags, terminal } = context;
  const bytes = await unpacked(
    new Uint8Array(path === "-" ? await bytesOfStream(terminal.input) : await readTrace(path)),
  );
  let lines: string[] = [];
  if (isTrace(bytes)) {
    const [head, ...events] = new TextDecoder().decode(bytes).split("\n");
    lines = [head!, ...events.filter(isEvent)].map((line) => `${line}\n`);
    const unreadable = events.filter((line) => line.trim() !== "").length - lines.length + 1;
    if (unreadable > 0) terminal.report(`webamqp: ${counted(unreadable, "line")} of the trace cannot be read`);
  } else traceCapture(bytes, (line) => void lines.push(line), { title: basename(path) });
  const out = flags.text("out");
  if (out !== undefined) {
    await writeFile(out, lines.join("")).catch((error) => {
      throw fileMistake("out", out, error, "written");
    });
  }
  if (flags.on("view")) await openViewer(lines.join(""), terminal);
  if (flags.on("json")) { for (const line of lines) await terminal.write(line); }
  else if (out === undefined && !flags.on("view")) {
    for (const line of lines.slice(1)) await terminal.write(`${textOf(JSON.parse(line))}\n`);
  }
  const frames = lines.filter((line) => line.includes('"name":"amqp:')).length;
  terminal.report(counted(frames, "frame"));
  return frames > 0 ? 0 : 1;
}

async function readTrace(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileMistake("from", path, error, "read");
  }
}

// The last line of a trace still being written may be cut, and any line may be invalid.
function isEvent(line: string): boolean {
  const read = readLine(line);
  return read !== undefined && !isHead(read);
}

function isTrace(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, 200)).includes(TRACE_SCHEMA);
}

// A trace is untrusted: its text must not write lines or terminal sequences.
function textOf({ time, name, data }: TraceEvent): string {
  const { connection, channel = 0, frame, payload = 0, faults, event, ...more } = data;
  const at = (time / 1_000).toFixed(6);
  if (event !== undefined) {
    const details = Object.entries(more).map(([name, detail]) =>
      `${name}=${typeof detail === "object" ? JSON.stringify(detail) : detail}`
    );
    return printable([`${at} ${connection} --`, event, ...details].join(" "), Infinity);
  }
  const { kind = "(empty)", ...fields } = frame ?? {};
  const shown = Object.entries(fields).map(([field, value]) => `${field}=${JSON.stringify(value)}`).join(", ");
  const text = line(
    connection,
    name === "amqp:frame_sent",
    channel,
    frame === undefined ? kind : `${kind}(${shown})`,
    payload,
  );
  const broken = Array.isArray(faults) ? faults.map((fault) => `    ! ${fault?.text} [${fault?.clause}]`) : [];
  return [`${at} ${text}`, ...broken].map((line) => printable(line, Infinity)).join("\n");
}

// "->" is the direction to the broker.
function line(connection: number, out: boolean, channel: number, text: string, payload: number): string {
  return `${connection} ${out ? "->" : "<-"} [${channel}] ${text}${payload > 0 ? ` +${payload} bytes` : ""}`;
}
