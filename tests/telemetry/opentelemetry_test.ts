/**
 * Telemetry, judged by the SDK of OpenTelemetry.
 *
 * @module
 */

import { runInNewContext } from "node:vm";
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as api from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { AmqpError, connect, publish } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { opentelemetry, type OpenTelemetryOptions } from "../../src/telemetry/opentelemetry.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";

// The W3C format, as in the package @opentelemetry/core.
const propagator: api.TextMapPropagator = {
  inject(context, carrier, setter) {
    const span = api.trace.getSpanContext(context);
    if (span === undefined) return;
    setter.set(carrier, "traceparent", `00-${span.traceId}-${span.spanId}-0${span.traceFlags}`);
  },
  extract(context, carrier, getter) {
    const [, traceId, spanId] = /^00-(\w{32})-(\w{16})-\d\d$/.exec(String(getter.get(carrier, "traceparent"))) ?? [];
    if (traceId === undefined || spanId === undefined) return context;
    return api.trace.setSpanContext(context, { traceId, spanId, traceFlags: 1, isRemote: true });
  },
  fields: () => ["traceparent"],
};

/** The SDK's records, and a measured connection to a broker. */
async function setUp(options?: OpenTelemetryOptions) {
  const spans = new InMemorySpanExporter();
  const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const contexts = new AsyncLocalStorageContextManager().enable();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 100_000 });
  const meters = new MeterProvider({ readers: [reader] });
  api.context.setGlobalContextManager(contexts);
  api.propagation.setGlobalPropagator(propagator);
  api.trace.setGlobalTracerProvider(provider);
  api.metrics.setGlobalMeterProvider(meters);
  const broker = new Broker({ maxMessageSize: 10_000, topics: ["news"] });
  const dial = () => {
    const [client, server] = channelPair();
    broker.accept(server);
    return client;
  };
  const telemetry = opentelemetry(api, options);
  const connection = await connect("ws://broker.test:8080", { telemetry, dial });
  const named = (name: string) => spans.getFinishedSpans().filter((span) => span.name === name);
  /** The points of a metric, each with its attributes. */
  const points = async (name: string): Promise<{ value: unknown; attributes: api.Attributes }[]> => {
    await reader.forceFlush();
    const metrics = measured.getMetrics().at(-1)!.scopeMetrics.flatMap(({ metrics }) => metrics);
    return metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
  };
  return {
    spans,
    named,
    points,
    broker,
    dial,
    telemetry,
    connection,
    sum: async (name: string) => (await points(name)).reduce((sum, { value }) => sum + (value as number), 0),
    async [Symbol.asyncDispose]() {
      await connection.close();
      await broker.close();
      await meters.shutdown();
      api.context.disable();
      api.propagation.disable();
      api.trace.disable();
      api.metrics.disable();
    },
  };
}

