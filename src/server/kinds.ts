/**
 * The kinds of the acceptor options, which a broker shares. Apart from the options because acceptor.ts is an entry, whose
 * exports are public.
 *
 * @module
 */

/** The kinds of the common options; their users check completeness, and the nested kinds. */
export const ACCEPTOR_KINDS = {
  containerId: "string",
  sasl: "object",
  onConnection: "function",
  maxFrameSize: "number",
  channelMax: "number",
  maxConnections: "number",
  maxLinks: "number",
  maxSuspendedLinks: "number",
  maxUnfinishedBytes: "number",
  maxKeptBytes: "number",
  maxIdleWork: "number",
  idleTimeOut: "number",
  properties: "object",
  offeredCapabilities: "array",
  answerOpen: "function",
  session: "object",
  saslFrameSize: "number",
  maxPipelinedBytes: "number",
  maxBufferedBytes: "number",
  openTimeoutMs: "number",
  closeTimeoutMs: "number",
  limits: "object",
  log: "function or null",
  trace: "function",
  environment: "object",
} as const;
