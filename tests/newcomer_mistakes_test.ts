/**
 * Mistakes of newcomers who have not read everything, with the full text of each error; an addition to `mistakes_test.ts`.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { TransportError } from "../src/base/errors.ts";
import { azure } from "../src/azure/azure.ts";
import { Broker } from "../src/broker/broker.ts";
import { connect, publish } from "../src/client/connect.ts";
import type { Connection } from "../src/client/connection.ts";
import type { Delivery } from "../src/client/delivery.ts";
import type { Receiver } from "../src/client/receiver.ts";
import { resume } from "../src/client/resume.ts";
import type { Sender } from "../src/client/sender.ts";
import { batch, unbatch } from "../src/codec/batch.ts";
import { data, json, sequence, value } from "../src/codec/body.ts";
import { decodeMessage } from "../src/codec/message.ts";
import { print } from "../src/codec/print.ts";
import { array, float } from "../src/codec/wrappers.ts";
import { gateway } from "../src/gateway/gateway.ts";
import { management } from "../src/management/management.ts";
import { anonymous } from "../src/sasl/client.ts";
import { scramKeys } from "../src/sasl/scram_keys.ts";
import { acceptor } from "../src/server/acceptor.ts";
import { ScriptedPeer } from "../src/testing/peer.ts";
import { jsonLines } from "../src/trace/writer.ts";
import { upgradeListener } from "../src/transport/socket/http_server.ts";
import { listen } from "../src/transport/socket/listen.ts";
import { durableSubscription, sharedSubscription } from "../src/filters/sources.ts";
import { noLocal, selector } from "../src/filters/mod.ts";
import { opentelemetry } from "../src/telemetry/opentelemetry.ts";
import { handler as bun } from "../src/transport/runtime/bun.ts";
import { handler as deno } from "../src/transport/runtime/deno.ts";
import { handler as workers } from "../src/transport/runtime/workers.ts";
import { linkUp } from "./client/link_up.ts";
import { test } from "./harness.ts";

interface Place {
  readonly connection: Connection;
  readonly sender: Sender;
  readonly receiver: Receiver;
}

const body = (value: unknown) => ({ sender }: Place): unknown => sender.send({ body: value as never });
const properties = (fields: object) => ({ sender }: Place): unknown => sender.send({ properties: fields as never });
const received = (act: (delivery: Delivery) => unknown) => async ({ sender, receiver }: Place): Promise<unknown> => {
  await sender.send({ body: "a" });
  return act(await receiver.receive());
};
const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

const MISTAKES: [what: string, text: string | RegExp, make: (place: Place) => unknown][] = [
  [
    "a number as message-id",
    'Cannot encode message id: it is neither string, bigint, Uint8Array nor uuid; write String(5) or BigInt(5) (properties, field "messageId")',
    properties({ messageId: 5 }),
  ],
  [
    "a text as user-id",
    'Cannot encode binary: "me" does not fit, write new TextEncoder().encode(text) (properties, field "userId")',
    properties({ userId: "me" }),
  ],
  [
    "a text as time",
    'Cannot encode timestamp: "2026-01-01" does not fit, write new Date(text) (properties, field "creationTime")',
    properties({ creationTime: "2026-01-01" }),
  ],
  [
    "a Blob as body",
    "Cannot encode map: an object of class Blob does not fit (body: write new Uint8Array(await blob.arrayBuffer()))",
    body(new Blob(["a"])),
  ],
  [
    "a stream as body",
    "Cannot encode map: an object of class ReadableStream does not fit (body: stream() of a sender takes it)",
    body(new ReadableStream()),
  ],
  ["json() of what holds itself", /^Cannot encode body as JSON: /, () => json(cyclic)],
  ["json() of a bigint", /^Cannot encode body as JSON: .*BigInt/, () => json({ n: 1n })],
  [
    "data() of a text",
    "Cannot make data: give bytes or an array of them, such as new TextEncoder().encode(text)",
    () => data("text" as never),
  ],
  [
    "data() of texts",
    "Cannot make data: give bytes or an array of them, such as new TextEncoder().encode(text)",
    () => data(["text"] as never),
  ],
  [
    "sequence() of one list",
    "Cannot make sequence: give an array of arrays, one for each section",
    () => sequence([1, 2] as never),
  ],
  [
    "stream() of a text",
    "Cannot stream: body is a string, give a ReadableStream or an async iterable of bytes; send() takes it whole",
    ({ sender }) => sender.stream({ body: "text" as never }),
  ],
  [
    "stream() of nothing",
    "Cannot stream: body is undefined, give a ReadableStream or an async iterable of bytes; send() takes it whole",
    ({ sender }) => sender.stream(undefined as never),
  ],
  [
    "sendAll() of one message",
    'Cannot send all: messages are an object with "body", give an array of them; send() takes one',
    ({ sender }) => sender.sendAll({ body: "a" } as never),
  ],
  [
    "sendAll() of nothing",
    "Cannot send all: messages are undefined, give an array of them; send() takes one",
    ({ sender }) => sender.sendAll(undefined as never),
  ],
  [
    "receiveBatch() of options alone",
    'Cannot receive batch: an object with "max" is not a whole number from 1',
    ({ receiver }) => receiver.receiveBatch({ max: 5 } as never),
  ],
  [
    "send() of a connection without an address",
    'Cannot send: address is an object with "body", give the name of a queue or another node as a string',
    ({ connection }) => connection.send({ body: "a" } as never, "orders" as never),
  ],
  [
    "reject() with a text",
    "Cannot reject delivery: error is a string, give { condition, description }",
    received((delivery) => delivery.reject("no item" as never)),
  ],
  [
    "reject() with an Error",
    "Cannot reject delivery: error is an object of class Error, give { condition, description }",
    received((delivery) => delivery.reject(new Error("no item") as never)),
  ],
  [
    "modify() with a name of another library",
    'Cannot modify delivery: there is no option "failed", but deliveryFailed, undeliverableHere, messageAnnotations',
    received((delivery) => delivery.modify({ failed: true } as never)),
  ],
  [
    "a list of queues",
    'Cannot make broker: option "queues" is an array, give an object such as { orders: {} }',
    () => new Broker({ queues: ["orders"] as never }),
  ],
  [
    "a node of a broker's own that is no handler",
    'Cannot make broker: what answers at "$cbs" is a boolean, not a function',
    () => new Broker({ nodes: { $cbs: true as never } }),
  ],
  [
    "a gateway without a target",
    'Cannot make gateway: "target" is missing, such as "amqp://127.0.0.1:5672"',
    () => gateway({ listen: { port: 0 } } as never),
  ],
  [
    "a gateway that listens nowhere",
    'Cannot make gateway: "listen" is missing, such as { port: 8080 }',
    () => gateway({ target: "amqp://127.0.0.1:5672" } as never),
  ],
  [
    "a gateway that would go round the proxy",
    'Cannot make gateway: there is no option "dial.proxi", "proxy" is meant',
    () =>
      gateway({ listen: { port: 0 }, target: "amqp://127.0.0.1:5672", dial: { proxi: "http://proxy:3128" } } as never),
  ],
  [
    "upgradeListener() without options",
    "Cannot listen for upgrades: options are null, not an object",
    () => upgradeListener(undefined as never),
  ],
  [
    "jsonLines() without where to",
    "Cannot trace: what takes the lines is undefined, not a function",
    () => jsonLines(undefined as never),
  ],
  [
    "jsonLines() with an option of nobody's",
    'Cannot trace: there is no option "file", but title, vantage, now, start',
    () => jsonLines(() => {}, { file: "a" } as never),
  ],
  [
    "a scripted peer with an option of nobody's",
    'Cannot make scripted peer: there is no option "script", but over, ignore',
    () => new ScriptedPeer({ script: [] } as never),
  ],
  [
    "a scripted peer that expects what is no frame",
    'Cannot expect "atach": there is no such frame',
    () => new ScriptedPeer().expect("atach" as never),
  ],
  [
    "a store without its methods",
    'Cannot resume: "load" of the store is undefined, not a function',
    () => resume({ store: new Map() as never }),
  ],
  [
    "a connection string that the environment lacks",
    "Cannot use connection string: it is undefined, not a string",
    () => azure(undefined as never),
  ],
  ...Object.entries({ deno, bun, workers }).map(([name, handler]): typeof MISTAKES[number] => [
    `the handler of ${name} with a broker`,
    "Cannot make handler: accept is an object of class Broker, give a function such as (channel) => broker.accept(channel)",
    () => handler(new Broker() as never),
  ]),
  [
    "a handler with an option of a server's",
    'Cannot make handler: there is no option "path", but subprotocols, origins, maxMessageBytes, closeTimeoutMs',
    () => deno(() => {}, { path: "/amqp" } as never),
  ],
  [
    "a subscription without a name",
    'Cannot subscribe: name is an object with "shared", give it a name of your own',
    () => durableSubscription({ shared: true } as never),
  ],
  [
    "a subscription with an option of nobody's",
    'Cannot subscribe: there is no option "durable", but global, instance',
    () => sharedSubscription("billing", { durable: true } as never),
  ],
  [
    "opentelemetry() without the API",
    'Cannot measure: api is an object with "system", give what "@opentelemetry/api" exports',
    () => opentelemetry({ system: "rabbitmq" } as never),
  ],
  [
    "management() without a node",
    "Cannot manage node: address is undefined, give the name of a queue or another node as a string",
    ({ connection }) => management(connection, undefined as never),
  ],
  [
    "a management node without its connection",
    "Cannot manage node: the first argument is no connection: its sender is undefined, not a function",
    () => management("orders" as never, "$management"),
  ],
  [
    "an error as a message, which has no field of its own",
    'Cannot encode message: it is an object of class Error, not an object such as { body: "text" }',
    ({ sender }) => sender.send(new Error("a") as never),
  ],
  [
    "a Map as a message",
    'Cannot encode message: it is an object of class Map, not an object such as { body: "text" }',
    ({ sender }) => sender.send(new Map([["body", "a"]]) as never),
  ],
  [
    "a buffer as a message",
    'Cannot encode message: it is an object of class ArrayBuffer, not an object such as { body: "text" }',
    ({ connection }) => connection.send("a", new ArrayBuffer(3) as never),
  ],
  [
    "a message that was not awaited",
    "Cannot encode message: it is a promise, await it first",
    ({ sender }) => sender.send(Promise.resolve({ body: "a" }) as never),
  ],
  [
    "a message that cannot be sent, published where nothing listens",
    'Cannot encode message: it is undefined, not an object such as { body: "text" }',
    () => publish("ws://127.0.0.1:9", "orders", undefined as never),
  ],
  [
    "publish without a message, the options in its place",
    'Cannot encode message: there is no field "auth", what the message carries belongs in body',
    () => publish("ws://127.0.0.1:9", "orders", { auth: anonymous() } as never),
  ],
  [
    "text where bytes of a message belong",
    "Cannot decode message: bytes are a string, not a Uint8Array",
    () => decodeMessage("text" as never),
  ],
  [
    "a buffer where bytes of a message belong",
    "Cannot decode message: bytes are an object of class ArrayBuffer, not a Uint8Array",
    () => decodeMessage(new ArrayBuffer(4) as never),
  ],
  [
    "no messages for a batch",
    "Cannot make batch: messages are undefined, not an array",
    () => batch(undefined as never),
  ],
  [
    "a message where a delivery belongs",
    'Cannot take batch apart: an object with "body" is no delivery',
    () => unbatch({ body: 1 } as never),
  ],
  [
    "an array of a type that does not exist",
    'Cannot make array: give a wire type, such as "symbol", and an array of its items',
    () => array("foo" as never, []),
  ],
  [
    "what is no channel, accepted",
    "Cannot accept connection: channel is undefined, not a Channel",
    () => new Broker().accept(undefined as never),
  ],
  [
    "a password that is a number",
    'Cannot use users: what is kept of "ada" is a number, give a password or scramKeys',
    () => acceptor({ sasl: { users: { ada: 5 as never } } }),
  ],
  [
    "keys of a user that were not awaited",
    'Cannot use users: what is kept of "ada" is a promise, await it',
    async () => {
      const keys = scramKeys("secret", { iterations: 4_096 });
      try {
        return new Broker({ sasl: { users: { ada: keys as never } } });
      } finally {
        await keys;
      }
    },
  ],
  [
    "a body as message",
    "Cannot encode message: it is a body, write { body: json(value) }, and likewise for data, value and sequence",
    ({ sender }) => sender.send(json({ id: 1 }) as never),
  ],
  [
    "a value as message",
    "Cannot encode message: it is a body, write { body: json(value) }, and likewise for data, value and sequence",
    ({ connection }) => connection.send("a", value(1) as never),
  ],
  [
    "a delivery as message",
    'Cannot encode message: it is a delivery, give its "message"',
    async (place) => place.sender.send(await received((delivery) => delivery)(place) as never),
  ],
  [
    "text in bytes as message, as amqplib takes it",
    "Cannot encode message: the bytes are text and no encoded message, write { body: bytes }",
    ({ sender }) => sender.send(new TextEncoder().encode('{"id":1}')),
  ],
  [
    "text in bytes as message of publish",
    "Cannot encode message: the bytes are text and no encoded message, write { body: bytes }",
    () => publish("ws://localhost:1", "a", new TextEncoder().encode("one coffee")),
  ],
  [
    "a field of amqplib",
    'Cannot encode message: "persistent" belongs in header.durable',
    ({ sender }) => sender.send({ body: 1, persistent: true } as never),
  ],
  [
    "a field of AMQP 0-9-1 in properties",
    'Cannot encode properties: "type" belongs in properties.subject',
    properties({ type: "order" }),
  ],
  [
    "a body that is a date of no time",
    "Cannot encode timestamp: NaN does not fit (body: it is no valid date)",
    body(new Date(NaN)),
  ],
  [
    "a body that is an error",
    "Cannot encode map: an object of class Error does not fit (body.cause: write String(error))",
    body({ cause: new Error("no stock") }),
  ],
  [
    "a body that is a response",
    "Cannot encode map: an object of class Response does not fit (body: write new Uint8Array(await value.arrayBuffer()))",
    body(new Response("text")),
  ],
  [
    "a transaction as an option of send",
    'Cannot send: there is no option "transaction", "send() of the transaction" is meant',
    ({ sender }) => sender.send({ body: 1 }, { transaction: {} } as never),
  ],
  [
    "a selector as an option",
    'Cannot attach receiver: there is no option "selector", "filter" is meant',
    ({ connection }) => connection.receiver("a", { selector: "a = 1" } as never),
  ],
  [
    "a filter as text",
    'Cannot attach receiver: option "filter" is a string, not object as selector() makes',
    ({ connection }) => connection.receiver("a", { filter: "a = 1" } as never),
  ],
  [
    "filters in two places",
    'Cannot attach receiver: "filter" and "source.filter" are given, merge them',
    ({ connection }) => connection.receiver("a", { filter: selector("a = 1"), source: { filter: noLocal() } }),
  ],
  [
    "no state for a delivery",
    'Cannot settle delivery: state is undefined, give { kind: "accepted" } or another',
    received((delivery) => delivery.update(undefined as never)),
  ],
  [
    "a list as the state of a delivery, which would settle it without an outcome",
    'Cannot settle delivery: state is an array, give { kind: "accepted" } or another',
    received((delivery) => delivery.update([] as never)),
  ],
  [
    "text as the error of a rejection, which would be dropped",
    "Cannot reject delivery: error is a string, give { condition, description }",
    received((delivery) => delivery.update({ kind: "rejected", error: "late" } as never)),
  ],
  [
    "no credit to grant",
    "Cannot grant credit: undefined is not a whole number from 0 to 2^32-1",
    ({ receiver }) => receiver.grant(undefined as never),
  ],
  [
    "a bigint as credit",
    "Cannot grant credit: a bigint is not a whole number from 0 to 2^32-1",
    ({ receiver }) => receiver.grant(5n as never),
  ],
  [
    "text as the number of messages to acquire",
    "Cannot grant credit: a string is not a whole number from 0 to 2^32-1",
    async ({ connection }) =>
      (await connection.transaction()).acquire(connection.receiver("a", { credit: "manual" }), "5" as never),
  ],
  [
    "a number as the address of a source",
    'Cannot attach receiver: option "source.address" is a number, not string or null',
    ({ connection }) => connection.receiver({ source: { address: 5 as never } }),
  ],
  [
    "an object as the address of a target",
    'Cannot attach sender: option "target.address" is an object with "name", not string or null',
    ({ connection }) => connection.sender({ target: { address: { name: "a" } as never } }),
  ],
  [
    "an object as trace",
    "Cannot use trace of ANONYMOUS: it is no string, longer than 255 characters or holds NUL",
    () => anonymous({} as never),
  ],
  ["null as options of a batch", "Cannot make batch: options are null, not an object", () => batch([], null as never)],
  ["a bigint as float", /^Cannot encode float: 1 does not fit/, () => float(1n as never)],
  ["nothing to print", 'Cannot print composite: it is undefined, which has no "kind"', () => print(undefined as never)],
  [
    "a filter of another copy of the package",
    'Cannot encode map: an object of class Described of another copy or version of this package does not fit (source, field "filter") (attach, field "source")',
    ({ connection }) => connection.receiver("a", { filter: { old: new (class Described {})() as never } }),
  ],
  ["listen without options", "Cannot listen: options are null, not an object", () => listen(undefined as never)],
];

for (const [what, text, make] of MISTAKES) {
  test(`newcomer's mistake: ${what}`, async () => {
    const connection = linkUp(new Broker());
    const place = { connection, sender: connection.sender("a"), receiver: connection.receiver("a") };
    let message = "nothing";
    try {
      await make(place);
    } catch (error) {
      ({ message } = error as Error);
    }
    if (typeof text === "string") assertEquals(message, text);
    else assertEquals(text.test(message), true, message);
    await connection.close();
  });
}

test("newcomer: a client in the process of its broker is silenced, and traced, as any other", async () => {
  const lines: string[] = [];
  const broker = new Broker();
  const connection = await broker.connect({ log: null, trace: jsonLines((line) => lines.push(line)) });
  await connection.send("a", { body: 1 });
  await broker.close();
  assertEquals(lines.some((line) => line.includes('"transfer"')), true);
});

test("newcomer: a channel that has ended already, as of a scripted peer used twice, opens no connection and waits for none", async () => {
  const peer = new ScriptedPeer();
  peer.expectOpening();
  peer.expectClosing();
  const first = await connect(peer.channel);
  await first.close();
  await peer.done();
  const error = await connect(peer.channel).catch((error) => error);
  assertEquals([error instanceof TransportError, error.code], [true, "connection-lost"], String(error));
});