test("telemetry: spans, their context through the message, and metrics, by the SDK", async () => {
  await using at = await setUp({ system: "test" });
  const { connection, named, spans, sum, points } = at;
  const tracer = api.trace.getTracer("a test");
  await tracer.startActiveSpan("parent", async (parent) => {
    await connection.send("orders", { body: "x", properties: { messageId: "1" } });
    parent.end();
  });
  const stop = new AbortController();
  let inside: string | undefined;
  await connection.receiver("orders").serve((delivery) => {
    inside = api.trace.getActiveSpan()?.spanContext().spanId;
    const { traceparent, "Diagnostic-Id": diagnostic } = delivery.message.applicationProperties ?? {};
    assertEquals(diagnostic, traceparent);
    delivery.accept();
    stop.abort();
  }, { signal: stop.signal });

  const [parent, sent, processed, settled] = ["parent", "send orders", "process orders", "settle orders"]
    .map((name) => named(name)[0]!);
  assertEquals(sent!.parentSpanContext?.spanId, parent!.spanContext().spanId);
  assertEquals(processed!.parentSpanContext?.spanId, sent!.spanContext().spanId);
  assertEquals(processed!.links.map(({ context }) => context.spanId), [sent!.spanContext().spanId]);
  assertEquals(settled!.parentSpanContext?.spanId, processed!.spanContext().spanId);
  assertEquals(inside, processed!.spanContext().spanId);
  const { PRODUCER, CONSUMER, CLIENT } = api.SpanKind;
  assertEquals([sent!.kind, processed!.kind, settled!.kind], [PRODUCER, CONSUMER, CLIENT]);
  assertEquals(sent!.attributes, {
    "messaging.system": "test",
    "network.protocol.name": "amqp",
    "server.address": "broker.test",
    "server.port": 8080,
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": "orders",
    "messaging.message.id": "1",
  });
  assertEquals(settled!.attributes["webamqp.outcome"], "accepted");

  spans.reset();
  await assertRejects(() => connection.sender("orders").send({ body: new Uint8Array(20_000) }));
  const [failed] = named("send orders");
  assertEquals([failed!.status.code, failed!.attributes["error.type"]], [
    api.SpanStatusCode.ERROR,
    "amqp:link:message-size-exceeded",
  ]);
  assertEquals([await sum("messaging.client.sent.messages"), await sum("messaging.client.consumed.messages")], [2, 1]);
  const outcomes = (await points("webamqp.outcomes")).map(({ attributes, value }) => [attributes.outcome, value]);
  assertEquals(outcomes, [["accepted", 1], ["failed", 1]]);
  for (const { attributes } of await points("messaging.client.sent.messages")) {
    assertEquals(attributes["messaging.message.id"], undefined);
  }
  assertEquals((await points("messaging.process.duration")).length, 1);
  assertEquals(await sum("webamqp.connections"), 1);
  await connection.close();
  assertEquals(await sum("webamqp.connections"), 0);
});

test("telemetry: sendAll, writable and stream tell each message with its own outcome", async () => {
  await using at = await setUp();
  const { connection, named, spans, broker, sum } = at;
  const orders = connection.sender("orders");
  assertEquals(await orders.sendAll([{ body: 1 }, { body: 2 }, { body: 3 }]), 3);
  const sent = named("send orders");
  assertEquals([sent.length, new Set(sent.map((span) => span.spanContext().spanId)).size], [3, 3]);
  const inQueue: string[] = [];
  const receiver = connection.receiver("orders");
  for (let i = 0; i < 3; i++) {
    const delivery = await receiver.receive();
    delivery.accept();
    inQueue.push(String(delivery.message.applicationProperties?.traceparent).split("-")[2]!);
  }
  await receiver.close();
  assertEquals(new Set(inQueue), new Set(sent.map((span) => span.spanContext().spanId)));

  spans.reset();
  const writer = orders.writable.getWriter();
  await writer.write({ body: 4 });
  await writer.close();
  assertEquals(named("send orders").length, 1);

  spans.reset();
  await orders.stream({
    body: (async function* () {
      yield new Uint8Array(10);
    })(),
  });
  assertEquals(named("send orders").length, 1);

  // The second message is too large, which does not affect the first.
  spans.reset();
  await assertRejects(() => orders.sendAll([{ body: "a" }, { body: new Uint8Array(20_000) }]));
  assertEquals(named("send orders").map(({ status }) => status.code).sort(), [
    api.SpanStatusCode.UNSET,
    api.SpanStatusCode.ERROR,
  ]);

  // Aborted: no span stays open.
  spans.reset();
  const given = new AbortController();
  const sending = orders.sendAll(
    (function* () {
      yield { body: "b" };
      given.abort();
      yield { body: "c" };
    })(),
    { signal: given.signal },
  );
  await assertRejects(() => sending);
  assertEquals(named("send orders").map(({ attributes }) => attributes["error.type"]), ["AbortError"]);
  assertEquals(await sum("messaging.client.sent.messages"), 8);
  assert(broker.queue("orders") !== undefined);
});

