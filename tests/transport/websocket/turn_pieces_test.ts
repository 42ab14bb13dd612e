import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { systemEnvironment } from "../../../src/base/environment.ts";
import { type Carrier, WebSocketChannel } from "../../../src/transport/websocket/web_socket_channel.ts";
import { MANY_MESSAGES, TurnPieces } from "../../../src/transport/websocket/turn_pieces.ts";
import { random, seed, test } from "../../harness.ts";

/** The end of this turn, behind what has asked for it before. */
function turn(): Promise<void> {
  return new Promise((resolve) => void systemEnvironment.endOfTurn(resolve));
}

function pieces() {
  const delivered: Uint8Array[] = [];
  return { delivered, taker: new TurnPieces((bytes) => void delivered.push(bytes)) };
}

function messages(count: number, size = 200): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => new Uint8Array(size).fill(i));
}

const carrier: Carrier = { bufferedAmount: 0, send: () => true, close() {}, terminate() {} };

test("WSB-13: behind a turn of many messages, those of a turn are one piece, told at its end", async () => {
  const { delivered, taker } = pieces();
  const first = messages(100);
  for (const message of first) taker.take(message);
  assertEquals(delivered, first, "the first turn is only counted");
  for (let i = 0; i < 3; i++) {
    await turn();
    delivered.length = 0;
    const next = messages(300);
    for (const message of next) taker.take(message);
    assertEquals(delivered.length, 0);
    await turn();
    assertEquals(delivered, [concat(next)]);
  }
});

test("WSB-13: messages that come apart are told at once, also when they came together before", async () => {
  const { delivered, taker } = pieces();
  for (let i = 0; i < 100; i++) {
    taker.take(Uint8Array.of(i));
    assertEquals(delivered.at(-1), Uint8Array.of(i));
    await turn();
  }
  for (const message of messages(100)) taker.take(message);
  await turn();
  // One turn more is told at its end, and shows that they come apart again.
  taker.take(Uint8Array.of(1));
  await turn();
  assertEquals(delivered.at(-1), Uint8Array.of(1));
  for (let i = 0; i < 10; i++) {
    taker.take(Uint8Array.of(i));
    assertEquals(delivered.at(-1), Uint8Array.of(i));
    await turn();
  }
});

test("WSB-13: no more than 64 KiB wait for the end of a turn, and no message above 8 KiB", async () => {
  const { delivered, taker } = pieces();
  for (const message of messages(MANY_MESSAGES)) taker.take(message);
  await turn();
  delivered.length = 0;
  let taken = 0;
  for (const message of messages(1_000, 1_000)) {
    taker.take(message);
    taken += message.length;
    const told = delivered.reduce((bytes, piece) => bytes + piece.length, 0);
    assert(taken - told <= 65_536, `${taken - told} bytes wait`);
  }
  const large = new Uint8Array(8_193);
  taker.take(large);
  assertEquals(concat(delivered).length, 1_000_000 + 8_193);
  assert(delivered.at(-1) === large);
});

test("WSB-13: whatever comes together and apart, all of it is told once, in order, in plain arrays", async () => {
  const source = random(seed());
  const { delivered, taker } = pieces();
  const all: Uint8Array[] = [];
  class Other extends Uint8Array {}
  for (let i = 0; i < 200; i++) {
    for (let n = source.int(41); n > 0; n--) {
      const bytes = new (source.pick([Uint8Array, Other]))(source.int(source.pick([5, 300, 20_000])));
      bytes.fill(all.length);
      all.push(bytes);
      taker.take(bytes);
    }
    if (source.pick([true, false])) await turn();
  }
  taker.flush();
  assertEquals(concat(delivered), concat(all));
  assert(delivered.every(({ constructor }) => constructor === Uint8Array));
});

test("WSB-13: what waits is told before the end of the channel, and is not told once a program has closed it", async () => {
  for (const closes of [false, true]) {
    const channel = new WebSocketChannel(carrier, {}, TurnPieces);
    const events: (number | string)[] = [];
    channel.onbytes = ({ length }) => void events.push(length);
    const ended = new Promise<void>((resolve) =>
      channel.onclose = ({ code }) => resolve(void events.push(`end ${code}`))
    );
    channel.opened();
    for (let i = 0; i < 40; i++) channel.received(new Uint8Array(10));
    await turn();
    events.length = 0;
    for (let i = 0; i < 40; i++) channel.received(new Uint8Array(10));
    assertEquals(events, []);
    if (closes) channel.close();
    channel.closed(1000);
    await ended;
    assertEquals(events, closes ? ["end 1000"] : [400, "end 1000"]);
  }
});
