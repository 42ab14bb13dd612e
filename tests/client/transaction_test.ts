import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, OutcomeError, TransactionError } from "../../src/base/errors.ts";
import { hex } from "../../src/base/text.ts";
import type { DeliveryState, Outcome } from "../../src/codec/types.ts";
import type { Described } from "../../src/codec/values.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { acceptor, type AcceptorOptions, type ReceiverRequest } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { test } from "../harness.ts";
import { turn, VirtualNetwork, VirtualTime } from "./virtual.ts";
import { linkUp } from "./link_up.ts";

/** A peer with a coordinator, and a record of its requests. */
interface Peer {
  readonly connection: Connection;
  readonly said: string[];
  readonly frames: FrameTrace[];
}

const ID = Uint8Array.of(7, 7);

/** The answers of the scripted peer; by default it agrees to everything. */
interface Script {
  declare?: (delivery: Delivery) => void;
  discharge?: (delivery: Delivery, fail: boolean) => void;
  posted?: () => Outcome | undefined;
  capabilities?: string[];
}

function peer(script: Script = {}): Peer {
  const said: string[] = [];
  const frames: FrameTrace[] = [];
  const { declare = (delivery) => delivery.update({ kind: "declared", txnId: ID } as DeliveryState) } = script;
  const options: AcceptorOptions = {
    onReceiver: (request) => {
      const { target } = request.attach;
      if (target?.kind !== "coordinator") {
        void request.accept({ credit: 10 }).serve((delivery) => {
          said.push(`post ${delivery.message.body}`);
          delivery.update({
            kind: "transactionalState",
            txnId: ID,
            outcome: (script.posted ?? (() => ({ kind: "accepted" })))(),
          });
        }, { concurrency: 10 });
        return;
      }
      const capabilities = script.capabilities ?? target.capabilities;
      void request.accept({ credit: 10, target: { ...target, capabilities } }).serve((delivery) => {
        const { descriptor, value } = delivery.message.body as Described;
        if (descriptor === 0x31n) {
          said.push("declare");
          return declare(delivery);
        }
        const [txnId, fail] = value as [Uint8Array, boolean];
        said.push(`${fail ? "rollback" : "commit"} ${hex(txnId)}`);
        if (script.discharge === undefined) delivery.accept();
        else script.discharge(delivery, fail);
      }, { concurrency: 10 });
    },
    onSender: async (request) => {
      const sender = request.accept();
      await sender.sendAll([{ body: "one" }, { body: "two" }]).catch(() => {});
    },
  };
  const server = acceptor(options);
  return { connection: linkUp(server, { trace: (frame) => void frames.push(frame) }), said, frames };
}

// Serves a coordinator that agrees to everything, and says how transactions end.
function coordinate(request: ReceiverRequest, said: string[]): void {
  const { target } = request.attach;
  void request.accept({ credit: 10, target }).serve((delivery) => {
    const { descriptor, value } = delivery.message.body as Described;
    if (descriptor === 0x31n) return delivery.update({ kind: "declared", txnId: ID } as DeliveryState);
    said.push((value as [Uint8Array, boolean])[1] ? "rollback" : "commit");
    delivery.accept();
  });
}

test("TXN-1, TXN-2, TXN-3, TXN-5: sends in a transaction carry its id, and take effect with the commit", async () => {
  const { connection, said, frames } = peer();
  const sender = connection.sender("bills");
  {
    await using transaction = await connection.transaction();
    assertEquals([transaction.state, transaction.id], ["open", ID]);
    assertEquals((await transaction.send(sender, { body: "a" }))?.kind, "accepted");
    // Only the commit waits for this send.
    transaction.send(sender, { body: "b" });
    await transaction.commit();
    assertEquals(transaction.state, "committed");
    await transaction.commit();
  }
  assertEquals(said, ["declare", "post a", "post b", "commit 0707"]);
  const attach = frames.find(({ body }) => body?.kind === "attach" && body.target?.kind === "coordinator")!.body;
  assert(attach?.kind === "attach" && attach.target?.kind === "coordinator" && attach.role === "sender");
  assertEquals(attach.target.capabilities?.[0], "amqp:local-transactions");
  const states = frames.flatMap(({ direction, body }) =>
    direction === "out" && body?.kind === "transfer" ? [[body.state?.kind, body.settled ?? false]] : []
  );
  assertEquals(states, [
    [undefined, false],
    ["transactionalState", false],
    ["transactionalState", false],
    [undefined, false],
  ]);
  await connection.close();
});

