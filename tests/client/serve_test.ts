import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { AmqpError } from "../../src/base/errors.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { ServeOptions } from "../../src/client/receive_options.ts";
import { test } from "../harness.ts";
import { turn } from "./virtual.ts";
import { numbered, queue, receiving } from "./receiving.ts";

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
        // The last message has arrived by then, and is not handed out any more.
        if (delivery.message.body === 4n) await turn().then(() => stop.abort(new Error("enough")));
      }
    },
    Error,
    "enough",
  );
  assertEquals([receiver.open, outcomes.slice(4)], [false, ["accepted", "released"]]);
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

test("serve: a retryDelay that throws ends it, and the message and its handler's error are not lost", async () => {
  const { connection, outcomes } = receiving(numbered(2));
  const told: unknown[] = [];
  const serving = connection.receiver("orders").serve(() => {
    throw new Error("no");
  }, {
    retryDelay: () => {
      throw new Error("no delay");
    },
    onerror: (error) => void told.push((error as Error).message),
  });
  await assertRejects(() => serving, Error, "no delay");
  await connection.close();
  assertEquals([told, outcomes], [["no"], ["modified", "released"]]);
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
