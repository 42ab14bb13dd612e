/**
 * Azure Service Bus and Event Hubs: arguments for `connect` from a connection string or a credential.
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
import { checkFunction, checkOptions, checkText, type OptionKinds } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import type { ClaimsOptions, ClaimsToken } from "../client/claims.ts";
import { anonymous } from "../sasl/client.ts";
import type { SaslExchange, SaslMechanism, SaslTarget } from "../sasl/mechanism.ts";

export type { ClaimsOptions, ClaimsToken, SaslExchange, SaslMechanism, SaslTarget };

/** A source of Entra ID tokens, such as a credential of the package `@azure/identity`. */
export interface AzureCredential {
  /** Returns a token for a scope with its expiry in milliseconds since 1970, or null. */
  getToken(scope: string): Promise<{ readonly token: string; readonly expiresOnTimestamp: number } | null>;
}

/** Options of {@linkcode azure}. */
export interface AzureOptions {
  /** The source of Entra ID tokens; with it the namespace's host suffices in place of a connection string. */
  credential?: AzureCredential | undefined;
  /** The carrier: a WebSocket on port 443, or a socket with TLS on port 5671. Default: `"websocket"`. */
  transport?: "websocket" | "socket" | undefined;
  /** Validity of each shared access signature, in milliseconds. Default: 3,600,000. */
  ttlMs?: number | undefined;
}

/** The arguments for `connect`. */
export interface AzureTarget {
  /** The URL for `connect`. */
  readonly url: string;
  /** Options for `connect`, to which others may be added. */
  readonly options: {
    /** ANONYMOUS: the tokens identify the client. */
    readonly auth: SaslMechanism;
    /** The namespace's host. */
    readonly hostname: string;
    /** The WebSocket subprotocol of these services. */
    readonly subprotocols: string[];
    /** Tokens for the addresses in use. */
    readonly claims?: ClaimsOptions;
  };
  /** The queue, topic or event hub named by the connection string, if any. */
  readonly entityPath: string | undefined;
}

const AZURE_KINDS: OptionKinds<AzureOptions> = {
  credential: "object",
  transport: '"websocket" or "socket"',
  ttlMs: "number",
};
const TTL_MS = 3_600_000;

// A year: no service accepts more, and a wrong clock would go unnoticed.
const MAX_TTL_MS = 31_536_000_000;

/**
 * Reads a connection string of Service Bus or Event Hubs, or of an emulator; or takes a namespace's host and a credential.
 *
 * A token is made for each address in use, and renewed before it expires. The key is never sent.
 *
 * @throws {TypeError} If the text is neither, or has no credentials, or an option does not exist or is of the wrong kind. The
 * error does not show the text.
 * @throws {RangeError} If `ttlMs` is not above 0 and at most a year.
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
    // The management node of Event Hubs requires the token of one hub.
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
 * Makes a shared access signature: a token for all addresses below `audience`.
 *
 * @throws {TypeError} If the page has no WebCrypto.
 * @throws {RangeError} If `expiresAt` is an invalid date.
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
  checkText("use connection string", "it", text);
  // As of a file for `docker --env-file`, which keeps them.
  if (/^\s*["']/.test(text)) {
    throw new TypeError("Cannot use connection string: it is in quotation marks, take them off");
  }
  if (/^[\w.-]+(:\d+)?$/.test(text)) return parts.set("endpoint", text);
  for (const part of text.split(";")) {
    // A key may contain equals signs.
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
  if (!name || !key) {
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
