import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { DecodedMessage, Message } from "../../src/codec/message.ts";
import { Described, type Value } from "../../src/codec/values.ts";
import { int } from "../../src/codec/wrappers.ts";
import { management, ManagementError } from "../../src/management/management.ts";
import { type Acceptor, acceptor } from "../../src/server/acceptor.ts";
import { linkUp } from "../client/link_up.ts";
import { test } from "../harness.ts";

type Respond = (asked: DecodedMessage) => Message | undefined;

/** A container with a management node that answers by `respond`. */
function managed(respond: Respond, at: string[] = []): Acceptor {
  const replies = new Map<string, Sender>();
  return acceptor({
    onSender: (request) => {
      const { target } = request.attach;
      const address = request.dynamic ? "made-up" : request.address;
      at.push(`from ${address}`);
      const sender = request.accept(request.dynamic ? { address } : {});
      replies.set(request.dynamic ? "made-up" : target?.kind === "target" ? target.address! : "", sender);
    },
    onReceiver: (request) => {
      at.push(`to ${request.address}`);
      void request.accept({ credit: 10 }).serve(({ message }) => {
        const answer = respond(message);
        const correlationId = message.properties!.messageId;
        if (answer === undefined) return;
        replies.get(message.properties!.replyTo!)!.send({
          properties: { correlationId },
          ...answer,
        });
      }, { concurrency: 10 }).catch(() => {});
    },
  });
}

const ok = (body: Message["body"], more: Message = {}): Message => ({
  applicationProperties: { statusCode: int(200), statusDescription: "OK" },
  body,
  ...more,
});

test("MGT-1, MGT-2: a request names operation, type and name, and gets the answer that names it", async () => {
  const asked: DecodedMessage[] = [];
  const at: string[] = [];
  const connection = linkUp(managed((message) => {
    asked.push(message);
    return ok({ depth: 3 });
  }, at));
  await using node = management(connection, "orders");
  const { status, description, body } = await node.request({
    operation: "READ",
    type: "queue",
    name: "orders",
    locales: "de en",
    applicationProperties: { security_token: "t" },
  });
  assertEquals([status, description, body], [200, "OK", new Map([["depth", 3]])]);
  assertEquals({ ...asked[0]!.applicationProperties }, {
    security_token: "t",
    operation: "READ",
    type: "queue",
    name: "orders",
    locales: "de en",
  });
  assertEquals([asked[0]!.properties?.replyTo?.length, asked[0]!.body], [32, new Map()]);
  assertEquals(at.sort(), ["from orders/$management", "to orders/$management"]);
  await node.request({ operation: "GET-TYPES" });
  assertEquals(at.length, 2);
  await connection.close();
});

test("MGT-1: many requests at a time each get their own answer, in whatever order", async () => {
  const held: [string, (body: unknown) => void][] = [];
  const replies = managed(({ properties, applicationProperties }) => {
    held.push([String(properties!.messageId), () => applicationProperties!.name]);
    return ok(applicationProperties!.name as string);
  });
  const connection = linkUp(replies);
  const node = management(connection, "$management");
  const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
  const answers = await Promise.all(names.map((name) => node.request({ operation: "READ", name })));
  assertEquals(answers.map(({ body }) => body), names);
  assertEquals(new Set(held.map(([id]) => id)).size, 20);
  await connection.close();
});

test("MGT-2: other statuses are errors with status and condition, in both spellings", async () => {
  const answers: [Message["applicationProperties"], number, string, boolean][] = [
    [{ statusCode: int(404), statusDescription: "no such queue" }, 404, "amqp:not-found", false],
    [{ "status-code": int(401) }, 401, "amqp:unauthorized-access", false],
    [
      { "status-code": int(410), "error-condition": "com.microsoft:message-lock-lost" },
      410,
      "com.microsoft:message-lock-lost",
      false,
    ],
    [{ statusCode: int(503), errorCondition: "com.microsoft:server-busy" }, 503, "com.microsoft:server-busy", true],
    [{ statusCode: int(501) }, 501, "amqp:not-implemented", true],
    [{}, NaN, "amqp:not-allowed", false],
  ];
  for (const [applicationProperties, status, condition, retryable] of answers) {
    const connection = linkUp(managed(() => ({ applicationProperties, body: null })));
    const node = management(connection, "q");
    const error = await assertRejects(
      () => node.read("queue", "q"),
      ManagementError,
      'Cannot do "READ" at "q/$management"',
    );
    assertEquals([error.status, error.condition, error.retryable, error.remote], [status, condition, retryable, true]);
    const state = Number.isNaN(status)
      ? "the answer has no status and no application properties; is it a management node?"
      : `status is ${status}`;
    assertStringIncludes(error.message, state);
    await connection.close();
  }
});

