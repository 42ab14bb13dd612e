/**
 * Lines of a trace from anybody: truncated, of another version, or made to do harm.
 *
 * @module
 */

import { TRACE_SCHEMA, type TraceEvent, type TraceHead } from "./writer.ts";

// Some three thousand years: added to the time of the trace's beginning it is still a date.
const LONGEST_MS = 1e14;

/** Parses a line of a trace; undefined if it is none. */
export function readLine(line: string): TraceHead | TraceEvent | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isRecord(json)) return undefined;
  if (json.file_schema === TRACE_SCHEMA) return json as unknown as TraceHead;
  const { time, name, data } = json;
  if (
    !(Math.abs(time as number) <= LONGEST_MS) || typeof time !== "number" || typeof name !== "string" || !isRecord(data)
  ) return undefined;
  const { connection = 1, channel = 0, payload = 0, frame, event } = data;
  if (![connection, channel, payload].every(isCount)) return undefined;
  if (frame !== undefined && !(isRecord(frame) && typeof frame.kind === "string")) return undefined;
  if (event !== undefined && typeof event !== "string") return undefined;
  return json as unknown as TraceEvent;
}

/** Whether a line is the first of a trace. */
export function isHead(line: TraceHead | TraceEvent): line is TraceHead {
  return "file_schema" in line;
}

function isRecord(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function isCount(number: unknown): boolean {
  return Number.isSafeInteger(number) && (number as number) >= 0;
}
