import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, OutcomeError } from "../../src/base/errors.ts";
import type { Connection } from "../../src/client/connection.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { UnsettledDelivery } from "../../src/client/recovery.ts";
import { resume } from "../../src/client/resume.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { DecodedMessage, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import { type Acceptor, acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { dialling, HOST, MemoryStore } from "./resume_world.ts";
import { turn, type VirtualNetwork, VirtualTime } from "./virtual.ts";

interface World {
  readonly time: VirtualTime;
  readonly network: VirtualNetwork;
  readonly server: Acceptor;
  readonly connection: Connection;
  readonly logged: string[];
}

async function world(options: AcceptorOptions, body: (world: World) => Promise<void>): Promise<void> {
  const time = new VirtualTime();
  const server = acceptor({ environment: time, log: null, ...options });
  const logged: string[] = [];
  const { connection, network } = await dialling(time, (channel) => server.accept(channel), {
    log: ({ code }) => void logged.push(code),
  });
  try {
    await body({ time, network, server, connection, logged });
  } finally {
    connection.destroy(new Error("done"));
    await time.wait(server.close());
  }
}

function encoded(body: string): Uint8Array {
  const writer = new Writer();
  writeMessage({ body }, writer);
  return writer.take();
}

function unsettled(number: number, payload: Uint8Array): UnsettledDelivery {
  return { tag: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, number), payload, messageFormat: 0, state: new Uint8Array(0) };
}

test("resume with a store: what was not sent, as its caller was told, is not kept for the next process", async () => {
  const store = new MemoryStore();
  const settings = { credit: 0, maxMessageSize: 1_000n };
  await world({ onReceiver: (request) => void request.accept(settings) }, async ({ time, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    await time.wait(sender.ready());
    const early = new AbortController();
    const late = new AbortController();
    const sends = [early, late].map(({ signal }) => sender.send({ body: "one" }, { signal }));
    // While the store keeps it, and while it waits for credit.
    early.abort();
    await time.pass(10);
    assertEquals(store.kept.size, 1);
    late.abort();
    for (const sending of sends) {
      assertEquals((await assertRejects(() => time.wait(sending), SendAbortedError)).sent, false);
    }
    await time.pass(10);
    assertEquals(store.kept.size, 0);
  });
  await world(
    { onReceiver: (request) => void request.accept({ ...settings, credit: 5 }) },
    async ({ time, connection }) => {
      const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
      await assertRejects(() => time.wait(sender.send({ body: "x".repeat(2_000) })), AmqpError, "receiver takes 1000");
      await time.pass(10);
      assertEquals([store.kept.size, sender.pending], [0, 0]);
    },
  );
});

test("resume: a recovery that cannot be made while the connection is interrupted ends its link with the error", async () => {
  await world({ onSender: (request) => void request.accept() }, async ({ time, network, server, connection }) => {
    network.down(HOST);
    await time.pass(10);
    assertEquals(connection.state, "interrupted");
    const store = new MemoryStore();
    store.wait = () => Promise.reject(new Error("no disk"));
    const receiver = connection.receiver({ address: "orders", name: "in", recovery: resume({ store }) });
    const receiving = receiver.receive();
    receiving.catch(() => {});
    await time.pass(10);
    assertEquals([receiver.open, receiver.error?.message], [false, "no disk"]);
    network.up(HOST, (channel) => server.accept(channel));
    await assertRejects(() => time.wait(receiving), Error, "no disk");
  });
});

test('resume: an "onrecovered" that throws is told to the log, and the others hear of theirs', async () => {
  const store = new MemoryStore();
  const link = "client/sender/out";
  for (const n of [1, 2]) store.kept.set(`${link} ${unsettled(n, encoded("x")).tag}`, unsettled(n, encoded("x")));
  let told = 0;
  const onrecovered = (): void => {
    told++;
    throw new Error("not mine");
  };
  let credit = 0;
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => void request.accept({ credit }).serve(() => {});
  await world({ onReceiver }, async ({ time, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store, onrecovered }) });
    await time.wait(sender.ready());
    connection.destroy(new Error("enough"));
    await turn();
    // Only a later process learns the outcome.
    assertEquals([told, store.kept.size], [0, 2]);
  });
  credit = 5;
  await world({ onReceiver }, async ({ time, connection, logged }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store, onrecovered }) });
    assertEquals((await time.wait(sender.send({ body: "later" })))?.kind, "accepted");
    await turn();
    assertEquals([told, store.kept.size], [2, 0]);
    assert(logged.includes("callback-failed"), logged.join());
  });
});

