/**
 * A worker on both sides of AMQP: as a client it runs the task of a request, under `/amqp` it accepts connections, and
 * under `/hub` its broker does.
 *
 * @module
 */

import { AmqpError, condition, connect, publish, type Sender, TransportError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { handler } from "../../src/transport/runtime/workers.ts";

/** The task, in the query of a request; the request's body is that of the message. */
export interface Task {
  /** The call of the client. */
  readonly call: "publish" | "receive" | "request";
  /** The broker's URL. */
  readonly url: string;
  /** The node to send to or receive from. */
  readonly address: string;
  /** The subprotocol to offer. */
  readonly subprotocol?: string;
}

/** The result of a task. */
export interface Report {
  /** The outcome of the published message, or the text of the received one. */
  readonly done?: string;
  /** The class of the error. */
  readonly error?: string;
  /** The error's condition or code. */
  readonly code?: string;
  /** The HTTP status, if the handshake failed by it. */
  readonly status?: number;
  /** The error's text. */
  readonly message?: string;
}

// Workers must not wait or ask for randomness at load; neither `acceptor` nor `handler` does.
const replies = new Map<string, Sender>();
const greeter = acceptor({
  openTimeoutMs: 1_000,
  sasl: { users: { guest: "welcome" } },
  onSender: (request) => {
    if (!request.dynamic) {
      throw new AmqpError(condition.notFound, `Cannot send from "${request.address}": no such node`);
    }
    const address = crypto.randomUUID();
    replies.set(address, request.accept({ address }));
  },
  onReceiver: (request) => {
    void request.accept().serve(async ({ message }) => {
      const { messageId, replyTo } = message.properties ?? {};
      const body = `Hello, ${message.text()}`;
      await replies.get(replyTo ?? "")?.send({ body, properties: { correlationId: messageId } });
    });
  },
});
const upgrade = handler((channel) => greeter.accept(channel));

/** A broker in a Durable Object: elsewhere, Workers keep objects of one request from being used by another. */
export class Hub {
  readonly fetch: (request: Request) => Response;

  constructor() {
    const broker = new Broker({ maxConnections: 2 });
    this.fetch = handler((channel) => broker.accept(channel));
  }
}

interface Env {
  readonly HUB: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response> };
  };
}

async function perform({ call, url, address, subprotocol = "amqp" }: Task, body: string): Promise<string> {
  const options = { subprotocols: [subprotocol], reconnect: false as const };
  if (call === "publish") {
    const outcome = await publish(url, address, { body }, options);
    return outcome?.kind ?? "settled";
  }
  await using connection = await connect(url, options);
  if (call === "request") return (await connection.request(address, { body })).text();
  const delivery = await connection.receiver(address).receive();
  delivery.accept();
  return delivery.message.text();
}

function describe(error: unknown): Report {
  if (error instanceof AmqpError) return { error: error.name, code: error.condition, message: error.message };
  if (!(error instanceof TransportError)) return { error: "Error", message: String(error) };
  const { name, code, status, message } = error;
  return { error: name, code, status, message };
}

export default {
  async fetch(request: Request, { HUB }: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/hub") return HUB.get(HUB.idFromName("hub")).fetch(request);
    if (pathname === "/amqp") return upgrade(request);
    if (pathname !== "/task") return new Response("Not found\n", { status: 404 });
    const task = Object.fromEntries(searchParams) as unknown as Task;
    const report: Report = await perform(task, await request.text()).then((done) => ({ done }), describe);
    return Response.json(report);
  },
};
