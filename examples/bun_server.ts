// A web server that publishes what is posted, over one connection for all requests.
//
//     bun examples/bun_server.ts ws://user:secret@127.0.0.1:5673
import process from "node:process";
import { connect, OutcomeError } from "@webamqp/amqp";

// What @types/bun declares; without it this is enough here.
declare const Bun: {
  serve(options: { port: number; hostname: string; fetch(request: Request): Promise<Response> }): { url: URL };
};

const connection = await connect(process.argv[2] ?? "ws://127.0.0.1:5673");

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    if (request.method !== "POST") return Response.json({ connection: connection.state });
    try {
      await connection.send("orders", { body: await request.text() }, { signal: AbortSignal.timeout(5_000) });
      return new Response("accepted\n", { status: 202 });
    } catch (error) {
      return new Response(`${error}\n`, { status: error instanceof OutcomeError && !error.retryable ? 422 : 503 });
    }
  },
});
console.log(server.url.href);
