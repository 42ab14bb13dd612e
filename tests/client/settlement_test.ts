import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { OutcomeError } from "../../src/base/errors.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Disposition } from "../../src/codec/types.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { openOver } from "../../src/client/connect.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { linkUp } from "./link_up.ts";
import { turn, VirtualTime } from "./virtual.ts";
import { numbered, receiving } from "./receiving.ts";

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

test("TRM-9: a receiver names all outcomes, and the one for what is settled without", async () => {
  const senders: Sender[] = [];
  const connection = linkUp(acceptor({ onSender: (request) => void senders.push(request.accept()) }));
  await connection.receiver("orders").ready();
  await connection.receiver({ address: "orders", source: { outcomes: ["amqp:accepted:list"] } }).ready();
  const [all, one] = senders.map((sender) => sender.remote?.source);
  assertEquals(all?.outcomes?.length, 4);
  assertEquals(all?.defaultOutcome, { kind: "modified", deliveryFailed: true });
  assertEquals(one?.outcomes, ["amqp:accepted:list"]);
  await connection.close();
});

test("TRM-6: an outcome that the source does not take is replaced by the nearest that it takes", async () => {
  const calls: ((delivery: Delivery) => void)[] = [
    (delivery) => delivery.accept(),
    (delivery) => delivery.reject({ condition: "x:y" }),
    (delivery) => delivery.modify({ undeliverableHere: true }),
    (delivery) => delivery.release(),
  ];
  const failed = { kind: "modified", deliveryFailed: true, undeliverableHere: true };
  const rejected = { kind: "rejected", error: { condition: "x:y" } };
  const released = { kind: "released" };
  for (
    const [kinds, defaultOutcome, ...expected] of [
      [["released", "modified"], undefined, failed, { kind: "modified", undeliverableHere: true }, released],
      [["rejected", "modified"], undefined, rejected, { kind: "modified", undeliverableHere: true }, {
        kind: "modified",
        deliveryFailed: false,
        undeliverableHere: false,
      }],
      [["rejected", "released"], undefined, rejected, released, released],
      [["released"], "modified", failed, { kind: "modified", undeliverableHere: true }, released],
      [[], undefined, undefined, undefined, undefined],
      [undefined, undefined, rejected, { kind: "modified", undeliverableHere: true }, released],
    ] as const
  ) {
    for (const rcvSettleMode of ["first", "second"] as const) {
      const outcomes = kinds?.map((kind) => `amqp:${kind}:list`).concat("amqp:accepted:list");
      const sent: Disposition[] = [];
      const server = acceptor({
        onSender: (request) => {
          const source = { kind: "source", address: "orders", outcomes } as const;
          const sender = request.accept({
            rcvSettleMode,
            source: defaultOutcome === undefined ? source : { ...source, defaultOutcome: { kind: defaultOutcome } },
          });
          for (const message of numbered(4)) void sender.send(message).catch(() => {});
        },
        trace: ({ direction, body }) => {
          if (direction === "in" && body?.kind === "disposition") sent.push(body as Disposition);
        },
      });
      const connection = linkUp(server);
      const receiver = connection.receiver("orders", { rcvSettleMode });
      const told: unknown[] = [];
      for (const call of calls) {
        const delivery = await receiver.receive();
        call(delivery);
        told.push(delivery.outcome);
        await turn();
      }
      assertEquals(sent.map(({ state }) => state && shown(state)), [{ kind: "accepted" }, ...expected].map(shown));
      assertEquals(
        sent.map(({ settled = false }) => settled),
        sent.map(({ state }) => rcvSettleMode === "first" || state === undefined),
      );
      if (kinds !== undefined && kinds.length > 0) assertEquals(told.map(shown), sent.map(({ state }) => shown(state)));
      connection.destroy(new Error("over"));
    }
  }
});

test("TRM-6: an outcome within a transaction is replaced likewise, or left to the source's default", async () => {
  const txnId = Uint8Array.of(1);
  const outcome = { kind: "rejected" } as const;
  const failed = { kind: "modified", deliveryFailed: true, undeliverableHere: true } as const;
  for (
    const [kinds, expected] of [[["modified"], failed], [["rejected"], outcome], [["accepted"], undefined]] as const
  ) {
    const sent: Disposition[] = [];
    const outcomes = kinds.map((kind) => `amqp:${kind}:list`);
    const server = acceptor({
      onSender: (request) => {
        const sender = request.accept({ source: { kind: "source", address: "orders", outcomes } });
        void sender.send({ body: 1 }).catch(() => {});
      },
      trace: ({ direction, body }) => {
        if (direction === "in" && body?.kind === "disposition") sent.push(body as Disposition);
      },
    });
    const connection = linkUp(server);
    const delivery = await connection.receiver("orders").receive();
    delivery.update({ kind: "transactionalState", txnId, outcome });
    await turn();
    assertEquals(sent.map(({ state }) => shown(state)), [
      shown({ kind: "transactionalState", txnId, outcome: expected }),
    ]);
    connection.destroy(new Error("over"));
  }
});

test("delivery.signal is aborted when the link is lost, and settling afterwards is lost", async () => {
  const { connection } = receiving(numbered(2));
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

function shown(state: unknown): unknown {
  return state === undefined ? undefined : JSON.parse(JSON.stringify(state));
}
