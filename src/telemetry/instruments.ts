/**
 * The instruments of one program: tracer, counters, histograms, and their attributes.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import type { Delivery } from "../client/delivery.ts";
import type { TelemetryServer } from "../client/connect.ts";
import { hex } from "../base/text.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import { isRecord } from "../codec/writer.ts";
import type { Attributes, Counter, Histogram, OpenTelemetryApi, Span } from "./api.ts";

/** Options of {@linkcode opentelemetry}. */
export interface OpenTelemetryOptions {
  /**
   * The value of `messaging.system`, such as `"rabbitmq"` or `"activemq"`. Default: `"servicebus"` at Azure Service Bus
   * hosts, otherwise `"amqp"`.
   */
  system?: string | undefined;
  /** True adds the context to messages. Default: true. */
  propagate?: boolean | undefined;
}

const NAME = "@webamqp/amqp";
// The bucket boundaries that the semantic conventions advise, in seconds.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const ERROR = 2;

/** The API's numbers of span kinds. */
export const kindOf = { client: 2, producer: 3, consumer: 4 } as const;

/** An open span, with a measured duration. */
export interface Measured {
  readonly span: Span;
  /** The context in which the span is active. */
  readonly context: unknown;
  /** Ends the span: with an error if the operation failed, otherwise with the outcome, `"accepted"` by default. */
  end(error?: unknown, outcome?: string): void;
}

/** The instruments of one connection, or of one `publish`. */
export class Instruments {
  readonly api: OpenTelemetryApi;
  readonly propagate: boolean;
  readonly common: Attributes;
  readonly sent: Counter;
  readonly consumed: Counter;
  readonly outcomes: Counter;
  readonly creditWaits: Counter;
  readonly creditWaitTimes: Histogram;
  readonly reconnects: Counter;
  readonly connections: Counter;
  readonly operations: Histogram;
  readonly processing: Histogram;
  readonly #tracer: ReturnType<OpenTelemetryApi["trace"]["getTracer"]>;

  constructor(api: OpenTelemetryApi, { system, propagate = true }: OpenTelemetryOptions, server?: TelemetryServer) {
    this.api = api;
    this.propagate = propagate;
    const { hostname, port } = server ?? { hostname: "", port: "" };
    this.common = {
      "messaging.system": system ?? (/\.servicebus\.\w+\.\w+$/.test(hostname) ? "servicebus" : "amqp"),
      "network.protocol.name": "amqp",
      ...(hostname !== "" && { "server.address": hostname }),
      ...(port !== "" && { "server.port": Number(port) }),
    };
    this.#tracer = api.trace.getTracer(NAME);
    const meter = api.metrics.getMeter(NAME);
    const counter = (name: string, unit: string, description: string): Counter =>
      meter.createCounter(name, { unit, description });
    const histogram = (name: string, description: string): Histogram =>
      meter.createHistogram(name, { unit: "s", description, advice: { explicitBucketBoundaries: SECONDS } });
    this.sent = counter("messaging.client.sent.messages", "{message}", "Messages that were to be sent");
    this.consumed = counter("messaging.client.consumed.messages", "{message}", "Messages that were received");
    this.operations = histogram("messaging.client.operation.duration", "How long sending or receiving took");
    this.processing = histogram("messaging.process.duration", "How long work on a message took");
    this.outcomes = counter("webamqp.outcomes", "{message}", "Messages by outcome");
    this.creditWaits = counter("webamqp.credit_waits", "{message}", "Messages that found no credit");
    this.creditWaitTimes = histogram("webamqp.credit_wait.duration", "How long messages waited for credit");
    this.reconnects = counter("webamqp.reconnects", "{connection}", "Connections that were lost and made anew");
    this.connections = meter.createUpDownCounter("webamqp.connections", {
      unit: "{connection}",
      description: "Connections that are open",
    });
  }

  /** The attributes of one operation on a node; the address of a dynamic node is marked as temporary. */
  attributes(operation: string, { address, temporary }: Place, message?: Message | DecodedMessage): Attributes {
    const { messageId, correlationId } = message?.properties ?? {};
    return {
      ...this.common,
      "messaging.operation.name": operation,
      "messaging.operation.type": operation,
      ...(address && { "messaging.destination.name": address }),
      ...(temporary && { "messaging.destination.temporary": true }),
      ...(messageId !== undefined && { "messaging.message.id": idText(messageId) }),
      ...(correlationId !== undefined && { "messaging.message.conversation_id": idText(correlationId) }),
    };
  }

