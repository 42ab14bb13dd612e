import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import type { DecodedMessage } from "../../src/codec/message.ts";
import { openOver } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { EventQueue } from "../../src/client/events.ts";
import { MAX_IDLE_REQUEST_SENDERS } from "../../src/client/request.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { Deferred } from "../../src/base/wait.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

/** A channel whose bytes pass through a function. */
function between(
  channel: Channel,
  changes: Partial<Pick<Channel, "send" | "close" | "ready">> & { buffered?: () => number },
) {
  return {
    send: (bytes: Uint8Array) => changes.send === undefined ? channel.send(bytes) : changes.send(bytes),
    close: (code?: number) => changes.close === undefined ? channel.close(code) : changes.close(code),
    get bufferedAmount() {
      return changes.buffered?.() ?? channel.bufferedAmount;
    },
    ready: () => changes.ready?.() ?? channel.ready(),
    get onbytes() {
      return channel.onbytes;
    },
    set onbytes(listener) {
      channel.onbytes = listener;
    },
    get onclose() {
      return channel.onclose;
    },
    set onclose(listener) {
      channel.onclose = listener;
    },
  } satisfies Channel;
}

/** A client with a channel that says it is full until the test gives it room. */
function congestible(server: { accept(channel: Channel): unknown }) {
  const [client, accepted] = channelPair();
  const state = { full: false, room: () => {} };
  const ready = new Promise<void>((resolve) =>
    state.room = () => {
      state.full = false;
      resolve();
    }
  );
  server.accept(accepted);
  const connection = openOver(
    between(client, { buffered: () => state.full ? 1e9 : 0, ready: () => ready }),
    undefined,
    { limits: { closeTimeoutMs: 20 } },
  );
  return { connection, state };
}

test("CON-10: the peer's time to answer a close counts from the close", async () => {
  const [client, accepted] = channelPair();
  const acts: Promise<void>[] = [];
  const later = (action: () => void): void => {
    acts.push(new Promise((resolve) => setTimeout(() => resolve(action()), 2)));
  };
  acceptor().accept(between(accepted, {
    send: (bytes) => later(() => accepted.send(bytes)),
    close: (code) => later(() => accepted.close(code)),
  }));
  const connection = openOver(client, undefined, { limits: { closeTimeoutMs: 5_000 } });
  await connection.ready();
  const now = performance.now;
  performance.now = () => now.call(performance) + 10_000;
  try {
    await connection.close();
  } finally {
    performance.now = now;
  }
  assertEquals(connection.error, undefined);
  // The accepting side closes its channel again once this side has.
  for (const act of acts) await act;
});

test("an option that the engine refuses leaves no channel open", async () => {
  const [client, peer] = channelPair();
  const ended = new Promise((resolve) => peer.onclose = resolve);
  assertThrows(() => openOver(client, undefined, { maxFrameSize: 100 }), RangeError);
  await ended;
});

test("ATK-32: a trace that throws disturbs nothing, and the log is told what it threw", async () => {
  for (const direction of ["in", "out"]) {
    const told = new Deferred<LogEntry>();
    const connection = linkUp(acceptor({ onSender: (request) => void request.accept() }), {
      log: (entry) => told.resolve(entry),
      trace: (frame) => {
        if (frame.direction === direction && frame.body?.kind === "flow") throw new Error("disk is full");
      },
    });
    await connection.receiver("orders", { credit: 1 }).drain();
    const { code, error } = await told.promise;
    assertEquals([code, (error as Error).message], ["callback-failed", "disk is full"]);
    await connection.close();
    assertEquals(connection.error, undefined);
  }
});

test("a link or session with a property that AMQP cannot express fails by itself, also before the peer has answered", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 1 }) });
  const properties = { flag: Symbol("no value") } as unknown as Record<string, string>;
  for (const opened of [false, true]) {
    const connection = linkUp(server);
    if (opened) await connection.ready();
    const [one, session] = [connection.sender("one"), connection.session()];
    const other = session.sender("other");
    for (const from of [connection, session]) {
      assertThrows(() => from.sender({ address: "two", properties }), TypeError, "no AMQP type for a symbol (attach");
    }
    assertThrows(() => connection.session({ properties }), TypeError, "no AMQP type for a symbol (begin");
    await Promise.all([one.ready(), other.ready()]);
    await connection.close();
    assertEquals(connection.error, undefined);
  }
});

