// A stand-in for RabbitMQ 4 in memory, for tests of programs that use RabbitMQ's clients of AMQP 1.0: they declare queues,
// exchanges and bindings over their links at `/management`, publish to `/exchanges/NAME/KEY` and `/queues/NAME`, and receive. What
// it cannot do, such as streams and headers exchanges, it refuses. It uses only the public API of this package.
//
//   deno run --allow-net examples/rabbitmq.ts 5672
//
// Connect to it with `amqp://guest:guest@127.0.0.1:5672/`.
import { AmqpError, array, type Body, type Connection, type Sender, uint, ulong } from "@webamqp/amqp";
import {
  Broker,
  type BrokerOptions,
  type QueueOptions,
  type ReceiverRequest,
  type SenderRequest,
} from "@webamqp/amqp/broker";
import { listen } from "@webamqp/amqp/node";

/** The settings of the stand-in. */
export type RabbitOptions = Omit<
  BrokerOptions,
  "authorize" | "autoCreate" | "nodes" | "queues" | "topics" | "verifyToken"
>;

interface DeclaredQueue {
  readonly address: string;
  readonly declared: string;
  readonly type: string;
  readonly exclusive: boolean;
  readonly owner: Connection;
  readonly arguments: Readonly<Record<string, unknown>>;
}

interface Binding {
  readonly source: string;
  readonly queue: string | undefined;
  readonly exchange: string | undefined;
  readonly key: string;
}

/** The answer to a request, by its HTTP status. */
interface Answer {
  readonly status: number;
  readonly body?: Body;
}

// The container of the stand-in's own connections.
const INSIDE = "routes";
const NODE = "rabbit@webamqp";
const EXCHANGE_TYPES = ["direct", "fanout", "topic"];
// Arguments that change nothing here, or what the broker does anyway.
const HARMLESS = ["x-queue-type", "x-max-priority", "x-quorum-initial-group-size", "x-queue-leader-locator"];

/** Makes a broker that answers to RabbitMQ's clients. */
export function rabbitmq(options: RabbitOptions = {}): Broker {
  const broker: Broker = new Broker({
    sasl: { users: { guest: "guest" }, anonymous: true },
    ...options,
    // Clients ask for a version from 4.0 on, and from 4.1 on use filters that are not here.
    properties: { product: "RabbitMQ", version: "4.0.9", node: NODE, ...options.properties },
    autoCreate: false,
    topics: [],
    nodes: {
      "/management": (request) => management.attach(request),
      "/exchanges/*": (request) => exchanges.attach(request),
      "/queues/*": (request) => exchanges.attach(request),
      // Links whose messages name their addresses.
      "": (request) => exchanges.attach(request),
    },
  });
  const exchanges = new Exchanges(broker);
  const management = new Management(broker, exchanges);
  return broker;
}

/** Exchanges and their bindings. */
class Exchanges {
  readonly #broker: Broker;
  readonly types = new Map(EXCHANGE_TYPES.map((type) => [`amq.${type}`, type]));
  /** By the path that names them. */
  readonly bindings = new Map<string, Binding>();
  /** The addresses of queues by their names. */
  readonly addresses = new Map<string, string>();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** Takes a link of a publisher, and leaves those of consumers to the broker. */
  async attach(request: SenderRequest | ReceiverRequest): Promise<void | false> {
    const { address, connection, attach, dynamic } = request;
    if (request.role === "sender") {
      if (address?.startsWith("/exchanges/")) {
        throw refusal("amqp:not-allowed", `bind a queue to exchange "${address}"`);
      }
      return false;
    }
    const inner = connection.remote?.containerId === INSIDE;
    if (inner || dynamic || attach.target?.kind !== "target") return false;
    if (address !== undefined && !this.#exists(address)) throw refusal("amqp:not-found", `there is no "${address}"`);
    await using inside = await this.#broker.connect({ containerId: INSIDE });
    await request.accept({ credit: 100 }).serve(async (delivery) => {
      const { message } = delivery;
      const to = address ?? message.properties?.to ?? "";
      const [exchange, key] = origin(to);
      const queues = exchange !== "" ? this.#route(exchange, key) : this.#exists(to) ? [to] : [];
      const sends = [];
      for (const queue of queues) {
        // The clients rely on these annotations.
        const from = { "x-exchange": exchange, "x-routing-key": key };
        sends.push(inside.send(queue, { ...message, messageAnnotations: { ...message.messageAnnotations, ...from } }));
      }
      // As RabbitMQ does with what no queue takes.
      if (sends.length === 0) delivery.release();
      await Promise.all(sends);
    });
  }

  #exists(address: string): boolean {
    const [exchange] = origin(address);
    return exchange === "" ? this.#broker.queue(address) !== undefined : this.types.has(exchange);
  }