test("TXN-3: a transaction that has ended is kept by nothing, least of all by a wait for the end of its control link", async () => {
  const { connection } = peer();
  await (await connection.transaction()).rollback();
  const [control] = connection.linksOf();
  const { closed } = control!;
  let waits = 0;
  const { then } = closed;
  Object.defineProperty(closed, "then", {
    value: (...reactions: Parameters<typeof then>) => {
      waits++;
      return then.apply(closed, reactions);
    },
  });
  for (let i = 0; i < 20; i++) {
    const transaction = await connection.transaction();
    await (i % 2 === 0 ? transaction.commit() : transaction.rollback());
  }
  assertEquals([connection.linksOf().length, control!.closed === closed, waits], [1, true, 0]);
  // One that is open hears of the end all the same.
  const open = await connection.transaction();
  control!.endpoint!.detach({ closed: true });
  connection.wake();
  await closed;
  await undefined;
  assertEquals(open.state, "rolled-back");
  await connection.close();
});

test("TXN-6: outcomes in a transaction carry its id, each of them", async () => {
  const { connection, said, frames } = peer();
  const receiver = connection.receiver("orders", { credit: 4 });
  const [one, two] = [await receiver.receive(), await receiver.receive()];
  const transaction = await connection.transaction();
  transaction.accept(one);
  transaction.modify(two, { deliveryFailed: true });
  await assertRejects(async () => await one.accept(), AmqpError, "it is transactionalState already");
  await transaction.commit();
  const told = frames.flatMap(({ direction, body }) =>
    direction === "out" && body?.kind === "disposition" && body.role === "receiver" ? [body.state] : []
  );
  assertEquals(told, [
    { kind: "transactionalState", txnId: ID, outcome: { kind: "accepted" } },
    { kind: "transactionalState", txnId: ID, outcome: { kind: "modified", deliveryFailed: true } },
  ]);
  const order = frames.filter(({ direction, body }) =>
    direction === "out" && (body?.kind === "transfer" || body?.kind === "disposition" && body.role === "receiver")
  ).map(({ body }) => body!.kind);
  assertEquals(order.slice(-3), ["disposition", "disposition", "transfer"]);
  assertEquals(said.at(-1), "commit 0707");
  await connection.close();
});

test("TXN-3: what is left without a commit is rolled back, once", async () => {
  const { connection, said } = peer();
  {
    await using transaction = await connection.transaction();
    await transaction.send(connection.sender("bills"), { body: "a" });
  }
  const second = await connection.transaction();
  await second.rollback();
  await second.rollback();
  await second[Symbol.asyncDispose]();
  assertEquals(second.state, "rolled-back");
  for (const late of [() => second.commit(), async () => await second.send(connection.sender("x"), { body: 1 })]) {
    const error = await assertRejects(async () => await late(), TransactionError, "it is rolled-back");
    assertEquals(error.outcome, "rolled-back");
  }
  assertEquals(said, ["declare", "post a", "rollback 0707", "declare", "rollback 0707"]);
  await connection.close();
});

test("TXN-3: a call after the commit, or while it is under way, is not told that nothing took effect", async () => {
  const { connection } = peer();
  const transaction = await connection.transaction();
  const bills = connection.sender("bills");
  const committing = transaction.commit();
  const early = await assertRejects(() => transaction.send(bills, { body: "a" }), TransactionError, "it is ending");
  await committing;
  const late = await assertRejects(() => transaction.send(bills, { body: "a" }), TransactionError, "it is committed");
  assertEquals([early.outcome, late.outcome], ["in-doubt", "committed"]);
  await connection.close();
});

test("TXN-5: a refused message fails its send, and the commit becomes a rollback that says why", async () => {
  const { connection, said } = peer({
    posted: () => ({ kind: "rejected", error: { condition: "amqp:precondition-failed", description: "no room" } }),
  });
  const transaction = await connection.transaction();
  const sent = transaction.send(connection.sender("bills"), { body: "a" });
  const error = await assertRejects(() => transaction.commit(), TransactionError, "Cannot commit transaction");
  assertEquals([error.outcome, error.condition, transaction.state], [
    "rolled-back",
    "amqp:transaction:rollback",
    "rolled-back",
  ]);
  assert(error.cause instanceof OutcomeError);
  await assertRejects(() => sent, OutcomeError);
  assertEquals(said, ["declare", "post a", "rollback 0707"]);
  await connection.close();
});