test("an oncredit that throws ends nothing, and the log is told", async () => {
  const told = new Deferred<LogEntry>();
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 1 }) });
  const connection = linkUp(server, { log: (entry) => told.resolve(entry) });
  const sender = connection.sender("orders");
  sender.oncredit = () => {
    throw new Error("no");
  };
  await sender.send({ body: 1 }, { settled: true });
  const { code, error } = await told.promise;
  assertEquals([code, (error as Error).message], ["callback-failed", "no"]);
  await connection.close();
  assertEquals(connection.error, undefined);
});

test("a channel of the program whose ready() rejects, or whose close() throws, hangs nothing", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 9 }) });
  const [client, accepted] = channelPair();
  server.accept(accepted);
  let full = true;
  const channel = between(client, {
    buffered: () => full ? 1e9 : 0,
    ready: () => Promise.reject(new Error(`ready ${full = false}`)),
    close: () => {
      throw new Error("cannot close");
    },
  });
  const connection = openOver(channel, undefined);
  await connection.sender("orders").send({ body: 1 }, { settled: true });
  await connection.close();
  assertEquals(connection.state, "closed");
  client.close();
});

test("a session that is closing takes no more links, and tells what it ended with", async () => {
  const connection = linkUp(acceptor({ onReceiver: (request) => void request.accept() }));
  const session = connection.session();
  const sender = session.sender("orders");
  await sender.ready();
  assertEquals([session.open, session.error], [true, undefined]);
  const closing = session.close();
  assertThrows(() => session.sender("more"), AmqpError, "session is closed");
  assertThrows(() => session.receiver("more"), AmqpError, "session is closed");
  await closing;
  assertEquals([session.open, session.error, sender.open], [false, undefined, false]);
  const broken = connection.session();
  await broken.ready();
  connection.destroy(new Error("cable cut"));
  assertEquals([broken.open, broken.error?.message], [false, "cable cut"]);
  assertThrows(() => broken.sender("more"), AmqpError, "cable cut");
});

test("destroy takes whatever a signal was aborted with", async () => {
  for (const reason of ["enough", null]) {
    const connection = linkUp(acceptor());
    const sent = connection.sender("orders").send({ body: 1 });
    connection.destroy(reason as unknown as Error);
    assertInstanceOf(await sent.catch((error) => error), Error);
    assertThrows(() => connection.sender("more"), AmqpError, "is closed");
  }
});

test("a loop over events that was left is told nothing more", async () => {
  const connection = linkUp(acceptor());
  for await (const event of connection.events()) {
    assertEquals(event.kind, "opened");
    break;
  }
  const events = connection.events();
  const next = events.next();
  await connection.close();
  assertEquals((await next).value?.kind, "closed");
  assertEquals((await events.next()).done, true);
});

test("API: leaving events ends the wait for the next one, and what was never read is not kept", async () => {
  const connection = linkUp(acceptor());
  await connection.ready();
  const events = connection.events();
  const next = events.next();
  assertEquals(await events.return(), { done: true, value: undefined });
  assertEquals([(await next).done, (await events.next()).done], [true, true]);
  const others = connection.events();
  const waiting = others.next();
  const mine = new Error("mine");
  assertEquals(await others.throw(mine).catch((error) => error), mine);
  assertEquals((await waiting).done, true);
  let left = 0;
  await new EventQueue().iterate(undefined, () => left++).return();
  assertEquals(left, 1);
  await connection.close();
});

test("a loop over events ends with its signal, before or while it waits", async () => {
  const connection = linkUp(acceptor());
  await connection.ready();
  const stop = new AbortController();
  const events = connection.events({ signal: stop.signal });
  const next = events.next();
  const reason = new Error("seen enough");
  stop.abort(reason);
  assertEquals(await next.catch((error) => error), reason);
  assertEquals((await events.next()).done, true);
  const late = connection.events({ signal: stop.signal });
  assertEquals(await late.next().catch((error) => error), reason);
  // The connection itself goes on.
  assertEquals(connection.open, true);
  await connection.close();
});

/** An acceptor that answers each request with `answer`. */
function answering(
  answer: (request: DecodedMessage, replies: Sender) => void,
  address: string | undefined = "replies",
) {
  const replies: Sender[] = [];
  const attached: string[] = [];
  const server = acceptor({
    onSender: (request) => void replies.push(request.accept({ address })),
    onReceiver: (request) => {
      attached.push(request.address!);
      void request.accept().serve((delivery) => answer(delivery.message, replies.at(-1)!));
    },
  });
  return { server, replies, attached };
}

test("MGT-1: an answer is found by the id of the request, also when it comes as its correlation-id", async () => {
  for (const field of ["messageId", "correlationId"] as const) {
    const { server } = answering((request, replies) => {
      void replies.send({ properties: { correlationId: request.properties![field] }, body: request.body });
    });
    const connection = linkUp(server);
    const answer = await connection.request("echo", { properties: { correlationId: "mine" }, body: "hello" });
    assertEquals(answer.body, "hello");
    await connection.close();
  }
});

