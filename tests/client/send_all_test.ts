import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import type { Message } from "../../src/codec/message.ts";
import { MAX_IN_FLIGHT } from "../../src/client/send_all.ts";
import type { Sender } from "../../src/client/sender.ts";
import { test } from "../harness.ts";
import { sending } from "./link_up.ts";

/** An iterable that never yields, and whether it was returned. */
function silent() {
  const state = { returned: false };
  const messages: AsyncIterable<Message> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<Message>>(() => {}),
      return: () => {
        state.returned = true;
        return new Promise<IteratorResult<Message>>(() => {});
      },
    }),
  };
  return { messages, state };
}

test("sendAll keeps the link full and counts what was accepted", async () => {
  let received = 0;
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 50 });
    void receiver.serve(() => void received++);
    return receiver;
  });
  function* messages() {
    for (let i = 0; i < 1_000; i++) yield { body: i };
  }
  assertEquals(await connection.sender("orders").sendAll(messages()), 1_000);
  assertEquals(received, 1_000);
  await connection.close();
});

test("sendAll takes no message before there is room for it", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: "manual" }));
  let taken = 0;
  async function* messages() {
    for (let i = 0; i < 100; i++) {
      taken++;
      yield { body: await Promise.resolve(i) };
    }
  }
  const sender = connection.sender("orders");
  await sender.ready();
  const all = sender.sendAll(messages());
  ends[0]!.grant(3);
  for (let i = 0; i < 3; i++) (await ends[0]!.receive()).accept();
  // One more than there was credit for: the one that waits.
  assertEquals(taken <= 4, true);
  ends[0]!.grant(1_000);
  const rest = ends[0]!.serve(() => {});
  assertEquals(await all, 100);
  await connection.close();
  await rest;
});

test("sendAll and a writable have as many messages under way as their sender says, and go on with every outcome", async () => {
  const ways = {
    sendAll: (sender: Sender, messages: Message[]): Promise<unknown> => sender.sendAll(messages),
    writable: (sender: Sender, messages: Message[]): Promise<unknown> => {
      const writer = sender.writable.getWriter();
      for (const message of messages) writer.write(message).catch(() => {});
      return writer.close();
    },
  };
  for (const send of Object.values(ways)) {
    for (const [maxInFlight, most] of [[undefined, MAX_IN_FLIGHT], [3, 3], [1, 1]] as const) {
      const { connection, ends } = sending((request) => request.accept({ credit: 10_000, settle: "manual" }));
      const sender = connection.sender("orders", { maxInFlight });
      await sender.ready();
      const all = send(sender, Array.from({ length: most + 5 }, (_, body) => ({ body })));
      const held = [];
      while (held.length < most) held.push(await ends[0]!.receive());
      assertEquals(sender.pending, most);
      held.shift()!.accept();
      held.push(await ends[0]!.receive());
      assertEquals(sender.pending, most);
      for (const delivery of held) delivery.accept();
      const rest = ends[0]!.serve((delivery) => delivery.accept());
      await all;
      await connection.close();
      await rest;
    }
  }
});

test("sendAll and a writable refuse to wait for ever", async () => {
  const { connection } = sending((request) => request.accept());
  for (const maxInFlight of [0, NaN]) {
    assertThrows(() => connection.sender("orders", { maxInFlight }), RangeError, `"maxInFlight" is ${maxInFlight}`);
  }
  await connection.close();
});

test("sendAll and a writable end with a link that ends while they start", async () => {
  const never = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<Message>>(() => {}) }),
  };
  // The code for it is loaded in some number of microtasks.
  for (let microtasks = 0; microtasks < 20; microtasks++) {
    const { connection } = sending((request) => request.accept());
    const sender = connection.sender("orders");
    await sender.ready();
    const all = assertRejects(() => sender.sendAll(never), AmqpError, "gone");
    const writer = sender.writable.getWriter();
    const closed = assertRejects(() => writer.closed, AmqpError, "gone");
    for (let i = 0; i < microtasks; i++) await undefined;
    connection.destroy(new AmqpError(condition.connectionForced, "gone"));
    await all;
    await closed;
  }
});

test("a writable whose link ends while it starts can be aborted", async () => {
  const { connection } = sending((request) => request.accept());
  const sender = connection.sender("orders");
  await sender.ready();
  const { writable } = sender;
  connection.destroy(new Error("gone"));
  await writable.abort("enough");
});

test("sendAll ends when its signal is aborted by what it sends", async () => {
  const { connection } = sending((request) => request.accept());
  const sender = connection.sender("orders");
  await sender.ready();
  const controller = new AbortController();
  const messages = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        controller.abort(new Error("enough"));
        return new Promise<IteratorResult<Message>>(() => {});
      },
    }),
  };
  await assertRejects(() => sender.sendAll(messages, { signal: controller.signal }), Error, "enough");
  await connection.close();
});

test("sendAll stops at the first failure and reports it after the rest is settled", async () => {
  let seen = 0;
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 5 });
    void receiver.serve((delivery) => {
      if (++seen === 3) delivery.reject();
    });
    return receiver;
  });
  let taken = 0;
  function* messages() {
    for (let i = 0; i < 1_000; i++) {
      taken++;
      yield { body: i };
    }
  }
  const error = await assertRejects(() => connection.sender("orders").sendAll(messages()), OutcomeError);
  assertEquals(error.outcome, "rejected");
  assertEquals(taken < 1_000, true);
  await connection.close();
});