test("TXN-4, TXN-10: what the coordinator refuses is an error with its condition", async () => {
  const rejected = (condition: string) => (delivery: Delivery) =>
    delivery.reject({ condition, description: "too late" });
  const late = peer({ discharge: rejected("amqp:transaction:timeout") });
  const transaction = await late.connection.transaction();
  const error = await assertRejects(() => transaction.commit(), TransactionError, "amqp:transaction:timeout: too late");
  assertEquals([error.condition, error.outcome, error.remote], ["amqp:transaction:timeout", "rolled-back", true]);
  await late.connection.close();

  const full = peer({ declare: rejected("amqp:resource-limit-exceeded") });
  const refused = await assertRejects(() => full.connection.transaction(), AmqpError, "Cannot begin transaction");
  assertEquals(refused.condition, "amqp:resource-limit-exceeded");
  await full.connection.close();

  const odd = peer({ declare: (delivery) => delivery.accept() });
  await assertRejects(() => odd.connection.transaction(), AmqpError, "peer answered with accepted");
  await odd.connection.close();
});

test("TXN-1, TXN-9: a peer that has no coordinator, or none of local transactions, says so at the beginning", async () => {
  const unable = peer({ capabilities: ["amqp:distributed-transactions"] });
  await assertRejects(() => unable.connection.transaction(), AmqpError, "no coordinator of local ones");
  await unable.connection.close();
  const silent = peer({ capabilities: [] });
  assertEquals((await silent.connection.transaction()).state, "open");
  await silent.connection.close();
  const none = linkUp(acceptor());
  const error = await assertRejects(() => none.transaction(), AmqpError);
  assertEquals(error.condition, "amqp:not-implemented");
  await none.close();
});

test("TXN-8: a connection that is lost before the commit rolls back, during it leaves it in doubt", async () => {
  const before = peer();
  const early = await before.connection.transaction();
  before.connection.destroy(new Error("cable"));
  const error = await assertRejects(() => early.commit(), TransactionError, "rolled");
  assertEquals([error.outcome, early.state], ["rolled-back", "rolled-back"]);
  await early.rollback();

  const during: Peer = peer({ discharge: () => during.connection.destroy(new Error("cable")) });
  const doubtful = await during.connection.transaction();
  const doubt = await assertRejects(() => doubtful.commit(), TransactionError, "whether it took effect is not known");
  assertEquals([doubt.outcome, doubt.retryable, doubtful.state], ["in-doubt", false, "in-doubt"]);
  assertStringIncludes(doubt.message, "cable");
  await assertRejects(() => doubtful.rollback(), TransactionError, "it is in-doubt");
  await doubtful[Symbol.asyncDispose]();

  // A rollback needs no answer: uncommitted work is not there.
  const back: Peer = peer({ discharge: () => back.connection.destroy(new Error("cable")) });
  const undone = await back.connection.transaction();
  await undone.rollback();
  assertEquals(undone.state, "rolled-back");
});

test("TXN-7: acquiring names the transaction in the flow, and ends with what the sender has", async () => {
  const { connection, frames } = peer();
  const receiver = connection.receiver("orders", { credit: "manual" });
  const transaction = await connection.transaction();
  const acquired = await transaction.acquire(receiver, 5);
  assertEquals(acquired.map(({ message }) => message.body), ["one", "two"]);
  for (const delivery of acquired) transaction.accept(delivery);
  await transaction.commit();
  const flow = frames.find(({ direction, body }) =>
    direction === "out" && body?.kind === "flow" && body.linkCredit === 5
  );
  assert(flow?.body?.kind === "flow");
  assertEquals([flow.body.properties?.["txn-id"], flow.body.drain], [ID, true]);
  const automatic = connection.receiver("orders", { credit: 1 });
  const other = await connection.transaction();
  await assertRejects(() => other.acquire(automatic, 1), TypeError, 'attach it with credit "manual"');
  await connection.close();
});

test("TXN-7: an acquire that is called off leaves neither its transaction nor its credit on the link", async () => {
  const frames: FrameTrace[] = [];
  const server = acceptor({
    onReceiver: (request) => {
      void request.accept({ credit: 10, target: request.attach.target }).serve((delivery) => {
        const { descriptor } = delivery.message.body as Described;
        if (descriptor === 0x31n) delivery.update({ kind: "declared", txnId: ID } as DeliveryState);
        else delivery.accept();
      });
    },
    // This sender never reports that it has nothing.
    onSender: (request) => request.accept().setSearching(true),
  });
  const connection = linkUp(server, { trace: (frame) => void frames.push(frame) });
  const receiver = connection.receiver("orders", { credit: "manual" });
  const transaction = await connection.transaction();
  const enough = new AbortController();
  const acquiring = transaction.acquire(receiver, 5, { signal: enough.signal });
  const flows = (): unknown[] =>
    frames.flatMap(({ direction, body }) =>
      direction === "out" && body?.kind === "flow" && body.handle !== undefined
        ? [[body.linkCredit, body.drain ?? false, body.properties?.["txn-id"]]]
        : []
    );
  while (flows().length === 0) await undefined;
  enough.abort(new Error("enough"));
  await assertRejects(() => acquiring, Error, "enough");
  assertEquals(receiver.credit, 0);
  receiver.grant(2);
  await transaction.rollback();
  assertEquals(flows()[0], [5, true, ID]);
  assertEquals(flows().at(-1), [2, false, undefined]);
  await connection.close();
});

