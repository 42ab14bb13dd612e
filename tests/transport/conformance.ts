/**
 * The tests that every transport has to pass.
 *
 * @module
 */

import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  AmqpError,
  condition,
  connect,
  type ConnectOptions,
  OutcomeError,
  plain,
  publish,
  TransportError,
} from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import type { Channel, PeerInfo } from "../../src/transport/channel.ts";
import { random, seed, test } from "../harness.ts";

/** A service that accepts channels. */
export interface Service {
  accept(channel: Channel, info?: PeerInfo): unknown;
}

/** An open transport from clients to a service. */
export interface Way extends AsyncDisposable {
  readonly url: string;
  /** The client's options for this transport. */
  readonly options?: Pick<ConnectOptions, "headers" | "tls" | "proxy" | "transport">;
}

/** A transport under test. */
export interface Transport {
  readonly name: string;
  /** Connects clients to a service. */
  open(service: Service): Promise<Way>;
}

/** Registers the tests of one transport. */
export function conformance({ name, open }: Transport): void {
  test(`${name}: PLAIN lets in with the right password only`, async () => {
    await using broker = new Broker({ sasl: { users: { user: "secret" } } });
    await using way = await open(broker);
    const { url, options } = way;
    {
      await using connection = await connect(url, { ...options, auth: plain("user", "secret") });
      assertEquals([...broker.connections].map((one) => one.identity), ["user"]);
      assertEquals(connection.open, true);
    }
    const refused = connect(url, { ...options, auth: plain("user", "s3cret") });
    const error = await assertRejects(() => refused, AmqpError);
    assertEquals(error.condition, condition.unauthorizedAccess);
    await broker.close();
  });

  test(`${name}: send, receive, settle with each outcome, drain`, async () => {
    await using broker = new Broker();
    await using way = await open(broker);
    {
      await using connection = await connect(way.url, way.options);
      const sender = connection.sender("q");
      for (const body of ["accepted", "rejected", "released", "modified"]) await sender.send({ body });
      const receiver = connection.receiver("q", { credit: 10, settle: "manual" });
      const took: string[] = [];
      for (let turn = 0; turn < 6; turn++) {
        const delivery = await receiver.receive();
        const text = delivery.message.text();
        took.push(text);
        if (text === "accepted") delivery.accept();
        else if (text === "rejected") delivery.reject(new AmqpError(condition.notAllowed, "no"));
        else if (took.indexOf(text) < turn) delivery.accept();
        else if (text === "released") delivery.release();
        else delivery.modify({ deliveryFailed: true });
      }
      assertEquals(took.sort(), ["accepted", "modified", "modified", "rejected", "released", "released"]);
      await receiver.drain();
    }
    await broker.close();
  });

  test(`${name}: an outcome that is not accepted is an error with its reason`, async () => {
    const strict = acceptor({
      onReceiver: (request) => {
        void request.accept().serve((delivery) =>
          delivery.reject(new AmqpError(condition.notAllowed, "no such thing"))
        );
      },
    });
    await using way = await open(strict);
    const error = await assertRejects(() => publish(way.url, "q", { body: 1 }, way.options), OutcomeError);
    assertEquals([error.outcome, error.condition, error.remote], ["rejected", condition.notAllowed, true]);
    await strict.close();
  });

  test(`${name}: messages of any size, both ways at once`, async () => {
    await using broker = new Broker();
    await using way = await open(broker);
    const { bytes, int } = random(seed());
    const bodies = [0, 1, 65_000, 65_536, 300_000, int(1_000_000), 3_000_000].map((size) => bytes(size));
    {
      await using connection = await connect(way.url, way.options);
      const sent = connection.sender("q").sendAll(bodies.map((body) => ({ body })));
      let next = 0;
      for await (const delivery of connection.receiver("q", { credit: 2 })) {
        const body = delivery.message.bytes();
        assertEquals(body.length, bodies[next]!.length);
        assertEquals(body.findIndex((byte, index) => byte !== bodies[next]![index]), -1);
        if (++next === bodies.length) break;
      }
      assertEquals(await sent, bodies.length);
    }
    await broker.close();
  });

  test(`${name}: a request finds its answer`, async () => {
    await using broker = new Broker();
    await using way = await open(broker);
    {
      await using service = await connect(way.url, way.options);
      await using client = await connect(way.url, way.options);
      const replies = service.sender({});
      void service.receiver("echo").serve(async ({ message }) => {
        const { replyTo: to, messageId: correlationId } = message.properties!;
        await replies.send({ properties: { to, correlationId }, body: message.text().toUpperCase() });
      }).catch(() => {});
      assertEquals((await client.request("echo", { body: "hello" })).text(), "HELLO");
    }
    await broker.close();
  });

  test(`${name}: an abort ends connecting, and a send`, async () => {
    const silent = acceptor({ onReceiver: () => {} });
    await using way = await open(silent);
    await assertRejects(
      () => connect(way.url, { ...way.options, signal: AbortSignal.abort(new Error("not now")) }),
      Error,
      "not now",
    );
    const connecting = new AbortController();
    const attempt = connect(way.url, { ...way.options, signal: connecting.signal });
    connecting.abort(new Error("too late"));
    await assertRejects(() => attempt, Error, "too late");
    {
      await using connection = await connect(way.url, way.options);
      const sending = new AbortController();
      const sent = connection.sender("q").send({ body: 1 }, { signal: sending.signal });
      sending.abort(new Error("enough"));
      await assertRejects(() => sent, Error, "enough");
    }
    await silent.close();
  });

  test(`${name}: an end without a goodbye ends what waits`, async () => {
    const accepted: Channel[] = [];
    const server = acceptor({ onSender: (request) => void request.accept() });
    await using way = await open({
      accept: (channel) => {
        accepted.push(channel);
        return server.accept(channel);
      },
    });
    const connection = await connect(way.url, { ...way.options, reconnect: false });
    const receiver = connection.receiver("q");
    await receiver.ready();
    const waiting = receiver.receive();
    accepted[0]!.close(1001);
    const error = await assertRejects(() => waiting, TransportError);
    assertInstanceOf(error, TransportError);
    assertEquals(error.code, "connection-lost");
    await connection.closed;
    await server.close();
  });
}
