import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { OutcomeError } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import type { MessageId } from "../../src/codec/types.ts";
import { uuid } from "../../src/codec/wrappers.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";
import { turn, VirtualTime } from "./virtual.ts";

test("MGT-1: respond answers what request asks, many at a time, by ids of any type", async () => {
  const broker = new Broker();
  const [client, server] = [linkUp(broker), linkUp(broker)];
  const stop = new AbortController();
  const responding = server.respond("double", (request) => ({ body: 2 * (request.body as number) }), {
    signal: stop.signal,
    concurrency: 4,
  });
  const ids: (MessageId | undefined)[] = [
    undefined,
    "text",
    7n,
    Uint8Array.of(1, 2),
    uuid("00112233-4455-6677-8899-aabbccddeeff"),
  ];
  const answers = await Promise.all(
    ids.map((messageId, i) =>
      client.request("double", { body: i, properties: messageId === undefined ? {} : { messageId } })
    ),
  );
  assertEquals(answers.map(({ body }) => body), [0, 2, 4, 6, 8]);
  const correlated = await client.request("double", { body: 5, properties: { correlationId: 9n } });
  assertEquals([correlated.body, correlated.properties?.correlationId], [10, 9n]);
  const again = client.request("double", { body: 1, properties: { messageId: "same" } });
  await assertRejects(
    () => client.request("double", { body: 1, properties: { messageId: "same" } }),
    Error,
    "same messageId",
  );
  assertEquals((await again).body, 2);
  // After its answer, the id is free.
  assertEquals((await client.request("double", { body: 3, properties: { messageId: "same" } })).body, 6);
  stop.abort();
  await responding;
  await Promise.all([client.close(), server.close()]);
});

test("MGT-1: request takes its answers where it was told to, and without a settlement of the request", async () => {
  const broker = new Broker();
  const [client, server] = [linkUp(broker), linkUp(broker)];
  void server.respond("echo", (request) => ({ body: request.properties!.replyTo! }));
  assertEquals((await client.request("echo", { body: 1 }, { replyTo: "my-answers" })).body, "my-answers");
  assertEquals((await client.request("echo", { properties: { replyTo: "others" } })).body, "others");
  assertEquals((await client.request("echo", { body: 1 }, { receiver: { address: "theirs" } })).body, "theirs");
  // The node of one request is not that of the next.
  assertMatch((await client.request("echo", { body: 1 })).body as string, /^dynamic\//);
  await Promise.all([client.close(), server.close()]);
  // A peer that answers requests, and never settles them.
  const replies = new Map<string, (id: MessageId) => void>();
  const silent = linkUp(acceptor({
    onSender: (request) => {
      const sender = request.accept({ address: "r" });
      replies.set("r", (correlationId) => void sender.send({ properties: { correlationId }, body: "here" }));
    },
    onReceiver: (request) =>
      void request.accept({ credit: 10 }).serve(
        ({ message }) => replies.get("r")!(message.properties!.messageId!),
        {},
      ),
  }));
  const held = linkUp(acceptor({
    onSender: (request) => {
      const sender = request.accept({ address: "r" });
      replies.set("h", (correlationId) => void sender.send({ properties: { correlationId }, body: "held" }));
    },
    onReceiver: (request) =>
      void request.accept({ credit: 10, settle: "manual" }).serve(({ message }) =>
        replies.get("h")!(message.properties!.messageId!)
      ),
  }));
  assertEquals((await silent.request("q", { body: 1 })).body, "here");
  assertEquals((await held.request("q", { body: 1 })).body, "held");
  silent.destroy(new Error("over"));
  held.destroy(new Error("over"));
});

test("respond: what is no function is refused at once; a handler that throws is a failed attempt", async () => {
  const entries: LogEntry[] = [];
  const broker = new Broker({ queue: { maxDeliveries: 2, deadLetter: "dead" } });
  const connection = linkUp(broker, { log: (entry) => entries.push(entry) });
  assertThrows(
    () => connection.respond("q", undefined as never),
    TypeError,
    "Cannot respond: handler is undefined, not a function",
  );
  assertThrows(() => connection.respond("q", () => {}, { nonsense: 1 } as never), TypeError, 'no option "nonsense"');
  void connection.respond("q", () => {
    throw new Error("cannot answer");
  });
  const stop = new AbortController();
  const asked = connection.request("q", { body: 1 }, { signal: stop.signal });
  await turn();
  assertEquals([broker.queue("dead")?.messages, entries[0]?.code], [1, "handler-failed"]);
  stop.abort(new Error("too slow"));
  await assertRejects(() => asked, Error);
  await connection.close();
});

test("log: a request that nobody answers, and a send that nobody gives credit for, are told after a while", async () => {
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  const server = acceptor({
    environment: time,
    onSender: (request) => void request.accept({ address: "reply" }),
    onReceiver: (request) => void request.accept({ credit: request.address === "full" ? 0 : 5 }).serve(() => {}),
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
  connection.request("nobody", { body: 1 }).catch(() => {});
  const sending = connection.sender("full").send({ body: 1 });
  sending.catch(() => {});
  await time.pass(9_000);
  assertEquals(entries, []);
  await time.pass(2_000);
  await turn();
  const texts = entries.map(({ code, address, message }) => [code, address, message.replace(/at "\w+"/, "at H")]);
  assertEquals(texts.sort(), [
    [
      "request-unanswered",
      "nobody",
      'Cannot tell the answer of "nobody" at H yet: none came in 10 s; does anybody answer there? A signal bounds the wait',
    ],
    [
      "send-waits",
      "full",
      'Cannot send 1 messages to "full" at H yet: they wait for credit; is the queue full, does anybody receive? A signal bounds the wait',
    ],
  ]);
  connection.destroy(new Error("over"));
});

test("MSG-12: the error of a modified message says all of it, and where it was sent to", async () => {
  const server = acceptor({
    onReceiver: (request) =>
      void request.accept({ credit: 5 }).serve((delivery) =>
        delivery.modify({ deliveryFailed: true, undeliverableHere: true, messageAnnotations: { "x-why": "full" } })
      ),
  });
  const connection = linkUp(server);
  const error = await assertRejects(() => connection.sender("orders").send({ body: 1 }), OutcomeError);
  assertEquals([error.outcome, error.deliveryFailed, error.undeliverableHere, error.retryable], [
    "modified",
    true,
    true,
    false,
  ]);
  assertEquals({ ...error.messageAnnotations }, { "x-why": "full" });
  assert(/^Cannot send to "orders" at "\w+": message was modified$/.test(error.message), error.message);
  await connection.close();
});
