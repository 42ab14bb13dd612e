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
  maxFrameSize: "whole number from 512 to 4294967295",
  channelMax: "whole number from 0 to 65535",
  maxConnections: "number",
  maxLinks: "number",
  maxSuspendedLinks: "number",
  maxUnfinishedBytes: "number",
  maxKeptBytes: "number from 1",
  maxIdleWork: "number from 1",
  idleTimeOut: "whole number from 0 to 4294967295",
  properties: "object",
  offeredCapabilities: "array of string",
  answerOpen: "function",
  session: "object",
  saslFrameSize: "number from 512",
  maxPipelinedBytes: "number",
  maxBufferedBytes: "number",
  openTimeoutMs: "number from 1",
  closeTimeoutMs: "number from 1",
  limits: "object",
  log: "function or null",
  trace: "function",
  environment: "object with setTimer",
} as const;
