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
    // It comes back by itself; a first attempt that failed is made again with the next request.
    this.#connection ??= connect(this.#url).catch((error) => {
      this.#connection = undefined;
      throw error;
    });
    const connection = await this.#connection;
    await connection.send("orders", { body: await request.text() }, { signal: request.signal });
    return new Response(`${++this.#sent} sent\n`, { status: 202 });
  }
}

export default {
  fetch(request: Request, { PUBLISHER }: Environment): Promise<Response> {
    return PUBLISHER.get(PUBLISHER.idFromName("orders")).fetch(request);
  },
};
