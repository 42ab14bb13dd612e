/**
 * Our client.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  AmqpError,
  connect,
  type Connection,
  type ConnectOptions,
  type DecodedMessage,
  type Message,
  TransportError,
} from "../../../mod.ts";
import { isPattern, pattern } from "../pattern.ts";

/** Where to connect; what of the options JSON can carry. */
export interface Place {
  /** The URL. */
  readonly url: string;
  /** Where messages are sent to and received from. */
  readonly address: string;
  /** How. */
  readonly options?: Pick<ConnectOptions, "headers" | "tls" | "proxy" | "transport" | "idleTimeOut">;
}

/** What is told of an error. */
export interface Failure {
  /** The code or condition. */
  readonly code: string;
  /** The HTTP status, where there was one. */
  readonly status: number | null;
  /** The text. */
  readonly message: string;
}

/** What our client can be asked to do. */
export const client = {
  /** Sends a message and receives it. */
  roundTrip: (place: Place): Promise<void> =>
    connected(place, async (connection) => {
      const body = `one coffee at ${Date.now()}`;
      const [delivery] = await Promise.all([
        connection.receiver(place.address).receive(),
        connection.sender(place.address).send({ body }),
      ]);
      assertEquals(delivery.message.text(), body);
      delivery.accept();
    }),

  /** Sends what a message can hold and receives it unchanged; some brokers cannot take lists. */
  sections: (place: Place, { lists }: { lists: boolean }): Promise<void> =>
    connected(place, async (connection) => {
      const [sender, receiver] = [connection.sender(place.address), connection.receiver(place.address)];
      const exchanged = async (message: Message): Promise<DecodedMessage> => {
        const [delivery] = await Promise.all([receiver.receive(), sender.send(message)]);
        delivery.accept();
        return delivery.message;
      };
      const { properties, applicationProperties } = await exchanged({
        header: { durable: true },
        properties: { messageId: 2n ** 40n, contentType: "text/plain", correlationId: "c", subject: "s", replyTo: "r" },
        applicationProperties: { text: "é", yes: true, half: 0.5 },
        body: "one coffee",
      });
      assertEquals([properties?.messageId, properties?.contentType], [2n ** 40n, "text/plain"]);
      assertEquals([properties?.correlationId, properties?.subject, properties?.replyTo], ["c", "s", "r"]);
      assertEquals({ ...applicationProperties }, { text: "é", yes: true, half: 0.5 });
      const bodies = [
        "é",
        1.5,
        -(2n ** 63n),
        true,
        null,
        new Date(1),
        new Map([["key", 1n]]),
        new Uint8Array([0, 255]),
      ];
      for (const body of [...bodies, ...lists ? [[1, "two", [3n]]] : []]) {
        assertEquals((await exchanged({ body })).body, body);
      }
    }),

  /** Sends four messages and settles what comes in these ways; tells what came, a `!` at what had come before. */
  settle: (place: Place, ways: readonly ("accept" | "release" | "reject")[]): Promise<string[]> =>
    connected(place, async (connection) => {
      const sender = connection.sender(place.address);
      for (const body of ["a", "b", "c", "d"]) await sender.send({ body });
      const receiver = connection.receiver(place.address, { credit: 1 });
      const seen: string[] = [];
      for (const way of ways) {
        const delivery = await receiver.receive();
        const again = delivery.message.header?.firstAcquirer === false || delivery.message.header?.deliveryCount;
        seen.push(`${delivery.message.text()}${again ? "!" : ""}`);
        delivery[way]();
      }
      return seen;
    }),

  /** Sends and receives a body of this size; tells whether it is what was sent. */
  large: (place: Place, size: number): Promise<boolean> =>
    connected(place, async (connection) => {
      const [delivery] = await Promise.all([
        connection.receiver(place.address, { credit: 1 }).receive(),
        connection.sender(place.address).send({ body: pattern(size) }),
      ]);
      delivery.accept();
      return isPattern(delivery.message.bytes(), size);
    }),

  /** Sends and receives many messages at once; tells how many came, up to the first that was out of order. */
  many: (place: Place, count: number): Promise<number> =>
    connected(place, async (connection) => {
      const bodies = Array.from({ length: count }, (_, i) => ({ body: `${i}` }));
      const receive = async (): Promise<number> => {
        let received = 0;
        for await (const delivery of connection.receiver(place.address, { credit: 200 })) {
          if (delivery.message.text() !== `${received}` || ++received === count) break;
        }
        return received;
      };
      const [received] = await Promise.all([receive(), connection.sender(place.address).sendAll(bodies)]);
      return received;
    }),

  /** Sends one message. */
  send: (place: Place, body: string): Promise<void> =>
    connected(place, async (connection) => {
      await connection.sender(place.address).send({ body });
    }),

  /** Receives messages; tells their bodies, maps as objects. */
  receive: (place: Place, count: number): Promise<unknown[]> =>
    connected(place, async (connection) => {
      const bodies: unknown[] = [];
      for await (const { message: { body } } of connection.receiver(place.address)) {
        bodies.push(body instanceof Map ? Object.fromEntries(body) : body);
        if (bodies.length === count) break;
      }
      return bodies;
    }),

  /** Sends a request; tells the answer. */
  request: (place: Place, body: string): Promise<string> =>
    connected(place, async (connection) => (await connection.request(place.address, { body })).text()),

  /** Answers that many requests with their text in capitals. */
  answer: (place: Place, count: number): Promise<void> =>
    connected(place, async (connection) => {
      const enough = new AbortController();
      await connection.receiver(place.address).serve(async ({ message }) => {
        const { replyTo, messageId } = message.properties ?? {};
        const properties = { correlationId: messageId };
        await connection.sender(replyTo!).send({ body: message.text().toUpperCase(), properties });
        if (--count === 0) enough.abort();
      }, { signal: enough.signal });
    }),

  /** Connects and does nothing until the connection breaks, or for so long; tells how it broke. */
  idle: ({ url, options }: Omit<Place, "address">, forMs: number): Promise<Failure | null> =>
    connected({ url, address: "", options }, async (connection) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, forMs);
      await Promise.race([connection.closed, promise]);
      clearTimeout(timer);
      return connection.error === undefined ? null : failureOf(connection.error);
    }),

  /** Connects, which has to fail. */
  async failure({ url, options }: Omit<Place, "address">): Promise<Failure> {
    try {
      const connection = await connect(url, options);
      await connection.close();
    } catch (error) {
      return failureOf(error);
    }
    throw new Error("It did not fail");
  },
};

async function connected<T>({ url, options }: Place, use: (connection: Connection) => Promise<T>): Promise<T> {
  await using connection = await connect(url, options);
  return await use(connection);
}

function failureOf(error: unknown): Failure {
  const { message } = error as Error;
  if (error instanceof AmqpError) return { code: error.condition, status: null, message };
  if (error instanceof TransportError) return { code: error.code, status: error.status ?? null, message };
  return { code: String(error), status: null, message };
}
