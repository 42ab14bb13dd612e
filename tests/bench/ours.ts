/**
 * This module, as a client and as a server.
 *
 * @module
 */

import { anonymous, connect, type Message, publish, type Sender } from "../../mod.ts";
import { FastPathReader } from "../../src/codec/fast_path.ts";
import { type Frame, FrameDecoder } from "../../src/codec/frame.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import type { Disposition, Transfer } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { listen } from "../../src/transport/sockets.ts";
import { serve } from "../serve.ts";
import {
  type Contender,
  LARGE,
  LARGE_WINDOW,
  LINK_WINDOW,
  type Prepare,
  sample,
  SMALL,
  WINDOW,
  type Work,
} from "./bench.ts";
import { dispositionFrame, transferFrame } from "./frames.ts";
import { roundTrips } from "./relay.ts";
import { heapBytes } from "./memory.ts";

const message: Message = {
  properties: {
    messageId: sample.messageId,
    to: sample.to,
    subject: sample.subject,
    contentType: sample.contentType,
  },
  applicationProperties: sample.applicationProperties,
  body: sample.body,
};

/** Sends `count` messages of `size` bytes, `window` of them in flight, and waits for each outcome. */
export async function sending(senders: Sender[], size: number, window: number): Promise<Work> {
  const body = new Uint8Array(size);
  await Promise.all(senders.map((sender) => sender.ready()));
  return async (count) => {
    let left = count;
    const lane = async (sender: Sender): Promise<void> => {
      while (left-- > 0) await sender.send({ body });
    };
    await Promise.all(Array.from({ length: Math.min(window, count) }, (_, i) => lane(senders[i % senders.length]!)));
  };
}

function sender(size: number, window: number): Prepare {
  return async (url, argument) => {
    const connection = await connect(url, { transport: transportOf(argument) });
    return await sending([connection.sender("sink")], size, window);
  };
}

/** Receives `count` messages of `size` bytes on a separate link, and accepts each. */
function receiver(size: number, credit: number): Prepare {
  return async (url, argument) => {
    const connection = await connect(url, { transport: transportOf(argument) });
    return async (count) => {
      const link = connection.receiver({ address: `${size}:${count}`, credit });
      let received = 0;
      for await (const delivery of link) {
        void delivery.message.body;
        if (++received === count) break;
      }
      await link.close();
    };
  };
}

function decodingFrame(bytes: () => Uint8Array, read: (frame: Frame) => number): Prepare {
  return () => {
    const many = bytes();
    return (count) => {
      const decoder = new FrameDecoder({ maxFrameSize: 65_536, fastPath: FastPathReader });
      let sum = 0;
      for (let done = 0; done < count;) {
        decoder.push(many);
        for (let frame = decoder.frame(); frame !== undefined; frame = decoder.frame(), done++) sum += read(frame);
      }
      // Returned so that no compiler drops the work.
      return sum;
    };
  };
}

// The fields that a session reads; the same as in rhea.ts.
function readTransfer({ body, payload }: Frame): number {
  const { handle, deliveryId, deliveryTag, settled, more } = body as Transfer;
  return handle + deliveryId! + deliveryTag!.length + payload!.length + (settled ? 1 : 0) + (more ? 1 : 0);
}

function readDisposition({ body }: Frame): number {
  const { role, first, last, settled, state } = body as Disposition;
  return first + last! + (role === "receiver" ? 1 : 0) + (settled ? 1 : 0) + (state === undefined ? 0 : 1);
}

// Bytes of a round of `whole`.
const WHOLE = 128e6;

/** The contender `ours`. */
export const contender: Contender = {
  works: {
    encode: () => (count) => {
      const writer = new Writer(16_384);
      for (let i = 0; i < count; i++) {
        writeMessage(message, writer);
        writer.take();
      }
    },
    decode: () => {
      const writer = new Writer();
      writeMessage(message, writer);
      const bytes = writer.take();
      return (count) => {
        for (let i = 0; i < count; i++) decodeMessage(bytes);
      };
    },
    transfer: decodingFrame(() => transferFrame(100), readTransfer),
    disposition: decodingFrame(() => dispositionFrame(100), readDisposition),
    send: sender(SMALL, WINDOW),
    receive: receiver(SMALL, WINDOW),
    up: sender(LARGE, LARGE_WINDOW),
    down: receiver(LARGE, LARGE_WINDOW),
    latency: sender(SMALL, 1),
    // The same number of bytes, whatever the size of messages.
    whole: async (url, argument) => {
      const size = Number(argument);
      const receive = await receiver(size, 2)(url, "");
      return async () => {
        const started = performance.now();
        await receive(WHOLE / size);
        return WHOLE / 1e3 / (performance.now() - started);
      };
    },
    publish: (url, argument) => async () => {
      const started = performance.now();
      let outcome = started;
      await publish(url, "sink", { body: new Uint8Array(SMALL) }, {
        auth: anonymous(),
        pipelineSasl: argument === "pipelined",
        trace: ({ direction, body }) => {
          if (direction === "in" && body?.kind === "disposition") outcome = performance.now();
        },
      });
      return roundTrips(outcome - started);
    },
    idle: (url) => async (count) => {
      for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, () => connect(url)));
    },
    unsettled: (url) => async (count) => {
      const connection = await connect(url);
      const link = connection.receiver({ address: `${SMALL}:${count}:${count}`, credit: count, settle: "manual" });
      await link.ready();
      const before = heapBytes();
      const held: unknown[] = [];
      while (held.length < 2 * count) {
        const delivery = await link.receive();
        held.push(delivery, delivery.message);
      }
      return (heapBytes() - before) / (held.length / 2);
    },
    links: async (url, argument) => {
      const connection = await connect(url);
      return await sending(
        Array.from({ length: Number(argument) }, () => connection.sender("sink")),
        SMALL,
        LINK_WINDOW * Number(argument),
      );
    },
    connections: async (url, argument) => {
      const senders: Sender[] = [];
      while (senders.length < Number(argument)) senders.push((await connect(url)).sender("sink"));
      return await sending(senders, SMALL, LINK_WINDOW * senders.length);
    },
  },
  async serve() {
    const server = acceptor({
      onReceiver: (request) => request.accept({ credit: WINDOW }).serve((delivery) => void delivery.message.body),
      onSender: async (request) => {
        const [size, count, window] = request.address!.split(":").map(Number) as [number, number, number?];
        const body = new Uint8Array(size);
        const link = request.accept();
        // More than sendAll keeps in flight.
        if (window !== undefined) return void (await sending([link], size, window))(count);
        await link.sendAll(Array.from({ length: count }, () => ({ body }))).catch(() => {});
      },
    });
    if ("Deno" in globalThis || "Bun" in globalThis) return (await serve((channel) => server.accept(channel))).url;
    const limits = { maxConnections: 4_000 };
    const { host, port } = await listen({ host: "127.0.0.1", port: 0, acceptor: server, limits });
    return `ws://${host}:${port}`;
  },
};

function transportOf(argument: string): "auto" | "websocket" | "socket" {
  return argument === "socket" || argument === "websocket" ? argument : "auto";
}
