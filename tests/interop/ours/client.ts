/**
 * Our client, as actions.
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
  type Receiver,
  type ReceiverOptions,
  type ReceiverSettleMode,
  resume,
  TransportError,
} from "../../../mod.ts";
import { browse, durableSubscription, selector, sharedSubscription } from "../../../src/filters/mod.ts";
import { scram } from "../../../src/sasl/mod.ts";
import { faulty } from "../../../src/testing/mod.ts";
import { dialAny } from "../../../src/transport/dial.ts";
import { isPattern, pattern } from "../pattern.ts";

/** A broker and an address, with the options that JSON can carry. */
export interface Place {
  readonly url: string;
  /** The address to send to and to receive from. */
  readonly address: string;
  readonly options?: PlaceOptions;
}

type Carried = "tls" | "proxy" | "transport" | "idleTimeOut" | "hostname" | "containerId" | "desiredCapabilities";

/** The connection options that JSON can carry. */
export interface PlaceOptions extends Pick<ConnectOptions, Carried> {
  /** False to end with the transport. */
  readonly reconnect?: false;
  /** Headers of the upgrade. */
  readonly headers?: Readonly<Record<string, string>>;
  /** User name and password for SCRAM. */
  readonly scram?: readonly [username: string, password: string];
}

/** The report of an error. */
export interface Failure {
  /** The code or condition. */
  readonly code: string;
  /** The HTTP status, if any. */
  readonly status: number | null;
  readonly message: string;
}

