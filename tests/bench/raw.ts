/**
 * Bare WebSocket messages: one for each message, and an answer for each, as for an outcome.
 *
 * @module
 */

import { type Contender, LARGE, LARGE_WINDOW, type Prepare, SMALL, WINDOW } from "./bench.ts";
import { listenRaw, type Socket } from "./websockets.ts";

// The first byte of a client's message selects an echo, an answer of one byte, or messages.
const ECHO = 0;
const ANSWER = 1;
const SUPPLY = 2;
const TAKEN = 3;

function dial(url: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, "amqp");
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(`Cannot dial "${url}"`));
  });
}

function sender(wanted: number, size: number, window: number): Prepare {
  return async (url) => {
    const socket = await dial(url);
    return (count) =>
      new Promise((resolve) => {
        let sent = 0;
        let answered = 0;
        const send = (): void => {
          const message = new Uint8Array(size);
          message[0] = wanted;
          socket.send(message);
          sent++;
        };
        socket.onmessage = () => {
          if (++answered === count) resolve();
          else if (sent < count) send();
        };
        while (sent < Math.min(count, window)) send();
      });
  };
}

function receiver(size: number, window: number): Prepare {
  return async (url) => {
    const socket = await dial(url);
    return (count) =>
      new Promise((resolve) => {
        let received = 0;
        socket.onmessage = () => {
          socket.send(Uint8Array.of(TAKEN));
          if (++received === count) resolve();
        };
        const wish = new DataView(new ArrayBuffer(13));
        wish.setUint8(0, SUPPLY);
        wish.setUint32(1, size);
        wish.setUint32(5, count);
        wish.setUint32(9, window);
        socket.send(wish.buffer);
      });
  };
}

function answer(socket: Socket): void {
  let size = 0;
  let left = 0;
  const supply = (): void => {
    left--;
    socket.send(new Uint8Array(size));
  };
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data);
    switch (bytes[0]) {
      case ECHO:
        return socket.send(bytes);
      case ANSWER:
        return socket.send(Uint8Array.of(0));
      case TAKEN:
        if (left > 0) supply();
        return;
      case SUPPLY: {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        size = view.getUint32(1);
        left = view.getUint32(5);
        for (let window = Math.min(left, view.getUint32(9)); window > 0; window--) supply();
      }
    }
  };
}

/** The contender `raw`. */
export const contender: Contender = {
  works: {
    send: sender(ANSWER, SMALL, WINDOW),
    receive: receiver(SMALL, WINDOW),
    up: sender(ANSWER, LARGE, LARGE_WINDOW),
    down: receiver(LARGE, LARGE_WINDOW),
    latency: sender(ECHO, SMALL, 1),
    idle: (url) => async (count) => {
      for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, () => dial(url)));
    },
  },
  serve: () => listenRaw(answer),
};
