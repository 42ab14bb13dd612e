import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, connect, described, OutcomeError, uint } from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, rheaServer, sendAll } from "./rhea.ts";

test("LNK-4: a rhea server that names no terminus in its answer has accepted once it uses the link", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, [{ body: 1 }]));
  await using connection = await connect(server.url);
  const sender = connection.sender("q");
  await sender.ready();
  assertEquals([sender.remote?.target, sender.address], [undefined, "q"]);
  const receiver = connection.receiver("q");
  await receiver.ready();
  assertEquals((await receiver.receive()).message.body, 1);
});

test("LNK-4: a link that a rhea server refuses fails with its error, and the connection lives on", async () => {
  await using server = await rheaServer();
  const refusal = { condition: "amqp:not-found", description: "no such queue", info: { queue: "q" } };
  server.container.on("receiver_open", ({ receiver }) => {
    if (receiver!.target.address === "none") receiver!.close(refusal);
  });
  server.container.on("sender_open", ({ sender }) => sender!.close(refusal));
  await using connection = await connect(server.url);
  const sender = connection.sender("none");
  const receiver = connection.receiver("none");
  const send = sender.send({ body: 1 }).catch((error) => error);
  for (const call of [() => sender.ready(), () => receiver.ready(), () => receiver.receive(), () => receiver.drain()]) {
    const error = await assertRejects(call, AmqpError, "no such queue");
    assertEquals([error.condition, error.remote || error.cause instanceof AmqpError], ["amqp:not-found", true]);
    assertEquals(error.scope, "link");
  }
  const error = await send;
  assertInstanceOf(error, AmqpError);
  assertEquals(error.condition, "amqp:not-found");
  assertEquals(error.info?.queue ?? (error.cause as AmqpError)?.info?.queue, "q");
  await connection.sender("there").send({ body: 2 });
});

test("LNK-4: a rhea client hears of a link that we refuse why, and goes on with others", async () => {
  await using server = await acceptorServer({
    onReceiver: (request) => {
      if (request.address !== "there") throw new AmqpError("amqp:not-found", "No such queue", { info: { queue: "q" } });
      void request.accept().serve(() => {});
    },
  });
  await using client = await rheaClient(server.url);
  const sending = client.connection.open_sender("none");
  const refused = once(sending, "sender_error");
  const { condition, description, info } = (await refused).sender!.error as {
    condition: string;
    description: string;
    info?: unknown;
  };
  assertEquals([condition, description, info], ["amqp:not-found", "No such queue", { queue: "q" }]);
  const receiving = client.connection.open_receiver("none");
  const alsoRefused = once(receiving, "receiver_error");
  const error = (await alsoRefused).receiver!.error as { condition: string };
  assertEquals(error.condition, "amqp:not-implemented");
  const sender = client.connection.open_sender("there");
  const accepted = once(sender, "accepted");
  sendAll(sender, [{ body: 1 }]);
  await accepted;
});

test("TRM-5, CON-12: a rhea server sees what we attach with, and we see its answer", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => {
    sender!.set_source({ address: "q-1", filter: sender!.source.filter });
    sender!.set_target(sender!.target);
  });
  const opened = once(server.container, "sender_open");
  await using connection = await connect(server.url);
  const receiver = connection.receiver({
    address: "q",
    name: "the-link",
    filter: { "apache.org:selector-filter:string": described(0x0000468c00000004n, "a = 1") },
    source: { distributionMode: "copy", durable: "unsettled-state", timeout: 5, capabilities: ["queue"] },
    properties: { "com.example:n": uint(3), text: "x" },
    desiredCapabilities: ["a", "b"],
    maxMessageSize: 1_000_000,
  });
  await receiver.ready();
  const sender = (await opened).sender!;
  assertEquals(sender.name, "the-link");
  const { address, distribution_mode, durable, timeout, capabilities } = sender.source;
  assertEquals([address, distribution_mode, durable, timeout, capabilities], [
    "q",
    "copy",
    2,
    5,
    ["queue"],
  ] as unknown[]);
  assertEquals([sender.properties["com.example:n"], sender.properties.text], [3, "x"]);
  assertEquals(sender.desired_capabilities, ["a", "b"]);
  assertEquals(sender.max_message_size, 1_000_000);
  assertEquals(receiver.address, "q-1");
  assert(receiver.remote?.source?.filter !== undefined);
});

test("TRM-5, CON-12: we see what a rhea client attaches with, and it sees our answer", async () => {
  let seen: unknown;
  await using server = await acceptorServer({
    onSender: (request) => {
      const { attach } = request;
      seen = [attach.name, request.address, attach.source!.filter, attach.source!.durable, attach.properties];
      request.accept({ address: "q-1", offeredCapabilities: ["c"], properties: { "x-n": 1 } });
    },
  });
  await using client = await rheaClient(server.url, { properties: { product: "rhea" }, desired_capabilities: ["d"] });
  const receiver = client.connection.open_receiver({
    name: "the-link",
    source: { address: "q", filter: client.connection.container.filter.selector("a = 1"), durable: 2 },
    properties: { text: "x" },
  });
  await once(receiver, "receiver_open");
  assertEquals(seen, [
    "the-link",
    "q",
    { __proto__: null, "jms-selector": described(0x468c00000004n, "a = 1") },
    "unsettled-state",
    { __proto__: null, text: "x" },
  ]);
  assertEquals(receiver.source.address, "q-1");
  assertEquals([receiver.offered_capabilities, receiver.properties["x-n"]] as unknown[], [["c"], 1]);
});