  /** Begins a span named by operation and destination, as the semantic conventions require. */
  span(
    kind: number,
    attributes: Attributes,
    options: { links?: unknown[]; startTime?: number } = {},
    parent?: unknown,
  ): Span {
    const { "messaging.operation.name": operation, "messaging.destination.name": name } = attributes;
    const place = attributes["messaging.destination.temporary"] === true ? "(temporary)" : name;
    const title = place === undefined ? String(operation) : `${operation} ${place}`;
    return this.#tracer.startSpan(title, { kind, attributes, ...options }, parent ?? this.api.context.active());
  }

  /** Begins the span of a message to send; its end counts the message, its outcome and its duration. */
  sending(place: Place, message: unknown): Measured {
    const known = isMessage(message) ? message : undefined;
    const address = place.address ?? known?.properties?.to ?? undefined;
    const attributes = this.attributes("send", { ...place, address }, known);
    const parent = this.api.context.active();
    const span = this.span(kindOf.producer, attributes, {}, parent);
    const start = performance.now();
    return {
      span,
      context: this.api.trace.setSpan(parent, span),
      end: (error, came = "accepted") => {
        if (error !== undefined) attributes["error.type"] = fail(span, error);
        const measured = measuredBy(attributes);
        const outcome = error === undefined ? came : (error as { outcome?: string }).outcome ?? "failed";
        this.outcomes.add(1, { ...measured, outcome });
        this.sent.add(1, measured);
        this.operations.record((performance.now() - start) / 1_000, measured);
        span.end();
      },
    };
  }

  /** A copy of the message with the context for its receiver; an encoded message is returned unchanged. */
  carrying<T>(message: T, context: unknown): T {
    if (!this.propagate || !isMessage(message)) return message;
    const { applicationProperties } = message;
    // An invalid value is left for the encoder to refuse, and must not become an empty map.
    if (applicationProperties !== undefined && !isRecord(applicationProperties)) return message;
    const carrier: Record<string, string> = {};
    this.api.propagation.inject(context, carrier);
    if (carrier.traceparent !== undefined) carrier["Diagnostic-Id"] = carrier.traceparent;
    return { ...message, applicationProperties: { ...carrier, ...applicationProperties } };
  }

  /** The active context with what a message carries: the span that sent it, baggage, or what else is propagated. */
  contextOf(delivery: Delivery): unknown {
    const active = this.api.context.active();
    const properties = messageOf(delivery)?.applicationProperties;
    if (properties === undefined) return active;
    try {
      return this.api.propagation.extract(active, properties, PROPERTIES);
    } catch {
      // Some propagators throw at what they cannot read, and anybody may have written the message.
      return active;
    }
  }

  /** Links to the sending spans of messages. */
  linksTo(deliveries: readonly Delivery[]): { context: unknown }[] {
    const { trace, context } = this.api;
    const active = trace.getSpanContext(context.active());
    return deliveries.map((delivery) => trace.getSpanContext(this.contextOf(delivery)))
      .filter((sent) => sent !== undefined && sent.spanId !== active?.spanId)
      .map((sent) => ({ context: sent }));
  }
}

/** The node of an operation. */
export interface Place {
  readonly address: string | undefined;
  /** True for a dynamic node. */
  readonly temporary?: boolean;
}

// How propagators read application properties, which may be of any type.
const PROPERTIES = {
  keys: (properties: Properties): string[] => Object.keys(properties),
  get(properties: Properties, name: string): string | undefined {
    const value = properties[name] ?? (name === "traceparent" ? properties["Diagnostic-Id"] : undefined);
    return typeof value === "string" ? value : undefined;
  },
};

type Properties = Readonly<Record<string, unknown>>;

// A binary id is told in hex.
function idText(id: unknown): string {
  return isBytes(id) ? hex(id) : String(id);
}

/** The attributes of a measurement: without ids and temporary names, which are unbounded. */
export function measuredBy(attributes: Attributes): Attributes {
  const { "messaging.message.id": _, "messaging.message.conversation_id": __, ...rest } = attributes;
  if (rest["messaging.destination.temporary"] === true) delete rest["messaging.destination.name"];
  return rest;
}

/** Marks a span as failed, and returns the type of the error. */
export function fail(span: Span, error: unknown): string {
  const { condition, code, name = "error" } = Object(error) as { condition?: string; code?: unknown; name?: string };
  // The codes of a DOMException are numbers.
  const type = condition ?? (typeof code === "string" ? code : name);
  span.setAttribute("error.type", type);
  span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : String(error) });
  if (error instanceof Error) span.recordException(error);
  return type;
}

/** The message of a delivery; undefined if it cannot be decoded, which its receiver finds out too. */
export function messageOf(delivery: Delivery): DecodedMessage | undefined {
  try {
    return delivery.message;
  } catch {
    return undefined;
  }
}

function isMessage(message: unknown): message is Message {
  return typeof message === "object" && message !== null && !isBytes(message);
}
