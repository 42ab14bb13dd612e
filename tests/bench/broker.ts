/**
 * The embedded broker under load, and work on it, or on a client, that must not grow faster than what there is of it.
 *
 * @module
 */

import { connect, type Connection, type Delivery, type Receiver, type Sender } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { listen } from "../../src/transport/sockets.ts";
import { type Contender, type Prepare, SMALL, WINDOW, type Work } from "./bench.ts";
import { heapBytes } from "./memory.ts";

const body = new Uint8Array(SMALL);

/** Settings under which 200,000 messages fit. */
const ROOM = { maxMessages: 500_000, maxBytes: 2 ** 29 };

// One that came back would wait for messages that have gone with the broker.
function dial(url: string): Promise<Connection> {
  return connect(url, { reconnect: false });
}

/** Sends `count` messages, `window` at a time, and waits for each outcome. */
async function send(sender: Sender, count: number, window = WINDOW): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await sender.send({ body });
  };
  await Promise.all(Array.from({ length: Math.min(window, count) }, lane));
}

/**
 * Producers and consumers in this process, each on a connection of its own: `PAIRS` of them on queues of their own, or, with
 * `PAIRS one`, all on one queue. An operation is a message sent, accepted, received and settled.
 */
const through: Prepare = async (url, argument) => {
  const [pairs, shared] = argument.split(" ");
  const names = Array.from({ length: Number(pairs) }, (_, i) => `${crypto.randomUUID()}-${i}`);
  let waiting = 0;
  // A work that fails ends its round, which waits for messages that do not come any more.
  let [done, fail] = [(): void => {}, (_error: unknown): void => {}];
  const senders: Sender[] = [];
  for (const name of names) {
    const address = shared === undefined ? name : names[0]!;
    const [producer, consumer] = await Promise.all([dial(url), dial(url)]);
    const receiver = consumer.receiver({ address, credit: WINDOW });
    await receiver.ready();
    receiver.serve((delivery) => {
      void delivery.message.body;
      if (--waiting === 0) done();
    }).catch((error) => fail(error));
    senders.push(producer.sender(address));
  }
  return async (count) => {
    const each = Math.ceil(count / senders.length);
    waiting = each * senders.length;
    const all = new Promise<void>((resolve, reject) => [done, fail] = [resolve, reject]);
    await Promise.all(senders.map((sender) => send(sender, each)));
    await all;
  };
};

/** Microseconds that each of `size` steps takes. */
async function timed(size: number, steps: () => unknown): Promise<number> {
  const started = performance.now();
  await steps();
  return (performance.now() - started) * 1e3 / size;
}

/** Works with a queue that holds as many messages as the argument says, in a broker of this process. */
function held(
  measure: (connection: Connection, queue: string, size: number, broker: Broker) => Promise<number>,
): Prepare {
  return (_url, argument): Work => async () => {
    const size = Number(argument);
    await using broker = new Broker({ ...ROOM, queue: ROOM });
    await using connection = await broker.connect();
    await send(connection.sender("orders"), size);
    return await measure(connection, "orders", size, broker);
  };
}

async function take(receiver: Receiver, count: number): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  while (deliveries.length < count) deliveries.push(await receiver.receive());
  return deliveries;
}

/** The contender `broker`. */
export const contender: Contender = {
  works: {
    broker: through,
    // All messages go back at once, and are taken again.
    returned: held(async (connection, address, size) => {
      const first = connection.receiver({ address, credit: size, settle: "manual" });
      await take(first, size);
      return await timed(size, async () => {
        await first.close();
        const second = connection.receiver({ address, credit: WINDOW });
        let left = size;
        for await (const _ of second) if (--left === 0) break;
      });
    }),
    // The consumer that has all messages goes away with its connection.
    died: held(async (connection, address, size, broker) => {
      const consumer = await broker.connect();
      await take(consumer.receiver({ address, credit: size, settle: "manual" }), size);
      return await timed(size, async () => {
        consumer.destroy(new Error("It dies"));
        const other = connection.receiver({ address, credit: WINDOW });
        let left = size;
        for await (const _ of other) if (--left === 0) break;
      });
    }),
    // The last one taken goes back first.
    backwards: held(async (connection, address, size) => {
      const receiver = connection.receiver({ address, credit: size, settle: "manual" });
      const deliveries = await take(receiver, size);
      return await timed(size, async () => {
        for (const delivery of deliveries.reverse()) delivery.release();
        await receiver.receive();
      });
    }),
    // One consumer refuses each message for itself, another one takes them.
    refused: held(async (connection, address, size) => {
      const receiver = connection.receiver({ address, credit: WINDOW, settle: "manual" });
      return await timed(size, async () => {
        for (let i = 0; i < size; i++) (await receiver.receive()).modify({ undeliverableHere: true });
        const other = connection.receiver({ address, credit: WINDOW });
        let left = size;
        for await (const _ of other) if (--left === 0) break;
      });
    }),
    "in flight": (_url, argument) => async () => {
      const size = Number(argument);
      await using broker = new Broker({ ...ROOM, queue: ROOM });
      await using connection = await broker.connect();
      const sender = connection.sender("orders");
      await sender.ready();
      return await timed(200_000, () => send(sender, 200_000, size));
    },
    queued: () => async (count) => {
      await using broker = new Broker({ ...ROOM, queue: ROOM });
      await using connection = await broker.connect();
      const sender = connection.sender("orders");
      await sender.ready();
      const before = heapBytes();
      await send(sender, count);
      return (heapBytes() - before) / count;
    },
  },
  async serve() {
    const limits = { maxConnections: 4_000 };
    const { host, port } = await listen({
      host: "127.0.0.1",
      port: 0,
      acceptor: new Broker({ ...ROOM, queue: ROOM }),
      limits,
    });
    return `amqp://${host}:${port}`;
  },
};