/** The client's actions. */
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

  /** Sends every section that a message can have and receives it unchanged; some brokers do not accept lists. */
  sections: (
    place: Place,
    { lists, durable = true }: { lists: boolean; durable?: boolean | undefined },
  ): Promise<void> =>
    connected(place, async (connection) => {
      const [sender, receiver] = [connection.sender(place.address), connection.receiver(place.address)];
      const exchanged = async (message: Message): Promise<DecodedMessage> => {
        const [delivery] = await Promise.all([receiver.receive(), sender.send(message)]);
        delivery.accept();
        return delivery.message;
      };
      const { properties, applicationProperties } = await exchanged({
        header: { durable },
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

  /**
   * Sends four messages and settles those received in these ways; returns their bodies, a `!` on those delivered before.
   */
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

  /** Sends and receives a body of this size; true if it is unchanged. */
  large: (place: Place, size: number): Promise<boolean> =>
    connected(place, async (connection) => {
      const [delivery] = await Promise.all([
        connection.receiver(place.address, { credit: 1 }).receive(),
        connection.sender(place.address).send({ body: pattern(size) }),
      ]);
      delivery.accept();
      return isPattern(delivery.message.bytes(), size);
    }),

  /** Streams a body of this size both ways; true if it is unchanged. */
  streamed: (place: Place, size: number, pieces: "one" | "many" = "many"): Promise<boolean> =>
    connected(place, async (connection) => {
      const receive = async (): Promise<boolean> => {
        const delivery = await connection.receiver(place.address, { credit: 1, stream: true }).receive();
        const whole = new Uint8Array(size);
        let at = 0;
        for await (const part of delivery.stream()) {
          if (at + part.length <= size) whole.set(part, at);
          at += part.length;
        }
        delivery.accept();
        return at === size && isPattern(whole, size);
      };
      const body = pieces === "one" ? onePiece(pattern(size)) : new Blob([pattern(size)]).stream();
      const [isWhole] = await Promise.all([receive(), connection.sender(place.address).stream({ body })]);
      return isWhole;
    }),

  /** Sends and receives many messages at once; returns how many came, up to the first that was out of order. */
  many: (place: Place, count: number): Promise<number> =>
    connected(place, async (connection) => {
      const bodies = Array.from({ length: count }, (_, i) => ({ body: `${i}` }));
      const receive = async (): Promise<number> => {
        let received = 0;
        for await (const delivery of connection.receiver(place.address, { credit: 200 })) {
          delivery.accept();
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

  /** Receives messages; returns their bodies, maps as objects. */
  receive: (place: Place, count: number): Promise<unknown[]> =>
    connected(place, async (connection) => {
      const bodies: unknown[] = [];
      for await (const delivery of connection.receiver(place.address)) {
        const { body } = delivery.message;
        bodies.push(body instanceof Map ? Object.fromEntries(body) : body);
        // Leaving the loop by `break` would return the last one.
        delivery.accept();
        if (bodies.length === count) break;
      }
      return bodies;
    }),

  /** Sends a request; returns the answer. */
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

  /** Connects and waits until the connection breaks, or for `forMs`; returns how it broke. */
  idle: ({ url, options }: Omit<Place, "address">, forMs: number): Promise<Failure | null> =>
    connected({ url, address: "", options: { ...options, reconnect: false } }, async (connection) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, forMs);
      await Promise.race([connection.closed, promise]);
      clearTimeout(timer);
      return connection.error === undefined ? null : failureOf(connection.error);
    }),

  /** Sends 1 to 4, and receives those that the selector takes. */
  select: (place: Place, expression: string): Promise<string[]> =>
    connected(place, async (connection) => {
      const sender = connection.sender(place.address);
      for (const n of [1, 2, 3, 4]) await sender.send({ body: `${n}`, applicationProperties: { n } });
      return await texts(connection, { address: place.address, source: { filter: selector(expression) } }, 2);
    }),

  /** Browses a queue, then takes its messages. */
  look: (place: Place): Promise<{ seen: string[]; taken: string[] }> =>
    connected(place, async (connection) => {
      const sender = connection.sender(place.address);
      for (const body of ["a", "b"]) await sender.send({ body });
      const seen = await texts(connection, { address: place.address, ...browse() }, 2);
      return { seen, taken: await texts(connection, { address: place.address }, 2) };
    }),

  /** Subscribes, leaves while a message is published, comes back; returns what waited. */
  async subscribe({ url, address, options }: Place): Promise<string[]> {
    const settings = { address, ...durableSubscription("interop") };
    settings.source = { ...settings.source, capabilities: [...settings.source.capabilities ?? [], "topic"] };
    const containerId = `interop-${address}`;
    const first = await connect(url, { ...optionsOf(options), containerId });
    const subscription = first.receiver(settings);
    await subscription.ready();
    await subscription.detach();
    await first.sender({ address, target: { capabilities: ["topic"] } }).send({ body: "while away" });
    await first.close();
    await using second = await connect(url, { ...optionsOf(options), containerId });
    return await texts(second, settings, 1);
  },

  /** Publishes to two receivers that share a subscription; returns the number of messages of both. */
  share: (place: Place, count: number): Promise<number> =>
    connected(place, async (connection) => {
      const settings = (instance: number): ReceiverOptions => {
        const { name, source } = sharedSubscription("interop", { instance });
        const capabilities = [...source.capabilities ?? [], "topic"];
        return { address: place.address, name: name!, source: { ...source, capabilities } };
      };
      let received = 0;
      const { promise, resolve } = Promise.withResolvers<void>();
      const receivers = [1, 2].map((instance) => connection.receiver(settings(instance)));
      await Promise.all(receivers.map((receiver) => receiver.ready()));
      for (const receiver of receivers) void receiver.serve(() => ++received === count ? resolve() : undefined);
      const sender = connection.sender({ address: place.address, target: { capabilities: ["topic"] } });
      await sender.sendAll(Array.from({ length: count }, (_, n) => ({ body: `${n}` })));
      await promise;
      return received;
    }),

  /** Takes a message and sends one in a transaction; returns the messages in the queue after it. */
  transact: (place: Place, commit: boolean): Promise<string[]> =>
    connected(place, async (connection) => {
      const transaction = await connection.transaction();
      await transaction.send(connection.sender(place.address), { body: "in" });
      await (commit ? transaction.commit() : transaction.rollback());
      const receiver = connection.receiver({ address: place.address, credit: "manual" });
      const found = await drained(receiver);
      await receiver.close();
      return found;
    }),

  /** Sends `count` messages and drains them. */
  drain: (place: Place, count: number): Promise<number> =>
    connected(place, async (connection) => {
      await connection.sender(place.address).sendAll(Array.from({ length: count }, (_, n) => ({ body: `${n}` })));
      const receiver = connection.receiver({ address: place.address, credit: "manual" });
      return (await drained(receiver)).length;
    }),

  /** Sends one message that expires and one that does not; returns the rest after the expiry. */
  expire: (place: Place): Promise<string[]> =>
    connected(place, async (connection) => {
      const sender = connection.sender(place.address);
      await sender.send({ body: "goes", header: { ttl: 100 } });
      await sender.send({ body: "stays" });
      // Brokers look by their own clock, and none reports it.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      return await drained(connection.receiver({ address: place.address, credit: "manual" }));
    }),

  /** Returns a message as a failed attempt; resolves with the delivery counts that it comes with. */
  attempts: (place: Place): Promise<number[]> =>
    connected(place, async (connection) => {
      await connection.sender(place.address).send({ body: "again" });
      const receiver = connection.receiver({ address: place.address, credit: 1 });
      const first = await receiver.receive();
      const counts = [first.message.header?.deliveryCount ?? 0];
      first.modify({ deliveryFailed: true });
      const second = await receiver.receive();
      counts.push(second.message.header?.deliveryCount ?? 0);
      second.accept();
      return counts;
    }),

  /** One message through each of many queues at the same time. */
  wide: (place: Place, count: number): Promise<number> =>
    connected(place, async (connection) => {
      const through = async (n: number): Promise<void> => {
        const address = `${place.address}-${n}`;
        const receiver = connection.receiver({ address, credit: 1 });
        await connection.sender(address).send({ body: `${n}` });
        const delivery = await receiver.receive();
        assertEquals(delivery.message.text(), `${n}`);
        delivery.accept();
      };
      await Promise.all(Array.from({ length: count }, (_, n) => through(n)));
      return count;
    }),

  /** Sends messages one by one, slowly enough that a broker can be killed meanwhile; returns how many were accepted. */
  async keepSending(
    { url, address, options }: Omit<Place, "url"> & { url: string | string[] },
    count: number,
  ): Promise<number> {
    await using connection = await connect(url, {
      ...optionsOf(options),
      reconnect: { initial: true, initialDelayMs: 100 },
    });
    const sender = connection.sender({ address, target: { durable: "unsettled-state" } });
    let accepted = 0;
    for (let n = 0; n < count; n++) {
      await sender.send({ header: { durable: true }, body: `${n}` });
      accepted++;
    }
    return accepted;
  },

  /**
   * Sends and receives messages on links that resume, over connections that break after so many bytes; returns how many
   * were accepted, how many different ones came, for all of which it waits if the broker keeps them, and why links were not
   * resumed.
   */
  async resumed(
    { url, address, options }: Place,
    count: number,
    keeps: boolean,
    rcvSettleMode: ReceiverSettleMode = "second",
  ): Promise<[number, number, string[]]> {
    const cuts = [1_500, 2_500, 3_500, 5_000].map((bytes, i) => ({
      [i % 2 === 0 ? "cutAfterIn" : "cutAfterOut"]: bytes,
    }));
    await using connection = await connect(url, {
      ...optionsOf(options),
      containerId: `container-${address}`,
      reconnect: { initial: true, initialDelayMs: 20 },
      log: null,
      dial: async (url, settings) => faulty(await dialAny(url, settings), cuts.shift() ?? {}),
    });
    const reasons = new Set<string>();
    (async () => {
      for await (const event of connection.events()) {
        if (event.kind === "linkResumed" && event.reason !== undefined) reasons.add(event.reason);
      }
    })();
    const recovery = resume({ timeout: 30 });
    const seen = new Set<string>();
    const receiver = connection.receiver({ address, name: `in-${address}`, credit: 5, recovery, rcvSettleMode });
    const all = Promise.withResolvers<void>();
    receiver.serve(({ message }) => {
      seen.add(message.text());
      if (seen.size === count) all.resolve();
    });
    const sender = connection.sender({ address, name: `out-${address}`, recovery, rcvSettleMode });
    const sends = Array.from({ length: count }, (_, n) => sender.send({ body: `${n} ${"x".repeat(100)}` }));
    const accepted = (await Promise.all(sends)).filter((outcome) => outcome?.kind === "accepted").length;
    if (keeps) await all.promise;
    return [accepted, seen.size, [...reasons]];
  },

  /** Takes the messages of a queue, until none comes for a second. */
  receiveAll: (place: Place): Promise<string[]> =>
    connected(place, async (connection) => {
      const receiver = connection.receiver(place.address);
      const all: string[] = [];
      for (;;) {
        const delivery = await receiver.receive({ signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
        if (delivery === undefined) return all;
        all.push(delivery.message.text());
        delivery.accept();
      }
    }),

  /** Connects twice as a container that may have one connection only; returns the error of the second. */
  sole: ({ url, options }: Omit<Place, "address">): Promise<Failure> => {
    const only = { ...options, containerId: "sole", desiredCapabilities: ["sole-connection-for-container"] };
    return connected({ url, address: "", options: only }, () => client.failure({ url, options: only }));
  },

  /** Connects, which has to fail; returns the error. */
  async failure({ url, options }: Omit<Place, "address">): Promise<Failure> {
    try {
      const connection = await connect(url, optionsOf(options));
      await connection.close();
    } catch (error) {
      return failureOf(error);
    }
    throw new Error("It did not fail");
  },
};

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

// The bodies of `count` messages, each accepted.
async function texts(connection: Connection, settings: ReceiverOptions, count: number): Promise<string[]> {
  const receiver = connection.receiver(settings);
  const found: string[] = [];
  while (found.length < count) {
    const delivery = await receiver.receive();
    found.push(delivery.message.text());
    delivery.accept();
  }
  await receiver.close();
  return found;
}

// The bodies of the messages available now.
async function drained(receiver: Receiver): Promise<string[]> {
  await receiver.ready();
  receiver.grant(50);
  await receiver.drain();
  const found: string[] = [];
  while (receiver.buffered > 0) {
    const delivery = await receiver.receive();
    found.push(delivery.message.text());
    delivery.accept();
  }
  return found;
}

/** The connection options from JSON. */
export function optionsOf({ scram: login, ...options }: PlaceOptions = {}): ConnectOptions {
  return login === undefined ? options : { ...options, auth: scram(login[0], login[1]) };
}

async function connected<T>({ url, options }: Place, use: (connection: Connection) => Promise<T>): Promise<T> {
  await using connection = await connect(url, optionsOf(options));
  return await use(connection);
}

function failureOf(error: unknown): Failure {
  const { message } = error as Error;
  if (error instanceof AmqpError) return { code: error.condition, status: null, message };
  if (error instanceof TransportError) return { code: error.code, status: error.status ?? null, message };
  return { code: String(error), status: null, message };
}
