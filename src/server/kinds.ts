/**
 * Kinds of the options of an acceptor, which a broker has beside its own. They stand apart from the options because the
 * file of those is an entry, whose exports are public.
 *
 * @module
 */

/** Kinds of what both take; that they are all is checked where they are used, and what is within them, too. */
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