test("LNK-12: a link that a rhea server closes while it is used ends what waits on it, and only that", async () => {
  await using server = await rheaServer({ receiver_options: { autoaccept: false, credit_window: 2 } });
  let count = 0;
  server.container.on("message", ({ receiver }) => {
    if (++count === 2) receiver!.close({ condition: "amqp:resource-deleted", description: "queue is gone" });
  });
  await using connection = await connect(server.url, { reconnect: false });
  const sender = connection.sender("q");
  const results = await Promise.allSettled([1, 2, 3].map((body) => sender.send({ body })));
  const errors = results.map((result) => (result as PromiseRejectedResult).reason as AmqpError);
  for (const error of errors) assertEquals(error.condition, "amqp:resource-deleted");
  // Messages that had left may have been processed; the third never left.
  assertEquals(errors.map((error) => error instanceof OutcomeError && error.outcome), ["lost", "lost", false]);
  await sender.closed;
  assertEquals((sender.error as AmqpError).condition, "amqp:resource-deleted");
  await assertRejects(() => sender.send({ body: 4 }), AmqpError, "queue is gone");
  const other = connection.receiver({ address: "other", credit: "manual" });
  server.container.once("sender_open", ({ sender }) => sender!.close());
  const error = await assertRejects(() => other.receive(), AmqpError);
  assertEquals(error.condition, "amqp:link:detach-forced");
});

test("LNK-12: a rhea client hears that our acceptor ends a link, with the error or without", async () => {
  await using server = await acceptorServer({
    onReceiver: (request) => {
      const receiver = request.accept();
      const error = new AmqpError("amqp:resource-deleted", "Queue is gone", { scope: "link" });
      void receiver.serve(() =>
        void receiver.close(request.address === "with" ? { error, timeoutMs: 50 } : { timeoutMs: 50 })
      );
    },
  });
  await using client = await rheaClient(server.url);
  const failing = client.connection.open_sender("with");
  const failed = once(failing, "sender_error");
  sendAll(failing, [{ body: 1 }]);
  assertEquals(((await failed).sender!.error as { condition?: string }).condition, "amqp:resource-deleted");
  const ending = client.connection.open_sender("without");
  const ended = once(ending, "sender_close");
  sendAll(ending, [{ body: 1 }]);
  assertEquals((await ended).sender!.error, undefined);
});

test("SES-5: a session that a rhea server ends fails its links; others and the connection live on", async () => {
  // Without credit: rhea still settles messages that reach it after it has ended the session, against the rules.
  await using server = await rheaServer({ receiver_options: { credit_window: 0 } });
  server.container.on("receiver_open", ({ receiver }) => {
    if (receiver!.target.address === "end") {
      receiver!.session.close({ condition: "amqp:internal-error", description: "broken" });
    } else receiver!.add_credit(10);
  });
  await using connection = await connect(server.url);
  const session = connection.session();
  const receiver = session.receiver("q");
  for (
    const { status, reason } of await Promise.allSettled([
      session.sender("end").send({ body: 1 }),
      receiver.receive(),
    ]) as PromiseRejectedResult[]
  ) {
    assertEquals(status, "rejected");
    assertInstanceOf(reason, AmqpError);
    assertEquals([reason.condition, reason.retryable], ["amqp:internal-error", true]);
    assertStringIncludes(reason.message, "broken");
  }
  await session.closed;
  await connection.sender("there").send({ body: 3 });
});

test("CON-10, WSB-24: a connection that a rhea server closes with an error ends with it", async () => {
  await using server = await rheaServer();
  const opened = once(server.container, "connection_open");
  const connection = await connect(server.url, { reconnect: false });
  const receiver = connection.receiver("q");
  const waiting = receiver.receive().catch((error) => error);
  (await opened).connection.close({ condition: "amqp:connection:forced", description: "maintenance" });
  await connection.closed;
  assertEquals((connection.error as AmqpError).condition, "amqp:connection:forced");
  assertEquals((await waiting).condition, "amqp:connection:forced");
  await assertRejects(async () => await connection.sender("q").send({ body: 1 }), AmqpError, "maintenance");
  await connection.close();
});

test("CON-10, WSB-30: a rhea client hears that our acceptor goes away", async () => {
  const server = await acceptorServer();
  const client = await rheaClient(server.url);
  const failed = once(client.connection, "connection_error");
  const gone = new Promise<number>((resolve) => client.socket.on("close", (code) => resolve(code)));
  await server[Symbol.asyncDispose]();
  assertEquals(((await failed).connection.error as { condition?: string }).condition, "amqp:connection:forced");
  assertEquals([1000, 1001, 1005].includes(await gone), true);
  await client[Symbol.asyncDispose]();
});
