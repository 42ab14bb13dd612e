import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { AmqpError, OutcomeError } from "../../src/base/errors.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { ServeOptions } from "../../src/client/receive_options.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Message } from "../../src/codec/message.ts";
import { Broker } from "../../src/broker/broker.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { openOver } from "../../src/client/connect.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { linkUp, type LinkUpOptions } from "./link_up.ts";
import { turn, VirtualTime } from "./virtual.ts";

function numbered(count: number): Message[] {
  return Array.from({ length: count }, (_, i) => ({ body: BigInt(i) }));
}

/** A connection in virtual time whose peer sends `messages` to every receiver, with their outcomes and the log. */
function receiving(messages: readonly Message[], settled = false, options: LinkUpOptions = {}) {
  const outcomes: string[] = [];
  const senders: Sender[] = [];
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  const server = acceptor({
    environment: time,
    onSender: (request) => {
      const sender = request.accept();
      senders.push(sender);
      messages.forEach((message, i) =>
        sender.send(message, { settled }).then(
          () => outcomes[i] = "accepted",
          (error: OutcomeError) => outcomes[i] = error.outcome ?? "unsent",
        )
      );
    },
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry), ...options });
  return { connection, outcomes, senders, entries, time };
}

async function queue(count: number, options: LinkUpOptions = {}) {
  const broker = new Broker({ queues: { orders: { maxDeliveries: 5, deadLetter: "dead" } } });
  const connection = linkUp(broker, options);
  await connection.sender("orders").sendAll(numbered(count));
  return { broker, connection };
}

test("serve: a handler that throws is a failed attempt, so that a poison message ends in the dead-letter queue", async () => {
  const entries: LogEntry[] = [];
  const { broker, connection } = await queue(3, { log: (entry) => entries.push(entry) });
  const attempts: number[] = [];
  const stop = new AbortController();
  await connection.receiver("orders").serve((delivery) => {
    if (delivery.message.body === 1n) {
      attempts.push(delivery.message.header?.deliveryCount ?? 0);
      if (attempts.length === 5) stop.abort();
      throw new Error("cannot digest it");
    }
  }, { signal: stop.signal });
  assertEquals(attempts, [0, 1, 2, 3, 4]);
  await turn();
  assertEquals([broker.queue("orders")?.messages, broker.queue("dead")?.messages], [0, 1]);
  // Logged once a minute, although it failed five times.
  assertEquals(entries.map(({ level, code, address }) => [level, code, address]), [[
    "error",
    "handler-failed",
    "orders",
  ]]);
  assertEquals(
    entries[0]!.message.replace(/at "\w+"/, "at H"),
    'Cannot handle message of "orders" at H: handler failed, the message goes back as a failed attempt; give "onerror" to take care of it',
  );
  assertEquals((entries[0]!.error as Error).message, "cannot digest it");
  await connection.close();
});

test("serve: onerror is told instead of the log", async () => {
  const { connection, outcomes, entries } = receiving(numbered(2));
  const told: unknown[] = [];
  const stop = new AbortController();
  await connection.receiver("orders").serve(() => {
    throw new Error("no");
  }, {
    signal: stop.signal,
    onerror: (error, delivery) => {
      told.push([(error as Error).message, delivery.message.body, delivery.outcome?.kind]);
      if (told.length === 2) stop.abort();
    },
  });
  await turn();
  assertEquals(told, [["no", 0n, "modified"], ["no", 1n, "modified"]]);
  assertEquals([outcomes, entries], [["modified", "modified"], []]);
  await connection.close();
});

test("serve: an onerror that throws, at once or later, ends it after the handlers that run", async () => {
  for (const late of [false, true]) {
    const { connection, outcomes } = receiving(numbered(4));
    const receiver = connection.receiver("orders", { credit: 2 });
    let finish = (): void => {};
    const held = new Promise<void>((resolve) => finish = resolve);
    let handled = 0;
    const serving = receiver.serve(async () => {
      if (++handled === 2) throw new Error("handler failed");
      await held;
    }, {
      concurrency: 2,
      onerror: () => {
        if (late) return Promise.reject(new Error("so did onerror"));
        throw new Error("so did onerror");
      },
    });
    let over = false;
    serving.catch(() => over = true);
    await turn();
    assertEquals([over, handled], [false, 2]);
    finish();
    await assertRejects(() => serving, Error, "so did onerror");
    await receiver.close();
    assertEquals(outcomes.slice(0, 2), ["accepted", "modified"]);
    await connection.close();
  }
});

