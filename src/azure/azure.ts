/**
 * Azure Service Bus and Event Hubs: what `connect` needs to know, from a connection string or a credential.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { azure } from "@webamqp/amqp/azure";
 *
 * async function main(connectionString: string) {
 *   const { url, options } = azure(connectionString);
 *   await using connection = await connect(url, options);
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 *
 * @module
 */

import { encodeBase64 } from "@std/encoding";
import { checkFunction, checkOptions, type OptionKinds } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import type { ClaimsOptions, ClaimsToken } from "../client/claims.ts";
import { anonymous } from "../sasl/mechanisms.ts";
import type { SaslExchange, SaslMechanism, SaslTarget } from "../sasl/mechanism.ts";

export type { ClaimsOptions, ClaimsToken, SaslExchange, SaslMechanism, SaslTarget };

/** What gives tokens of Entra ID, such as those of the package `@azure/identity`. */
export interface AzureCredential {
  /** Gives a token for a scope, and when it expires, in milliseconds since 1970; null for none. */
  getToken(scope: string): Promise<{ readonly token: string; readonly expiresOnTimestamp: number } | null>;
}

/** How a namespace is reached. */
export interface AzureOptions {
  /** Gives tokens of Entra ID; with it the namespace's host is enough instead of a connection string. */
  credential?: AzureCredential | undefined;
  /** The carrier: a WebSocket on port 443, or a socket with TLS on port 5671. Default: `"websocket"`. */
  transport?: "websocket" | "socket" | undefined;
  /** Milliseconds for which a shared access signature is made. Default: 3,600,000. */
  ttlMs?: number | undefined;
}

/** What to connect to, and how. */
export interface AzureTarget {
  /** The URL for `connect`. */
  readonly url: string;
  /** Options for `connect`; others may be added to them. */
  readonly options: {
    /** Anonymous: it is the tokens that tell who connects. */
    readonly auth: SaslMechanism;
    /** The namespace's host. */
    readonly hostname: string;
    /** The subprotocol of these services. */
    readonly subprotocols: string[];
    /** Gives tokens for the addresses in use; absent for a connection string without a key. */
    readonly claims?: ClaimsOptions;
  };
  /** The queue, topic or event hub that the connection string is for, if it names one. */
  readonly entityPath: string | undefined;
}

const AZURE_KINDS: OptionKinds<AzureOptions> = {
  credential: "object",
  transport: '"websocket" or "socket"',
  ttlMs: "number",
};
const TTL_MS = 3_600_000;

// A year: more than that no service takes, nor would a clock that is wrong be noticed.
const MAX_TTL_MS = 31_536_000_000;

/**
 * Reads a connection string of Service Bus or Event Hubs, that of an emulator too, or takes a namespace's host and a credential.
 *
 * Tokens are made for each address that is used, and renewed before they expire. The key stays here.
 *
 * @throws {TypeError} If the text is neither, or names no way to prove who connects, or an option does not exist or is of the
 * wrong kind. The error does not show it.
 * @throws {RangeError} If `ttlMs` is no time.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { azure } from "@webamqp/amqp/azure";
 *
 * async function main(connectionString: string) {
 *   const { url, options } = azure(connectionString);
 *   await using connection = await connect(url, options);
 *   await connection.send("orders", { body: "one coffee" });
 * }
 * ```
 */
export function azure(connectionString: string, options: AzureOptions = {}): AzureTarget {
  checkOptions("use azure", options, AZURE_KINDS);
  const { ttlMs = TTL_MS } = options;
  if (!(ttlMs > 0 && ttlMs <= MAX_TTL_MS)) {
    throw new RangeError(`Cannot use azure: ttlMs is ${ttlMs}, not more than 0 and at most ${MAX_TTL_MS}`);
  }
  const parts = partsOf(connectionString);
  const host = hostOf(parts);
  const emulator = parts.get("usedevelopmentemulator")?.toLowerCase() === "true";
  const hostname = host.replace(/:\d+$/, "");
  const entityPath = parts.get("entitypath");
  const url = emulator
    ? `amqp://${host === hostname ? `${host}:5672` : host}`
    : options.transport === "socket"
    ? `amqps://${hostname}:5671`
    : `wss://${host}/$servicebus/websocket`;
  const claims: ClaimsOptions = {
    token: tokensOf(parts, options),
    // The node of Event Hubs that tells of all hubs wants the token for one.
    audience: (address) =>
      `sb://${hostname}/${address === "$management" && entityPath !== undefined ? `${entityPath}/` : ""}${address}`,
    variant: "put-token",
  };
  return {
    url,
    options: { auth: anonymous(), hostname, subprotocols: ["AMQPWSB10"], claims },
    entityPath,
  };
}

