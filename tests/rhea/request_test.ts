import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Connection as RheaConnection, Container, Message as RheaMessage, Sender as RheaSender } from "rhea";
import { AmqpError, connect, OutcomeError, type Sender } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, rheaServer } from "./rhea.ts";

type Answer = (request: RheaMessage, reply: (message: RheaMessage) => void) => void;

/** Makes a rhea server answer requests over its dynamic nodes; returns the senders to those. */
function respond(container: Container, answer: Answer): Map<string, RheaSender> {
  const nodes = new Map<string, RheaSender>();
  container.on("sender_open", ({ sender }) => {
    if (!(sender!.source as { dynamic?: boolean }).dynamic) return;
    const address = `reply-${nodes.size}`;
    sender!.set_source({ address });
    nodes.set(address, sender!);
  });
  container.on("message", ({ message }) => answer(message!, (reply) => nodes.get(message!.reply_to!)!.send(reply)));
  return nodes;
}

/** Opens a dynamic node with rhea, and returns a function that sends a request and waits for the answer. */
async function requester(
  connection: RheaConnection,
  address: string,
): Promise<(message: RheaMessage) => Promise<RheaMessage>> {
  const waiting = new Map<string, (message: RheaMessage) => void>();
  const receiver = connection.open_receiver({ source: { dynamic: true, address: undefined as never } });
  receiver.on("message", ({ message }) => waiting.get(String(message!.correlation_id))?.(message!));
  await once(receiver, "receiver_open");
  const sender = connection.open_sender(address);
  await once(sender, "sendable");
  return (message) =>
    new Promise((resolve) => {
      waiting.set(String(message.message_id), resolve);
      sender.send({ ...message, reply_to: receiver.source.address });
    });
}

test("TRM-2: requests of ours to a rhea responder each get their answer, whatever the order of the answers", async () => {
  await using server = await rheaServer();
  const held: Array<() => void> = [];
  const nodes = respond(server.container, (request, reply) => {
    // The answers leave last first; one of them answers no request.
    held.unshift(() => reply({ correlation_id: request.message_id, body: `re: ${request.body}` }));
    if (held.length < 50) return;
    reply({ correlation_id: "nobody's", body: "stray" });
    for (const answer of held) answer();
  });
  await using connection = await connect(server.url);
  const bodies = Array.from({ length: 50 }, (_, i) => i);
  const answers = await Promise.all(bodies.map((body) => connection.request("service", { body })));
  assertEquals(answers.map(({ body }) => body), bodies.map((body) => `re: ${body}`));
  assertEquals([...nodes.keys()], ["reply-0"]);
});

test("TRM-2: sections of a request reach a rhea responder; a large answer comes back whole", async () => {
  await using server = await rheaServer();
  respond(
    server.container,
    ({ message_id, body, subject, application_properties }, reply) =>
      reply({ correlation_id: message_id, subject, application_properties, body: "x".repeat(body) }),
  );
  await using connection = await connect(server.url, { maxFrameSize: 4_096 });
  const { properties, applicationProperties, body } = await connection.request("service", {
    properties: { subject: "sizes" },
    applicationProperties: { operation: "READ" },
    body: 1_000_000,
  });
  assertEquals([properties?.subject, applicationProperties?.operation], ["sizes", "READ"]);
  assertEquals((body as string).length, 1_000_000);
});

test("TRM-2: a request that a rhea responder rejects, leaves unanswered or has no node for fails by itself", async () => {
  await using server = await rheaServer({ receiver_options: { autoaccept: false } });
  respond(server.container, ({ message_id, body }, reply) => {
    if (body === "answer") reply({ correlation_id: message_id, body });
  });
  server.container.on("message", ({ message, delivery }) => {
    if (message!.body === "reject") delivery!.reject({ condition: "amqp:not-allowed", description: "no" });
    else delivery!.accept();
  });
  server.container.on("receiver_open", ({ receiver }) => {
    if (receiver!.target.address === "none") receiver!.close({ condition: "amqp:not-found", description: "none here" });
  });
  await using connection = await connect(server.url);
  const rejected = await assertRejects(() => connection.request("service", { body: "reject" }), OutcomeError);
  assertEquals(rejected.condition, "amqp:not-allowed");
  const controller = new AbortController();
  const unanswered = connection.request("service", { body: "silence" }, { signal: controller.signal });
  const outcome = unanswered.catch((error) => error);
  const missing = await assertRejects(() => connection.request("none", { body: "answer" }), AmqpError, "none here");
  assertEquals(missing.condition, "amqp:not-found");
  assertEquals((await connection.request("service", { body: "answer" })).body, "answer");
  controller.abort(new Error("enough"));
  assertEquals((await outcome).message, "enough");
});

