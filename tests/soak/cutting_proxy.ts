/**
 * A TCP proxy whose connections break at random bytes.
 *
 * @module
 */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Random } from "../harness.ts";

/** How a connection breaks. */
export type Cut = "rst" | "fin" | "stall";

// Milliseconds for which a stalled connection passes nothing before it is dropped.
const STALL_MS = 200;

/** A proxy between clients and a server on this machine. */
export class CuttingProxy {
  /** The cut connections, by kind. */
  readonly cuts: Record<Cut, number> = { rst: 0, fin: 0, stall: 0 };
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #random: Random;
  readonly #port: number;
  #left: number;
  readonly #most: number;

  /** Forwards to `port`; `cuts` connections break, each after `most` bytes at the latest, then all hold. */
  constructor(port: number, random: Random, cuts: number, most: number) {
    this.#port = port;
    this.#random = random;
    this.#left = cuts;
    this.#most = most;
  }

  /** Listens; returns the port. */
  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /** The number of connections still to be cut. */
  get left(): number {
    return this.#left;
  }

  /** Cuts `cuts` more of the connections made from now on. */
  more(cuts: number): void {
    this.#left += cuts;
  }

  /** The number of all cut connections. */
  get total(): number {
    return this.cuts.rst + this.cuts.fin + this.cuts.stall;
  }

  /** Drops all connections and accepts no more. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket): void {
    const server = connect(this.#port, "127.0.0.1");
    const pair = [client, server] as const;
    let room = this.#left > 0 ? 1 + this.#random.int(this.#most) : Infinity;
    let over = false;
    const end = (cut: Cut): void => {
      if (over) return;
      over = true;
      this.#left--;
      this.cuts[cut]++;
      if (cut !== "stall") return drop(cut);
      for (const socket of pair) socket.pause();
      setTimeout(() => drop("fin"), STALL_MS);
    };
    const drop = (cut: Cut): void => {
      for (const socket of pair) {
        if (cut === "rst") socket.resetAndDestroy();
        else {
          socket.end();
          socket.destroySoon();
        }
      }
    };
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on("error", () => {});
      from.on("data", (bytes) => {
        if (over) return;
        const part = bytes.subarray(0, room);
        room -= part.length;
        // Bytes before the cut arrive.
        if (part.length > 0 && !to.write(part) && !over) {
          from.pause();
          to.once("drain", () => from.resume());
        }
        if (room <= 0) end(this.#random.pick(["rst", "fin", "stall"]));
      });
      from.on("close", () => {
        this.#sockets.delete(from);
        if (!over) to.destroy();
      });
    }
  }
}
