/**
 * Telemetry, judged by the SDK of OpenTelemetry.
 *
 * @module
 */

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
import { connect } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { opentelemetry } from "../../src/telemetry/opentelemetry.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";

// The W3C format, as the package @opentelemetry/core has it.
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

const spans = new InMemorySpanExporter();
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);

test("telemetry: spans, their context through the message, and metrics, by the SDK", async () => {
  const contexts = new AsyncLocalStorageContextManager().enable();
  api.context.setGlobalContextManager(contexts);
  api.propagation.setGlobalPropagator(propagator);
  api.trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }));
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 100_000 });
  const meters = new MeterProvider({ readers: [reader] });
  api.metrics.setGlobalMeterProvider(meters);

  const broker = new Broker({ maxMessageSize: 10_000 });
  const [client, server] = channelPair();
  broker.accept(server);
  const connection = await connect(client, { telemetry: opentelemetry(api, { system: "test" }) });
  const tracer = api.trace.getTracer("a test");
  await tracer.startActiveSpan("parent", async (parent) => {
    await connection.sender("orders").send({ body: "x", properties: { messageId: "1" } });
    parent.end();
  });
  const stop = new AbortController();
  let inside: string | undefined;
  await connection.receiver("orders").serve((delivery) => {
    inside = api.trace.getActiveSpan()?.spanContext().spanId;
    assertEquals(
      delivery.message.applicationProperties?.["Diagnostic-Id"],
      delivery.message.applicationProperties?.traceparent,
    );
    delivery.accept();
    stop.abort();
  }, { signal: stop.signal });

  const byName = (name: string) => spans.getFinishedSpans().find((span) => span.name === name)!;
  const [parent, sent, processed, settled] = ["parent", "send orders", "process orders", "settle orders"].map(byName);
  assertEquals(sent!.parentSpanContext?.spanId, parent!.spanContext().spanId);
  assertEquals(processed!.parentSpanContext?.spanId, sent!.spanContext().spanId);
  assertEquals(processed!.links.map(({ context }) => context.spanId), [sent!.spanContext().spanId]);
  assertEquals(settled!.parentSpanContext?.spanId, processed!.spanContext().spanId);
  assertEquals(inside, processed!.spanContext().spanId);
  assertEquals([sent!.kind, processed!.kind, settled!.kind], [
    api.SpanKind.PRODUCER,
    api.SpanKind.CONSUMER,
    api.SpanKind.CLIENT,
  ]);
  assertEquals(sent!.attributes, {
    "messaging.system": "test",
    "network.protocol.name": "amqp",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": "orders",
    "messaging.message.id": "1",
  });

  spans.reset();
  await assertRejects(() => connection.sender("orders").send({ body: new Uint8Array(20_000) }));
  const failed = byName("send orders");
  assertEquals([failed.status.code, typeof failed.attributes["error.type"]], [api.SpanStatusCode.ERROR, "string"]);
  await connection.sender("more").send({ body: "y" });
  const delivery = await connection.receiver("more").receive();
  delivery.accept();
  assertEquals(byName("receive more").links.length, 1);
  await connection.close();

  await reader.forceFlush();
  const metrics = measured.getMetrics().at(-1)!.scopeMetrics.flatMap(({ metrics }) => metrics);
  const sum = (name: string) =>
    metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints.reduce(
      (sum, { value }) => sum + (value as number),
      0,
    );
  assertEquals([
    sum("messaging.client.sent.messages"),
    sum("messaging.client.consumed.messages"),
    sum("webamqp.connections"),
  ], [3, 2, 0]);
  assertEquals(sum("webamqp.outcomes"), 3);
  assert(metrics.some(({ descriptor }) => descriptor.name === "messaging.client.operation.duration"));
  assert(metrics.some(({ descriptor }) => descriptor.name === "messaging.process.duration"));
  await meters.shutdown();
  await broker.close();
  api.context.disable();
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
