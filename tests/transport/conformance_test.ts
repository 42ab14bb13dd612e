import { ca, keyPair } from "../pki.ts";
import { serve } from "../serve.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { listen, type ListenScheme } from "../../src/transport/socket/listen.ts";
import { conformance, type Service, type Way } from "./conformance.ts";
import { connectProxy, type ConnectProxyOptions, PROXY_USER } from "./proxy/connect_proxy.ts";

const tls = { ca };

async function openStandard(service: Service): Promise<Way> {
  const server = await serve((channel) => void service.accept(channel));
  return { url: server.url, options: { transport: "websocket" }, [Symbol.asyncDispose]: server.close };
}

async function openSocket(scheme: ListenScheme, service: Service): Promise<Way> {
  const listener = await listen({ port: 0, host: "127.0.0.1", tls: keyPair("server"), acceptor: service });
  return {
    url: `${scheme}://localhost:${listener.port}`,
    options: scheme === "wss" || scheme === "amqps" ? { tls } : { transport: "socket" },
    [Symbol.asyncDispose]: listener.close,
  };
}

async function openTunnel(scheme: ListenScheme, service: Service, proxying: ConnectProxyOptions): Promise<Way> {
  const way = await openSocket(scheme, service);
  const proxy = await connectProxy(proxying);
  const { auth } = proxying;
  return {
    ...way,
    options: { ...way.options, proxy: { url: proxy.url, ...PROXY_USER, ...(auth && { schemes: [auth] }) } },
    async [Symbol.asyncDispose](): Promise<void> {
      await way[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

conformance({ name: "the runtime's own WebSocket", open: openStandard });
for (const scheme of ["ws", "wss", "amqp", "amqps"] as const) {
  conformance({ name: `${scheme} over a socket`, open: (service) => openSocket(scheme, service) });
}
conformance({
  name: "wss through a proxy with Digest",
  open: (service) => openTunnel("wss", service, { auth: "digest" }),
});
conformance({
  name: "amqp through a proxy with Basic",
  open: (service) => openTunnel("amqp", service, { auth: "basic", closes: true }),
});
conformance({
  name: "amqps through a proxy over TLS",
  open: (service) => openTunnel("amqps", service, { auth: "basic", tls: keyPair("server") }),
});

async function openGateway(from: ListenScheme, to: ListenScheme, service: Service): Promise<Way> {
  const way = await openSocket(to, service);
  const running = await gateway({
    listen: { port: 0, host: "127.0.0.1", tls: keyPair("server") },
    target: way.url,
    dial: { tls },
    lingerMs: 50,
  });
  return {
    url: `${from}://localhost:${running.port}`,
    options: from === "ws" ? { transport: "websocket" } : { tls },
    async [Symbol.asyncDispose](): Promise<void> {
      await running.close();
      await way[Symbol.asyncDispose]();
    },
  };
}

for (const [from, to] of [["ws", "amqp"], ["wss", "amqps"], ["amqp", "wss"]] as const) {
  conformance({ name: `${from} through the gateway to ${to}`, open: (service) => openGateway(from, to, service) });
}