test("serve: what is no function, options that do not exist, and a concurrency above the credit are refused at once", async () => {
  const { connection } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  const serve = (handler: unknown, options?: unknown) => () =>
    void receiver.serve(handler as () => void, options as ServeOptions);
  assertThrows(serve(undefined), TypeError, "Cannot serve: handler is undefined, not a function");
  assertThrows(
    serve({ onMessage: 1 }),
    TypeError,
    'Cannot serve: handler is an object with "onMessage", not a function',
  );
  assertThrows(
    serve(() => {}, { concurency: 2 }),
    TypeError,
    'there is no option "concurency", "concurrency" is meant',
  );
  assertThrows(serve(() => {}, { concurrency: "2" }), TypeError, 'option "concurrency" is a string, not number');
  const error = assertThrows(serve(() => {}, { concurrency: 50 }), RangeError) as RangeError;
  assertEquals(
    error.message,
    'Cannot serve "orders": concurrency 50 is above the receiver\'s credit 10, raise or leave out the credit',
  );
  await connection.close();
});

test("credit: none given is taken at first use, by serve from its concurrency and half as much, else 32", async () => {
  const { connection, senders } = receiving([]);
  const credit = async (use: (receiver: Receiver) => unknown): Promise<number> => {
    const receiver = connection.receiver("orders");
    await receiver.ready();
    await turn();
    assertEquals([receiver.credit, senders.at(-1)!.credit], [0, 0]);
    Promise.resolve(use(receiver)).catch(() => {});
    await turn();
    return senders.at(-1)!.credit;
  };
  assertEquals(await credit((receiver) => receiver.serve(() => {})), 2);
  assertEquals(await credit((receiver) => receiver.serve(() => {}, { concurrency: 8 })), 12);
  assertEquals(await credit((receiver) => receiver.receive()), 32);
  assertEquals(await credit((receiver) => receiver[Symbol.asyncIterator]().next()), 32);
  assertEquals(await credit((receiver) => receiver.readable.getReader().read()), 32);
  assertEquals(
    await credit((receiver) => {
      void receiver.serve(() => {}, { concurrency: 2 });
      return receiver.serve(() => {}, { concurrency: 2 });
    }),
    6,
  );
  await connection.close();
});

test("credit: two receivers share a queue, the one that never reads takes nothing", async () => {
  const { connection } = await queue(10);
  const idle = connection.receiver("orders");
  await idle.ready();
  const seen: unknown[] = [];
  for await (const delivery of connection.receiver("orders")) {
    seen.push(delivery.message.body);
    delivery.accept();
    if (seen.length === 10) break;
  }
  assertEquals(seen.length, 10);
  await connection.close();
});

test("serve: when it ends by its signal, what was fetched ahead goes back for others", async () => {
  const { broker, connection } = await queue(10);
  const stop = new AbortController();
  const receiver = connection.receiver("orders", { credit: 5 });
  await receiver.serve(() => stop.abort(), { signal: stop.signal });
  await turn();
  assertEquals([receiver.buffered, receiver.credit, receiver.open], [0, 0, true]);
  assertEquals([broker.queue("orders")?.messages, broker.queue("orders")?.unsettled], [9, 0]);
  // Serving again fetches messages again.
  const again = new AbortController();
  let handled = 0;
  await receiver.serve(() => void (++handled === 9 && again.abort()), { signal: again.signal });
  assertEquals(handled, 9);
  await connection.close();
});

