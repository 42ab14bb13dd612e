import { assertEquals, assertRejects } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import { type CloudflareSocket, WorkersSocket } from "../../../src/transport/runtime/workers_socket.ts";
import { StreamChannel } from "../../../src/transport/socket/socket.ts";
import { dialSocket } from "../../../src/transport/runtime/workers.ts";
import { test } from "../../harness.ts";

test("workers: outside of Workers sockets are not supported, and options for others are refused", async () => {
  const error = await assertRejects(() => dialSocket("amqp://127.0.0.1:1"), TransportError);
  assertEquals(error.code, "not-supported");
  await assertRejects(() => dialSocket("ws://127.0.0.1:1"), TypeError, "URL");
  await assertRejects(() => dialSocket("amqp://127.0.0.1:1", { proxy: "http://x" }), TypeError, '"proxy"');
  const unknown = { timeoutMs: 5 } as never;
  await assertRejects(() => dialSocket("amqp://127.0.0.1:1", unknown), TypeError, 'there is no option "timeoutMs"');
});

test("workers: a socket whose close and cancel throw at once ends its channel like another", async () => {
  let closes = 0;
  const socket: CloudflareSocket = {
    readable: new ReadableStream({
      pull: (controller) => controller.error(new Error("reset")),
      cancel: () => {
        throw new Error("cancelled twice");
      },
    }),
    writable: new WritableStream(),
    opened: Promise.resolve(),
    close: () => {
      closes++;
      throw new TypeError("closed already");
    },
  };
  const channel = new StreamChannel(new WorkersSocket(socket));
  const closed = new Promise<number>((resolve) => channel.onclose = ({ code }) => resolve(code));
  channel.onbytes = () => {};
  assertEquals([await closed, closes], [1006, 1]);
});
