/** The runtime's name as it gives it itself, for errors. */
export function runtimeName(): string {
  const agent = userAgent();
  return agent === "" ? "this runtime" : JSON.stringify(agent.slice(0, 100));
}

/** Whether this is Cloudflare Workers, where `fetch` is what opens a WebSocket with headers. */
export function isWorkers(): boolean {
  return userAgent() === "Cloudflare-Workers";
}

function userAgent(): string {
  return (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent ?? "";
}
