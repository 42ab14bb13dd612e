/**
 * A client whose broker can be cut off, in virtual time.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import { type Acceptor, acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

/** A client in virtual time, and its events so far. */
export interface ClientWorld {
  readonly time: VirtualTime;
  readonly network: VirtualNetwork;
  readonly connection: Connection;
  readonly events: ConnectionEvent[];
}

/** A client of brokers that the test can start and cut off. */
export interface BrokerWorld extends ClientWorld {
  readonly brokers: Map<string, Broker>;
  start(host: string): Broker;
  kinds(): ConnectionEvent["kind"][];
}

export function engineOf(connection: Connection): ConnectionEndpoint {
  return (connection as unknown as { attachment: { endpoint: ConnectionEndpoint } }).attachment.endpoint;
}

/** A client in virtual time, and a broker behind each of two hosts. */
export async function world(options: ConnectOptions = {}, hosts: string[] = ["a"]): Promise<BrokerWorld> {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const brokers = new Map<string, Broker>();
  const start = (host: string): Broker => {
    const broker = new Broker({ queues: { orders: {}, done: {} }, environment: time } as object);
    brokers.set(host, broker);
    network.up(host, (channel) => broker.accept(channel));
    return broker;
  };
  hosts.forEach(start);
  const connection = await time.wait(
    connect(hosts.map((host) => `ws://${host}/`), { environment: time, dial: network.dial, ...options }),
  );
  const events: ConnectionEvent[] = [];
  void (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  return { time, network, brokers, start, connection, events, kinds: () => events.map(({ kind }) => kind) };
}

export async function end(connection: Connection, time: VirtualTime): Promise<void> {
  await time.wait(connection.close());
  await time.pass(10_000);
  assertEquals(time.pending, 0);
}

/** A client of a scripted server, whose links the test can end. */
export async function scripted(
  options: AcceptorOptions,
  more: ConnectOptions = {},
): Promise<ClientWorld & { readonly server: Acceptor }> {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, ...options } as AcceptorOptions);
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, ...more }));
  const events: ConnectionEvent[] = [];
  void (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  return { time, network, server, connection, events };
}
