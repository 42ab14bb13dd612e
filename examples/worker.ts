// A Cloudflare Worker: each POST becomes a message. AMQP_URL is a secret such as wss://user:secret@broker.example/amqp
import { publish } from "@webamqp/amqp";

export default {
  async fetch(request: Request, env: { AMQP_URL: string }): Promise<Response> {
    if (request.method !== "POST") return new Response("POST a message\n", { status: 405, headers: { allow: "POST" } });
    await publish(env.AMQP_URL, "orders", { body: await request.text() });
    return new Response("Accepted\n", { status: 202 });
  },
};
