// A Durable Object keeps one connection for all requests of a Worker, and counts what it has sent.
import { connect, type Connection } from "@webamqp/amqp";

interface Environment {
  readonly AMQP_URL: string;
  readonly PUBLISHER: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response> };
  };
}

export class Publisher {
  readonly #url: string;
  #connection: Promise<Connection> | undefined;
  #sent = 0;

  constructor(_state: unknown, environment: Environment) {
    this.#url = environment.AMQP_URL;
  }

  async fetch(request: Request): Promise<Response> {
    const connection = await (this.#connection ??= this.#connect());
    await connection.send("orders", { body: await request.text() }, { signal: request.signal });
    return new Response(`${++this.#sent} sent\n`, { status: 202 });
  }

  // A lost connection is reopened automatically. One that could not be opened, or has ended for good, as after a change of the
  // password, is replaced at the next request.
  async #connect(): Promise<Connection> {
    const forget = () => this.#connection = undefined;
    try {
      const connection = await connect(this.#url);
      connection.closed.then(forget);
      return connection;
    } catch (error) {
      forget();
      throw error;
    }
  }
}

export default {
  fetch(request: Request, { PUBLISHER }: Environment): Promise<Response> {
    return PUBLISHER.get(PUBLISHER.idFromName("orders")).fetch(request);
  },
};
