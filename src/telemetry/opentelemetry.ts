/**
 * OpenTelemetry for connections: spans, metrics and context propagation, with the program's own `@opentelemetry/api`.
 *
 * Spans follow the semantic conventions for messaging: `send` for each message, however it is sent, `receive` for `receive`
 * and each batch, `process` for handlers and loops, `settle` for each outcome. The context travels in application
 * properties as `traceparent` and `tracestate`, and as `Diagnostic-Id`, which older Azure clients read.
 *
 * Counters: `messaging.client.sent.messages`, `messaging.client.consumed.messages`, `webamqp.outcomes`, `webamqp.credit_waits`,
 * `webamqp.reconnects`, `webamqp.connections`. Histograms, in seconds: `messaging.client.operation.duration`,
 * `messaging.process.duration`, `webamqp.credit_wait.duration`.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { opentelemetry, type OpenTelemetryApi } from "@webamqp/amqp/telemetry";
 *
 * // `api` is what `import * as api from "@opentelemetry/api"` gives.
 * async function main(api: OpenTelemetryApi) {
 *   await using connection = await connect("wss://broker.example/amqp", { telemetry: opentelemetry(api) });
 *   await connection.send("orders", { body: "one coffee" });
 * }
 * ```
 *
 * @module
 */

import { checkOptions, describeKind } from "../base/options.ts";
import type { Connection } from "../client/connection.ts";
import type { Session } from "../client/session.ts";
import type { Telemetry } from "../client/connect.ts";
import type { OpenTelemetryApi } from "./api.ts";
import { Instruments, type OpenTelemetryOptions } from "./instruments.ts";
import { measureReceiver } from "./receiving.ts";
import { measured, measureSender } from "./sending.ts";

export type { Attributes, AttributeValue, Counter, Histogram, OpenTelemetryApi, Span } from "./api.ts";
export type { OpenTelemetryOptions } from "./instruments.ts";

/**
 * Makes the value of the option `telemetry` of `connect` and `publish`.
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
  if (typeof api?.trace !== "object") {
    throw new TypeError(`Cannot measure: api is ${describeKind(api)}, give what "@opentelemetry/api" exports`);
  }
  checkOptions("measure", options, { system: "string", propagate: "boolean" });
  const measure: Telemetry = (connection, server) =>
    measureConnection(connection, new Instruments(api, options, server));
  return Object.assign(measure, {
    publish: ((send, address, message, server) =>
      measured(new Instruments(api, options, server), { address }, message, send)) satisfies Telemetry["publish"],
  });
}

// Wraps links as they are made, so that connections without telemetry cost nothing.
function measureConnection(connection: Connection, instruments: Instruments): void {
  const { common, connections } = instruments;
  measureLinks(connection, instruments);
  const session = connection.session.bind(connection);
  const measured: Connection["session"] = (options) => measureLinks(session(options), instruments);
  connection.session = measured;
  const keptSender = connection.keptSender.bind(connection);
  const measuredKept: Connection["keptSender"] = (address) => measureSender(keptSender(address), instruments, false);
  connection.keptSender = measuredKept;
  connections.add(1, common);
  connection.closed.then(() => connections.add(-1, common));
  void countReconnects(connection, instruments);
}

async function countReconnects(connection: Connection, { common, reconnects }: Instruments): Promise<void> {
  for await (const { kind } of connection.events()) if (kind === "resumed") reconnects.add(1, common);
}

function measureLinks<T extends Connection | Session>(parent: T, instruments: Instruments): T {
  const sender = parent.sender.bind(parent) as Connection["sender"];
  const receiver = parent.receiver.bind(parent) as Connection["receiver"];
  return Object.assign(parent, {
    sender(...settings: Parameters<Connection["sender"]>) {
      const made = sender(...settings);
      return isControl(settings) ? made : measureSender(made, instruments, isDynamic(settings));
    },
    receiver: (...settings: Parameters<Connection["receiver"]>) =>
      measureReceiver(receiver(...settings), instruments, isDynamic(settings)),
  });
}

// Whether the link begins and ends transactions: it carries no messages of the program.
function isControl(settings: readonly unknown[]): boolean {
  return settings.some((setting) => Object(Object(setting).target).kind === "coordinator");
}

// Whether the peer assigns the address.
function isDynamic(settings: readonly unknown[]): boolean {
  return settings.some((setting) => Object(setting).dynamic === true);
}
