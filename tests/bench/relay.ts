/**
 * A slow network.
 *
 * @module
 */

import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { DELAY_MS } from "./bench.ts";

/** The number of round trips in a time; the rest is work at both ends, and late timers. */
export function roundTrips(elapsedMs: number): number {
  return Math.floor(elapsedMs / (2 * DELAY_MS));
}

/** Relays TCP to the port of a URL with `delayMs` each way; a new connection takes a round trip. */
export async function startRelay(target: string, delayMs: number = DELAY_MS): Promise<{ url: string; close(): void }> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    // Loopback connects at once: the time of SYN and its answer is added to the first bytes.
    const open = performance.now() + 2 * delayMs;
    pass(near, far, () => Math.max(0, open - performance.now()) + delayMs);
    pass(far, near, () => delayMs);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function pass(from: Socket, to: Socket, delay: () => number): void {
  from.on("data", (bytes) => setTimeout(() => to.writable && to.write(bytes), delay()));
  from.on("end", () => setTimeout(() => to.end(), delay()));
}