test("MGT-2: create, update, delete and query say what they do", async () => {
  const said: unknown[] = [];
  const connection = linkUp(managed(({ applicationProperties, body }) => {
    said.push([
      applicationProperties!.operation,
      applicationProperties!.count ?? null,
      Object.fromEntries(body as Map<string, unknown>),
    ]);
    return ok(
      applicationProperties!.operation === "QUERY" ? { attributeNames: ["name"], results: [["a"], ["b"]] } : { a: 1 },
    );
  }));
  const node = management(connection, "$management", { replyTo: "dynamic" });
  assertEquals(await node.create("queue", "q", { a: 1 }), new Map([["a", 1]]));
  await node.update("queue", "q", { a: 2 });
  await node.delete("queue", "q");
  assertEquals(await node.query({ entityType: "queue", attributeNames: ["name"], count: 2 }), {
    attributeNames: ["name"],
    results: [["a"], ["b"]],
  });
  assertEquals(said, [
    ["CREATE", null, { a: 1 }],
    ["UPDATE", null, { a: 2 }],
    ["DELETE", null, {}],
    ["QUERY", 2, { attributeNames: ["name"] }],
  ]);
  await connection.close();
});

test("MGT-1: no answer, an answer to nobody, an abort, a node that is not there", async () => {
  const strange = linkUp(managed(() => ok(1, { properties: { correlationId: "somebody else" } })));
  const node = management(strange, "q");
  const error = await assertRejects(
    () => node.request({ operation: "READ" }, { timeoutMs: 20 }),
    AmqpError,
    "no answer in 20 ms",
  );
  assertEquals([error.retryable, error.scope], [true, "delivery"]);
  const stop = new AbortController();
  const asking = node.request({ operation: "READ" }, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assertRejects(() => asking, Error, "enough");
  await strange.close();
  const none = linkUp(acceptor());
  await assertRejects(() => management(none, "q").request({ operation: "READ" }), AmqpError);
  await none.close();
});

test("MGT-1: a plain queue in the place of a management node gives the request back, which is told at once", async () => {
  const broker = new Broker({ queues: { orders: {} }, log: null });
  await using connection = linkUp(broker);
  await using node = management(connection, "orders");
  const error = await assertRejects(
    () => node.read("queue", "orders"),
    AmqpError,
    'Cannot manage node "orders/$management": it is a queue, which gave the request back, and no management node',
  );
  assertEquals(error.condition, "amqp:not-implemented");
  await broker.close();
});

test("SBX-2: rules of Service Bus come with the descriptors that its own clients write", async () => {
  const described = (descriptor: bigint, ...fields: Value[]) => new Described(descriptor, fields);
  const rules = [
    described(1335734829060n, described(83483426822n, "colour = 'red'", 20), described(1335734829061n), "red"),
    described(1335734829060n, described(83483426823n), described(1335734829062n, "SET size = 5", 20), "all"),
    described(1335734829060n, described(83483426824n), described(1335734829061n), "none"),
    described(1335734829060n, described(83483426825n, "id-1"), described(1335734829061n), "one"),
  ];
  const connection = linkUp(managed(() => ok({ rules: rules.map((rule) => ({ "rule-description": rule })) })));
  const { body } = await management(connection, "topic/Subscriptions/all").request({
    operation: "com.microsoft:enumerate-rules",
    body: { skip: int(0), top: int(100) },
  });
  const came = (body as Map<string, Map<string, Described>[]>).get("rules")!.map((rule) =>
    rule.get("rule-description")!
  );
  assertEquals(came.map(({ descriptor }) => descriptor), Array(4).fill(0x0000_0137_0000_0004n));
  const fields = came.map(({ value }) => value as Described[]);
  assertEquals(fields.map(([filter]) => filter!.descriptor), [
    0x0000_0013_7000_0006n,
    0x0000_0013_7000_0007n,
    0x0000_0013_7000_0008n,
    0x0000_0013_7000_0009n,
  ]);
  assertEquals(fields.slice(0, 2).map(([, action]) => action!.descriptor), [
    0x0000_0137_0000_0005n,
    0x0000_0137_0000_0006n,
  ]);
  assertEquals((fields[0]![0]!.value as Value[])[0], "colour = 'red'");
  await connection.close();
});
