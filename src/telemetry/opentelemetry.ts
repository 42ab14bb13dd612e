/**
 * OpenTelemetry for connections: spans, metrics and the context of messages, by the `@opentelemetry/api` that the program has.
 *
 * Spans are named and described by the semantic conventions for messaging: `send`, `receive`, `process` and `settle`. The context
 * travels in application properties as `traceparent` and `tracestate`, and as `Diagnostic-Id`, which older Azure clients read.
 *
 * @example
 * ```ts ignore
 * import * as api from "@opentelemetry/api";
 * import { connect } from "@webamqp/amqp";
 * import { opentelemetry } from "@webamqp/amqp/telemetry";
 *
 * await using connection = await connect("wss://broker.example/amqp", { telemetry: opentelemetry(api) });
 * ```
 *
 * @module
 */

import type { Connection } from "../client/connection.ts";
import type { Delivery } from "../client/delivery.ts";
import type { Receiver, ServeOptions } from "../client/receiver.ts";
import type { Sender, SendOptions } from "../client/sender.ts";
import type { Session } from "../client/session.ts";
import type { SendOutcome } from "../client/outcome.ts";
import type { Message } from "../codec/message.ts";
import type { Telemetry } from "../client/connect.ts";

/** What attributes may hold. */
export type AttributeValue = string | number | boolean;
/** Attributes of spans and measurements. */
export type Attributes = { [name: string]: AttributeValue };

/** A span of the API, as far as it is used. */
export interface Span {
  /** Identifies it. */
  spanContext(): { traceId: string; spanId: string; traceFlags: number };
  /** Adds an attribute. */
  setAttribute(name: string, value: AttributeValue): unknown;
  /** Tells whether it succeeded; 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Adds an exception. */
  recordException(error: Error): void;
  /** Ends it. */
  end(): void;
}

/** A counter of the API. */
export interface Counter {
  /** Adds to it. */
  add(value: number, attributes?: Attributes): void;
}

/** A histogram of the API. */
export interface Histogram {
  /** Records a value. */
  record(value: number, attributes?: Attributes): void;
}

/** The object that `import * as api from "@opentelemetry/api"` gives, as far as it is used. */
export interface OpenTelemetryApi {
  /** Makes tracers, and spans active. */
  readonly trace: {
    /** The tracer of this package. */
    getTracer(name: string, version?: string): {
      /** Begins a span. */
      startSpan(name: string, options?: unknown, context?: unknown): Span;
    };
    /** A context in which a span is active. */
    setSpan(context: unknown, span: Span): unknown;
    /** The span that a context holds. */
    getSpanContext(context: unknown): unknown;
  };
  /** The contexts. */
  readonly context: {
    /** The one that is active. */
    active(): unknown;
    /** Runs a function in a context. */
    with<T>(context: unknown, call: () => T): T;
  };
  /** Puts contexts into messages. */
  readonly propagation: {
    /** Writes a context into a carrier. */
    inject(context: unknown, carrier: unknown): void;
    /** Reads a context from a carrier. */
    extract(context: unknown, carrier: unknown): unknown;
  };
  /** Makes meters. */
  readonly metrics: {
    /** The meter of this package. */
    getMeter(name: string, version?: string): {
      /** Makes a counter. */
      createCounter(name: string, options?: { unit?: string; description?: string }): Counter;
      /** Makes a counter that may fall. */
      createUpDownCounter(name: string, options?: { unit?: string; description?: string }): Counter;
      /** Makes a histogram. */
      createHistogram(name: string, options?: { unit?: string; description?: string }): Histogram;
    };
  };
}

/** How {@linkcode opentelemetry} describes what it sees. */
export interface OpenTelemetryOptions {
  /** The value of `messaging.system`, such as `"servicebus"`, `"rabbitmq"` or `"activemq"`. Default: `"amqp"`. */
  system?: string;
  /** False leaves the context out of messages. Default: true. */
  propagate?: boolean;
}

