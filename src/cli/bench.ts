/**
 * `webamqp bench`.
 *
 * @module
 */

import { connect, type Connection, type ConnectOptions } from "../../mod.ts";
import { Broker } from "../broker/broker.ts";
import type { TraceWriter } from "../trace/writer.ts";
import { listen } from "../transport/sockets.ts";
import { commandLabel, connectOptions } from "./connecting.ts";
import { type Context, missingUrl, splitUrl } from "./context.ts";
import { watchdog } from "./send.ts";
import { count, showProgress } from "./terminal.ts";
import { traceFile } from "./trace_file.ts";

const DEFAULT_COUNT = 50_000;
const DEFAULT_SIZE = 100;
const ROUND_TRIPS = 200;

/** Sends and receives in parallel, then one by one, and prints rates and latencies. */
export async function bench(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, rest } = splitUrl(context);
  if (rest.length > 1) throw missingUrl("URL", rest[0]);
  const messages = flags.number("count", 1) ?? DEFAULT_COUNT, size = flags.number("size") ?? DEFAULT_SIZE;
  const address = rest[0] ?? `bench-${crypto.randomUUID()}`;
  const options = { ...await connectOptions(flags, url), signal };
  const trace = await traceFile(context, url === undefined ? "webamqp bench" : commandLabel(url), "client");
  const embedded = url === undefined ? await embeddedBroker() : undefined;
  try {
    const where = url ?? embedded!.url;
    const writer = trace?.writer;
    const work = { where, options, writer, address, messages, size, settled: flags.on("settled") };
    const result = await measure(work, context);
    if (result === undefined) return 3;
    if (flags.on("json")) await terminal.write(`${JSON.stringify(result, rounded)}\n`);
    else {
      const { messagesPerSecond, megabytesPerSecond, seconds, latencyMs: { p50, p95, p99 } } = result;
      await terminal.write(
        `Broker      ${
          embedded === undefined ? commandLabel(where) : "embedded, in this process, over a WebSocket"
        }\n` +
          `Messages    ${count(messages)} of ${count(size)} bytes, ${
            flags.on("settled") ? "settled" : "each accepted"
          }\n` +
          `Throughput  ${count(messagesPerSecond)} messages/s, ${megabytesPerSecond.toFixed(1)} MB/s (${
            seconds.toFixed(2)
          } s)\n` +
          `Latency     ${p50.toFixed(2)} ms median, ${p95.toFixed(2)} ms of 95 %, ${
            p99.toFixed(2)
          } ms of 99 % (send to receive)\n`,
      );
    }
    return 0;
  } finally {
    await embedded?.close();
    await trace?.finish();
  }
}

// Rounds to microseconds and bytes per second, the precision of the measurement.
function rounded(_: string, value: unknown): unknown {
  return typeof value === "number" ? Math.round(value * 1e6) / 1e6 : value;
}

interface Work {
  readonly where: string;
  readonly options: ConnectOptions;
  readonly writer: TraceWriter | undefined;
  readonly address: string;
  readonly messages: number;
  readonly size: number;
  readonly settled: boolean;
}

interface Result {
  readonly messages: number;
  readonly size: number;
  readonly seconds: number;
  readonly messagesPerSecond: number;
  readonly megabytesPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number };
}

async function measure(work: Work, { flags, terminal, signal }: Context): Promise<Result | undefined> {
  const { where, messages, size } = work;
  await using producer = await connect(where, optionsOf(work, 1));
  await using consumer = await connect(where, optionsOf(work, 2));
  const progress = { received: 0, trips: 0 };
  const start = performance.now();
  const hide = showProgress(terminal, () => {
    const rate = progress.received / ((performance.now() - start) / 1_000);
    return `${count(progress.received)} of ${count(messages)}  ${count(rate)}/s  ETA ${
      Math.ceil((messages - progress.received) / rate)
    } s`;
  });
  const watch = watchdog(flags.milliseconds("timeout"), () => progress.received + progress.trips);
  const destroyConnections = (): void => {
    const reason = signal.aborted ? signal.reason : watch.signal.reason;
    producer.destroy(reason);
    consumer.destroy(reason);
  };
  const stop = AbortSignal.any([signal, watch.signal]);
  stop.addEventListener("abort", destroyConnections);
  try {
    await flood(work, producer, consumer, progress);
    const seconds = (performance.now() - start) / 1_000;
    const times = await roundTrips(work, producer, consumer, progress);
    const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))]!;
    return {
      messages,
      size,
      seconds,
      messagesPerSecond: messages / seconds,
      megabytesPerSecond: messages * size / seconds / 1e6,
      latencyMs: { p50: at(0.5), p95: at(0.95), p99: at(0.99) },
    };
  } catch (error) {
    if (!watch.signal.aborted || signal.aborted) throw signal.aborted ? signal.reason : error;
    const { received, trips } = progress;
    const done = trips === 0
      ? `${count(received)} of ${count(messages)} messages`
      : `${trips} of ${ROUND_TRIPS} round trips`;
    terminal.report(`webamqp: time is up, ${done} came`);
    return undefined;
  } finally {
    stop.removeEventListener("abort", destroyConnections);
    watch.stop();
    hide();
  }
}

// Numbers the connections in a trace of both.
function optionsOf({ options, writer }: Work, connection: number): ConnectOptions {
  return writer === undefined ? options : { ...options, trace: (frame) => writer({ ...frame, connection }) };
}

async function flood(
  work: Work,
  producer: Connection,
  consumer: Connection,
  progress: { received: number },
): Promise<void> {
  const { address, messages, size, settled } = work;
  const receiver = consumer.receiver(address, { credit: 1_000, settle: "manual" });
  await receiver.ready();
  const body = new Uint8Array(size);
  function* all(): Generator<{ body: Uint8Array }, void, void> {
    for (let i = 0; i < messages; i++) yield { body };
  }
  const receive = async (): Promise<void> => {
    for await (const delivery of receiver) {
      delivery.accept();
      if (++progress.received === messages) return;
    }
  };
  await Promise.all([receive(), producer.sender(address).sendAll(all(), { settled })]);
  await receiver.close();
}

async function roundTrips(
  { address, size }: Work,
  producer: Connection,
  consumer: Connection,
  progress: { trips: number },
): Promise<number[]> {
  const receiver = consumer.receiver(address, { credit: 1, settle: "manual" });
  const sender = producer.sender(address);
  await receiver.ready();
  const body = new Uint8Array(size);
  const times: number[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const start = performance.now();
    const sent = sender.send({ body });
    const delivery = await receiver.receive();
    times.push(performance.now() - start);
    delivery.accept();
    await sent;
    progress.trips++;
  }
  return times.sort((a, b) => a - b);
}

async function embeddedBroker(): Promise<{ url: string; close(): Promise<void> }> {
  const broker = new Broker({ queue: { maxMessages: 10_000 } });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker, schemes: ["ws"] });
  return {
    url: `ws://127.0.0.1:${listener.port}`,
    async close() {
      await broker.close();
      await listener.close();
    },
  };
}