  #route(exchange: string, key: string, seen: Set<string> = new Set(), queues: Set<string> = new Set()): Set<string> {
    if (seen.has(exchange)) return queues;
    seen.add(exchange);
    const type = this.types.get(exchange);
    for (const binding of this.bindings.values()) {
      const { source, queue, exchange: next } = binding;
      if (source !== exchange || !routes(type, binding.key, key)) continue;
      const address = this.addresses.get(queue ?? "");
      if (address !== undefined) queues.add(address);
      if (next !== undefined) this.#route(next, key, seen, queues);
    }
    return queues;
  }
}

/** The node to which clients send requests like those of HTTP. */
class Management {
  readonly #broker: Broker;
  readonly #exchanges: Exchanges;
  readonly #queues = new Map<string, DeclaredQueue>();
  // The links for answers of each connection, by the name that they share with the link for requests.
  readonly #answers = new WeakMap<Connection, Map<string, Sender>>();

  constructor(broker: Broker, exchanges: Exchanges) {
    this.#broker = broker;
    this.#exchanges = exchanges;
  }

  async attach(request: SenderRequest | ReceiverRequest): Promise<void> {
    const { connection, attach } = request;
    const properties = { paired: true };
    if (request.role === "sender") {
      const links = this.#answers.get(connection) ?? new Map<string, Sender>();
      this.#answers.set(connection, links);
      links.set(attach.name, request.accept({ properties }));
      return;
    }
    await request.accept({ credit: 100, properties }).serve(async ({ message }) => {
      const { messageId, subject = "", to = "" } = message.properties ?? {};
      const { status, body = null } = this.#answer(connection, subject, to, () => message.json());
      await this.#answers.get(connection)?.get(attach.name)?.send({
        properties: { correlationId: messageId, subject: String(status), to: "$me" },
        applicationProperties: { "http:response": "1.1" },
        body,
      }, { settled: true });
    });
  }

  #answer(connection: Connection, method: string, to: string, read: () => unknown): Answer {
    const [, kind, segment = "", part] = to.split("/");
    const name = decodeURIComponent(segment);
    switch (`${method} /${kind}${part === undefined ? "" : `/${part}`}`) {
      case "PUT /queues":
        return this.#declareQueue(connection, name, `/queues/${segment}`, fields(read()));
      case "GET /queues":
        return this.#describe(name, 200);
      case "DELETE /queues":
        return { status: 200, body: { message_count: ulong(this.#delete(name)) } };
      case "DELETE /queues/messages": {
        const queue = this.#queues.get(name);
        if (queue === undefined) return missing(`queue '${name}'`);
        return { status: 200, body: { message_count: ulong(this.#broker.purge(queue.address)) } };
      }
      case "PUT /exchanges":
        return this.#declareExchange(name, fields(read()));
      case "DELETE /exchanges":
        this.#exchanges.types.delete(name);
        this.#unbind((binding) => binding.source === name || binding.exchange === name);
        return { status: 204 };
      case "POST /bindings":
        return this.#bind(fields(read()));
      case "DELETE /bindings":
        return this.#exchanges.bindings.delete(name) ? { status: 204 } : missing(`binding '${name}'`);
      default:
        return { status: 400, body: `this stand-in does not know ${method} ${to}` };
    }
  }

  #declareQueue(owner: Connection, name: string, address: string, asked: Record<string, unknown>): Answer {
    const given = fields(asked.arguments ?? {});
    const settings: QueueOptions = {};
    for (const [argument, value] of Object.entries(given)) {
      if (argument === "x-delivery-limit") settings.maxDeliveries = Number(value) + 1;
      else if (argument === "x-dead-letter-exchange" && value === "") continue;
      else if (argument === "x-dead-letter-routing-key") {
        settings.deadLetter = `/queues/${encodeURIComponent(String(value))}`;
      } else if (!HARMLESS.includes(argument)) return refused(`argument ${argument} of queue '${name}'`);
    }
    const type = String(given["x-queue-type"] ?? "classic");
    const exclusive = asked.exclusive === true;
    // An exclusive queue goes with its connection at the latest.
    if (type === "stream" || (asked.auto_delete === true && !exclusive)) {
      return refused(`a stream, or an auto-delete queue that is not exclusive: '${name}'`);
    }
    const declared = JSON.stringify([type, exclusive, Object.entries(given).sort()], plain);
    const before = this.#queues.get(name);
    if (before !== undefined && before.declared !== declared) {
      return { status: 409, body: `inequivalent arguments for queue '${name}'` };
    }
    // Also the queue of a broker that has forgotten it in a restart.
    this.#broker.declare(address, settings);
    if (before !== undefined) return this.#describe(name, 200);
    this.#queues.set(name, { address, declared, type, exclusive, owner, arguments: given });
    this.#exchanges.addresses.set(name, address);
    if (exclusive) owner.closed.then(() => this.#delete(name));
    return this.#describe(name, 201);
  }

  #describe(name: string, status: number): Answer {
    const queue = this.#queues.get(name);
    if (queue === undefined) return missing(`queue '${name}'`);
    const { messages = 0, consumers = 0 } = this.#broker.queue(queue.address) ?? {};
    const { type, exclusive } = queue;
    const facts = { name, vhost: "/", type, exclusive, durable: true, auto_delete: false };
    const where = { leader: NODE, replicas: array("string", [NODE]) };
    const counts = { message_count: ulong(messages), consumer_count: uint(consumers) };
    return { status, body: { ...facts, ...where, ...counts, arguments: queue.arguments } as Body };
  }

  #delete(name: string): number {
    const { address = "" } = this.#queues.get(name) ?? {};
    const count = this.#broker.queue(address)?.messages ?? 0;
    this.#broker.delete(address);
    this.#queues.delete(name);
    this.#exchanges.addresses.delete(name);
    this.#unbind((binding) => binding.queue === name);
    return count;
  }

  #declareExchange(name: string, { type }: Record<string, unknown>): Answer {
    if (!EXCHANGE_TYPES.includes(String(type))) return refused(`a ${type} exchange '${name}'`);
    const before = this.#exchanges.types.get(name);
    if (before !== undefined && before !== type) {
      return { status: 409, body: `exchange '${name}' is a ${before} exchange` };
    }
    this.#exchanges.types.set(name, String(type));
    return { status: 204 };
  }

  #bind(asked: Record<string, unknown>): Answer {
    const [source, key] = [String(asked.source), String(asked.binding_key ?? "")];
    const queue = asked.destination_queue === undefined ? undefined : String(asked.destination_queue);
    const exchange = asked.destination_exchange === undefined ? undefined : String(asked.destination_exchange);
    if (!this.#exchanges.types.has(source)) return missing(`exchange '${source}'`);
    if (queue !== undefined && !this.#queues.has(queue)) return missing(`queue '${queue}'`);
    if (exchange !== undefined && !this.#exchanges.types.has(exchange)) return missing(`exchange '${exchange}'`);
    if (Object.keys(fields(asked.arguments ?? {})).length > 0) {
      return refused(`a binding of '${source}' with arguments`);
    }
    const destination = queue === undefined ? `dste=${exchange}` : `dstq=${queue}`;
    this.#exchanges.bindings.set(`src=${source};${destination};key=${key};args=`, { source, queue, exchange, key });
    return { status: 204 };
  }

  #unbind(dead: (binding: Binding) => boolean): void {
    const { bindings } = this.#exchanges;
    for (const [path, binding] of bindings) if (dead(binding)) bindings.delete(path);
  }
}

function routes(type: string | undefined, pattern: string, key: string): boolean {
  if (type !== "topic") return type === "fanout" || pattern === key;
  return matches(pattern.split("."), key.split("."));
}

// `*` stands for one word, `#` for any number of them.
function matches([first, ...rest]: readonly string[], words: readonly string[]): boolean {
  if (first === undefined) return words.length === 0;
  if (first === "#") return matches(rest, words) || (words.length > 0 && matches([first, ...rest], words.slice(1)));
  return words.length > 0 && (first === "*" || first === words[0]) && matches(rest, words.slice(1));
}

// The exchange and the routing key of an address; the exchange of queues is the empty one.
function origin(address: string): [exchange: string, key: string] {
  const [, kind, first = "", second = ""] = address.split("/").map(decodeURIComponent);
  return kind === "exchanges" ? [first, second] : ["", first];
}

function refusal(condition: string, state: string): AmqpError {
  return new AmqpError(condition, `Cannot attach link: ${state}`);
}

function fields(value: unknown): Record<string, unknown> {
  return Object(value) as Record<string, unknown>;
}

// Go's client counts in longs.
function plain(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

function missing(what: string): Answer {
  return { status: 404, body: `no ${what} in vhost '/'` };
}

function refused(what: string): Answer {
  return { status: 400, body: `this stand-in does not make ${what}` };
}

if (import.meta.main) {
  const port = Number((globalThis as { Deno?: { args: string[] } }).Deno?.args[0] ?? 5672);
  await listen({ port, host: "127.0.0.1", acceptor: rabbitmq() });
  console.log(`Connect with amqp://guest:guest@127.0.0.1:${port}/`);
}
