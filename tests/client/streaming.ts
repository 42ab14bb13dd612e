/**
 * A client that receives streams, and what tests of it have in common.
 *
 * @module
 */

import { concat } from "@std/bytes";
import type { Connection } from "../../src/client/connection.ts";
import type { Sender } from "../../src/client/sender.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { linkUp, type LinkUpOptions } from "./link_up.ts";

export interface Joined {
  readonly client: Connection;
  /** The peer's sender of each attached receiver. */
  readonly senders: Sender[];
}

/** A client whose peer has a sender for each of its receivers. */
export function joined(options: LinkUpOptions = {}, accept: (sender: Sender) => void = () => {}): Joined {
  const senders: Sender[] = [];
  const server = acceptor({
    onSender: (request) => {
      const sender = request.accept();
      senders.push(sender);
      accept(sender);
    },
    maxFrameSize: options.maxFrameSize,
  });
  return { client: linkUp(server, options), senders };
}

export function bytes(length: number, salt = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + salt) & 0xff);
}

export async function read(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return concat(parts);
}

export const turn = (): Promise<void> => new Promise<void>((resolve) => setTimeout(resolve));

export async function settle(rounds = 20): Promise<void> {
  for (let i = 0; i < rounds; i++) await turn();
}
