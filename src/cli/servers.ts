/**
 * `webamqp broker` and `gateway`.
 *
 * @module
 */

import { Broker } from "../broker/broker.ts";
import { gateway as startGateway, type GatewayTrace, type GatewayTracer } from "../gateway/gateway.ts";
import type { TraceWriter } from "../trace/writer.ts";
import { listen } from "../transport/sockets.ts";
import { joinAuthority } from "../transport/url.ts";
import { commandLabel, contentOf, proxyOption } from "./connecting.ts";
import { type Context, type Flags, hostAndPort, missingUrl, splitUrl } from "./context.ts";
import { count, showProgress, type Terminal, UsageError } from "./terminal.ts";
import { traceFile } from "./trace_file.ts";

const DEFAULT_PLACE = "127.0.0.1:5672";

/** The listen options from a server's flags. */
export async function listenOptions(flags: Flags): Promise<{
  host: string;
  port: number;
  tls?: { cert: string; key: string };
  origins?: string[];
}> {
  const [cert, key] = [await contentOf(flags, "cert"), await contentOf(flags, "key")];
  if ((cert === undefined) !== (key === undefined)) throw new UsageError("--cert and --key belong together");
  const origins = flags.texts("origin");
  return {
    ...hostAndPort(flags.text("listen") ?? DEFAULT_PLACE),
    ...(cert !== undefined && key !== undefined && { tls: { cert, key } }),
    ...(origins.length > 0 && { origins: [...origins] }),
  };
}

/** Prints where a server listens: a line for people, or JSON. */
export async function announce(
  what: string,
  { host, port }: { readonly host: string; readonly port: number },
  { flags, terminal }: { readonly flags: Flags; readonly terminal: Terminal },
  tls: boolean,
): Promise<void> {
  const place = joinAuthority(host, port);
  const urls = (tls ? ["ws", "wss", "amqp", "amqps"] : ["ws", "amqp"]).map((scheme) => `${scheme}://${place}`);
  if (flags.on("json")) await terminal.write(`${JSON.stringify({ listening: urls, host, port })}\n`);
  else await terminal.write(`${what} listens at ${urls.join(", ")}\n`);
}

export function untilInterrupted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Runs a broker until Ctrl-C. */
export async function broker(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const options = await listenOptions(flags);
  const users = flags.pairs("user", ":");
  const queues = flags.texts("queue"), topics = flags.texts("topic");
  const deadLetter = flags.text("dead-letter"), maxDeliveries = flags.number("max-deliveries", 1);
  const settings = {
    ...(deadLetter !== undefined && { deadLetter }),
    ...(maxDeliveries !== undefined && { maxDeliveries }),
  };
  const trace = await traceFile(context, "webamqp broker", "server");
  const running = new Broker({
    queue: settings,
    queues: Object.fromEntries(queues.map((name) => [name, settings])),
    ...(queues.length > 0 && { autoCreate: false }),
    ...(topics.length > 0 && { topics: [...topics] }),
    ...(users.length > 0 && { sasl: { users: Object.fromEntries(users) } }),
    ...(trace !== undefined && { trace: trace.writer }),
  });
  const listener = await listen({ ...options, acceptor: running });
  await announce("Broker", listener, context, options.tls !== undefined);
  const hide = showProgress(terminal, () => {
    const { size } = running.connections;
    return `${count(size)} connections  ${count(running.messages)} messages  ${count(running.bytes)} bytes`;
  });
  await untilInterrupted(signal);
  hide();
  await running.close({ timeoutMs: 1_000 });
  await listener.close();
  await trace?.finish();
  return 0;
}

/** A trace from the client's point of view; a gateway's directions are its own. */
export function asClient(writer: TraceWriter): GatewayTracer & Pick<TraceWriter, "transport"> {
  const frame = (passing: GatewayTrace): void =>
    writer({ ...passing, direction: passing.direction === "in" ? "out" : "in" });
  return Object.assign(frame, { transport: writer.transport });
}

/** Runs a gateway until Ctrl-C. */
export async function runGateway(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url: target, rest } = splitUrl(context);
  if (target === undefined) throw missingUrl("TARGET", rest[0]);
  const options = await listenOptions(flags);
  const trace = await traceFile(context, `gateway to ${commandLabel(target)}`, "network");
  const ca = await contentOf(flags, "ca"), proxy = proxyOption(flags);
  const running = await startGateway({
    listen: options,
    target,
    dial: { ...(ca !== undefined && { tls: { ca } }), ...(proxy !== undefined && { proxy }) },
    onError: (error) => terminal.report(`webamqp: ${(error as Error).message}`),
    ...(trace !== undefined && { trace: asClient(trace.writer) }),
  });
  await announce("Gateway", running, context, options.tls !== undefined);
  const hide = showProgress(terminal, () => {
    const { relays, opened, failed, bytesIn, bytesOut } = running.counters;
    return `${relays} relays  ${count(opened)} opened  ${failed} failed  ${count(bytesIn)} bytes in  ${
      count(bytesOut)
    } out`;
  });
  await untilInterrupted(signal);
  hide();
  await running.close({ drainMs: 0 });
  await trace?.finish();
  return 0;
}