test("MGT-1: a reply link that is refused, without an address, or lost ends its requests only", async () => {
  const refusing = linkUp(acceptor());
  assertEquals(
    (await assertRejects(() => refusing.request("echo", { body: 1 }), AmqpError)).condition,
    condition.notImplemented,
  );
  await refusing.close();
  let asked = () => {};
  const nameless = linkUp(acceptor({ onSender: (request) => void request.accept(), onReceiver: () => {} }));
  await assertRejects(() => nameless.request("echo", { body: 1 }), AmqpError, "no address");
  await nameless.close();
  const { server, replies } = answering((request, sender) => {
    if (request.body === "void") return asked();
    void sender.send({ properties: { correlationId: request.properties!.messageId }, body: request.body });
  });
  const connection = linkUp(server);
  const arrived = new Promise<void>((resolve) => asked = resolve);
  const lost = connection.request("echo", { body: "void" });
  lost.catch(() => {});
  await arrived;
  await replies[0]!.close({ error: new AmqpError(condition.resourceDeleted, "node was deleted", { scope: "link" }) });
  assertEquals((await assertRejects(() => lost, AmqpError)).condition, condition.resourceDeleted);
  assertEquals((await connection.request("echo", { body: "again" })).body, "again");
  assertEquals(replies.length, 2);
  await connection.close();
});

test("ATK-8: requests to ever new addresses keep a bounded number of links", async () => {
  const { server, attached } = answering((request, replies) => {
    void replies.send({ properties: { correlationId: request.properties!.messageId } });
  });
  const connection: Connection = linkUp(server, { session: { handleMax: MAX_IDLE_REQUEST_SENDERS + 4 } });
  for (let i = 0; i < 3 * MAX_IDLE_REQUEST_SENDERS; i++) await connection.request(`node ${i}`, { body: i });
  await connection.request(`node ${3 * MAX_IDLE_REQUEST_SENDERS - 1}`, { body: "again" });
  assertEquals(attached.length, 3 * MAX_IDLE_REQUEST_SENDERS);
  await connection.close();
});

test("ATK-18: a full channel holds back messages, not what ends them", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 10 }).serve(() => {}) });
  for (const ending of ["room", "abort", "destroy", "close"] as const) {
    const { connection, state } = congestible(server);
    const sender = connection.sender("orders");
    assertEquals(await sender.send({ body: 0 }), { kind: "accepted" });
    state.full = true;
    const controller = new AbortController();
    // One send finds the channel full, the other is held back behind it.
    const first = sender.send({ body: 1 });
    assertEquals(await first, { kind: "accepted" });
    assertEquals(connection.congested, true);
    const held = sender.send({ body: 2 }, { signal: controller.signal }).then(
      (outcome) => outcome?.kind,
      (error: Error) => error.message,
    );
    if (ending === "room") {
      state.room();
      assertEquals(await held, "accepted");
    } else if (ending === "abort") {
      controller.abort(new Error("enough"));
      assertEquals(await held, `Cannot send to ${sender.where}: aborted before the message left, enough`);
    } else if (ending === "destroy") {
      connection.destroy(new Error("cable cut"));
      assertEquals(await held, "cable cut");
    }
    if (ending !== "close") state.room();
    await connection.close({ timeoutMs: 10 });
    if (ending === "close") assertEquals((await held)!.includes("closed"), true);
  }
});

test("ATK-14: a link's name, which is the peer's choice, writes no terminal sequences into errors", async () => {
  const ends: Sender[] = [];
  const connection = linkUp(acceptor({ onSender: (request) => void ends.push(request.accept()) }));
  const receiver = connection.receiver({ address: "orders", name: "orders\x1b[2J", settle: "manual" });
  await receiver.ready();
  const sent = ends[0]!.send({ body: 1 });
  (await receiver.receive()).reject();
  const failures = [await assertRejects(() => sent, AmqpError)];
  const lost = ends[0]!.send({ body: 2 });
  await receiver.receive();
  connection.destroy(new Error("cable cut"));
  failures.push(await assertRejects(() => lost, AmqpError));
  failures.push(await assertRejects(() => ends[0]!.send({ body: 3 }), AmqpError));
  for (const { message } of failures) {
    assertEquals([message.includes("\x1b"), message.includes("orders")], [false, true]);
  }
});

