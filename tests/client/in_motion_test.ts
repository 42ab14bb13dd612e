import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { OutcomeError, TransactionError } from "../../src/base/errors.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { ResumeOptions, UnsettledStore } from "../../src/client/recovery.ts";
import { resume } from "../../src/client/resume.ts";
import type { Sender } from "../../src/client/sender.ts";
import { DecodedMessage } from "../../src/codec/message.ts";
import { test } from "../harness.ts";
import { SlowStore, type World, world } from "./resume_world.ts";

test("resume with a store that cannot keep a message: it is not sent, its send fails, the others go", async () => {
  await world(async ({ time, frames, connection }) => {
    let full = true;
    const store: UnsettledStore = {
      load: () => [],
      put: () => full ? Promise.reject(new Error("disk full")) : Promise.resolve(),
      delete: () => {},
    };
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    await assertRejects(() => time.wait(sender.send({ body: "one" })), Error, "disk full");
    await time.pass(10);
    assertEquals(frames.filter(({ body }) => body?.kind === "transfer"), []);
    full = false;
    assertEquals((await time.wait(sender.send({ body: "two" })))?.kind, "accepted");
  });
});

test("resume with a store that cannot keep an outcome: the log says so, and the sender is told the outcome", async () => {
  await world(async ({ time, broker, connection, logged }) => {
    const store: UnsettledStore = {
      load: () => [],
      put: () => Promise.reject(new Error("disk full")),
      delete: () => {},
    };
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume({ store }) });
    await time.wait(connection.send("orders", { body: "one" }));
    (await time.wait(receiver.receive())).accept();
    await time.pass(10);
    assertEquals(logged.filter((line) => line.startsWith("store-failed: Cannot keep an outcome")).length, 1);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 0]);
  });
});

test("resume with a store that holds messages of an earlier process: they are sent, and onrecovered is told of each", async () => {
  const stores: SlowStore[] = [];
  const bodies = ["one", "two"];
  await world(async ({ time, network, connection }) => {
    stores.push(new SlowStore(time));
    network.down("broker.example");
    await time.pass(10);
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store: stores[0] }) });
    const sends = bodies.map((body) => assertRejects(() => sender.send({ body })));
    await time.pass(100);
    const kept = [...stores[0]!.kept];
    connection.destroy(new Error("killed"));
    await time.wait(Promise.all(sends));
    // The store takes time to forget messages that never left.
    await time.pass(100);
    // A killed process forgets nothing.
    for (const [key, delivery] of kept) stores[0]!.kept.set(key, delivery);
  });
  await world(async ({ time, broker, connection }) => {
    const store = new SlowStore(time);
    for (const [key, delivery] of stores[0]!.kept) store.kept.set(key, delivery);
    assertEquals(store.kept.size, 2);
    const told: unknown[] = [];
    const onrecovered: ResumeOptions["onrecovered"] = ({ payload, messageFormat, tag }, outcome) =>
      void told.push([new DecodedMessage(payload).body, messageFormat, tag[7], outcome?.kind]);
    const settings = { address: "orders", name: "out", recovery: resume({ store, onrecovered }) };
    const sender = connection.sender(settings);
    await time.wait(sender.send({ body: "three" }));
    await time.pass(100);
    // The messages of this process have their sends to settle.
    assertEquals(told, [["one", 0, 1, "accepted"], ["two", 0, 2, "accepted"]]);
    assertEquals([broker.queue("orders")!.messages, store.kept.size], [3, 0]);
  });
});

type InMotion = "resend" | "resume" | "fail";

function toOrders({ connection }: World, recovery: InMotion): Sender {
  return connection.sender({ address: "orders", name: "out", recovery });
}

function fromOrders({ connection }: World, recovery: InMotion): Receiver {
  return connection.receiver({ address: "orders", name: "in", credit: 2, recovery: recovery as "resend" | "resume" });
}

// The broker has stored the messages, and its answer has not arrived.
async function stored({ broker }: World): Promise<void> {
  for (let i = 0; i < 2_000 && (broker.queue("orders")?.messages ?? 0) < 1; i++) await undefined;
  assertEquals(broker.queue("orders")!.messages, 1);
}

function transfers({ frames }: World, direction: "in" | "out"): number {
  return frames.filter((frame) =>
    frame.direction === direction && frame.body?.kind === "transfer" && frame.body.state === undefined
  ).length;
}

async function backAgain(of: World): Promise<void> {
  of.cut();
  await of.time.pass(60_000);
  assertEquals(of.connection.state, "open");
}