test("TRM-2: requests that wait fail when a rhea responder takes the reply node away; the next one gets a new node", async () => {
  await using server = await rheaServer();
  const nodes = respond(server.container, ({ message_id, body }, reply) => {
    if (body === "go") nodes.get("reply-0")!.close({ condition: "amqp:resource-deleted", description: "gone" });
    else if (body === "answer") reply({ correlation_id: message_id, body });
  });
  await using connection = await connect(server.url, { reconnect: false });
  const ends = await Promise.allSettled(["wait", "go"].map((body) => connection.request("service", { body })));
  for (const end of ends) {
    const { reason } = end as PromiseRejectedResult;
    assertInstanceOf(reason, AmqpError);
    assertEquals(reason.condition, "amqp:resource-deleted");
  }
  assertEquals((await connection.request("service", { body: "answer" })).body, "answer");
  assertEquals(nodes.size, 2);
});

const IDS: readonly unknown[] = ["text", 18, 2 ** 40, Buffer.from("00112233445566778899aabbccddeeff", "hex")];

test("TRM-2, MSG-5: a rhea requester gets its answers from our acceptor, over a node that we name, by ids of any type", async () => {
  const nodes = new Map<string, Sender>();
  await using server = await acceptorServer({
    onSender: (request) => {
      const address = `reply-${nodes.size}`;
      assertEquals([request.dynamic, request.address], [true, undefined]);
      nodes.set(address, request.accept({ address }));
    },
    onReceiver: (request) =>
      request.accept().serve(async ({ message: { properties, body } }) => {
        const { messageId, replyTo } = properties!;
        await nodes.get(replyTo!)!.send({ properties: { correlationId: messageId }, body: `re: ${body}` });
      }),
  });
  await using client = await rheaClient(server.url);
  const request = await requester(client.connection, "service");
  const answers = await Promise.all(IDS.map((id) => request({ message_id: id as string, body: String(id) })));
  assertEquals(answers.map(({ body }) => body), IDS.map((id) => `re: ${id}`));
  assertEquals(answers.map(({ correlation_id }) => correlation_id) as unknown[], IDS as unknown[]);
});

/** Answers messages to an address of a broker, with rhea, over the anonymous relay. */
async function serviceAt(connection: RheaConnection, address: string): Promise<void> {
  const relay = connection.open_sender({ target: {} });
  const receiver = connection.open_receiver(address);
  receiver.on("message", ({ message }) => {
    const { message_id, reply_to, body } = message!;
    relay.send({ to: reply_to, correlation_id: message_id, body: `re: ${body}` });
  });
  await once(relay, "sendable");
}

test("TRM-2, EXT-1: our requests and those of rhea reach a rhea service behind our broker and come back", async () => {
  await using server = await acceptorServer(new Broker());
  await using service = await rheaClient(server.url);
  await serviceAt(service.connection, "service");
  await using client = await rheaClient(server.url);
  await using connection = await connect(server.url);
  const request = await requester(client.connection, "service");
  const bodies = Array.from({ length: 20 }, (_, i) => `${i}`);
  const theirs = Promise.all(bodies.map((body) => request({ message_id: body, body })));
  const ours = Promise.all(bodies.map((body) => connection.request("service", { body })));
  const wanted = bodies.map((body) => `re: ${body}`);
  assertEquals((await theirs).map(({ body }) => body), wanted);
  assertEquals((await ours).map(({ body }) => body) as unknown[], wanted as unknown[]);
});
