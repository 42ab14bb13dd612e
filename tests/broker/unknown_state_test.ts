import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { linkUp } from "../client/link_up.ts";

/** Replaces one described type by another on the way: what it says is then unknown to the other side. */
function replacing(code: number, by: number) {
  const rechunk = (pieces: readonly Uint8Array[]) =>
    pieces.map((piece) =>
      piece.map((byte, i) => byte === code && piece[i - 1] === 0x53 && piece[i - 2] === 0x00 ? by : byte)
    );
  return { pair: { rechunk } };
}

test("MSG-12: an outcome of a type that is not known ends its send alone, as lost", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 10 }).serve(answer) });
  const answer = async (delivery: { message: { body: unknown }; modify(options: object): void }) => {
    if (delivery.message.body === "held") await delivery.modify({ deliveryFailed: true });
  };
  const connection = linkUp(server, replacing(0x27, 0x99));
  const sender = connection.sender("orders");
  const [held, fine, bulk] = await Promise.allSettled([
    sender.send({ body: "held" }),
    sender.send({ body: "fine" }),
    connection.sender("others").sendAll([{ body: "held" }]),
  ]);
  for (const one of [held, bulk]) {
    const error = (one as PromiseRejectedResult).reason;
    assert(error instanceof OutcomeError);
    assertEquals([error.outcome, error.condition, error.retryable], ["lost", condition.notImplemented, false]);
    assertStringIncludes(error.message, "settled with an outcome that is not known: Cannot decode disposition");
  }
  assertEquals(fine.status, "fulfilled");
  assertEquals(connection.state, "open");
  await connection.close();
});

test("DSP-2: a sender that settles second settles an unknown outcome too, so that its receiver need not wait", async () => {
  const settled: unknown[] = [];
  const server = acceptor({
    onReceiver: (request) => {
      const receiver = request.accept({ credit: 10, rcvSettleMode: "second" });
      void receiver.serve((delivery) => delivery.modify({ deliveryFailed: true }));
    },
    trace: ({ direction, body }) => {
      if (direction === "in" && body?.kind === "disposition") settled.push([body.settled, body.state]);
    },
  });
  const connection = linkUp(server, replacing(0x27, 0x99));
  const sender = connection.sender({ address: "orders", rcvSettleMode: "second" });
  await assertRejects(
    () => sender.send({ body: 1 }, { decide: () => ({ kind: "accepted" }) }),
    OutcomeError,
    "not known",
  );
  await connection.close();
  assertEquals(settled, [[true, undefined]]);
});

test("MSG-12: a consumer's outcome of a type that is not known is a failed attempt, which it does not get again", async () => {
  await using broker = new Broker();
  const producer = linkUp(broker);
  await producer.send("orders", { body: "one coffee" });
  const consumer = linkUp(broker, replacing(0x26, 0x99));
  const receiver = consumer.receiver("orders", { credit: 2 });
  (await receiver.receive()).release();
  const again = await producer.receiver("orders").receive();
  assertEquals([again.message.body, again.message.header?.deliveryCount], ["one coffee", 1]);
  assertEquals([consumer.state, receiver.usable], ["open", true]);
});

test("TXN-5: a message under a state that is not known is not published outside of it", async () => {
  await using broker = new Broker();
  const connection = linkUp(broker, replacing(0x34, 0x98));
  const transaction = await connection.transaction();
  const error = await assertRejects(() => transaction.send(connection.sender("orders"), { body: 1 }), AmqpError);
  assertStringIncludes(error.message, "not that of a known deliveryState");
  await transaction.rollback();
  assertEquals([broker.queue("orders")?.messages, connection.state], [0, "open"]);
});