test("a writable sends what is piped into it and waits for all outcomes when it ends", async () => {
  const bodies: unknown[] = [];
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 4 });
    void receiver.serve((delivery) => void bodies.push(delivery.message.body));
    return receiver;
  });
  const source = new ReadableStream<{ body: string }>({
    start(controller) {
      for (let i = 0; i < 30; i++) controller.enqueue({ body: `${i}` });
      controller.close();
    },
  });
  const sender = connection.sender("orders");
  await source.pipeTo(sender.writable);
  assertEquals(bodies, Array.from({ length: 30 }, (_, i) => `${i}`));
  assertEquals(sender.open, true);
  await connection.close();
});

test("a writable errors with the first message that is not accepted", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 1 });
    void receiver.serve((delivery) => delivery.reject());
    return receiver;
  });
  const writer = connection.sender("orders").writable.getWriter();
  writer.closed.catch(() => {});
  await assertRejects(async () => {
    for (;;) {
      await writer.ready;
      await writer.write({ body: 1 });
    }
  }, OutcomeError);
  await connection.close();
});

test("sendAll ends with its signal while there is nothing to send", async () => {
  const { connection } = sending((request) => request.accept({ credit: 1 }));
  const sender = connection.sender("orders");
  const { messages, state } = silent();
  const controller = new AbortController();
  const all = sender.sendAll(messages, { signal: controller.signal });
  await sender.ready();
  controller.abort(new Error("enough"));
  await assertRejects(() => all, Error, "enough");
  assertEquals([state.returned, sender.open], [true, true]);
  await assertRejects(() => sender.sendAll(messages, { signal: controller.signal }), Error, "enough");
  await connection.close();
});

test("sendAll ends with its link while there is nothing to send", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 1 }));
  const sender = connection.sender("orders");
  const { messages, state } = silent();
  const all = sender.sendAll(messages);
  await sender.ready();
  void ends[0]!.close({ error: new AmqpError(condition.resourceDeleted, "queue was deleted", { scope: "link" }) });
  assertEquals((await assertRejects(() => all, AmqpError)).condition, condition.resourceDeleted);
  assertEquals(state.returned, true);
  await connection.close();
});

test("sendAll gives up its messages once one has failed, and passes on what they throw after the rest", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 10, settle: "manual" }));
  const sender = connection.sender("orders");
  let returned = false;
  async function* endless() {
    try {
      for (let i = 0;; i++) yield { body: await Promise.resolve(i) };
    } finally {
      returned = true;
    }
  }
  const all = sender.sendAll(endless());
  await sender.ready();
  for (let i = 0; i < 10; i++) (await ends[0]!.receive()).reject();
  void ends[0]!.serve((delivery) => delivery.accept());
  assertEquals((await assertRejects(() => all, OutcomeError)).outcome, "rejected");
  assertEquals(returned, true);
  const other = connection.sender("more");
  function* broken() {
    yield { body: 1 };
    throw new Error("out of paper");
  }
  let reported = false;
  const some = assertRejects(() => other.sendAll(broken()), Error, "out of paper").then(() => reported = true);
  await other.ready();
  const delivery = await ends[1]!.receive();
  assertEquals(reported, false);
  delivery.accept();
  await some;
  await connection.close();
});

test("a writable can be aborted while its message waits for credit, and errors when the link ends", async () => {
  const { connection } = sending((request) => request.accept({ credit: "manual" }));
  const sender = connection.sender("orders");
  const writer = sender.writable.getWriter();
  const written = writer.write({ body: 1 });
  written.catch(() => {});
  await sender.ready();
  await writer.abort(new Error("enough"));
  assertEquals(sender.pending, 0);
  const other = sender.writable.getWriter();
  await other.ready;
  const ended = assertRejects(() => other.closed, AmqpError);
  await sender.close();
  await ended;
  await connection.close();
});

test("sendAll and a writable fail on a link that ends before they have begun, and take nothing", async () => {
  const { connection } = sending((request) => request.accept({ credit: 1 }));
  const sender = connection.sender("orders");
  await sender.ready();
  const { messages, state } = silent();
  const all = assertRejects(() => sender.sendAll(messages), AmqpError, "is closed");
  const stream = assertRejects(() => sender.writable.getWriter().closed, AmqpError, "is closed");
  await sender.close();
  await Promise.all([all, stream]);
  assertEquals(state.returned, false);
  await connection.close();
});

test("sendAll takes of an endless source no more than there is room for, and ends with the link", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 10, settle: "manual" }));
  const sender = connection.sender("orders");
  let [taken, returned] = [0, false];
  function* endless() {
    try {
      for (;;) yield { body: ++taken };
    } finally {
      returned = true;
    }
  }
  const all = assertRejects(() => sender.sendAll(endless()), AmqpError, "is closed");
  await sender.ready();
  await ends[0]!.receive();
  assertEquals([taken, sender.pending], [10, 10]);
  await connection.close({ timeoutMs: 1 });
  await all;
  assertEquals([taken, returned], [10, true]);
  await assertRejects(() => sender.sendAll(endless()), AmqpError, "closed");
});

test("sendAll of an endless source ends when its sender is closed on this side", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve(() => {});
    return receiver;
  });
  const sender = connection.sender("orders");
  let returned = false;
  async function* endless() {
    try {
      for (let i = 0; i < 5; i++) yield { body: i };
      await new Promise(() => {});
    } finally {
      returned = true;
    }
  }
  const all = assertRejects(() => sender.sendAll(endless()), AmqpError, "is closed");
  await sender.send({ body: "one more" });
  await sender.close();
  await all;
  assertEquals([sender.pending, returned], [0, false]);
  await connection.close();
});
