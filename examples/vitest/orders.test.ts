// A unit test without a port, a container or a permission: `npx vitest run examples/vitest`.
import { type Delivery, json } from "@webamqp/amqp";
import { Broker } from "@webamqp/amqp/broker";
import { expect, test, vi } from "vitest";
import { confirmOrders } from "./orders.ts";

test("an order is confirmed, one without an item becomes a dead letter", async () => {
  const broker = new Broker({ queues: { orders: { deadLetter: "rejected" } } });
  const connection = await broker.connect();
  const stop = new AbortController();
  const working = confirmOrders(connection, stop.signal);

  await connection.send("orders", { body: json({ id: 1, item: "coffee" }) });
  await connection.send("orders", { body: json({ id: 2 }) });

  const confirmation = await connection.receiver("confirmations").receive();
  expect(confirmation.message.text()).toBe("1: coffee");
  confirmation.accept();
  const letter = await connection.receiver("rejected").receive();
  expect(letter.message.json()).toEqual({ id: 2 });
  letter.accept();

  stop.abort();
  await working;
  await broker.close();
});

test("with a fake clock messages flow all the same, and only time-outs wait for it", async () => {
  vi.useFakeTimers();
  try {
    const broker = new Broker();
    const connection = await broker.connect();
    await connection.send("orders", { body: "one coffee" });
    const receiver = connection.receiver("empty");
    let batch: Delivery[] | undefined;
    receiver.receiveBatch(1, { waitMs: 60_000 }).then((deliveries) => batch = deliveries);
    // The minute passes in no time, and in one leap.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(batch).toEqual([]);

    let attempts = 0;
    void connection.receiver("orders").serve(() => {
      if (++attempts < 3) throw new Error("not yet");
    }, { retryDelay: 1_000, onerror: () => {} });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(attempts).toBe(3);
    await broker.close();
  } finally {
    vi.useRealTimers();
  }
});
