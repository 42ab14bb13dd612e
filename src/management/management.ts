/**
 * AMQP Management: requests to the management node of a container, queue or topic, and their responses.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { management } from "@webamqp/amqp/management";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp");
 *   await using node = management(connection, "$management");
 *   const { body } = await node.request({ operation: "READ", type: "org.example:queue", name: "orders" });
 *   console.log(body);
 * }
 * ```
 *
 * @module
 */

import { checkAddress, checkFunction, checkOptions, type Kinds, type OptionKinds } from "../base/options.ts";
import * as condition from "../base/condition.ts";
import { randomName } from "../base/environment.ts";
import { AmqpError, type AmqpErrorOptions } from "../base/errors.ts";
import { isMap } from "../base/kinds.ts";
import { printable, quote } from "../base/text.ts";
import { abortable, Deferred, ignore, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import type { Body, DecodedMessage, Message } from "../codec/message.ts";
import type { SimpleValue, Value } from "../codec/values.ts";
import { conditionOfStatus, describeStatus } from "../client/claims.ts";
import type { Connection } from "../client/connection.ts";
import type { Receiver } from "../client/receiver.ts";
import type { Sender } from "../client/sender.ts";

/** A request to a management node. */
export interface ManagementRequest {
  /** The operation, such as `"READ"` or `"com.microsoft:renew-lock"`. */
  operation: string;
  /** The type of the entity. */
  type?: string;
  /** The name of the entity. */
  name?: string;
  /** The identity of the entity, in place of its name. */
  identity?: string;
  /** Languages for texts of the response, in order of preference, separated by spaces. */
  locales?: string;
  /** Further application properties. */
  applicationProperties?: Readonly<Record<string, SimpleValue>>;
  /** The body. Default: an empty map. */
  body?: Body;
}

/** The successful response of a management node. */
export interface ManagementResponse {
  /** The status, from 200 to 299. */
  readonly status: number;
  /** The node's description of the status. */
  readonly description: string | undefined;
  /** The body of the response. */
  readonly body: DecodedMessage["body"];
  /** The whole response. */
  readonly message: DecodedMessage;
}

/** How long to wait for a response. */
export interface ManagementOptions extends WaitOptions {
  /** Milliseconds to wait for the response. Default: 30,000. */
  timeoutMs?: number | undefined;
}

/** Settings of {@linkcode management}. */
export interface ManagementSettings {
  /** The address for responses: this link, by an unguessable name, or a dynamic node. Default: `"link"`. */
  replyTo?: "link" | "dynamic" | undefined;
}

/** The result of a query. */
export interface QueryResult {
  /** The names of the attributes. */
  readonly attributeNames: string[];
  /** A row for each entity: its values in the order of `attributeNames`. */
  readonly results: Value[][];
}

/**
 * The error of a response whose status is not from 200 to 299.
 *
 * @example
 * ```ts
 * import { type Management, ManagementError } from "@webamqp/amqp/management";
 *
 * async function exists(node: Management, name: string) {
 *   try {
 *     await node.read("queue", name);
 *     return true;
 *   } catch (error) {
 *     if (error instanceof ManagementError && error.status === 404) return false;
 *     throw error;
 *   }
 * }
 * ```
 */
export class ManagementError extends AmqpError {
  /** Always `"ManagementError"`. */
  override name = "ManagementError";
  /** The status, as in HTTP; NaN if the answer has none. */
  readonly status: number;

  /** Makes an error from the status, its condition and a message of the form "Cannot do this: state". */
  constructor(status: number, condition: string, message: string, options: AmqpErrorOptions = {}) {
    super(condition, message, { scope: "delivery", remote: true, retryable: status >= 500, ...options });
    this.status = status;
  }
}

/** The default of {@linkcode ManagementOptions.timeoutMs}. */
export const MANAGEMENT_TIMEOUT_MS = 30_000;

const REQUEST_KINDS: OptionKinds<ManagementRequest> = {
  operation: "string",
  type: "string",
  name: "string",
  identity: "string",
  locales: "string",
  applicationProperties: "object",
  body: "",
};
const QUERY_KINDS: Kinds = {
  entityType: "string",
  attributeNames: "array of string",
  offset: "whole number",
  count: "whole number",
};

/**
 * Opens the management node of `node`: at its address followed by `/$management`, unless it already ends in `$management`.
 *
 * Links are attached with the first request, and again after they end.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { management } from "@webamqp/amqp/management";
 *
 * async function main(connection: Connection) {
 *   await using node = management(connection, "orders");
 *   console.log(await node.query());
 * }
 * ```
 */
export function management(connection: Connection, node: string, settings: ManagementSettings = {}): Management {
  checkFunction("manage node", "the first argument is no connection: its sender", connection?.sender);
  checkAddress("manage node", node);
  checkOptions("manage node", settings, { replyTo: '"link" or "dynamic"' });
  const address = node.endsWith("$management") ? node : `${node}/$management`;
  return new Management(connection, address, settings.replyTo ?? "link");
}

/**
 * A management node; made by {@linkcode management}.
 *
 * @example
 * ```ts
 * import type { Management } from "@webamqp/amqp/management";
 *
 * async function show(node: Management) {
 *   const { attributeNames, results } = await node.query({ count: 10 });
 *   for (const row of results) console.log(Object.fromEntries(attributeNames.map((name, i) => [name, row[i]])));
 * }
 * ```
 */
export class Management implements AsyncDisposable {
  /** The node's address. */
  readonly address: string;

  readonly #connection: Connection;
  readonly #replyTo: "link" | "dynamic";
  readonly #waiting = new Map<string, Deferred<DecodedMessage>>();
  #sender: Sender | undefined;
  #receiver: Receiver | undefined;

  /** @ignore */
  constructor(connection: Connection, address: string, replyTo: "link" | "dynamic") {
    this.#connection = connection;
    this.address = address;
    this.#replyTo = replyTo;
  }

  /**
   * Sends a request, and waits for the response. Several requests may wait at a time.
   *
   * @throws {ManagementError} If the status of the response is not from 200 to 299.
   * @throws {OutcomeError | AmqpError} If the request was refused, or no response can come or comes in time.
   * @throws {TypeError | RangeError} If the request or an option cannot be used.
   */
  async request(request: ManagementRequest, options: ManagementOptions = {}): Promise<ManagementResponse> {
    checkOptions("manage node", options, { signal: "object", timeoutMs: "number" });
    checkOptions("manage node", request ?? null, REQUEST_KINDS);
    if (!request.operation) throw new TypeError('Cannot manage node: "operation" is missing, such as "READ"');
    const { signal, timeoutMs = MANAGEMENT_TIMEOUT_MS } = options;
    throwIfAborted(signal);
    const { environment } = this.#connection;
    const messageId = randomName(environment);
    const answer = new Deferred<DecodedMessage>();
    this.#waiting.set(messageId, answer);
    const timer = environment.setTimer(() => answer.reject(this.#timeoutError(request, timeoutMs)), timeoutMs);
    try {
      const replyTo = await abortable(Promise.race([this.#replies(), answer.promise.then(() => "")]), signal);
      const message = messageOf(request, messageId, replyTo);
      this.#requests().send(message, { signal }).catch((error) => answer.reject(error));
      return responseOf(request, this.address, await abortable(answer.promise, signal));
    } finally {
      environment.clearTimer(timer);
      this.#waiting.delete(messageId);
    }
  }

  /** Creates an entity. Resolves with its attributes, usually a `Map`. */
  async create(type: string, name: string, attributes: Readonly<Record<string, Value>> = {}): Promise<unknown> {
    return (await this.request({ operation: "CREATE", type, name, body: { ...attributes } })).body;
  }

  /** Resolves with the attributes of an entity. */
  async read(type: string, name: string): Promise<unknown> {
    return (await this.request({ operation: "READ", type, name })).body;
  }

  /** Changes attributes of an entity. Resolves with all of them. */
  async update(type: string, name: string, attributes: Readonly<Record<string, Value>>): Promise<unknown> {
    return (await this.request({ operation: "UPDATE", type, name, body: { ...attributes } })).body;
  }

  /** Deletes an entity. */
  async delete(type: string, name: string): Promise<void> {
    await this.request({ operation: "DELETE", type, name });
  }

  /** Lists attributes of all entities, or those of one type; all attributes if none are named. */
  async query(
    options: {
      entityType?: string;
      attributeNames?: readonly string[];
      offset?: number;
      count?: number;
    } = {},
  ): Promise<QueryResult> {
    checkOptions("query node", options, QUERY_KINDS);
    const { entityType, attributeNames = [], offset, count } = options;
    const given = { entityType, offset, count };
    const applicationProperties: Record<string, SimpleValue> = {};
    for (const [name, value] of Object.entries(given)) if (value !== undefined) applicationProperties[name] = value;
    const body = { attributeNames: [...attributeNames] };
    const response = await this.request({ operation: "QUERY", applicationProperties, body });
    const found = isMap(response.body) ? Object.fromEntries(response.body) : response.body as Partial<QueryResult>;
    return { attributeNames: found?.attributeNames ?? [], results: found?.results ?? [] };
  }

  /** Closes the node's links. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#sender?.close(), this.#receiver?.close()]);
  }

  #requests(): Sender {
    if (this.#sender?.open) return this.#sender;
    // Not every request may be repeated.
    return this.#sender = this.#connection.sender(this.address, { recovery: "fail" });
  }

  async #replies(): Promise<string> {
    let receiver = this.#receiver;
    if (receiver?.open !== true) {
      const name = randomName(this.#connection.environment);
      receiver = this.#receiver = this.#replyTo === "dynamic"
        ? this.#connection.receiver({ dynamic: true })
        : this.#connection.receiver(this.address, { name, target: { address: name } });
      const replies = receiver;
      replies.serve(({ message }) => {
        const { correlationId: id, messageId: own } = message.properties ?? {};
        // A response to an unknown or abandoned request is dropped.
        if (typeof id === "string") this.#waiting.get(id)?.resolve(message);
        else if (typeof own === "string") this.#waiting.get(own)?.reject(this.#queueError());
      }).catch(ignore);
      replies.closed.then(() => {
        const error = replies.error ??
          new AmqpError(condition.illegalState, "Cannot wait for an answer: the link for answers was closed", {
            scope: "link",
          });
        for (const waiting of this.#waiting.values()) waiting.reject(error);
      });
    }
    if (this.#replyTo === "link") return receiver.name;
    await receiver.ready();
    return receiver.address ?? "";
  }

  // A broker that makes a queue for any address hands the request itself to the link for answers.
  #queueError(): AmqpError {
    const state = "it is a queue, which gave the request back, and no management node";
    return new AmqpError(condition.notImplemented, `Cannot manage node ${quote(this.address)}: ${state}`, {
      scope: "delivery",
    });
  }

  #timeoutError({ operation }: ManagementRequest, timeoutMs: number): AmqpError {
    const state = `no answer in ${timeoutMs} ms, is it a management node?`;
    const what = `Cannot do ${quote(operation)} at ${quote(this.address)}: ${state}`;
    return new AmqpError(condition.illegalState, what, { scope: "delivery", retryable: true });
  }
}

function messageOf(request: ManagementRequest, messageId: string, replyTo: string): Message {
  const { operation, type, name, identity, locales, applicationProperties, body } = request;
  const properties: Record<string, SimpleValue> = { ...applicationProperties, operation };
  for (const [key, value] of Object.entries({ type, name, identity, locales })) {
    if (value !== undefined) properties[key] = value;
  }
  return {
    properties: { messageId, replyTo },
    applicationProperties: properties,
    body: body === undefined ? {} : body,
  };
}

function responseOf({ operation }: ManagementRequest, address: string, message: DecodedMessage): ManagementResponse {
  const given = message.applicationProperties ?? {};
  const read = (name: string, other: string): unknown => given[name] ?? given[other];
  const status = Number(read("statusCode", "status-code"));
  const description = read("statusDescription", "status-description");
  const text = description === undefined || description === null ? undefined : String(description);
  if (status >= 200 && status < 300) return { status, description: text, body: message.body, message };
  const named = read("errorCondition", "error-condition");
  const what = `Cannot do ${quote(operation)} at ${quote(address)}`;
  const symbolic = named === undefined || named === null ? conditionOfStatus(status) : String(named);
  const why = text === undefined ? "" : `, ${printable(text, 500)}`;
  const hint = Number.isNaN(status) ? "; is it a management node?" : "";
  throw new ManagementError(status, symbolic, `${what}: ${describeStatus(status, given)}${why}${hint}`);
}