/** An acceptor whose senders send `bodies`, one link after the other, and take outcomes only if `settles` returns true. */
function handingOut(
  bodies: (number | string)[][],
  settles: () => boolean = () => true,
  suspendMs = 0,
): { options: AcceptorOptions; senders: Sender[]; outcomes: string[] } {
  const senders: Sender[] = [];
  const outcomes: string[] = [];
  const onSender: AcceptorOptions["onSender"] = (request) => {
    const { rcvSettleMode } = request.attach;
    const sender = request.accept({ suspendMs, rcvSettleMode });
    if (senders.includes(sender)) return;
    senders.push(sender);
    const { handleDisposition } = sender;
    sender.handleDisposition = (...told) => settles() ? handleDisposition.apply(sender, told) : undefined;
    for (const body of bodies.shift() ?? []) {
      const tag = typeof body === "number" ? Uint8Array.of(0, 0, 0, body) : undefined;
      sender.send({ body }, { tag }).then((outcome) => outcomes.push(`${body} ${outcome.kind}`), () => {});
    }
  };
  return { options: { onSender }, senders, outcomes };
}

const PASSING = new AmqpError("amqp:link:detach-forced", "Cannot go on: node moved", { scope: "link" });

for (const slow of [false, true]) {
  test(`resume with a store: a link that the peer closes takes its outcomes with it, ${slow ? "also one that is being kept" : "kept or not"}`, async () => {
    const store = new MemoryStore();
    // Three messages with the same tag.
    const { options, senders, outcomes } = handingOut([[0], [0], [0]], () => senders.length !== 1);
    await world(options, async ({ time, connection, logged }) => {
      const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
      const first = await time.wait(receiver.receive());
      let open = (): void => {};
      const opened = new Promise<void>((resolve) => open = resolve);
      if (slow) store.wait = () => opened;
      first.accept();
      await time.pass(1);
      assertEquals(store.kept.size, slow ? 0 : 1);
      await time.wait(senders[0]!.close({ error: PASSING, timeoutMs: 0 }));
      await time.pass(5_000);
      assertEquals(senders.length, 2);
      open();
      store.wait = () => undefined;
      await time.pass(1);
      assertEquals([store.kept.size, receiver.open], [0, true]);
      // Another message with the same tag.
      (await time.wait(receiver.receive())).accept();
      await time.pass(1);
      assertEquals([outcomes, store.kept.size, logged], [["0 accepted"], 0, ["not-resumed"]]);
    });
    await world(options, async ({ time, connection }) => {
      const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
      await time.wait(receiver.receive());
    });
  });
}

test("resume with a store: a link that ends for good leaves no outcome behind, one that is lost or detached does", async () => {
  for (const ending of ["refused", "closed", "detached", "lost"] as const) {
    const store = new MemoryStore();
    const { options, senders } = handingOut([[0]], () => false);
    await world(options, async ({ time, connection }) => {
      const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
      (await time.wait(receiver.receive())).accept();
      await time.pass(1);
      assertEquals(store.kept.size, 1);
      const error = new AmqpError("amqp:not-allowed", "Cannot go on", { scope: "link" });
      if (ending === "refused") await time.wait(senders[0]!.close({ error, timeoutMs: 0 }));
      else if (ending === "closed") await time.wait(receiver.close());
      else if (ending === "detached") await time.wait(receiver.detach());
      else connection.destroy(new Error("enough"));
      await time.pass(10);
      const kept = ending === "lost" || ending === "detached" ? 1 : 0;
      assertEquals([receiver.open, store.kept.size], [false, kept], ending);
    });
  }
});

