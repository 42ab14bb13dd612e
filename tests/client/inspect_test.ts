import { assert, assertEquals } from "@std/assert";
import { inspect } from "node:util";
import { Broker } from "../../src/broker/broker.ts";
import { plain } from "../../src/sasl/client.ts";
import { connect } from "../../src/client/connect.ts";
import { listen } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

/** The texts of the runtime's own `console.log` and of `inspect` of node:util. */
function shown(value: unknown): string[] {
  const { Deno, Bun } = globalThis as unknown as Record<string, { inspect(value: unknown): string } | undefined>;
  return [inspect(value), (Deno ?? Bun)?.inspect(value) ?? inspect(value)].map((text) => text.replace(/\s+/g, " "));
}

test("inspect: connection, session, sender, receiver and delivery show what one would ask, and no secret", async () => {
  const broker = new Broker({ sasl: { users: { shop: "s3cret" } } });
  const connection = linkUp(broker, {
    auth: plain("shop", "s3cret"),
    containerId: "till",
  });
  const session = connection.session();
  const sender = session.sender("orders");
  await sender.send({ body: { coffee: 1 }, properties: { messageId: "m1" } });
  const receiver = session.receiver("orders", { credit: 7 });
  const delivery = await receiver.receive();
  const expected: [unknown, string, string[]][] = [
    [connection, "Connection {", ['state: "open"', 'containerId: "till"', "sessions: 1", "links: 2", "host:"]],
    [session, "Session {", ['state: "open"', "links: 2"]],
    [sender, "Sender {", ['address: "orders"', 'state: "attached"', "credit:", "pending: 0"]],
    [receiver, "Receiver {", ['address: "orders"', "credit: 6", "buffered: 0", "unsettled: 1"]],
    [delivery, "Delivery {", ['state: "unsettled"', "orders", "m1", "bytes:"]],
  ];
  for (const [value, start, parts] of expected) {
    for (const text of shown(value)) {
      assertEquals(text.slice(0, start.length), start);
      for (const part of parts) assert(text.replaceAll("'", '"').includes(part), `${part} in ${text}`);
      assert(!text.includes("s3cret"), text);
      assert(text.length < 1_000, text);
    }
    // As loggers print it.
    const json = JSON.stringify(value);
    for (const part of parts) {
      const bare = (text: string): string => text.replaceAll('"', "").replaceAll(" ", "");
      assert(bare(json).includes(bare(part)), `${part} in ${json}`);
    }
    assert(!json.includes("s3cret"), json);
  }
  delivery.accept();
  assert(shown(delivery)[0]!.includes("accepted"));
  await connection.close();
  assert(shown(receiver)[0]!.includes("closed"));
});

test("inspect: a broker shows its connections, and its queues with their messages", async () => {
  const queues = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`q${i}`, {}]));
  await using broker = new Broker({ queues, sasl: { users: { shop: "s3cret" } } });
  await using connection = await broker.connect();
  await connection.send("q1", { body: "one coffee" });
  for (const text of [...shown(broker), JSON.stringify(broker)]) {
    const bare = text.replaceAll(/["' ]/g, "");
    for (const part of ["connections:1", "messages:1", "bytes:", "q0:0", "q1:1", "q19:0", "others:10"]) {
      assert(bare.includes(part), `${part} in ${text}`);
    }
    assert(!bare.includes("s3cret") && text.length < 1_000, text);
  }
  assert(shown(broker)[0]!.startsWith("Broker {"));
  assert(!shown(new Broker()).join().includes("others"));
});

test("inspect: what a connection was made with is not shown, be it headers, proxy or certificates", async () => {
  const broker = new Broker();
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
  const headers = { authorization: "s3cret" };
  const connection = await connect(`ws://127.0.0.1:${listener.port}`, { headers, transport: "socket" });
  for (const text of [...shown(connection), JSON.stringify(connection), JSON.stringify({ connection })]) {
    assert(!text.includes("s3cret"), text);
    assert(text.includes("open"), text);
  }
  await connection.close();
  await broker.close();
});
