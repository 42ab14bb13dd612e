/**
 * A proxy that answers by a script, and the owner of a connection who follows the tunnel.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import type { TransportError } from "../../../src/base/errors.ts";
import type { ProxyCredentials } from "../../../src/transport/proxy/challenge.ts";
import type { Hash } from "../../../src/transport/proxy/digest.ts";
import { HttpProxy, type ProxyOptions, type ProxyPowers } from "../../../src/transport/proxy/http_proxy.ts";
import { type ProxyEvent, type ProxyLimits, ProxyTunnel } from "../../../src/transport/proxy/connect.ts";

const NODE_NAMES = { "MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512-256" } as const;
export const hash: Hash = (algorithm, bytes) => createHash(NODE_NAMES[algorithm]).update(bytes).digest();
export const md5 = (text: string): string => createHash("md5").update(text, "utf8").digest("hex");

export const URL_WITH_USER = "http://puser:ppass@proxy.example:3128";
export const BASIC = "Basic cHVzZXI6cHBhc3M=";
export const BASIC_ASKED = 'Proxy-Authenticate: Basic realm="labrealm"';
export const DIGEST_ASKED = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n1", qop="auth"';
export const OPEN = "HTTP/1.1 200 Connection established\r\n\r\n";

/** Random bytes that count up, so that every client nonce is known and unique. */
export function powers(): ProxyPowers {
  let count = 0;
  return { hash, random: (length) => new Uint8Array(length).fill(++count) };
}

export function proxyOf(options: Partial<ProxyOptions> = {}): HttpProxy {
  return new HttpProxy({ url: URL_WITH_USER, schemes: ["digest", "basic"], ...options }, powers());
}

/** A response with a length, which keeps the connection. */
export function response(status: number | string, fields: string[] = [], body = "sorry"): string {
  const start = typeof status === "number" ? `HTTP/1.1 ${status} Some Reason` : status;
  return `${[start, ...fields, `Content-Length: ${body.length}`].join("\r\n")}\r\n\r\n${body}`;
}

export const challenge = (...fields: string[]): string => response(407, fields);

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

export function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** The proxy's reply to one request: text, and perhaps a close. */
export type Reply = string | { say: string; close: true };

export interface Conversation {
  requests: string[];
  connections: number;
  asked: string[];
  outcome: ProxyEvent | undefined;
}

export interface ConverseOptions {
  proxy?: HttpProxy;
  limits?: ProxyLimits;
  answers?: (ProxyCredentials | undefined)[];
  /** Cuts a reply into reads. */
  cut?: (bytes: Uint8Array) => Uint8Array[];
}

/** Acts as the owner of the connection against a scripted proxy. */
export function converse(replies: Reply[], options: ConverseOptions = {}): Conversation {
  const { proxy = proxyOf(), limits, answers = [], cut = (bytes) => [bytes] } = options;
  const tunnel = new ProxyTunnel({ proxy, hostname: "broker.example", port: 443, limits }, 0);
  const conversation: Conversation = { requests: [], connections: 1, asked: [], outcome: undefined };
  for (const reply of replies) {
    conversation.requests.push(textOf(tunnel.transmit()));
    let event = feed(tunnel, cut(bytesOf(typeof reply === "string" ? reply : reply.say)));
    if (event === undefined && typeof reply !== "string") event = tunnel.end(0);
    while (event !== undefined) {
      if (event.kind === "open" || event.kind === "failed") return { ...conversation, outcome: event };
      if (event.kind === "credentials") {
        const { proxy, scheme, realm } = event.request;
        conversation.asked.push(`${proxy} ${scheme} ${realm}`);
        if (typeof reply !== "string") assertEquals(tunnel.end(0), undefined);
        event = tunnel.authenticate(answers.shift(), 0);
      } else {
        conversation.connections++;
        tunnel.reconnected(0);
        event = undefined;
      }
    }
  }
  const rest = textOf(tunnel.transmit());
  if (rest !== "") conversation.requests.push(rest);
  return conversation;
}

/** Feeds one reply; bytes behind the event would go to the tunnel, so they are added to the surplus. */
export function feed(tunnel: ProxyTunnel, pieces: Uint8Array[]): ProxyEvent | undefined {
  let event: ProxyEvent | undefined;
  for (const piece of pieces) {
    if (event?.kind === "open") event = { kind: "open", surplus: bytesOf(textOf(event.surplus) + textOf(piece)) };
    else event = tunnel.receive(piece, 0) ?? event;
  }
  return event;
}

export function failed(outcome: ProxyEvent | undefined): TransportError {
  assert(outcome?.kind === "failed", `outcome is ${outcome?.kind}`);
  return outcome.error;
}

export function opened(outcome: ProxyEvent | undefined): string {
  assert(outcome?.kind === "open", outcome?.kind === "failed" ? outcome.error.message : `outcome is ${outcome?.kind}`);
  return textOf(outcome.surplus);
}

/** The parameters of the answer in a request; null without one. */
export function answerIn(request: string): Record<string, string> | null {
  const value = /^Proxy-Authorization: Digest (.*)\r$/m.exec(request)?.[1];
  if (value === undefined) return null;
  return Object.fromEntries([...value.matchAll(/([\w*]+)=(?:"([^"]*)"|([^, ]*))/g)].map((m) => [m[1], m[2] ?? m[3]]));
}

/** The proxy's computation to check an answer with qop "auth" and MD5. */
export function expectedResponse(answer: Record<string, string>, password = "ppass"): string {
  const ha1 = md5(`${answer.username}:${answer.realm}:${password}`);
  return md5(`${ha1}:${answer.nonce}:${answer.nc}:${answer.cnonce}:${answer.qop}:${md5(`CONNECT:${answer.uri}`)}`);
}
