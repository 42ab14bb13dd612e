/**
 * A broker with two clients, and helpers of its tests.
 *
 * @module
 */

import { adoptReceiver } from "../../src/server/link_requests.ts";
import { type Message, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { linkUp, type LinkUpOptions } from "../client/link_up.ts";

export interface Setup extends AsyncDisposable {
  readonly broker: Broker;
  readonly producer: Connection;
  readonly consumer: Connection;
}

/** Sets up a broker and two clients, all of which end with the test. */
export function setUp(options: BrokerOptions = {}, clients: LinkUpOptions = {}): Setup {
  const broker = new Broker(options);
  return {
    broker,
    producer: linkUp(broker, clients),
    consumer: linkUp(broker, clients),
    [Symbol.asyncDispose]: () => broker.close(),
  };
}

export function encoded(message: Message): Uint8Array {
  const writer = new Writer();
  writeMessage(message, writer);
  return writer.take();
}

/** Sends `count` numbers from `from` on, and waits until all are accepted. */
export async function sendNumbers(connection: Connection, address: string, count: number, from = 0): Promise<void> {
  const sender = connection.sender(address);
  await Promise.all(range(from, from + count).map((i) => sender.send({ body: BigInt(i) })));
  await sender.close();
}

/** Attaches a receiver without a source, to recall the link's earlier source. */
export function recall(connection: Connection, name: string): Receiver {
  const endpoint = connection.defaultSession().endpoint!.attach(ReceiverEndpoint, { name, target: { kind: "target" } });
  return adoptReceiver(connection, endpoint, { credit: "manual" });
}

/** The next `count` deliveries, unsettled. */
export async function take(receiver: Receiver, count: number): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  while (deliveries.length < count) deliveries.push(await receiver.receive());
  return deliveries;
}

/** The numbers that deliveries carry. */
export function numbers(deliveries: readonly Delivery[]): number[] {
  return deliveries.map((delivery) => Number(delivery.message.body));
}

/** The whole numbers from `from` up to, but without, `to`. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** Runs turns of the event loop until a condition of the other side holds. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 0));
}