test("values: leaving the loop closes the receiver, preventCancel keeps it, a signal ends it", async () => {
  const { connection, outcomes } = receiving(numbered(6));
  const receiver = connection.receiver("orders", { credit: 2 });
  for await (const delivery of receiver.values({ preventCancel: true })) {
    if (delivery.message.body === 1n) break;
  }
  await turn();
  assertEquals([receiver.open, outcomes.filter(Boolean)], [true, ["accepted", "modified"]]);
  for await (const delivery of receiver.values({ preventCancel: true })) {
    delivery.accept();
    if (delivery.message.body === 3n) break;
  }
  await turn();
  assertEquals([receiver.open, outcomes.slice(2, 4)], [true, ["accepted", "accepted"]]);
  const stop = new AbortController();
  await assertRejects(
    async () => {
      for await (const delivery of receiver.values({ signal: stop.signal })) {
        if (delivery.message.body === 5n) stop.abort(new Error("enough"));
      }
    },
    Error,
    "enough",
  );
  assertEquals([receiver.open, outcomes.slice(4)], [false, ["accepted", "accepted"]]);
  assertThrows(
    () => receiver.values({ preventCanel: true } as unknown as { preventCancel: boolean }),
    TypeError,
    '"preventCancel" is meant',
  );
  await connection.close();
});

test("serve: retryDelay holds a failed message back, longer each time, and it counts as one of the credit", async () => {
  for (const retryDelay of [100, (failures: number) => 100 * 2 ** failures]) {
    const { connection, senders, time } = receiving([]);
    const receiver = connection.receiver("orders", { credit: 3 });
    const attempts: number[] = [];
    void receiver.serve(() => {
      attempts.push(time.now());
      throw new Error("not yet");
    }, { retryDelay, onerror: () => {} });
    await time.wait(receiver.ready());
    await time.wait((async () => {
      // A queue would deliver it again at once.
      for (let i = 0; i < 4; i++) await senders[0]!.send({ body: "poison" }).catch(() => {});
    })());
    const waits = attempts.slice(1).map((at, i) => at - attempts[i]!);
    assertEquals(waits, [100, 200, 400]);
    await connection.close();
  }
});

test("serve: what is held back goes back at once when the receiver closes", async () => {
  const { connection, outcomes, time } = receiving(numbered(2));
  const receiver = connection.receiver("orders", { credit: 2 });
  void receiver.serve(() => {
    throw new Error("not yet");
  }, { retryDelay: 10_000, onerror: () => {} });
  await turn();
  assertEquals([receiver.unsettled, outcomes], [2, []]);
  await receiver.close();
  assertEquals(outcomes, ["modified", "modified"]);
  await connection.close();
  assertEquals(time.pending, 0);
});

test("drain: right after attaching it waits for the link, and brings what the queue has", async () => {
  const { connection } = await queue(3);
  for (const credit of [10, undefined]) {
    const receiver = connection.receiver("orders", { credit });
    await receiver.drain();
    assertEquals([receiver.buffered, receiver.credit], [3, 0]);
    await receiver.close();
  }
  await connection.close();
});

test("FLW-5: a drain that was given up leaves later grants alone, and none is lost", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  // The peer is blocked, and answers no drain.
  const stop = new AbortController();
  const drained = receiver.drain({ signal: stop.signal });
  await Promise.resolve();
  stop.abort(new Error("no longer"));
  await assertRejects(() => drained, Error, "no longer");
  await turn();
  for (let i = 0; i < 12; i++) {
    void senders[0]!.send({ body: i });
    (await receiver.receive()).accept();
  }
  assert(receiver.credit > 0);
  await connection.close();
});