test("telemetry: publish is a span, and its context arrives", async () => {
  await using at = await setUp();
  const { connection, named, telemetry, dial } = at;
  await publish("ws://broker.test", "orders", { body: "x" }, { telemetry, dial });
  const [sent] = named("send orders");
  const delivery = await connection.receiver("orders").receive();
  assertEquals(
    String(delivery.message.applicationProperties?.traceparent).split("-")[2],
    sent!.spanContext().spanId,
  );
  await assertRejects(() =>
    publish("ws://broker.test", "orders", { body: new Uint8Array(20_000) }, { telemetry, dial, reconnect: false })
  );
  assertEquals(named("send orders").map(({ status }) => status.code), [0, api.SpanStatusCode.ERROR]);
});

test("telemetry: a request, its answer and the work on both hang together", async () => {
  await using at = await setUp();
  const { connection, named, points } = at;
  const stop = new AbortController();
  const responding = connection.respond("prices", () => ({ body: "3.20" }), { signal: stop.signal });
  await connection.request("prices", { body: "coffee" });
  stop.abort();
  await responding;
  const [asked] = named("send prices"), [worked] = named("process prices");
  assertEquals(worked!.parentSpanContext?.spanId, asked!.spanContext().spanId);
  const [answered] = named("process (temporary)");
  assertEquals(answered!.spanContext().traceId, asked!.spanContext().traceId);
  assertEquals(answered!.attributes["messaging.destination.temporary"], true);
  // A generated name is not a useful attribute.
  for (const { attributes } of await points("messaging.client.consumed.messages")) {
    assert(attributes["messaging.destination.name"] === "prices" || !("messaging.destination.name" in attributes));
  }
});

test("telemetry: a batch is one span with a link for each message; streams and loops tell each", async () => {
  await using at = await setUp();
  const { connection, named, spans, sum } = at;
  await connection.sender("orders").sendAll([1, 2, 3, 4, 5, 6].map((body) => ({ body })));
  const sent = new Set(named("send orders").map((span) => span.spanContext().spanId));
  const receiver = connection.receiver("orders", { credit: "manual" });
  for (const delivery of await receiver.receiveBatch(3, { waitMs: 1_000 })) delivery.accept();
  const [received] = named("receive orders");
  assertEquals([received!.kind, received!.attributes["messaging.batch.message_count"]], [api.SpanKind.CLIENT, 3]);
  assertEquals(received!.links.length, 3);
  for (const { context } of received!.links) assert(sent.has(context.spanId));
  assertEquals(named("settle orders").length, 3);
  await receiver.close();

  spans.reset();
  const second = connection.receiver("orders", { credit: 1 });
  const reader = second.readable.getReader();
  (await reader.read()).value!.accept();
  await reader.cancel();
  assertEquals(named("receive orders").length, 1);

  const third = connection.receiver("orders", { credit: 1 });
  for await (const delivery of third.values({ preventCancel: true })) {
    delivery.accept();
    break;
  }
  for await (const delivery of third) {
    delivery.accept();
    break;
  }
  assertEquals(named("process orders").length, 2);
  assertEquals(await sum("messaging.client.consumed.messages"), 6);
});

test("telemetry: leaving a loop ends its wait for a message, as without it", async () => {
  const broker = new Broker();
  const [channel, accepted] = channelPair();
  broker.accept(accepted);
  const connection = await connect(channel, { telemetry: opentelemetry(api) });
  for (const leave of ["return", "throw"] as const) {
    const receiver = connection.receiver("empty");
    const loop = receiver.values();
    const next = loop.next();
    const error = new Error("enough");
    const left = leave === "return" ? loop.return() : loop.throw(error).catch((reason) => reason);
    assertEquals((await next).done, true);
    assertEquals(await left, leave === "return" ? { done: true, value: undefined } : error);
    assertEquals(receiver.open, false);
  }
  await connection.close();
  await broker.close();
});