/** Rows of the table in docs/exactly-once.md with a message in flight when the connection is lost, for all senders. */
const inMotion: Readonly<Record<string, (world: World, recovery: InMotion) => Promise<void>>> = {
  "a send with settled: true is never sent again": async (of, recovery) => {
    const sender = toOrders(of, recovery);
    await of.time.wait(sender.ready());
    const sending = sender.send({ body: "one" }, { settled: true });
    await stored(of);
    await backAgain(of);
    assertEquals([await of.time.wait(sending), transfers(of, "out"), sender.pending], [undefined, 1, 0]);
  },
  "a stream is lost and never sent again": async (of, recovery) => {
    const sender = toOrders(of, recovery);
    const gone = Promise.withResolvers<void>();
    const stuck = async function* () {
      yield new Uint8Array(300_000);
      gone.resolve();
      await new Promise(() => {});
    };
    const lost = assertRejects(() => sender.stream({ body: stuck() }), OutcomeError);
    await of.time.wait(gone.promise);
    await of.time.pass(10);
    const before = transfers(of, "out");
    assert(before > 0);
    await backAgain(of);
    assertEquals((await of.time.wait(lost)).outcome, "lost");
    assertEquals([transfers(of, "out"), of.broker.queue("orders")!.messages], [before, 0]);
  },
  "an aborted send is never sent again": async (of, recovery) => {
    const sender = toOrders(of, recovery);
    await of.time.wait(sender.ready());
    const { signal, abort } = abortable();
    const aborted = assertRejects(() => sender.send({ body: "one" }, { signal }), SendAbortedError);
    await stored(of);
    abort();
    await backAgain(of);
    assertEquals([(await of.time.wait(aborted)).sent, transfers(of, "out"), sender.pending], [true, 1, 0]);
    assertEquals(of.broker.queue("orders")!.messages, 1);
  },
  "a send in a transaction is lost with it": async (of, recovery) => {
    const sender = toOrders(of, recovery);
    await of.time.wait(sender.ready());
    const transaction = await of.time.wait(of.connection.transaction());
    const posts = (): number =>
      of.frames.filter(({ direction, body }) =>
        direction === "out" && body?.kind === "transfer" && body.state?.kind === "transactionalState"
      ).length;
    const lost = assertRejects(async () => await transaction.send(sender, { body: "one" }), OutcomeError);
    for (let i = 0; i < 2_000 && posts() === 0; i++) await undefined;
    await backAgain(of);
    assertEquals((await of.time.wait(lost)).outcome, "lost");
    const error = await assertRejects(() => of.time.wait(transaction.commit()), TransactionError);
    assertEquals([error.outcome, posts(), of.broker.queue("orders")!.messages], ["rolled-back", 1, 0]);
  },
  "a send that waits for credit goes out on the next link": async (of, recovery) => {
    await of.time.wait(of.connection.send("orders", { body: "fills it" }));
    const sender = toOrders(of, recovery);
    await of.time.wait(sender.ready());
    const sending = sender.send({ body: "one" });
    await of.time.pass(10);
    assertEquals([transfers(of, "out"), sender.pending], [1, 1]);
    await backAgain(of);
    assertEquals(transfers(of, "out"), 1);
    (await of.time.wait(of.connection.receiver("orders").receive())).accept();
    const { kind, resent, resumed } = await of.time.wait(sending);
    assertEquals([kind, resent, resumed, transfers(of, "out")], ["accepted", undefined, undefined, 2]);
  },
};

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort(new Error("enough")) };
}

for (const [name, check] of Object.entries(inMotion)) {
  for (const recovery of ["resend", "resume", "fail"] as const) {
    test(`recovery "${recovery}": when the connection is lost, ${name}`, async () => {
      await world((of) => check(of, recovery), { queues: { orders: { maxMessages: 1 } } });
    });
  }
}

for (const recovery of ["resend", "resume"] as const) {
  const what = recovery === "resend" ? "is dropped and comes again" : "stays";
  test(`recovery "${recovery}": a delivery that waits to be taken when the connection is lost ${what}`, async () => {
    await world(async (of) => {
      const { time, network, broker, connection } = of;
      await time.wait(connection.send("orders", { body: "one" }));
      const receiver = fromOrders(of, recovery);
      await time.pass(10);
      assertEquals([receiver.buffered, transfers(of, "in")], [1, 1]);
      network.down("broker.example");
      await time.pass(10);
      assertEquals(receiver.buffered, recovery === "resend" ? 0 : 1);
      network.up("broker.example", (channel) => broker.accept(channel));
      await time.pass(60_000);
      const delivery = await time.wait(receiver.receive());
      delivery.accept();
      await time.pass(10);
      assertEquals([delivery.message.body, transfers(of, "in")], ["one", recovery === "resend" ? 2 : 1]);
      assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 0]);
    });
  });
}

test('a receiver that streams takes nothing up: with recovery "resume" it is a TypeError', async () => {
  await world(({ connection }) => {
    for (const recovery of ["resume", resume()] as const) {
      assertThrows(
        () => connection.receiver({ address: "orders", name: "in", stream: true, recovery }),
        TypeError,
        'streams need recovery "resend"',
      );
    }
    return Promise.resolve();
  });
});