test("TXN-3: a commit that is called off while its sends wait for credit rolls back, and no scope waits for them", async () => {
  const said: string[] = [];
  const server = acceptor({
    onReceiver: (request) => {
      const { target } = request.attach;
      // Takes messages for the coordinator only.
      if (target?.kind !== "coordinator") return void request.accept({ credit: "manual" });
      coordinate(request, said);
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("bills");
  await sender.ready();
  {
    await using transaction = await connection.transaction();
    const sent = transaction.send(sender, { body: "a" });
    sent.catch(() => {});
    const enough = new AbortController();
    const committing = transaction.commit({ signal: enough.signal });
    enough.abort(new Error("enough"));
    await assertRejects(() => committing, Error, "enough");
    await transaction.rollback();
    assertEquals([transaction.state, said], ["rolled-back", ["rollback"]]);
  }
  connection.destroy(new Error("done"));
});

test("TXN-3: a commit with a refused message rolls back at once, though other messages of it wait for credit", async () => {
  const said: string[] = [];
  const server = acceptor({
    onReceiver: (request) => {
      const { target } = request.attach;
      if (target?.kind !== "coordinator") {
        const receiver = request.accept({ credit: "manual" });
        receiver.grant(1);
        return void receiver.receive().then((delivery) => delivery.reject());
      }
      coordinate(request, said);
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("bills");
  // Refused while the commit waits, and before it.
  for (const early of [false, true]) {
    const transaction = await connection.transaction();
    const refused = transaction.send(early ? connection.sender("others") : sender, { body: "refused" });
    const waiting = transaction.send(sender, { body: "without credit" });
    if (early) await assertRejects(() => refused, OutcomeError);
    const error = await assertRejects(() => transaction.commit(), TransactionError, "rejected");
    assert(error.cause instanceof OutcomeError);
    await assertRejects(() => refused, OutcomeError);
    assertEquals((await assertRejects(() => waiting, SendAbortedError)).sent, false);
    assertEquals([transaction.state, said.splice(0)], ["rolled-back", ["rollback"]]);
  }
  await connection.close();
});

test("TXN-10: what waits for credit when its transaction is rolled back is not sent any more", async () => {
  const bodies: unknown[] = [];
  let grant!: () => void;
  const server = acceptor({
    onReceiver: (request) => {
      const { target } = request.attach;
      if (target?.kind !== "coordinator") {
        const receiver = request.accept({ credit: "manual" });
        receiver.ondelivery = (delivery) => {
          bodies.push(delivery.message.body);
          delivery.accept();
        };
        grant = () => receiver.grant(5);
        return;
      }
      void request.accept({ credit: 10, target }).serve((delivery) => {
        const { descriptor } = delivery.message.body as Described;
        if (descriptor === 0x31n) delivery.update({ kind: "declared", txnId: ID } as DeliveryState);
        else delivery.accept();
      });
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("bills");
  await sender.ready();
  const transaction = await connection.transaction();
  const sent = transaction.send(sender, { body: "never" });
  sent.catch(() => {});
  await transaction.rollback();
  assertEquals((await assertRejects(() => sent, SendAbortedError)).sent, false);
  const next = sender.send({ body: "next" });
  grant();
  await next;
  assertEquals([bodies, sender.open], [["next"], true]);
  await connection.close();
});

test("TXN-2, TXN-6, TXN-7: what belongs to another connection is refused at once, for a commit would not reach it", async () => {
  const broker = new Broker({ log: null });
  await using one = await broker.connect();
  await using other = await broker.connect();
  await other.send("orders", { body: "one coffee" });
  const delivery = await other.receiver("orders").receive();
  const transaction = await one.transaction();
  const refused = "belongs to another connection, begin the transaction on that one";
  for (
    const call of [
      () => transaction.accept(delivery),
      () => transaction.reject(delivery),
      () => transaction.send(other.sender("bills"), { body: "a bill" }),
      () => transaction.acquire(other.receiver("orders", { credit: "manual" }), 1),
    ]
  ) {
    const error = await assertRejects(async () => await call(), TypeError, refused);
    assertStringIncludes(error.message, "in transaction: ");
  }
  assert(delivery.usable, "a delivery that was refused can still be settled");
  await delivery.accept();
  for (const none of [undefined, "orders", {}] as never[]) {
    await assertRejects(async () => await transaction.accept(none), TypeError, "give what a receiver gave");
    await assertRejects(async () => await transaction.send(none, {}), TypeError, 'give what "sender" of');
    await assertRejects(() => transaction.acquire(none, 1), TypeError, 'give what "receiver" of');
  }
  assertEquals(transaction.state, "open");
  await transaction.commit();
  await broker.close();
});

test("TXN-8: a connection that comes back brings no transaction with it, and no commit goes out twice", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const broker = new Broker({ queues: { bills: {} }, environment: time } as object);
  network.up("a", (channel) => broker.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial }));
  const sender = connection.sender("bills");
  const lost = await time.wait(connection.transaction());
  await time.wait(lost.send(sender, { body: "never" }));
  network.cut("a");
  await time.pass(60_000);
  assertEquals(connection.state, "open");
  assertEquals(lost.state, "rolled-back");
  const error = await assertRejects(() => time.wait(lost.commit()), TransactionError, "its connection was lost");
  assertEquals([error.outcome, error.condition, error.retryable], ["rolled-back", "amqp:transaction:rollback", true]);

  const doubtful = await time.wait(connection.transaction());
  await time.wait(doubtful.send(sender, { body: "perhaps" }));
  const committing = doubtful.commit();
  for (let i = 0; i < 30; i++) await undefined;
  network.cut("a");
  const doubt = await time.wait(committing.then(() => undefined, (thrown) => thrown));
  // Depends on the turn in which the answer came.
  if (doubt !== undefined) assertEquals([doubt.outcome, doubt.name], ["in-doubt", "TransactionError"]);

  await time.pass(60_000);
  const fresh = await time.wait(connection.transaction());
  await time.wait(fresh.send(sender, { body: "at last" }));
  await time.wait(fresh.commit());
  const receiver = connection.receiver("bills");
  const bodies: unknown[] = [];
  while (bodies.at(-1) !== "at last") {
    const delivery = await time.wait(receiver.receive());
    bodies.push(delivery.message.body);
    delivery.accept();
  }
  assert(!bodies.includes("never") && bodies.filter((body) => body === "perhaps").length < 2, String(bodies));
  await time.wait(connection.close());
  await time.wait(broker.close());
});

test("TXN-8: a transaction whose connection is lost ends at once, whether or not another comes, and touches none of the same id", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const said: string[] = [];
  // Each connection counts its transactions from the same id, as some brokers do.
  const accept = (channel: Channel): void => {
    acceptor({
      environment: time,
      onReceiver: (request) => {
        const { target } = request.attach;
        const receiver = request.accept({ credit: 10, target });
        void receiver.serve((delivery) => {
          const { body } = delivery.message;
          if (target?.kind !== "coordinator") {
            const outcome = { kind: "accepted" } as const;
            said.push(`post ${body}`);
            return delivery.update({ kind: "transactionalState", txnId: Uint8Array.of(1), outcome });
          }
          const { descriptor } = body as Described;
          said.push(descriptor === 0x31n ? "declare" : "discharge");
          if (descriptor === 0x31n) delivery.update({ kind: "declared", txnId: Uint8Array.of(1) } as never);
          else delivery.accept();
        }, { concurrency: 10 });
      },
    }).accept(channel);
  };
  network.up("a", accept);
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, log: null }));
  const sender = connection.sender("bills");
  const begin = () => time.wait(connection.transaction());
  const [sent, committed, left] = [await begin(), await begin(), await begin()];
  await time.wait(committed.send(sender, { body: "before" }));
  network.down("a");
  await turn();
  assertEquals(connection.state, "interrupted");
  // While there is no connection, nothing waits for one.
  for (const call of [() => committed.commit(), () => sent.send(sender, { body: "never" })]) {
    const error = await assertRejects(call, TransactionError, "its connection was lost");
    assertEquals(error.outcome, "rolled-back");
  }
  await left.rollback();
  network.up("a", accept);
  await time.pass(60_000);
  const next = await begin();
  said.length = 0;
  await assertRejects(() => sent.commit(), TransactionError, "its connection was lost");
  await left[Symbol.asyncDispose]();
  assertEquals([next.state, said], ["open", []]);
  await time.wait(next.send(sender, { body: "after" }));
  await time.wait(next.commit());
  assertEquals(said, ["post after", "discharge"]);
  connection.destroy(new Error("over"));
});
