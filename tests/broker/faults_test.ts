import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, OutcomeError } from "../../src/base/errors.ts";
import { Broker, type Faults } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { faulty } from "../../src/broker/faulty_channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { VirtualTime } from "../../src/testing/mod.ts";
import { test } from "../harness.ts";

interface Bench {
  readonly time: VirtualTime;
  readonly broker: Broker;
  readonly connection: Connection;
  /** The number of dials. */
  readonly dials: () => number;
}

// A program and its broker in virtual time, over connections with `faults`.
async function bench(faults: Parameters<Broker["faults"]["set"]>[0]): Promise<Bench> {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null });
  broker.faults.set(faults);
  let dials = 0;
  const dial = (): Channel => {
    dials++;
    const [client, server] = channelPair();
    broker.accept(server);
    return client;
  };
  const connecting = connect("ws://broker.example/", {
    environment: time,
    dial,
    log: null,
    reconnect: { initialDelayMs: 5, maxDelayMs: 50, initial: true },
  });
  return { time, broker, connection: await within(time, connecting), dials: () => dials };
}

async function within<T>(time: VirtualTime, promise: Promise<T>, ms = 200_000): Promise<T> {
  let settled = false;
  promise.then(() => settled = true, () => settled = true);
  for (let passed = 0; !settled && passed < ms; passed += 50) await time.advance(50);
  assert(settled, "it never ends");
  return await promise;
}

async function close({ time, broker, connection }: Bench): Promise<void> {
  await within(time, connection.close({ timeoutMs: 100 }));
  await within(time, broker.close());
}

const LOSSES: ReadonlyArray<readonly [what: string, faults: Faults]> = [
  ["cut after bytes that come in", { cutAfterIn: 500 }],
  ["cut after bytes that go out", { cutAfterOut: 400 }],
  ["cut after frames that come in", { cutAfterFramesIn: 5 }],
  ["cut after frames that go out", { cutAfterFramesOut: 4 }],
  ["stalled after bytes that come in", { stallAfterIn: 500 }],
  ["stalled after bytes that go out", { stallAfterOut: 400 }],
  ["half closed after bytes that come in", { halfCloseAfterIn: 500 }],
  ["half closed after bytes that go out", { halfCloseAfterOut: 400 }],
  ["cut after bytes, all of it late and in pieces", { cutAfterIn: 500, delayInMs: 20, delayOutMs: 30, chop: 7 }],
];

for (const [what, faults] of LOSSES) {
  test(`faults of a broker: a connection that is ${what} comes back, and every send is accepted`, async () => {
    const benched = await bench((connection) => connection === 1 ? faults : undefined);
    const { time, broker, connection, dials } = benched;
    const sending = Promise.all(
      Array.from({ length: 20 }, (_, i) => connection.send("orders", { body: `order ${i}` })),
    );
    const outcomes = await within(time, sending);
    assertEquals(outcomes.map((outcome) => outcome?.kind), Array(20).fill("accepted"));
    assertEquals(dials(), 2);
    assert(broker.queue("orders")!.messages >= 20);
    await close(benched);
  });
}

test("faults of a broker: what it says is late", async () => {
  const benched = await bench({ delayOutMs: 1_000 });
  const before = benched.time.now();
  await within(benched.time, benched.connection.send("orders", { body: 1 }));
  // A round trip for attach and credit, and one for the outcome.
  assert(benched.time.now() - before >= 2_000);
  await close(benched);
});

test("faults of a broker: outcomes that never arrive", async () => {
  const benched = await bench({ dropDispositionsOut: true });
  const { time, broker, connection } = benched;
  const controller = new AbortController();
  const sending = connection.send("orders", { body: 1 }, { signal: controller.signal });
  sending.catch(() => {});
  await time.advance(1_000);
  assertEquals(broker.queue("orders")?.messages, 1);
  controller.abort(new Error("given up"));
  await assertRejects(() => sending, Error, "after the message left");
  await close(benched);
});

test("faults of a broker: settlements that never arrive, so that a message comes again", async () => {
  const benched = await bench((connection) => connection === 1 ? { dropDispositionsIn: true } : undefined);
  const { time, broker, connection } = benched;
  await within(time, connection.send("orders", { body: 1 }));
  const receiver = connection.receiver("orders", { credit: 1 });
  (await within(time, receiver.receive())).accept();
  await time.advance(1_000);
  assertEquals(broker.queue("orders")?.unsettled, 1);
  broker.faults.cut();
  (await within(time, receiver.receive())).accept();
  await time.advance(1_000);
  assertEquals(broker.queue("orders")?.unsettled, 0);
  await close(benched);
});

test("faults of a broker: credit that is withheld, either way", async () => {
  for (const faults of [{ withholdCreditOut: true }, { withholdCreditIn: true }]) {
    const benched = await bench((connection) => connection === 1 ? faults : undefined);
    const { time, broker, connection } = benched;
    let done = false;
    const work = async (): Promise<void> => {
      await connection.send("orders", { body: 1 });
      (await connection.receiver("orders").receive()).accept();
      done = true;
    };
    const working = work();
    await time.advance(5_000);
    assertEquals(done, false);
    broker.faults.cut();
    await within(time, working);
    await close(benched);
  }
});

