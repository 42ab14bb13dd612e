import { assertEquals, assertRejects } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
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