test("telemetry: waits for credit are counted and timed, connections that come back are counted", async () => {
  await using at = await setUp();
  const { connection, points, sum, broker } = at;
  await connection.sender("orders").send({ body: 1 });
  assertEquals(await sum("webamqp.credit_waits"), 1);
  const [wait] = await points("webamqp.credit_wait.duration");
  assertEquals((wait!.value as { count: number }).count, 1);
  assertEquals(wait!.attributes["messaging.destination.name"], "orders");
  const events = connection.events();
  const back = (async () => {
    for await (const { kind } of events) if (kind === "resumed") return;
  })();
  for (const each of [...broker.connections]) each.close({ error: new AmqpError("amqp:connection:forced", "gone") });
  await back;
  await Promise.resolve();
  assertEquals(await sum("webamqp.reconnects"), 1);
});

test("telemetry: a message is what it is without it: what is no record of properties stays a mistake", async () => {
  await using at = await setUp();
  const { connection, named, points } = at;
  const orders = connection.sender("orders");
  for (const applicationProperties of [new Map([["a", 1]]), 5, ["a"]] as never[]) {
    await assertRejects(() => orders.send({ body: "x", applicationProperties }), Error, "Cannot encode");
  }
  const own = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };
  await orders.send({ body: "y", applicationProperties: Object.assign(Object.create(null), own) });
  const delivery = await connection.receiver("orders").receive();
  assertEquals([delivery.message.body, delivery.message.applicationProperties?.traceparent], ["y", own.traceparent]);
  delivery.accept();
  assertEquals(named("receive orders")[0]!.links.map(({ context }) => context.spanId), ["b".repeat(16)]);

  await orders.send({ body: 1 }, { settled: true });
  await orders.sendAll([{ body: 2 }], { settled: true });
  const outcomes: Record<string, number> = {};
  for (const { attributes: { outcome }, value } of await points("webamqp.outcomes")) {
    outcomes[String(outcome)] = (outcomes[String(outcome)] ?? 0) + Number(value);
  }
  assertEquals(outcomes, { failed: 3, accepted: 1, settled: 2 });
});

test("telemetry: a send that fails, and that nobody awaits, is no unhandled rejection, and a mistake keeps its text", async () => {
  await using at = await setUp();
  const { connection, points } = at;
  const orders = connection.sender("orders");
  const mistaken = { bodi: 1 } as unknown as { body: number };
  void orders.send(mistaken);
  void connection.send("orders", mistaken);
  await assertRejects(
    () => orders.sendAll(["text" as unknown as { body: string }]),
    TypeError,
    "it is a string, not an object",
  );
  await orders.close();
  void orders.send({ body: 1 });
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals((await points("webamqp.outcomes")).reduce((sum, { value }) => sum + Number(value), 0), 4);
});

test("telemetry: properties of another realm carry the context too, as jest makes them", async () => {
  await using at = await setUp();
  const { connection } = at;
  const applicationProperties: { a: number } = runInNewContext("({ a: 1 })");
  await connection.send("orders", { body: "x", applicationProperties });
  const delivery = await connection.receiver("orders").receive();
  assertEquals(Object.keys(delivery.message.applicationProperties!).includes("traceparent"), true);
  delivery.accept();
});