/**
 * Makes a shared access signature: a token for everything below `audience`.
 *
 * @throws {TypeError} If this page has no WebCrypto.
 * @throws {RangeError} If `expiresAt` is no date.
 *
 * @example
 * ```ts
 * import { sharedAccessSignature } from "@webamqp/amqp/azure";
 *
 * async function token(key: string) {
 *   const audience = "sb://shop.servicebus.windows.net/orders";
 *   return await sharedAccessSignature(audience, "RootManageSharedAccessKey", key, new Date(Date.now() + 3_600_000));
 * }
 * ```
 */
export async function sharedAccessSignature(
  audience: string,
  keyName: string,
  key: string,
  expiresAt: Date,
): Promise<string> {
  const { subtle } = crypto;
  if (subtle === undefined) throw new TypeError("Cannot sign token: this page has no WebCrypto, load it over https:");
  const resource = encodeURIComponent(audience);
  const expiry = Math.ceil(expiresAt.getTime() / 1_000);
  if (Number.isNaN(expiry)) throw new RangeError("Cannot sign token: when it expires is no date");
  const imported = await subtle.importKey("raw", utf8(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = encodeBase64(await subtle.sign("HMAC", imported, utf8(`${resource}\n${expiry}`)));
  const [signed, name] = [encodeURIComponent(signature), encodeURIComponent(keyName)];
  return `SharedAccessSignature sr=${resource}&sig=${signed}&se=${expiry}&skn=${name}`;
}

const SCOPE = "https://servicebus.azure.net/.default";
const SAS = "servicebus.windows.net:sastoken";

function partsOf(text: string): Map<string, string> {
  const parts = new Map<string, string>();
  if (typeof text !== "string") throw new TypeError("Cannot use connection string: it is no text");
  if (/^[\w.-]+(:\d+)?$/.test(text)) return parts.set("endpoint", text);
  for (const part of text.split(";")) {
    // A key may hold further equals signs.
    const at = part.indexOf("=");
    if (at > 0) parts.set(part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim());
  }
  return parts;
}

function hostOf(parts: Map<string, string>): string {
  const host = /^(?:(?:sb|amqps?|https?):\/\/)?([\w.-]+(?::\d+)?)\/?$/.exec(parts.get("endpoint") ?? "")?.[1];
  if (host === undefined) throw new TypeError('Cannot use connection string: it has no "Endpoint=sb://HOST/"');
  return host;
}

function tokensOf(parts: Map<string, string>, { credential, ttlMs = TTL_MS }: AzureOptions): ClaimsOptions["token"] {
  if (credential !== undefined) checkFunction("use azure", '"getToken" of the credential', credential.getToken);
  if (credential !== undefined) return async () => await entraToken(credential);
  const signature = parts.get("sharedaccesssignature");
  if (signature !== undefined) {
    const expiry = Number(/[&?]se=(\d+)/.exec(signature)?.[1]);
    const expiresAt = Number.isNaN(expiry) ? {} : { expiresAt: new Date(expiry * 1_000) };
    return () => ({ token: signature, type: SAS, ...expiresAt });
  }
  const [name, key] = [parts.get("sharedaccesskeyname"), parts.get("sharedaccesskey")];
  if (name === undefined || key === undefined) {
    throw new TypeError(
      "Cannot use connection string: it has neither SharedAccessKeyName and SharedAccessKey nor SharedAccessSignature; " +
        "give a credential instead",
    );
  }
  return async (audience) => {
    const expiresAt = new Date(Date.now() + ttlMs);
    return { token: await sharedAccessSignature(audience, name, key, expiresAt), type: SAS, expiresAt };
  };
}

async function entraToken(credential: AzureCredential): Promise<ClaimsToken> {
  const given = await credential.getToken(SCOPE);
  if (given === null) throw new TypeError("Cannot put token: the credential has none");
  return { token: given.token, type: "jwt", expiresAt: new Date(given.expiresOnTimestamp) };
}
