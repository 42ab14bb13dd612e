import { assert, assertEquals, assertThrows } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { batch, BATCH_FORMAT, unbatch } from "../../src/codec/batch.ts";
import { DecodedMessage } from "../../src/codec/message.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { linkUp } from "../client/link_up.ts";
import { test } from "../harness.ts";

test("SBX-6: a batch is data sections, each a whole message, and comes apart again", () => {
  const messages = [{ body: "a" }, { body: new Uint8Array(300), properties: { messageId: "2" } }, { body: null }];
  const { payload, messageFormat, count } = batch(messages, { head: { properties: { messageId: "b" } } });
  assertEquals([messageFormat, count], [0x80013700, 3]);
  assertEquals(new DecodedMessage(payload).properties?.messageId, "b");
  const found = unbatch({ messageFormat, payload });
  assertEquals(found.map(({ body }) => body), ["a", new Uint8Array(300), null]);
  assertEquals(found[1]!.properties?.messageId, "2");
  assertEquals([...batch([{ body: null }]).payload.subarray(0, 5)], [0x00, 0x53, 0x75, 0xa0, 0x04]);
  const one = batch([{ body: "alone" }]);
  assertEquals(unbatch(one)[0]!.body, "alone");
});

test("SBX-6: as many messages as fit go into a batch", () => {
  const messages = Array.from({ length: 10 }, (_, i) => ({ body: `${i}`.repeat(100) }));
  const whole = batch(messages);
  for (const maxMessageSize of [whole.payload.length, 0, undefined, 0n]) {
    assertEquals(batch(messages, { maxMessageSize }).count, 10);
  }
  const less = batch(messages, { maxMessageSize: whole.payload.length - 1 });
  assertEquals(less.count, 9);
  assert(less.payload.length < whole.payload.length);
  assertThrows(
    () => batch(messages, { maxMessageSize: 50n }),
    RangeError,
    "the first message does not fit into 50 bytes",
  );
  assertThrows(() => batch([]), RangeError, "there are no messages");
});

test("SBX-6: what is no batch, or no message, is told", () => {
  const { payload } = batch([{ body: 1 }]);
  assertEquals(unbatch({ messageFormat: 0, payload }).length, 1);
  assertEquals(unbatch({ messageFormat: BATCH_FORMAT + 1, payload })[0]!.body, 1);
  assertThrows(() => unbatch({ messageFormat: 5, payload }), TypeError, "message format is 0x5");
  const inner = batch([{ body: "x" }]).payload.slice();
  inner[5] = 0xff;
  assertThrows(() => unbatch({ messageFormat: BATCH_FORMAT, payload: inner }), AmqpError);
  const text = new Uint8Array([0, 0x53, 0x77, 0xa1, 1, 0x61]);
  assertThrows(() => unbatch({ messageFormat: BATCH_FORMAT, payload: text }), TypeError, "not of data sections");
});

test("SBX-6: a batch keeps within what the receiver takes, and arrives under its format", async () => {
  const arrived: [number, unknown[]][] = [];
  const server = acceptor({
    onReceiver: (request) => {
      void request.accept({ credit: 5, maxMessageSize: 1_000n }).serve((delivery) => {
        arrived.push([delivery.messageFormat, unbatch(delivery).map(({ body }) => body)]);
      });
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("hub");
  await sender.ready();
  const messages = Array.from({ length: 20 }, (_, i) => ({ body: `${i}`.padEnd(80) }));
  for (let at = 0; at < messages.length;) {
    const { payload, messageFormat, count } = batch(messages.slice(at), sender.remote);
    await sender.send(payload, { messageFormat });
    at += count;
  }
  assert(arrived.length >= 2 && arrived.every(([format]) => format === BATCH_FORMAT));
  assertEquals(arrived.flatMap(([, bodies]) => bodies), messages.map(({ body }) => body));
  await connection.close();
});
