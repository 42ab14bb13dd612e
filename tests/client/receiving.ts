/**
 * Connections whose peer has messages for every receiver.
 *
 * @module
 */

import type { OutcomeError } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Message } from "../../src/codec/message.ts";
import { type Acceptor, acceptor } from "../../src/server/acceptor.ts";
import { linkUp, type LinkUpOptions } from "./link_up.ts";
import { VirtualTime } from "./virtual.ts";

/** Messages whose bodies are the numbers from 0. */
export function numbered(count: number): Message[] {
  return Array.from({ length: count }, (_, i) => ({ body: BigInt(i) }));
}

export interface Receiving {
  readonly connection: Connection;
  readonly server: Acceptor;
  /** The peer's senders, in the order in which they were attached. */
  readonly senders: Sender[];
  /** The outcome of each message, for the sender that had it last. */
  readonly outcomes: string[];
  readonly entries: LogEntry[];
  readonly time: VirtualTime;
}

/** A connection in virtual time whose peer sends `messages` to every receiver. */
export function receiving(
  messages: readonly (Message | Uint8Array)[],
  settled = false,
  options: LinkUpOptions = {},
): Receiving {
  const outcomes: string[] = [];
  const senders: Sender[] = [];
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  const server = acceptor({
    environment: time,
    onSender: (request) => {
      const sender = request.accept();
      senders.push(sender);
      messages.forEach((message, i) =>
        sender.send(message, { settled }).then(
          () => outcomes[i] = "accepted",
          (error: OutcomeError) => outcomes[i] = error.outcome ?? "unsent",
        )
      );
    },
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry), ...options });
  return { connection, server, outcomes, senders, entries, time };
}

/** A connection to a broker whose queue `orders` has so many messages. */
export async function queue(
  count: number,
  options: LinkUpOptions = {},
): Promise<{ broker: Broker; connection: Connection }> {
  const broker = new Broker({ queues: { orders: { maxDeliveries: 5, deadLetter: "dead" } } });
  const connection = linkUp(broker, options);
  await connection.sender("orders").sendAll(numbered(count));
  return { broker, connection };
}
