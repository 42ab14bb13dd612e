import { isNode } from "./detect.ts";

/**
 * Whether something speaks for Node's own WebSocket, although a socket of ours is faster.
 *
 * It connects through the dispatcher of Node's `fetch`, which is made on first use unless there is one already. One that goes
 * through the proxies of the environment (NODE_USE_ENV_PROXY), or that the program has set with a proxy or with terms of
 * TLS, is there for a reason.
 */
export function hasOwnDispatcher(): boolean {
  if (!isNode()) return false;
  const host = globalThis as { [key: symbol]: Dispatcher | undefined };
  const first = host[Symbol.for("undici.globalDispatcher.1")];
  // From its version 8 on undici keeps its own elsewhere, and wraps it here for those before it.
  const dispatcher = first?.constructor.name === "Dispatcher1Wrapper"
    ? host[Symbol.for("undici.globalDispatcher.2")]
    : first;
  if (dispatcher === undefined) return false;
  const key = Object.getOwnPropertySymbols(dispatcher).find(({ description }) => description === "options");
  if (dispatcher.constructor.name !== "Agent" || key === undefined) return true;
  // Composed with interceptors, it answers with a `dispatch` that is not its class's.
  const { dispatch } = Object.getPrototypeOf(dispatcher) as Dispatcher;
  return dispatcher.dispatch !== dispatch || dispatcher[key]?.connect !== undefined;
}

interface Dispatcher {
  readonly dispatch: unknown;
  readonly [key: symbol]: { readonly connect?: unknown } | undefined;
}