test("resume with a store: what settles in one step keeps no outcome, also of a link that settled in two before", async () => {
  const store = new MemoryStore();
  let settles = false;
  const { options, outcomes } = handingOut([["one", "two"]], () => settles, 60_000);
  await world(options, async ({ time, network, connection }) => {
    const settings = { address: "orders", credit: 2, recovery: resume({ store }) };
    const receiver = connection.receiver({ ...settings, name: "in" });
    (await time.wait(receiver.receive())).accept();
    await time.pass(1);
    assertEquals([store.kept.size, receiver.unsettled], [1, 2]);
    settles = true;
    receiver.settings!.rcvSettleMode = "first";
    network.cut(HOST);
    await time.pass(1_000);
    assertEquals([store.kept.size, receiver.unsettled, outcomes], [0, 1, ["one accepted"]]);
    (await time.wait(receiver.receive())).accept();
    await time.pass(1);
    assertEquals([store.kept.size, receiver.unsettled, receiver.credit], [0, 0, 2]);
    assertEquals(outcomes, ["one accepted", "two accepted"]);
  });
});

test("resume with a store: an outcome that the peer cannot take is refused at once or shortened, and kept as it is told", async () => {
  const store = new MemoryStore();
  const { options, outcomes } = handingOut([["one", "two"]], () => false);
  await world({ ...options, maxFrameSize: 512 }, async ({ time, connection }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
    const [first, second] = [await time.wait(receiver.receive()), await time.wait(receiver.receive())];
    const messageAnnotations = { "x-opt-why": "x".repeat(2_000) };
    assertThrows(() => first.modify({ messageAnnotations }), AmqpError, "");
    await time.pass(1);
    assertEquals([store.kept.size, first.outcome], [0, undefined]);
    first.accept();
    second.reject({ condition: "amqp:not-found", description: "x".repeat(2_000) });
    await time.pass(1);
    assert([...store.kept.values()].every(({ state }) => state.length < 512));
    assertEquals([store.kept.size, outcomes], [2, []]);
  });
});

test("resume with a store: a receiver that closes tells first what is being kept", async () => {
  const store = new MemoryStore();
  const { options, outcomes } = handingOut([["one"]]);
  await world(options, async ({ time, connection }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
    const delivery = await time.wait(receiver.receive());
    const opened = new Promise<void>((resolve) => time.setTimer(resolve, 100));
    store.wait = () => opened;
    delivery.accept();
    await time.wait(receiver.close());
    await time.pass(1);
    assertEquals([outcomes, store.kept.size], [["one accepted"], 0]);
  });
});

test("resume with a store: the calls for a tag are made one after the other", async () => {
  const calls: string[] = [];
  const store = new MemoryStore();
  const { put, delete: forget } = MemoryStore.prototype;
  const during = async (what: string, tag: Uint8Array, call: () => Promise<void>): Promise<void> => {
    calls.push(`${what} ${tag.at(-1)}`);
    await new Promise((resolve) => setTimeout(resolve));
    await call();
    calls.push(`${what} ${tag.at(-1)} done`);
  };
  store.put = (link, delivery) => during("put", delivery.tag, () => put.call(store, link, delivery));
  store.delete = (link, tag) => during("delete", tag, () => forget.call(store, link, tag));
  const { options, senders } = handingOut([[7], [7]], () => senders.length > 1);
  await world(options, async ({ time, connection }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
    (await time.wait(receiver.receive())).accept();
    await Promise.all([time.wait(senders[0]!.close({ error: PASSING, timeoutMs: 0 }))]);
    (await time.wait(receiver.receive())).accept();
    await time.pass(100);
    const once = ["put 7", "put 7 done", "delete 7", "delete 7 done"];
    assertEquals([calls, store.kept.size], [[...once, ...once], 0]);
  });
});