const NAME = "@webamqp/amqp";
// Kinds of spans and the status of a failure, by their numbers in the API.
const CLIENT = 2, PRODUCER = 3, CONSUMER = 4;
const ERROR = 2;

/**
 * Makes what the option `telemetry` of `connect` takes.
 *
 * @example
 * ```ts
 * import { opentelemetry, type OpenTelemetryApi } from "@webamqp/amqp/telemetry";
 *
 * const telemetry = (api: OpenTelemetryApi) => opentelemetry(api, { system: "rabbitmq" });
 * console.assert(typeof telemetry === "function");
 * ```
 */
export function opentelemetry(api: OpenTelemetryApi, options: OpenTelemetryOptions = {}): Telemetry {
  const instruments = new Instruments(api, options);
  return (connection, server) => new Instrumented(instruments, server).connection(connection);
}

class Instruments {
  readonly api: OpenTelemetryApi;
  readonly options: OpenTelemetryOptions;
  readonly tracer: ReturnType<OpenTelemetryApi["trace"]["getTracer"]>;
  readonly sent: Counter;
  readonly consumed: Counter;
  readonly outcomes: Counter;
  readonly dry: Counter;
  readonly reconnects: Counter;
  readonly connections: Counter;
  readonly operations: Histogram;
  readonly processing: Histogram;

  constructor(api: OpenTelemetryApi, options: OpenTelemetryOptions) {
    this.api = api;
    this.options = options;
    this.tracer = api.trace.getTracer(NAME);
    const meter = api.metrics.getMeter(NAME);
    this.sent = meter.createCounter("messaging.client.sent.messages", { unit: "{message}" });
    this.consumed = meter.createCounter("messaging.client.consumed.messages", { unit: "{message}" });
    this.operations = meter.createHistogram("messaging.client.operation.duration", { unit: "s" });
    this.processing = meter.createHistogram("messaging.process.duration", { unit: "s" });
    this.outcomes = meter.createCounter("webamqp.outcomes", { unit: "{message}", description: "Messages by outcome" });
    this.dry = meter.createCounter("webamqp.credit_waits", { description: "Sends that found no credit" });
    this.reconnects = meter.createCounter("webamqp.reconnects", {
      description: "Connections that were lost and made anew",
    });
    this.connections = meter.createUpDownCounter("webamqp.connections", { description: "Connections that are open" });
  }
}

// One connection, whose links are wrapped as they are made: nothing is asked of those that have no telemetry.
class Instrumented {
  readonly #instruments: Instruments;
  readonly #common: Attributes;