test("telemetry: baggage, and the context of any propagator, arrive as they were sent", async () => {
  await using at = await setUp();
  const { connection, named } = at;
  // As @opentelemetry/core and propagator-b3 write them; neither expects a value that is no text.
  api.propagation.disable();
  api.propagation.setGlobalPropagator({
    inject(context, carrier, setter) {
      const span = api.trace.getSpanContext(context);
      if (span !== undefined) setter.set(carrier, "b3", `${span.traceId}-${span.spanId}-1`);
      const [[key, entry] = []] = api.propagation.getBaggage(context)?.getAllEntries() ?? [];
      if (entry !== undefined) setter.set(carrier, "baggage", `${key}=${entry.value}`);
    },
    extract(context, carrier, getter) {
      const [b3, baggage] = ["b3", "baggage"].map((name) => getter.get(carrier, name) as string | undefined);
      const [traceId, spanId] = b3?.split("-") ?? [];
      const spanned = traceId && spanId
        ? api.trace.setSpanContext(context, { traceId, spanId, traceFlags: 1, isRemote: true })
        : context;
      const [key, value] = baggage?.split("=") ?? [];
      return key && value
        ? api.propagation.setBaggage(spanned, api.propagation.createBaggage({ [key]: { value } }))
        : spanned;
    },
    fields: () => ["b3", "baggage"],
  });
  const baggage = api.propagation.createBaggage({ tenant: { value: "acme" } });
  const orders = connection.sender("orders");
  await api.context.with(
    api.propagation.setBaggage(api.context.active(), baggage),
    () => orders.send({ body: 1, properties: { messageId: new Uint8Array([1, 2, 255]) } }),
  );
  await orders.send({ body: 2, applicationProperties: { b3: 5, baggage: 7 } });
  const tenants: unknown[] = [];
  const stop = new AbortController();
  const tracer = api.trace.getTracer("a test");
  await tracer.startActiveSpan("serving", async (serving) => {
    await connection.receiver("orders").serve((delivery) => {
      tenants.push(api.propagation.getActiveBaggage()?.getEntry("tenant")?.value);
      delivery.accept();
      if (tenants.length === 2) stop.abort();
    }, { signal: stop.signal, concurrency: 1 });
    serving.end();
  });
  assertEquals(tenants, ["acme", undefined]);
  const [sent] = named("send orders"), [first, second] = named("process orders"), [serving] = named("serving");
  assertEquals(first!.parentSpanContext?.spanId, sent!.spanContext().spanId);
  assertEquals(first!.links.map(({ context }) => context.spanId), [sent!.spanContext().spanId]);
  assertEquals(first!.attributes["messaging.message.id"], "0102ff");
  // A message that carries nothing hangs on the span around it, and has no link to it.
  assertEquals([second!.parentSpanContext?.spanId, second!.links], [serving!.spanContext().spanId, []]);
});

test("telemetry: a transaction tells the messages and outcomes in it, not its own link's", async () => {
  await using at = await setUp();
  const { connection, spans, points } = at;
  await connection.send("orders", { body: 1 });
  const delivery = await connection.receiver("orders").receive();
  spans.reset();
  const transaction = await connection.transaction();
  await transaction.send(connection.sender("bills"), { body: 2 });
  transaction.accept(delivery);
  await transaction.commit();
  const told = spans.getFinishedSpans()
    .map(({ name, status, attributes }) => [name, status.code, attributes["webamqp.outcome"]]);
  assertEquals(told, [["send bills", 0, undefined], ["settle orders", 0, "accepted"]]);
  assertEquals((await points("webamqp.outcomes")).map(({ attributes }) => attributes.outcome), [
    "accepted",
    "accepted",
  ]);
});

test("telemetry: without it nothing is changed on a connection", async () => {
  const broker = new Broker();
  const [client, server] = channelPair();
  broker.accept(server);
  const connection = await connect(client);
  for (const name of ["sender", "receiver", "session"]) assertEquals(Object.hasOwn(connection, name), false);
  assertEquals(Object.hasOwn(connection.sender("a"), "send"), false);
  await connection.close();
  await broker.close();
});

test("telemetry ATK-8: a message whose context a propagator throws at is received, and is the root of its work", async () => {
  await using at = await setUp();
  const { connection, named, broker } = at;
  api.propagation.disable();
  api.propagation.setGlobalPropagator({
    ...propagator,
    // As those that decode baggage unguarded.
    extract: (context, carrier, getter) => {
      decodeURIComponent(String(getter.get(carrier, "baggage")));
      return propagator.extract(context, carrier, getter);
    },
  });
  await using sender = await broker.connect();
  const hostile = { body: "x", applicationProperties: { baggage: "%=", traceparent: "00-" } };
  await sender.send("orders", hostile);
  await sender.send("orders", hostile);
  const receiver = connection.receiver("orders", { credit: 1 });
  for (const delivery of await receiver.receiveBatch(1, { waitMs: 1_000 })) delivery.accept();
  const stop = new AbortController();
  await receiver.serve(() => stop.abort(), { signal: stop.signal });
  assertEquals(named("process orders").map(({ parentSpanContext }) => parentSpanContext), [undefined]);
});