test("ATK-18: a peer that asks and asks but does not read is dropped, as soon as this side says", async () => {
  // Each request and its answer have some 30,000 bytes.
  for (const [maxBufferedBytes, least, most] of [[undefined, 130, 150], [300_000, 30, 50]] as const) {
    const told: LogEntry[] = [];
    const server = acceptor({ maxBufferedBytes, maxConnections: 1, log: (entry) => told.push(entry) });
    const [client, accepted] = channelPair();
    let full = false;
    const link = server.accept(
      between(accepted, { buffered: () => full ? 1e9 : 0, ready: () => new Promise(() => {}) }),
    )!;
    const connection = openOver(client, undefined);
    await connection.ready();
    full = true;
    let count = 0;
    while (link.open && count < 1_000) {
      connection.sender({ address: "orders", name: `${count++}${"x".repeat(30_000)}` }).ready().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve));
    }
    assertEquals((link.error as AmqpError).condition, condition.resourceLimitExceeded);
    assertEquals([count >= least, count <= most], [true, true], `${count}`);
    await connection.closed;
    // The log reports what a limit ends or refuses.
    const [[, one], [, two]] = [channelPair(), channelPair()];
    server.accept(one);
    assertEquals(server.accept(two), undefined);
    assertEquals(told.map(({ code, error }) => `${code} ${error === link.error}`), ["refused true", "refused false"]);
    await server.close({ timeoutMs: 0 });
  }
});

test("ATK-18: no more than the limit waits in a channel that takes nothing, and one flush", async () => {
  for (const [maxBufferedBytes, limit] of [[undefined, 1_048_576], [400_000, 400_000], [1, 262_144]] as const) {
    const [client, accepted] = channelPair();
    acceptor({ onReceiver: (request) => void request.accept({ credit: 1_000 }) }).accept(accepted);
    let waiting: number | undefined;
    const connection = openOver(
      between(client, {
        send: (bytes) => {
          if (waiting !== undefined) waiting += bytes.length;
          client.send(bytes);
        },
        buffered: () => waiting ?? 0,
        ready: () => new Promise(() => {}),
      }),
      undefined,
      { limits: { maxBufferedBytes } },
    );
    const sender = connection.sender("orders");
    await sender.ready();
    waiting = 0;
    for (let i = 0; i < 100; i++) sender.send({ body: new Uint8Array(50_000) }).catch(() => {});
    while (!connection.congested) await new Promise((resolve) => setTimeout(resolve));
    assertEquals([waiting > limit, waiting < limit + 100_000], [true, true], `${waiting} of ${limit}`);
    connection.destroy(new Error("enough"));
    await connection.closed;
  }
});

test("LNK-4: a link that is attached and given up in one breath disturbs nobody", async () => {
  const server = acceptor({ onSender: (request) => void request.accept() });
  const connection = linkUp(server);
  const kept = connection.receiver("orders");
  await kept.ready();
  for (const link of [connection.sender("a"), connection.receiver("b")]) await link.close();
  assertEquals([connection.open, kept.open], [true, true]);
  const session = connection.session();
  session.sender("c");
  await session.close();
  assertEquals([connection.open, kept.open], [true, true]);
  await connection.close();
});

test("FLW-2: messages that arrive with a settlement, or in part, count against the credit", async () => {
  const ends: Receiver[] = [];
  const server = acceptor({
    onReceiver: (request) => {
      const { rcvSettleMode } = request.attach;
      ends.push(
        request.accept({ credit: 3, settle: "manual", ...rcvSettleMode === undefined ? {} : { rcvSettleMode } }),
      );
    },
  });
  const twoSteps = linkUp(server);
  const sender = twoSteps.sender({ address: "orders", rcvSettleMode: "second" });
  const first = sender.send({ body: 1 });
  await sender.ready();
  (await ends[0]!.receive()).accept();
  await first;
  // These leave together with this side's settlement of the first.
  for (const body of [2, 3, 4]) sender.send({ body }).catch(() => {});
  await ends[0]!.receive();
  await ends[0]!.receive();
  assertEquals(ends[0]!.credit, 1);
  twoSteps.destroy(new Error("cable cut"));

  const { connection, state } = congestible(server);
  const slow = connection.sender("orders");
  await slow.ready();
  state.full = true;
  const sent = [slow.send({ body: 1 }), slow.send({ body: new Uint8Array(500_000) })];
  const small = await ends[1]!.receive();
  small.accept();
  assertEquals(ends[1]!.credit, 2);
  state.room();
  const large = await ends[1]!.receive();
  assertEquals(large.message.bytes().length, 500_000);
  large.accept();
  await Promise.all(sent);
  await connection.close();
});
