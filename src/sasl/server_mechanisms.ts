/**
 * The server's side of ANONYMOUS, PLAIN and EXTERNAL.
 *
 * @module
 */

import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslServerMechanism } from "./mechanism.ts";

/**
 * Accepts every client, as an anonymous one; the client's own `trace` is ignored.
 *
 * @example
 * ```ts
 * import { anonymousServer } from "@webamqp/amqp/sasl";
 * import { acceptor } from "@webamqp/amqp/server";
 *
 * acceptor({ sasl: { mechanisms: [anonymousServer()] } });
 * ```
 */
export function anonymousServer(): SaslServerMechanism {
  return {
    name: "ANONYMOUS",
    // deno-lint-ignore require-yield
    *exchange() {
      return { identity: undefined };
    },
  };
}

/** Checks a user's password; only true accepts the client. */
export type CheckPassword = (username: string, password: string) => boolean | Promise<boolean>;

/**
 * Accepts clients whose password `check` accepts [rfc4616]; a client may act only as itself.
 *
 * @example
 * ```ts
 * import { plainServer } from "@webamqp/amqp/sasl";
 * import { acceptor } from "@webamqp/amqp/server";
 *
 * async function check(username: string, password: string) {
 *   const answer = await fetch("https://users.example/check", { method: "POST", body: JSON.stringify({ username, password }) });
 *   return answer.ok;
 * }
 *
 * acceptor({ sasl: { mechanisms: [plainServer(check)] } });
 * ```
 */
export function plainServer(check: CheckPassword): SaslServerMechanism {
  return {
    name: "PLAIN",
    async *exchange(initialResponse) {
      const parts = decodeUtf8(initialResponse ?? (yield new Uint8Array(0)))?.split("\0");
      if (parts?.length !== 3) return undefined;
      const [authorizationId, username, password] = parts as [string, string, string];
      if (username === "" || (authorizationId !== "" && authorizationId !== username)) return undefined;
      return await check(username, password) === true ? { identity: username } : undefined;
    },
  };
}

/** Returns the identity that the layer below has proved, or undefined to refuse the client. */
export type IdentifyExternal<Peer> = (
  authorizationId: string,
  peer: Peer,
) => string | undefined | Promise<string | undefined>;

/**
 * Accepts clients that `identify` recognizes by the layer below, such as by a TLS client certificate [rfc4422 A].
 *
 * @example
 * ```ts
 * import { externalServer } from "@webamqp/amqp/sasl";
 *
 * const names = new Map([["device-1", "sensors"]]);
 * console.assert(externalServer((authorizationId) => names.get(authorizationId)).name === "EXTERNAL");
 * ```
 */
export function externalServer<Peer>(identify: IdentifyExternal<Peer>): SaslServerMechanism<Peer> {
  return {
    name: "EXTERNAL",
    async *exchange(initialResponse, peer) {
      const authorizationId = decodeUtf8(initialResponse ?? (yield new Uint8Array(0)));
      const identity = authorizationId === undefined ? undefined : await identify(authorizationId, peer);
      // An empty string or null is no identity: it would pass for an anonymous client.
      return typeof identity === "string" && identity !== "" ? { identity } : undefined;
    },
  };
}
