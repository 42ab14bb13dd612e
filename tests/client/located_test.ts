/**
 * Every error of a peer or of the wire names the peer of its connection.
 *
 * @module
 */

import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition, connect, plain, publish } from "../../mod.ts";
import { protocolHeader } from "../../src/codec/frame.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

const url = "wss://broker.example/amqp";

function server(options: AcceptorOptions) {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const accepting = acceptor({ environment: time, log: null, ...options });
  network.up("broker.example", (channel) => accepting.accept(channel));
  return { options: { dial: network.dial, environment: time, reconnect: false as const, log: null }, time, network };
}

test("errors: a refused login, a refused link, a rejected message and a connection that is ended name the host", async () => {
  const error = new AmqpError(condition.notFound, "Cannot attach: no such queue", { info: { queue: "x" } });
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => {
    if (request.address === "missing") throw error;
    void request.accept().serve((delivery) => delivery.reject(error));
  };
  const users = server({ sasl: { users: { ada: "right" } }, onReceiver });
  const login = await assertRejects(() => connect(url, { ...users.options, auth: plain("ada", "wrong") }), AmqpError);
  assertMatch(login.message, /SASL outcome is "auth" \(broker\.example:443\)$/);
  assertEquals([login.condition, login.scope, login.retryable], [condition.unauthorizedAccess, "connection", false]);

  const { time, options } = server({ onReceiver });
  const connection = await connect(url, options);
  const refused = await assertRejects(() => connection.sender("missing").send({ body: 1 }), AmqpError);
  assertMatch(refused.message, /^Link of "missing" detached by peer with amqp:not-found: .* \(broker\.example:443\)$/);
  assertEquals([refused.info, refused.remote, refused.scope], [{ queue: "x" }, true, "link"]);
  const rejected = await assertRejects(() => connection.send("orders", { body: 1 }), AmqpError);
  assertMatch(rejected.message, /^Cannot send to "orders" at broker\.example:443: message was rejected by peer with /);
  await time.wait(connection.close());

  const edge = await assertRejects(() => publish(url, "missing", { body: 1 }, options), AmqpError);
  assertMatch(edge.message, /"missing" .* \(broker\.example:443\)$/);
});

test("errors: a connection that breaks names the host, and keeps its code", async () => {
  const { options, network } = server({});
  const connection = await connect(url, options);
  network.down("broker.example");
  await connection.closed;
  const { name, message, code } = connection.error as Error & { code: string };
  assertMatch(message, /\(broker\.example:443\)$/);
  assertEquals([name, code], ["TransportError", "connection-lost"]);
});

test("errors: a link that is one too many for its session names its address, and what to do", async () => {
  const { time, options } = server({ session: { handleMax: 1 }, onReceiver: (request) => void request.accept() });
  const connection = await time.wait(connect(url, options));
  await time.wait(Promise.all(["a", "b"].map((address) => connection.sender(address).ready())));
  for (const kind of ["sender", "receiver"] as const) {
    const error = assertThrows(() => connection[kind]("orders"), AmqpError);
    assertMatch(error.message, /: 2 links are attached, begin another session \("orders" at broker\.example:443\)$/);
    assertEquals(error.condition, condition.resourceLimitExceeded);
  }
  await connection.close();
});

test("errors: on a link without an address, messages are named by the node that each is for", async () => {
  const error = new AmqpError(condition.notFound, "no such queue");
  const { time, options, network } = server({
    onReceiver: (request) => {
      const receiver = request.accept({ credit: 9 });
      void receiver.serve((delivery) => delivery.message.body === 0 ? new Promise(() => {}) : delivery.reject(error));
    },
  });
  const connection = await time.wait(connect(url, options));
  const sender = connection.sender({ name: "to-anybody" });
  const to = (node: string | undefined, body: number) => ({ properties: { to: node, subject: "x" }, body });
  const fails = (sending: Promise<unknown>, text: string) => assertRejects(() => sending, Error, text);
  await fails(sender.send(to("orders", 1)), 'Cannot send to "orders" at broker.example:443: message was rejected');
  await fails(sender.send({ header: { durable: true }, ...to("a\n", 1) }), 'Cannot send to "a\\u{a}" at');
  await fails(sender.send(to(undefined, 1)), 'Cannot send to "to-anybody" at');
  await fails(sender.send(Uint8Array.of(1, 2)), 'Cannot send to "to-anybody" at');
  await fails(sender.sendAll([to("bills", 1)]), 'Cannot send to "bills" at');
  const off = new AbortController();
  const aborted = fails(sender.send(to("late", 0), { signal: off.signal }), 'Cannot send to "late" at');
  const lost = fails(sender.send(to("lost", 0)), 'Cannot tell the outcome of a message to "lost" at');
  await time.pass(10);
  off.abort();
  network.down("broker.example");
  await Promise.all([aborted, lost]);
});

test("errors: a connection that is dropped for its open, as RabbitMQ does, tells the hostname that was asked for", async () => {
  for (
    const [hostname, hint] of [["vhost:none", '; does the peer know the "hostname" "vhost:none"?'], [undefined, ""]]
  ) {
    for (const answer of [protocolHeader(0), undefined]) {
      const [near, far] = channelPair();
      const drop = (): void => {
        if (answer !== undefined) far.send(answer);
        far.close(1006);
      };
      far.onbytes = drop;
      const error = await assertRejects(() => connect(near, { auth: null, reconnect: false, hostname }), Error);
      const silent = "; the peer has said nothing: has it too many connections, or does it speak no AMQP?";
      const told = answer === undefined ? silent : hint;
      assertEquals(error.message, `Cannot go on: connection ended with code 1006${told}`);
    }
  }
});

test("ATK-14: an address with control characters is escaped, also after the connection's end", async () => {
  const { options } = server({});
  const connection = await connect(url, options);
  await connection.close();
  const error = await assertRejects(() => connection.send("a\x1b[31m\nb", { body: 1 }), AmqpError);
  assertMatch(error.message, /^Cannot send to "a\\u\{1b\}\[31m\\u\{a\}b": connection to /);
});