test("resume with a store: a sender that ends keeps what has left, and forgets what its caller was told not to be sent", async () => {
  const store = new MemoryStore();
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => void request.accept({ credit: 1, settle: "manual" });
  await world({ onReceiver }, async ({ time, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    const sends = ["left", "waits"].map((body) => sender.send({ body }));
    await time.pass(10);
    assertEquals(store.kept.size, 2);
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => open = resolve);
    store.wait = () => opened;
    sends.push(sender.send({ body: "being kept" }));
    await time.pass(10);
    connection.destroy(new Error("enough"));
    const told = await Promise.all(sends.map((sending) => sending.catch((error) => error instanceof OutcomeError)));
    assertEquals(told, [true, false, false]);
    open();
    store.wait = () => undefined;
    await time.pass(10);
    assertEquals([...store.kept.values()].map(({ payload }) => new DecodedMessage(payload).body), ["left"]);
  });
});

test("resume with a store: an outcome that has come is told also if the link ends before the store has forgotten the message", async () => {
  const store = new MemoryStore();
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => {
    void request.accept({ credit: 5, rcvSettleMode: "second" }).serve(({ message }) => {
      if (message.body === "bad") throw new Error("no");
    }, { onerror: () => {} });
  };
  await world({ onReceiver }, async ({ time, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    await time.wait(sender.ready());
    const deletes: (() => void)[] = [];
    store.delete = () => new Promise((resolve) => deletes.push(resolve));
    const told: string[] = [];
    for (const body of ["good", "bad"]) {
      sender.send({ body }).then(({ kind }) => told.push(kind), ({ outcome }) => told.push(outcome));
    }
    await time.pass(10);
    assertEquals([deletes.length, told], [2, []]);
    connection.destroy(new Error("enough"));
    await turn();
    assertEquals([told, sender.pending], [["accepted", "modified"], 0]);
    for (const done of deletes) done();
    await turn();
    assertEquals([told.length, sender.pending], [2, 0]);
  });
});

test("resume with a store: no process gives a tag that one before it gave, although nothing is kept of that", async () => {
  const store = new MemoryStore();
  const tags: Uint8Array[] = [];
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => void request.accept({ credit: 5 }).serve(() => {});
  await world({ onReceiver }, async ({ time, server, connection }) => {
    const { put } = store;
    store.put = (link, delivery) => {
      tags.push(delivery.tag);
      return put.call(store, link, delivery);
    };
    const again = await dialling(time, (channel) => server.accept(channel));
    for (const process of [connection, again.connection]) {
      const sender = process.sender({ address: "orders", name: "out", recovery: resume({ store }) });
      for (const body of ["one", "two"]) await time.wait(sender.send({ body }));
      await time.wait(sender.close());
      assertEquals(store.kept.size, 0);
      process.destroy(new Error("killed"));
    }
  });
  assertEquals([tags.length, new Set(tags.map(String)).size], [4, 4]);
  // A store returns messages in the order of their tags, which is that of the messages.
  assertEquals(tags.map((tag) => tag[7]), [1, 2, 1, 2]);
});

test('resume: an "onrecovered" whose promise rejects is told to the log', async () => {
  const store = new MemoryStore();
  store.kept.set(`client/sender/out ${unsettled(1, encoded("x")).tag}`, unsettled(1, encoded("x")));
  const onrecovered = async (): Promise<void> => {
    await undefined;
    throw new Error("not mine");
  };
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => void request.accept({ credit: 5 }).serve(() => {});
  await world({ onReceiver }, async ({ time, connection, logged }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store, onrecovered }) });
    await time.wait(sender.ready());
    await time.pass(10);
    assertEquals([logged.filter((code) => code === "callback-failed").length, store.kept.size], [1, 0]);
  });
});

test("resume: a server that closes a link which its peer has lost does not wait for the peer", async () => {
  const store = new MemoryStore();
  let receiver: Receiver | undefined;
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => {
    receiver = request.accept({ suspendMs: 60_000, credit: 5, rcvSettleMode: "second" });
    void receiver.serve(() => {});
  };
  await world({ onReceiver }, async ({ time, network, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    let open = (): void => {};
    sender.send({ body: 1 }).catch(() => {});
    store.delete = () => new Promise((resolve) => open = resolve);
    await time.pass(10);
    assertEquals(receiver!.unsettled, 1);
    network.down(HOST);
    await time.pass(10);
    const before = time.now();
    await time.wait(receiver!.close());
    assert(time.now() - before < 1_000, `${time.now() - before} ms`);
    open();
  });
});
