/**
 * SASL beyond the client's built-in mechanisms: SCRAM, bearer tokens, one value for several mechanisms, and the server's part
 * of each, for `sasl.mechanisms` of an acceptor or a broker.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { credentials } from "@webamqp/amqp/sasl";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: credentials("user", "pencil") });
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 *
 * @module
 */

export {
  type BearerOptions,
  oauthbearer,
  oauthbearerServer,
  type Token,
  type VerifyToken,
  xoauth2,
  xoauth2Server,
} from "./bearer.ts";
export { bearer, credentials, type CredentialsOptions } from "./credentials.ts";
export type {
  SaslExchange,
  SaslIdentity,
  SaslMechanism,
  SaslServerExchange,
  SaslServerMechanism,
  SaslTarget,
} from "./mechanism.ts";
export { scram, type ScramOptions } from "./scram.ts";
export { type ScramHash, type ScramKeys, scramKeys, type ScramKeysOptions } from "./scram_keys.ts";
export { type FindScramKeys, scramServer, type ScramServerOptions } from "./scram_server.ts";
export {
  anonymousServer,
  type CheckPassword,
  externalServer,
  type IdentifyExternal,
  plainServer,
} from "./server_mechanisms.ts";
