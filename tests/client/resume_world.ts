/**
 * A client and a broker in virtual time, and stores of unsettled deliveries.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import type { UnsettledDelivery, UnsettledStore } from "../../src/client/recovery.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { type Faults, faulty } from "../../src/testing/mod.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

/** The host of the client's peer. */
export const HOST = "broker.example";

/**
 * A client with a fixed name in virtual time, on a network whose channels `accept` takes; each of the first connections has
 * its faults.
 */
export async function dialling(
  time: VirtualTime,
  accept: (channel: Channel) => void,
  options: ConnectOptions = {},
  cuts: readonly Faults[] = [],
): Promise<{ connection: Connection; network: VirtualNetwork }> {
  const network = new VirtualNetwork();
  network.up(HOST, accept);
  let dialled = 0;
  const connection = await time.wait(connect(`ws://${HOST}`, {
    containerId: "client",
    environment: time,
    log: null,
    dial: (url) => faulty(network.dial(url), cuts[dialled++] ?? {}, time),
    ...options,
  }));
  return { connection, network };
}

export interface World {
  readonly time: VirtualTime;
  readonly network: VirtualNetwork;
  readonly broker: Broker;
  readonly frames: FrameTrace[];
  readonly logged: string[];
  readonly events: ConnectionEvent[];
  readonly connection: Connection;
  cut(): void;
}

/** Runs a test in a world of its own, and checks that nothing is left at the end. */
export async function world(body: (world: World) => Promise<void>, options: BrokerOptions = {}): Promise<void> {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null, ...options });
  const frames: FrameTrace[] = [];
  const logged: string[] = [];
  const { connection, network } = await dialling(time, (channel) => broker.accept(channel), {
    trace: (frame) => void frames.push(frame),
    log: ({ code, message }) => void logged.push(`${code}: ${message}`),
  });
  const events: ConnectionEvent[] = [];
  (async () => {
    for await (const event of connection.events()) events.push(event);
  })();
  try {
    await body({
      time,
      network,
      broker,
      frames,
      logged,
      events,
      connection,
      cut: () => network.cut(HOST),
    });
  } finally {
    await time.wait(connection.close());
    await time.wait(broker.close());
  }
  assertEquals(time.pending, 0);
}

/** A store in memory. */
export class MemoryStore implements UnsettledStore {
  readonly kept: Map<string, UnsettledDelivery> = new Map();
  /** A promise that a call waits for before it does anything. */
  wait: (call: "load" | "put" | "delete") => Promise<void> | undefined = () => undefined;

  async load(link: string): Promise<UnsettledDelivery[]> {
    await this.wait("load");
    return [...this.kept].filter(([key]) => key.startsWith(`${link} `)).map(([, delivery]) => delivery);
  }

  async put(link: string, delivery: UnsettledDelivery): Promise<void> {
    const copy = { ...delivery, payload: delivery.payload.slice() };
    await this.wait("put");
    this.kept.set(`${link} ${delivery.tag}`, copy);
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await this.wait("delete");
    this.kept.delete(`${link} ${tag}`);
  }
}

/** A slow store. */
export class SlowStore extends MemoryStore {
  constructor(time: VirtualTime) {
    super();
    let calls = 0;
    this.wait = () => new Promise((resolve) => time.setTimer(resolve, calls++ % 7));
  }
}
