/**
 * rhea, as a client and as a server.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { setImmediate } from "node:timers";
import rhea, { type Connection, type EventContext, type Sender } from "rhea";
import {
  type Contender,
  FIRST,
  LARGE,
  LARGE_WINDOW,
  type Prepare,
  quantiles,
  sample,
  SMALL,
  WINDOW,
  type Work,
} from "./bench.ts";
import { dispositionFrame, transferFrame } from "./frames.ts";
import { roundTrips } from "./relay.ts";
import { heapBytes } from "./memory.ts";
import { Dialler, listen } from "./websockets.ts";

// rhea's typings know only some of its options.
type Options = Record<string, unknown>;

function dial(url: string, options: Options = {}): Connection {
  const connect = rhea.websocket_connect(Dialler as never);
  return rhea.create_container().connect(
    { reconnect: false, connection_details: connect(url, ["amqp"], {}), ...options } as never,
  );
}

function opened(url: string, options?: Options): Promise<Connection> {
  const connection = dial(url, options);
  return new Promise((resolve) => connection.once("connection_open", () => resolve(connection)));
}

const body = (size: number): unknown => rhea.message.data_section(Buffer.alloc(size));

/** Sends `count` messages, `window` of them in flight. */
function sending(sender: Sender, size: number, window: number): Work {
  const content = body(size);
  return (count) =>
    new Promise((resolve) => {
      let sent = 0;
      let settled = 0;
      const fill = (): void => {
        while (sent < count && sent - settled < window && sender.sendable()) {
          sent++;
          sender.send({ body: content });
        }
      };
      sender.removeAllListeners();
      sender.on("sendable", fill);
      sender.on("accepted", () => {
        if (++settled === count) resolve();
        else fill();
      });
      fill();
    });
}

function sender(size: number, window: number): Prepare {
  return async (url) => sending((await opened(url)).open_sender("sink"), size, window);
}

function receiver(size: number, credit: number): Prepare {
  return async (url) => {
    const connection = await opened(url);
    return (count) =>
      new Promise((resolve) => {
        const link = connection.open_receiver({ source: `${size}:${count}`, credit_window: credit });
        let received = 0;
        link.on("message", () => {
          if (++received < count) return;
          link.close();
          resolve();
        });
      });
  };
}

// rhea decodes frames inside its transport, which is not public; fields are decoded when they are read.
interface Frame {
  readonly performative: Readonly<Record<string, unknown>>;
  readonly payload: Buffer | undefined;
}

function decodingFrame(bytes: () => Uint8Array, read: (frame: Frame) => number): Prepare {
  return () => {
    const many = Buffer.from(bytes());
    const { read_frame } = createRequire(import.meta.url)("rhea/lib/frames.js") as { read_frame(b: Buffer): Frame };
    return (count) => {
      let sum = 0;
      for (let done = 0; done < count;) {
        for (let at = 0; at < many.length; done++) {
          const size = many.readUInt32BE(at);
          sum += read(read_frame(many.subarray(at, at + size)));
          at += size;
        }
      }
      // Returned so that no compiler drops the work.
      return sum;
    };
  };
}

// The fields that a session reads; the same as in ours.ts.
function readTransfer({ performative, payload }: Frame): number {
  const { handle, delivery_id, delivery_tag, settled, more } = performative;
  const lengths = (delivery_tag as Buffer).length + payload!.length;
  return (handle as number) + (delivery_id as number) + lengths + (settled ? 1 : 0) + (more ? 1 : 0);
}

function readDisposition({ performative }: Frame): number {
  const { role, first, last, settled, state } = performative;
  return (first as number) + (last as number) + (role ? 1 : 0) + (settled ? 1 : 0) + (state === undefined ? 0 : 1);
}

const message = {
  message_id: sample.messageId,
  to: sample.to,
  subject: sample.subject,
  content_type: sample.contentType,
  application_properties: sample.applicationProperties,
  body: sample.body,
};

/** The contender `rhea`. */
export const contender: Contender = {
  works: {
    encode: () => (count) => {
      for (let i = 0; i < count; i++) rhea.message.encode(message);
    },
    decode: () => {
      const bytes = Buffer.from(rhea.message.encode(message) as unknown as Uint8Array);
      return (count) => {
        for (let i = 0; i < count; i++) rhea.message.decode(bytes);
      };
    },
    transfer: decodingFrame(() => transferFrame(100), readTransfer),
    disposition: decodingFrame(() => dispositionFrame(100), readDisposition),
    send: sender(SMALL, WINDOW),
    receive: receiver(SMALL, WINDOW),
    up: sender(LARGE, LARGE_WINDOW),
    down: receiver(LARGE, LARGE_WINDOW),
    latency: sender(SMALL, 1),
    publish: (url, argument) => async () => {
      const started = performance.now();
      const once = (emitter: { once(event: string, listener: () => void): unknown }, event: string) =>
        new Promise<void>((resolve) => emitter.once(event, resolve));
      const connection = dial(url, { username: "anonymous" });
      if (argument === "in turn") await once(connection, "connection_open");
      const session = connection.create_session();
      session.open();
      if (argument === "in turn") await once(session, "session_open");
      const link = session.open_sender("sink");
      await once(link, "sendable");
      link.send({ body: body(SMALL) });
      await once(link, "accepted");
      const elapsed = performance.now() - started;
      connection.close();
      return roundTrips(elapsed);
    },
    // Over TCP, one after the other, each on a connection of its own.
    first: (url) => async () => {
      const times: number[] = [];
      const { hostname: host, port } = new URL(url);
      while (times.length < FIRST) {
        const started = performance.now();
        const connection = rhea.create_container().connect({
          host,
          port: Number(port),
          username: "anonymous",
          reconnect: false,
        });
        const link = connection.open_sender("sink");
        link.once("sendable", () => link.send({ body: body(SMALL) }));
        link.once("accepted", () => connection.close());
        await new Promise((resolve) => connection.once("connection_close", resolve));
        times.push((performance.now() - started) * 1e3);
      }
      return quantiles(times);
    },
    unsettled: async (url) => {
      // Its ring of deliveries would throw beyond 2,048.
      const connection = await opened(url, { session_buffer_size: 131_072 });
      return (count) =>
        new Promise((resolve) => {
          const options = { source: `${SMALL}:${count}`, credit_window: 0, autoaccept: false, autosettle: false };
          const link = connection.open_receiver(options);
          const before = heapBytes();
          const held: unknown[] = [];
          link.on("message", ({ delivery, message }: EventContext) => {
            held.push(delivery, message);
            if (held.length === 2 * count) resolve((heapBytes() - before) / (held.length / 2));
          });
          link.add_credit(count);
        });
    },
  },
  serve() {
    const container = rhea.create_container();
    container.on("sender_open", ({ sender: link }: EventContext) => {
      const [size, count] = (link!.source as { address: string }).address.split(":").map(Number) as [number, number];
      link!.set_source({ address: (link!.source as { address: string }).address });
      const content = body(size);
      let sent = 0;
      const fill = (): void => {
        while (sent < count && link!.sendable()) {
          sent++;
          link!.send({ body: content });
        }
      };
      // In a later turn: rhea would write the transfers before its attach.
      link!.once("sendable", () => {
        setImmediate(() => {
          link!.on("sendable", fill);
          fill();
        });
      });
    });
    // rhea accepts by itself.
    container.on("message", () => {});
    const options = { receiver_options: { credit_window: WINDOW }, session_buffer_size: 131_072 };
    return listen((socket) => container.websocket_accept(socket as never, options as never));
  },
};
