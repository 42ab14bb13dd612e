/**
 * Whether something speaks for Node's own WebSocket, although a socket of ours is faster.
 *
 * It connects through the dispatcher of Node's `fetch`, which is made on first use unless there is one already. One that goes
 * through the proxies of the environment (NODE_USE_ENV_PROXY), or that the program has set with a proxy or with terms of
 * TLS, is there for a reason.
 */
export function hasOwnDispatcher(): boolean {
  const dispatcher = (globalThis as { [key: symbol]: unknown })[Symbol.for("undici.globalDispatcher.1")];
  if (typeof dispatcher !== "object" || dispatcher === null) return false;
  const key = Object.getOwnPropertySymbols(dispatcher).find(({ description }) => description === "options");
  if (dispatcher.constructor.name !== "Agent" || key === undefined) return true;
  return (dispatcher as { [key: symbol]: { connect?: unknown } })[key]?.connect !== undefined;
}
