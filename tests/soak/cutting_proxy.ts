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

// How long nothing passes before a stalled connection is dropped, in milliseconds.
const STALL_MS = 200;

/** Stands between clients and a server on this machine. */
export class CuttingProxy {
  /** Connections that were cut, by how. */
  readonly cuts: Record<Cut, number> = { rst: 0, fin: 0, stall: 0 };
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #random: Random;
  readonly #port: number;
  #left: number;
  readonly #most: number;

  /** Leads to `port`; `cuts` connections break, each after `most` bytes at the latest, then all hold. */
  constructor(port: number, random: Random, cuts: number, most: number) {
    this.#port = port;
    this.#random = random;
    this.#left = cuts;
    this.#most = most;
  }

  /** Listens; gives the port. */
  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that are still to be cut. */
  get left(): number {
    return this.#left;
  }

  /** Cuts so many more, of connections that are made from now on. */
  more(cuts: number): void {
    this.#left += cuts;
  }

  /** All that were cut. */
  get total(): number {
    return this.cuts.rst + this.cuts.fin + this.cuts.stall;
  }

  /** Drops all connections and takes no more. */
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
        // What stands before the cut arrives.
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
