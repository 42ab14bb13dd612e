/**
 * Errors that frames carry, and their clauses of the specification.
 *
 * @module
 */

import type { FrameBody, TraceFault } from "./tracked.ts";

/** The error that a frame carries: why its sender ends or rejects something; undefined if there is none. */
export function reportedFault(body: FrameBody): TraceFault | undefined {
  const error = errorOf(body);
  if (error !== undefined) return { clause: clauseOf(error.condition), text: textOf(body, error), reported: true };
  if (body.kind !== "saslOutcome" || body.code === "ok") return undefined;
  return { clause: "security 5.3.3.6", text: `SASL outcome is ${String(body.code)}`, reported: true };
}

interface ReportedError {
  readonly condition: string;
  readonly description: string | undefined;
}

function errorOf(body: FrameBody): ReportedError | undefined {
  const state = body.state as { kind?: string; error?: unknown } | undefined;
  const error = (body.error ?? (body.kind === "disposition" ? state?.error : undefined)) as {
    condition?: unknown;
    description?: unknown;
  } | undefined;
  if (error === undefined || error === null) {
    return state?.kind === "rejected" ? { condition: "amqp:rejected:list", description: undefined } : undefined;
  }
  return {
    condition: String(error.condition),
    description: typeof error.description === "string" ? error.description : undefined,
  };
}

function textOf(body: FrameBody, { condition, description }: ReportedError): string {
  const what = body.kind === "disposition" ? "message rejected" : body.kind;
  return `${what}: ${condition}${description === undefined ? "" : `, ${description}`}`;
}

function clauseOf(condition: string): string {
  if (condition.startsWith("amqp:connection:")) return "transport 2.8.16";
  if (condition.startsWith("amqp:session:")) return "transport 2.8.17";
  if (condition.startsWith("amqp:link:")) return "transport 2.8.18";
  if (condition.startsWith("amqp:transaction:")) return "transactions 4.5.8";
  if (condition === "amqp:rejected:list") return "messaging 3.4.3";
  return condition.startsWith("amqp:") ? "transport 2.8.15" : "transport 2.8.14";
}
