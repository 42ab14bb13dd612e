/**
 * The server's side of ANONYMOUS, PLAIN and EXTERNAL.
 *
 * @module
 */

import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslServerMechanism } from "./mechanism.ts";

/**
 * Lets everybody in, as nobody in particular; what a client says of itself is not looked at.
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

/** Says whether a user name and a password belong together. */
export type CheckPassword = (username: string, password: string) => boolean | Promise<boolean>;

/**
 * Lets in those whose password `check` takes [rfc4616]; acting as somebody else is not offered.
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

/** Gives the identity that the layer below has proved, or undefined to refuse. */
export type IdentifyExternal<Peer> = (
  authorizationId: string,
  peer: Peer,
) => string | undefined | Promise<string | undefined>;

/**
 * Lets in those whom `identify` knows by what the layer below says of them [rfc4422 A].
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
      // An empty name is no name, nor is null: it would pass for nobody in particular.
      return typeof identity === "string" && identity !== "" ? { identity } : undefined;
    },
  };
}
