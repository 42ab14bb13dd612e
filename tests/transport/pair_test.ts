import { assertEquals, assertStrictEquals } from "@std/assert";
import { channelPair } from "../../src/transport/pair.ts";
import { random, seed, test } from "../harness.ts";
import { record } from "./channel_log.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

test("pair: delivers in order, uncopied, in a later microtask", async () => {
  const [left, right] = channelPair();
  const log = record(right);
  const first = bytes(1, 2);
  left.send(first);
  left.send(bytes());
  left.send(bytes(3));
  assertEquals(log.events, []);
  assertEquals(left.bufferedAmount, 3);
  await left.ready();
  assertEquals(log.events, [bytes(1, 2), bytes(3)]);
  assertStrictEquals(log.events[0], first);
  assertEquals(left.bufferedAmount, 0);
  await left.ready();
});

test("pair: bytes that come before onbytes is set are kept", async () => {
  const [left, right] = channelPair();
  left.send(bytes(1));
  await left.ready();
  const log = record(right);
  left.send(bytes(2));
  await log.until(2);
  assertEquals(log.events, [bytes(1), bytes(2)]);
});

test("WSB-28: close ends both sides, once, behind what was sent before it", async () => {
  const [left, right] = channelPair();
  const [near, far] = [record(left), record(right)];
  left.send(bytes(1));
  right.send(bytes(9));
  left.close(1001, "going");
  left.close(1000);
  left.send(bytes(2));
  right.close(1000);
  const end = { code: 1001, reason: "going" };
  assertEquals(await near.closed, end);
  assertEquals(await far.closed, end);
  right.send(bytes(9));
  right.close();
  await right.ready();
  assertEquals(near.events, [end], "who has closed receives nothing more");
  assertEquals(far.events.length, 1, "both had closed");
});

test("pair: the other side receives what was sent before a close", async () => {
  const [left, right] = channelPair();
  const far = record(right);
  left.send(bytes(1));
  left.close();
  await far.closed;
  assertEquals(far.events, [bytes(1), { code: 1000, reason: "" }]);
});

test("WSB-13: rechunk cuts and joins without changing the stream", async () => {
  const { int, bytes } = random(seed());
  const [left, right] = channelPair({
    *rechunk(pieces) {
      const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
      let offset = 0;
      for (const piece of pieces) {
        all.set(piece, offset);
        offset += piece.length;
      }
      for (let start = 0; start < all.length;) {
        const end = start + 1 + int(5);
        yield all.subarray(start, end);
        start = end;
      }
    },
  });
  const log = record(right);
  const sent: number[] = [];
  for (let round = 0; round < 50; round++) {
    const piece = bytes(int(20));
    sent.push(...piece);
    left.send(piece);
    if (int(3) === 0) await left.ready();
  }
  await left.ready();
  assertEquals(log.bytes(), Uint8Array.from(sent));
});

test("channel: once its end is told, a channel lets go of its listeners, and with them of the connection", async () => {
  const [left, right] = channelPair();
  const closed = new Promise((resolve) => left.onclose = resolve);
  left.onbytes = () => {};
  right.close();
  await closed;
  assertEquals([left.onbytes, left.onclose], [undefined, undefined]);
});