test("receiveBatch: polls a queue in one call, takes no more than it was asked for, and leaves the rest there", async () => {
  const { broker, connection } = await queue(25);
  for (const credit of ["manual", undefined] as const) {
    const receiver = connection.receiver("orders", { credit });
    const batch = await receiver.receiveBatch(10);
    assertEquals([batch.length, receiver.buffered, receiver.credit], [10, 0, 0]);
    for (const delivery of batch) delivery.accept();
    await receiver.close();
  }
  await using rest = connection.receiver("orders", { credit: "manual" });
  assertEquals(
    (await rest.receiveBatch(10, { waitMs: 5_000 })).map((delivery) => (delivery.accept(), delivery.message.body)),
    [20n, 21n, 22n, 23n, 24n],
  );
  assertEquals(await rest.receiveBatch(10), []);
  assertEquals(broker.queue("orders")?.messages, 0);
  await assertRejects(() => rest.receiveBatch(0), RangeError, "is not a whole number from 1");
  await assertRejects(() => rest.receiveBatch(1, { signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  await connection.close();
});

test("receiveBatch: what it has taken when it is aborted is there for the next call", async () => {
  for (const settled of [false, true]) {
    const { connection, senders, outcomes, time } = receiving(numbered(3), settled);
    const receiver = connection.receiver("orders", { credit: 4 });
    await receiver.ready();
    await turn();
    // The drain has no answer.
    senders[0]!.setSearching(true);
    await turn();
    const stop = new AbortController();
    const batch = receiver.receiveBatch(5, { signal: stop.signal });
    await turn();
    assertEquals([receiver.unsettled, receiver.buffered], [3, 0]);
    stop.abort(new Error("no longer"));
    await assertRejects(() => batch, Error, "no longer");
    const bodies: unknown[] = [];
    while (receiver.buffered > 0) {
      const delivery = await receiver.receive();
      bodies.push(delivery.message.body);
      if (!settled) delivery.accept();
    }
    await turn();
    assertEquals([bodies, receiver.unsettled, outcomes], [[0n, 1n, 2n], 0, Array(3).fill("accepted")]);
    senders[0]!.setSearching(false);
    await time.wait(connection.close());
  }
});

test("receiveBatch: waits for the first message as long as it was told", async () => {
  const { connection, senders, time } = receiving([]);
  const receiver = connection.receiver("orders", { credit: "manual" });
  await time.wait(receiver.ready());
  const before = time.now();
  assertEquals(await time.wait(receiver.receiveBatch(5, { waitMs: 700 })), []);
  assertEquals(time.now() - before, 700);
  const batch = receiver.receiveBatch(5, { waitMs: 700 });
  await turn();
  void senders[0]!.send({ body: "one" });
  assertEquals((await time.wait(batch)).map(({ message }) => message.body), ["one"]);
  assertEquals(time.now() - before, 700);
  await connection.close();
});

test("values, serve: what begins on a receiver that was closed says so instead of ending at once, also behind a break", async () => {
  const { connection } = receiving(numbered(2));
  const receiver = connection.receiver("orders", { credit: 1 });
  for await (const delivery of receiver) {
    delivery.accept();
    break;
  }
  const again = async () => {
    for await (const delivery of receiver) delivery.accept();
  };
  for (const begin of [again, () => receiver.serve(() => {})]) {
    const error = await assertRejects(begin, AmqpError, 'receiver of "orders"');
    assertEquals([error.condition, error.message.endsWith("is closed")], ["amqp:illegal-state", true]);
  }
  // A program that is told to stop before it serves ends in order.
  await receiver.serve(() => {}, { signal: AbortSignal.abort() });
  await connection.close();
});

test("close: what came settled is not dropped, loops and handlers get it, or whoever asks afterwards", async () => {
  const taken: Record<string, (receiver: Receiver, bodies: unknown[]) => Promise<void>> = {
    loop: async (receiver, bodies) => {
      for await (const delivery of receiver) {
        bodies.push(delivery.message.body);
        if (bodies.length === 1) void receiver.close();
      }
    },
    serve: (receiver, bodies) =>
      receiver.serve((delivery) => {
        bodies.push(delivery.message.body);
        if (bodies.length === 1) receiver.stop();
      }),
    receive: async (receiver, bodies) => {
      bodies.push((await receiver.receive()).message.body);
      await receiver.close();
      while (receiver.buffered > 0) bodies.push((await receiver.receive()).message.body);
    },
  };
  for (const sndSettleMode of ["settled", "mixed"] as const) {
    for (const [how, take] of Object.entries(taken)) {
      const { connection, outcomes } = receiving(numbered(10), true);
      const receiver = connection.receiver("log", { credit: 8, sndSettleMode });
      const bodies: unknown[] = [];
      await take(receiver, bodies);
      await receiver.closed;
      await turn();
      const sent = outcomes.filter((outcome) => outcome === "accepted").length;
      assertEquals(bodies, numbered(sent).map(({ body }) => body), how);
      assert(bodies.length >= 8, how);
      await connection.close();
    }
  }
});

test("close in a handler: it does not wait for itself, and the message of the handler is settled", async () => {
  for (const late of [false, true]) {
    for (const what of ["receiver", "session", "connection"] as const) {
      const { connection, outcomes, time } = receiving(numbered(3));
      const session = connection.session();
      const receiver = session.receiver("orders", { credit: 2 });
      const steps: string[] = [];
      const serving = receiver.serve(async () => {
        if (late) await Promise.resolve();
        await { receiver, session, connection }[what].close();
        steps.push("closed");
      });
      const before = time.now();
      await time.wait(serving);
      await time.wait({ receiver, session, connection }[what].closed);
      // No timeout was needed.
      assertEquals(time.now() - before, 0, `${what} ${late}`);
      assertEquals([steps, outcomes[0]], [["closed"], "accepted"]);
      await time.wait(connection.close());
    }
  }
});

test("close in a handler: it waits for the others, and two of them do not wait for each other", async () => {
  const { connection, outcomes, time } = receiving(numbered(3));
  const receiver = connection.receiver("orders", { credit: 3 });
  let finish = (): void => {};
  const held = new Promise<void>((resolve) => finish = resolve);
  const steps: string[] = [];
  const serving = receiver.serve(async ({ message }) => {
    if (message.body === 0n) await held;
    else await (message.body === 1n ? receiver : connection).close();
    steps.push(String(message.body));
  }, { concurrency: 3 });
  await turn();
  assertEquals(steps, []);
  finish();
  await time.wait(serving);
  assertEquals(steps[0], "0");
  await time.wait(connection.closed);
  assertEquals([steps.length, outcomes], [3, ["accepted", "accepted", "accepted"]]);
});

test("stop waits for nothing: a handler may call it, and the receiver closes behind it", async () => {
  const { connection, outcomes } = receiving(numbered(5));
  const receiver = connection.receiver("orders", { credit: 2 });
  await receiver.serve(() => receiver.stop());
  await receiver.closed;
  assertEquals([outcomes[0], receiver.open], ["accepted", false]);
  await connection.close();
});

test("FLW-7: whoever settles in batches above three quarters of the credit gets the next batch", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  for (let i = 0; i < 100; i++) void senders[0]!.send({ body: i });
  const batch: Delivery[] = [];
  let received = 0;
  while (received < 80) {
    batch.push(await receiver.receive());
    received++;
    if (batch.length === 8) { for (const delivery of batch.splice(0)) delivery.accept(); }
  }
  await connection.close();
});

test("DSP-2: a peer that agrees to settle second and never does is told to the log", async () => {
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  const server = acceptor({
    environment: time,
    onSender: (request) => {
      // A peer that receives outcomes and does not answer.
      const sender = request.accept({ rcvSettleMode: "second" });
      sender.handleDisposition = () => {};
      for (const message of numbered(2)) void sender.send(message).catch(() => {});
    },
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
  const receiver = connection.receiver("orders", { credit: 2, rcvSettleMode: "second" });
  for (let i = 0; i < 2; i++) (await receiver.receive()).accept();
  await time.pass(20_000);
  assertEquals(entries.map(({ code, level }) => [code, level]), [["not-settled", "warning"]]);
  assertEquals(
    entries[0]!.message.replace(/at "\w+"/, "at H"),
    'Cannot go on with 2 messages of "orders" at H: their outcome was sent, and the peer, which agreed to rcvSettleMode "second", has not settled them; use "first"',
  );
  connection.destroy(new Error("over"));
});

test("DSP-2: a peer that settles some now and then is told to the log only once it settles none", async () => {
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  let settles = true;
  const server = acceptor({
    environment: time,
    onSender: (request) => {
      const sender = request.accept({ rcvSettleMode: "second" });
      const { handleDisposition } = sender;
      sender.handleDisposition = (...told) => {
        time.setTimer(() => settles && handleDisposition.apply(sender, told), 9_000);
      };
      for (const message of numbered(12)) void sender.send(message).catch(() => {});
    },
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
  const receiver = connection.receiver("orders", { credit: 4, rcvSettleMode: "second" });
  for (let i = 0; i < 8; i++) {
    (await time.wait(receiver.receive())).accept();
    await time.pass(3_000);
  }
  assertEquals(entries, []);
  settles = false;
  await time.pass(30_000);
  assertEquals(entries.map(({ code }) => code), ["not-settled"]);
  connection.destroy(new Error("over"));
});

test("DSP-2: rcvSettleMode second that is answered first settles at once", async () => {
  const outcomes: string[] = [];
  const server = acceptor({
    onSender: (request) => {
      const sender = request.accept({ rcvSettleMode: "first" });
      for (const message of numbered(9)) void sender.send(message).then((outcome) => outcomes.push(outcome!.kind));
    },
  });
  const connection = linkUp(server);
  const receiver = connection.receiver("orders", { credit: 2, rcvSettleMode: "second" });
  for (let i = 0; i < 9; i++) (await receiver.receive()).accept();
  await receiver.close();
  assertEquals(outcomes.length, 9);
  await connection.close();
});

test("log: who waits for messages without any credit is told after a while why none come", async () => {
  const reasons: Record<string, (receiver: Receiver) => Promise<unknown>> = {
    "the sender has no credit, call grant() or leave out the credit that the receiver was given": (receiver) =>
      receiver.receive(),
    "all 2 messages of the receiver's credit are taken and not settled, call accept() or another outcome": async (
      receiver,
    ) => {
      for (let i = 0; i < 3; i++) await receiver.receive();
    },
  };
  for (const [i, [reason, use]] of Object.entries(reasons).entries()) {
    for (const credit of i === 0 ? [0, "manual"] as const : [2]) {
      const { connection, entries, time } = receiving(numbered(5));
      const receiver = connection.receiver("orders", { credit });
      await time.wait(receiver.ready());
      use(receiver).catch(() => {});
      await time.pass(9_000);
      assertEquals(entries, []);
      await time.pass(2_000);
      assertEquals(entries.map(({ code, message }) => [code, message.replace(/at "\w+"/, "at H")]), [
        ["no-credit", `Cannot receive messages of "orders" at H: ${reason}`],
      ]);
      await time.wait(connection.close());
    }
  }
});

test("delivery.signal is aborted when the link is lost, and settling afterwards is lost", async () => {
  const { connection, time } = receiving(numbered(2));
  const receiver = connection.receiver("orders");
  const [first, second] = [await receiver.receive(), await receiver.receive()];
  assertEquals(first.signal.aborted, false);
  second.accept();
  assertEquals(second.signal.aborted, false);
  connection.destroy(new Error("cable cut"));
  assertEquals([first.signal.aborted, second.signal.aborted], [true, false]);
  const { outcome, message, cause } = first.signal.reason as OutcomeError;
  assertEquals([outcome, (cause as Error).message], ["lost", "cable cut"]);
  assert(message.endsWith("cable cut; the sender hands the message out again"));
  assertThrows(() => first.accept(), Error, "Cannot settle delivery of");
  assertEquals(time.pending >= 0, true);
});

test("delivery.signal is aborted when the sender settles by itself, as brokers do whose consumers take too long", async () => {
  const [near, far] = channelPair();
  acceptor({ onSender: (request) => void request.accept().send({ body: 1 }).catch(() => {}) }).accept(far);
  const connection = openOver(near, undefined);
  const delivery = await connection.receiver("orders", { credit: 1 }).receive();
  const { signal } = delivery;
  await turn();
  // disposition(role=sender, first=0, settled=true)
  far.send(Uint8Array.of(0, 0, 0, 18, 2, 0, 0, 0, 0, 0x53, 0x15, 0xc0, 5, 4, 0x42, 0x43, 0x40, 0x41));
  await turn();
  assertEquals(signal.aborted, true);
  assert((signal.reason as Error).message.endsWith("has settled it by itself; the sender hands the message out again"));
  assertThrows(() => delivery.accept(), OutcomeError, "has settled it by itself");
  connection.destroy(new Error("over"));
});

test("a message that arrives while its receiver closes goes back at once, not when the handlers are done", async () => {
  const senders: Sender[] = [];
  const connection = linkUp(acceptor({ onSender: (request) => void senders.push(request.accept()) }));
  let finish = (): void => {};
  const held = new Promise<void>((resolve) => finish = resolve);
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => begin = resolve);
  const receiver = connection.receiver("orders", { credit: 3 });
  const served = receiver.serve(() => {
    begin();
    return held;
  });
  await receiver.ready();
  const [sender] = senders;
  const first = sender!.send({ body: 1 });
  await begun;
  const closing = receiver.close();
  const late = await assertRejects(() => sender!.send({ body: 2 }), OutcomeError);
  assertEquals(late.outcome, "released");
  finish();
  await Promise.all([closing, served]);
  assertEquals((await first)?.kind, "accepted");
  await connection.close();
});
