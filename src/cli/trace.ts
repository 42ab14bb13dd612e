/**
 * `webamqp trace`.
 *
 * @module
 */

import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { gateway, type GatewayTrace } from "../gateway/gateway.ts";
import { traceCapture, unpacked } from "../trace/capture.ts";
import { jsonLines, TRACE_SCHEMA, type TraceEvent, type TransportEvent } from "../trace/writer.ts";
import { commandLabel, contentOf } from "./connecting.ts";
import { type Context, splitUrl } from "./context.ts";
import { announce, listenOptions, untilInterrupted } from "./servers.ts";
import { bytesOfStream, counted, UsageError } from "./terminal.ts";
import { openViewer, traceFile } from "./trace_file.ts";

/** Watches frames: those between clients and a broker, or those of a capture. */
export function trace(context: Context): Promise<number> {
  const from = context.flags.text("from");
  if (from !== undefined) return convert(context, from);
  return watch(context);
}

// A gateway names directions as seen from itself; a trace is read as the client saw it.
function fromClient(frame: GatewayTrace): GatewayTrace {
  return { ...frame, direction: frame.direction === "in" ? "out" : "in" };
}

async function watch(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const target = flags.text("target") ?? splitUrl(context).url;
  if (target === undefined) throw new UsageError("TARGET is missing: the URL of the broker, or --from FILE");
  const options = await listenOptions(flags);
  const ca = await contentOf(flags, "ca");
  const file = await traceFile(context, `${commandLabel(target)}`, "network");
  let frames = 0;
  const quiet = file !== undefined && flags.text("out") !== undefined && !flags.on("json");
  // The first line says what follows; a person sees that.
  let started = flags.on("json");
  const lines = quiet ? undefined : jsonLines((line) => {
    if (flags.on("json")) void terminal.write(line);
    else if (started) void terminal.write(`${textOf(JSON.parse(line))}\n`);
    started = true;
  }, { vantage: "network" });
  const trace = (passing: GatewayTrace): void => {
    const frame = fromClient(passing);
    frames++;
    file?.writer(frame);
    lines?.(frame);
  };
  const transport = (event: TransportEvent): void => {
    file?.writer.transport(event);
    lines?.transport(event);
  };
  const running = await gateway({
    listen: options,
    target,
    dial: { ...(ca !== undefined && { tls: { ca } }) },
    onError: (error) => terminal.tell(`webamqp: ${(error as Error).message}`),
    trace: Object.assign(trace, { transport }),
  });
  if (!flags.on("json")) await announce("Gateway", running, context, options.tls !== undefined);
  await untilInterrupted(signal);
  await running.close({ drainMs: 0 });
  terminal.tell(counted(frames, "frame"));
  await file?.finish();
  return 0;
}

// A capture, or a trace as it is.
async function convert(context: Context, path: string): Promise<number> {
  const { flags, terminal } = context;
  const bytes = await unpacked(
    new Uint8Array(path === "-" ? await bytesOfStream(terminal.input) : await readTrace(path)),
  );
  const lines: string[] = [];
  if (isTrace(bytes)) {
    for (const line of new TextDecoder().decode(bytes).split("\n")) if (isWhole(line)) lines.push(`${line}\n`);
  } else traceCapture(bytes, (line) => void lines.push(line), { title: basename(path) });
  const out = flags.text("out");
  if (out !== undefined) await writeFile(out, lines.join(""));
  if (flags.on("view")) await openViewer(lines.join(""), terminal);
  if (flags.on("json")) { for (const line of lines) await terminal.write(line); }
  else if (out === undefined && !flags.on("view")) {
    for (const line of lines.slice(1)) await terminal.write(`${textOf(JSON.parse(line))}\n`);
  }
  const frames = lines.filter((line) => line.includes('"name":"amqp:')).length;
  terminal.tell(counted(frames, "frame"));
  return frames > 0 ? 0 : 1;
}

async function readTrace(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UsageError(`--from "${path}" cannot be read: ${(error as { code?: string }).code ?? error}`);
  }
}

// The last line may be cut off, of a trace that is still being written.
function isWhole(line: string): boolean {
  try {
    return JSON.parse(line) !== null;
  } catch {
    return false;
  }
}

function isTrace(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, 200)).includes(TRACE_SCHEMA);
}

function textOf({ time, name, data }: TraceEvent): string {
  const { connection, channel = 0, frame, payload = 0, faults = [], event, ...more } = data;
  const at = (time / 1_000).toFixed(6);
  if (event !== undefined) {
    const details = Object.entries(more).map(([name, detail]) => `${name}=${detail}`);
    return [`${at} ${connection} --`, event, ...details].join(" ");
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
  return `${at} ${text}${faults.map(({ clause, text }) => `\n    ! ${text} [${clause}]`).join("")}`;
}

// Numbered by connection, "->" towards the broker.
function line(connection: number, out: boolean, channel: number, text: string, payload: number): string {
  return `${connection} ${out ? "->" : "<-"} [${channel}] ${text}${payload > 0 ? ` +${payload} bytes` : ""}`;
}
