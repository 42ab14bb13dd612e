import { isToken } from "../http/token.ts";

/** The registered name of AMQP 1.0 over WebSocket [wsb 2.1]. */
const DEFAULT_SUBPROTOCOL = "amqp";

/**
 * The names to offer or accept, in order of preference, when the caller gave these.
 *
 * @throws {TypeError} If a name is not a token, comes twice, or there is none: a WebSocket without subprotocol is not AMQP.
 */
export function checkSubprotocols(names: readonly string[] = [DEFAULT_SUBPROTOCOL]): readonly string[] {
  if (names.length === 0) throw new TypeError("Cannot use subprotocols: list is empty");
  for (const [index, name] of names.entries()) {
    if (!isToken(name)) throw new TypeError(`Cannot use subprotocol ${JSON.stringify(name)}: it is not a token`);
    if (names.indexOf(name) < index) throw new TypeError(`Cannot use subprotocol "${name}": it is listed twice`);
  }
  return names;
}