  constructor(instruments: Instruments, server: Parameters<Telemetry>[1]) {
    this.#instruments = instruments;
    this.#common = {
      "messaging.system": instruments.options.system ?? "amqp",
      "network.protocol.name": "amqp",
      ...(server !== undefined && { "server.address": server.hostname }),
      ...(server !== undefined && server.port !== "" && { "server.port": Number(server.port) }),
    };
  }

  connection(connection: Connection): void {
    this.#links(connection);
    const session = connection.session.bind(connection);
    connection.session = (options) => this.#links(session(options));
    this.#instruments.connections.add(1, this.#common);
    connection.closed.then(() => this.#instruments.connections.add(-1, this.#common));
    void this.#watch(connection);
  }

  async #watch(connection: Connection): Promise<void> {
    for await (const { kind } of connection.events()) {
      if (kind === "resumed") this.#instruments.reconnects.add(1, this.#common);
    }
  }

  #links<T extends Connection | Session>(parent: T): T {
    const sender = parent.sender.bind(parent) as Connection["sender"];
    const receiver = parent.receiver.bind(parent) as Connection["receiver"];
    parent.sender = (...terms: Parameters<Connection["sender"]>) => this.#sender(sender(...terms));
    parent.receiver = (...terms: Parameters<Connection["receiver"]>) => this.#receiver(receiver(...terms));
    return parent;
  }

  #attributes(operation: string, type: string, address: string | null | undefined, message?: Message): Attributes {
    const { messageId, correlationId } = message?.properties ?? {};
    return {
      ...this.#common,
      "messaging.operation.name": operation,
      "messaging.operation.type": type,
      ...(address && { "messaging.destination.name": address }),
      ...(messageId !== undefined && { "messaging.message.id": String(messageId) }),
      ...(correlationId !== undefined && { "messaging.message.conversation_id": String(correlationId) }),
    };
  }

  #sender(sender: Sender): Sender {
    const send = sender.send.bind(sender);
    sender.send = (message: Message | Uint8Array, options?: SendOptions) => this.#send(sender, send, message, options);
    return sender;
  }

  async #send(
    sender: Sender,
    send: Sender["send"],
    message: Message | Uint8Array,
    options: SendOptions | undefined,
  ): Promise<SendOutcome | undefined> {
    const { api, tracer, sent, outcomes, dry, operations, options: { propagate = true } } = this.#instruments;
    const { address } = sender;
    const isMessage = !(message instanceof Uint8Array);
    const to = address ?? (isMessage ? message.properties?.to : undefined);
    const attributes = this.#attributes("send", "send", to, isMessage ? message : undefined);
    const parent = api.context.active();
    const span = tracer.startSpan(to === undefined ? "send" : `send ${to}`, { kind: PRODUCER, attributes }, parent);
    const start = performance.now();
    if (sender.credit === 0) dry.add(1, place(attributes));
    try {
      const context = api.trace.setSpan(parent, span);
      const carried = isMessage && propagate ? withContext(api, context, message) : message;
      const outcome = await send(carried, options);
      outcomes.add(1, { ...place(attributes), outcome: outcome?.kind ?? "settled" });
      return outcome;
    } catch (error) {
      const { outcome, condition, code, name } = error as {
        outcome?: string;
        condition?: string;
        code?: string;
        name: string;
      };
      outcomes.add(1, { ...place(attributes), outcome: outcome ?? "failed" });
      attributes["error.type"] = condition ?? code ?? name;
      fail(span, error, attributes["error.type"]);
      throw error;
    } finally {
      sent.add(1, place(attributes));
      operations.record((performance.now() - start) / 1_000, place(attributes));
      span.end();
    }
  }

  #receiver(receiver: Receiver): Receiver {
    const receive = receiver.receive.bind(receiver), serve = receiver.serve.bind(receiver);
    const iterate = receiver[Symbol.asyncIterator].bind(receiver);
    receiver.receive = async (options) => {
      const start = performance.now();
      const delivery = await receive(options);
      this.#received(receiver, delivery, start);
      return delivery;
    };
    receiver.serve = (handler: (delivery: Delivery) => unknown, options?: ServeOptions) =>
      serve((delivery) => this.#process(receiver, delivery, () => handler(delivery)), options);
    receiver[Symbol.asyncIterator] = () => this.#iterate(receiver, iterate());
    return receiver;
  }

  #received(receiver: Receiver, delivery: Delivery, start: number): void {
    const { tracer, consumed, operations } = this.#instruments;
    const attributes = this.#attributes("receive", "receive", receiver.address, messageOf(delivery));
    const span = tracer.startSpan(`receive ${receiver.address ?? ""}`.trim(), {
      kind: CLIENT,
      attributes,
      links: this.#linksTo(delivery),
    });
    span.end();
    consumed.add(1, place(attributes));
    operations.record((performance.now() - start) / 1_000, place(attributes));
    this.#settling(receiver, delivery);
  }

  // The span of the work on a message is the child of the one that sent it.
  #startProcess(receiver: Receiver, delivery: Delivery): { span: Span; context: unknown; attributes: Attributes } {
    const { api, tracer, consumed } = this.#instruments;
    const attributes = this.#attributes("process", "process", receiver.address, messageOf(delivery));
    const parent = this.#contextOf(delivery) ?? api.context.active();
    const options = { kind: CONSUMER, attributes, links: this.#linksTo(delivery) };
    const span = tracer.startSpan(`process ${receiver.address ?? ""}`.trim(), options, parent);
    consumed.add(1, place(attributes));
    return { span, context: api.trace.setSpan(parent, span), attributes };
  }

  async #process(receiver: Receiver, delivery: Delivery, work: () => unknown): Promise<unknown> {
    const { api, processing } = this.#instruments;
    const { span, context, attributes } = this.#startProcess(receiver, delivery);
    this.#settling(receiver, delivery, context);
    const start = performance.now();
    try {
      return await api.context.with(context, work);
    } catch (error) {
      fail(span, error, attributes["error.type"] = (error as Error)?.name ?? "error");
      throw error;
    } finally {
      processing.record((performance.now() - start) / 1_000, place(attributes));
      span.end();
    }
  }

  async *#iterate(
    receiver: Receiver,
    deliveries: AsyncGenerator<Delivery, void, void>,
  ): AsyncGenerator<Delivery, void, void> {
    const { processing } = this.#instruments;
    for await (const delivery of deliveries) {
      const { span, context, attributes } = this.#startProcess(receiver, delivery);
      this.#settling(receiver, delivery, context);
      const start = performance.now();
      try {
        yield delivery;
      } finally {
        processing.record((performance.now() - start) / 1_000, place(attributes));
        span.end();
      }
    }
  }

  // A span for the word that the program gives; what is settled by default needs none of its own.
  #settling(receiver: Receiver, delivery: Delivery, context?: unknown): void {
    for (const name of ["accept", "reject", "release", "modify"] as const) {
      const settle = delivery[name].bind(delivery) as (...args: unknown[]) => void;
      delivery[name] = (...args: unknown[]) => {
        const attributes = this.#attributes(name, "settle", receiver.address, messageOf(delivery));
        const options = { kind: CLIENT, attributes, links: this.#linksTo(delivery) };
        const span = this.#instruments.tracer.startSpan(`settle ${receiver.address ?? ""}`.trim(), options, context);
        try {
          settle(...args);
        } catch (error) {
          fail(span, error, (error as Error).name);
          throw error;
        } finally {
          span.end();
        }
      };
    }
  }

  #contextOf(delivery: Delivery): unknown {
    const { api } = this.#instruments;
    const properties = messageOf(delivery)?.applicationProperties;
    if (properties === undefined) return undefined;
    const { traceparent = properties["Diagnostic-Id"], tracestate } = properties;
    if (typeof traceparent !== "string") return undefined;
    const context = api.propagation.extract(api.context.active(), { traceparent, ...(tracestate && { tracestate }) });
    return api.trace.getSpanContext(context) === undefined ? undefined : context;
  }

  #linksTo(delivery: Delivery): { context: unknown }[] {
    const context = this.#contextOf(delivery);
    return context === undefined ? [] : [{ context: this.#instruments.api.trace.getSpanContext(context) }];
  }
}

// What a measurement is told by: no ids, of which there is no end.
function place(attributes: Attributes): Attributes {
  const { "messaging.message.id": _, "messaging.message.conversation_id": __, ...rest } = attributes;
  return rest;
}

function withContext(api: OpenTelemetryApi, context: unknown, message: Message): Message {
  const carrier: Record<string, string> = {};
  api.propagation.inject(context, carrier);
  if (carrier.traceparent !== undefined) carrier["Diagnostic-Id"] = carrier.traceparent;
  return { ...message, applicationProperties: { ...carrier, ...message.applicationProperties } };
}

function messageOf(delivery: Delivery): Delivery["message"] | undefined {
  try {
    return delivery.message;
  } catch {
    // It cannot be decoded, which its handler learns by itself.
    return undefined;
  }
}

function fail(span: Span, error: unknown, type: AttributeValue): void {
  span.setAttribute("error.type", type);
  span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : String(error) });
  if (error instanceof Error) span.recordException(error);
}