test("faults of a broker: links are refused, in passing or for good", async () => {
  const benched = await bench(undefined);
  const { time, broker, connection } = benched;
  const kept = connection.sender("orders");
  await within(time, kept.send({ body: 1 }));
  broker.faults.refuse("orders");
  await time.advance(100);
  const waiting = kept.send({ body: 2 });
  await time.advance(5_000);
  broker.faults.allow("orders");
  assertEquals((await within(time, waiting))?.kind, "accepted");
  broker.faults.refuse(
    "orders",
    new AmqpError("amqp:not-allowed", "Cannot attach: closed for good", { scope: "link" }),
  );
  await time.advance(1_000);
  assertEquals(kept.open, false);
  const refused = connection.send("orders", { body: 3 });
  await assertRejects(() => within(time, refused), AmqpError, "closed for good");
  await close(benched);
});

test("faults of a broker: it is started again, with what it keeps and without, and may be away for a while", async () => {
  const benched = await bench(undefined);
  const { time, broker, connection, dials } = benched;
  const send = (body: number): Promise<unknown> => within(time, connection.send("orders", { body }));
  await send(1);
  await within(time, broker.faults.restart({ downMs: 2_000 }));
  assertEquals(broker.queue("orders")?.messages, 1);
  const before = time.now();
  await send(2);
  assert(time.now() - before >= 1_900 && dials() > 2);
  assertEquals(broker.queue("orders")?.messages, 2);
  await within(time, broker.faults.restart({ forget: true }));
  assertEquals([broker.messages, broker.bytes], [0, 0]);
  await send(3);
  assertEquals(broker.queue("orders")?.messages, 1);
  await close(benched);
});

test("faults of a broker: a client in the same process has them too, and is told what became of its sends", async () => {
  await using broker = new Broker({ log: null });
  broker.faults.set({ dropDispositionsOut: true });
  const connection = await broker.connect();
  const sending = connection.sender("orders").send({ body: 1 });
  const outcome = sending.then(() => undefined, (error) => error);
  while (broker.messages === 0) await new Promise((resolve) => setTimeout(resolve));
  broker.faults.cut();
  const error = await outcome;
  assert(error instanceof OutcomeError && error.outcome === "lost");
  await connection.closed;
});

test("faults: what does not exist is refused, rather than a test that shows nothing", async () => {
  const { faults } = new Broker({ log: null });
  const make = (given: Faults) => faulty(channelPair()[0], given);
  for (const call of [faults.set.bind(faults), make]) {
    const refuses = (given: unknown, told: string) => assertThrows(() => call(given as Faults), TypeError, told);
    refuses({ cutAfterFrames: 10 }, 'there is no option "cutAfterFrames", "cutAfterFramesIn" is meant');
    refuses({ delayInMs: "20" }, 'option "delayInMs" is a string, not number');
    refuses({ withholdCreditIn: 1 }, 'option "withholdCreditIn" is a number, not boolean');
    refuses("cut", "options are a string, not an object");
    assertThrows(() => call({ cutAfterIn: NaN }), RangeError, '"cutAfterIn" is NaN, not number from 0');
    assertThrows(() => call({ delayOutMs: -1 }), RangeError, '"delayOutMs" is -1, not number from 0');
  }
  make({ cutAfterIn: undefined });
  faults.set(undefined);
  await assertRejects(() => faults.restart({ forgets: true } as never), TypeError, '"forget" is meant');
  await assertRejects(() => faults.restart({ downMs: "1s" } as never), TypeError, '"downMs" is a string, not number');
  assertThrows(() => faults.refuse(undefined as never), TypeError, "Cannot refuse links: address is undefined");
  assertThrows(() => faults.refuse("orders", new Error() as never), TypeError, "not an AmqpError");
});

test("faults: pieces of nothing are refused, rather than made without end", () => {
  const broker = new Broker();
  for (const chop of [0, -1, NaN, 0.5]) {
    assertThrows(() => broker.faults.set({ chop }), RangeError, '"chop" is');
    assertThrows(() => faulty(channelPair()[0], { chop }), RangeError, '"chop" is');
  }
});

test("faulty: what comes before somebody listens, as from a server that speaks first, is kept", async () => {
  const [client, server] = channelPair();
  const channel = faulty(client, { cutAfterIn: 6, chop: 2 });
  server.send(new Uint8Array([1, 2, 3]));
  server.send(new Uint8Array([4, 5, 6, 7]));
  // Whoever dialled has awaited something, and the bytes have come.
  await new Promise((resolve) => setTimeout(resolve));
  const seen: (number[] | string)[] = [];
  const ended = new Promise<void>((resolve) => {
    channel.onclose = ({ code }) => resolve(void seen.push(`close ${code}`));
  });
  channel.onbytes = (bytes) => seen.push([...bytes]);
  await ended;
  assertEquals(seen, [[1, 2], [3], [4, 5], [6], "close 1006"]);
});
