import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { test } from "../harness.ts";
import { wire } from "../codec/bytes.ts";

// Messages of sloppy producers, and their decoded form at a consumer behind the broker.
const sloppy: [hex: string, what: string][] = [
  ["00 53 73 c0 0b 04 a3 01 69 40 a3 01 74 a3 01 73 00 53 77 a1 01 62", "symbols in properties"],
  ["00 53 72 c1 0a 04 a1 01 6b 41 53 05 a1 01 78 00 53 77 a1 01 62", "annotations keyed by strings and ulongs"],
  ["00 53 77 a1 01 62 00 53 73 c0 04 01 a1 01 69 00 53 70 45", "sections in another order"],
  ["00 53 72 40 00 53 77 a1 01 62", "a section that is null"],
];

for (const [hex, what] of sloppy) {
  test(`MSG-1, MSG-8: a message with ${what} goes through the broker to its consumer`, async () => {
    const broker = new Broker({ queues: { q: {} }, log: null });
    const connection = await broker.connect();
    await connection.sender("q").send(wire(hex));
    const receiver = connection.receiver("q");
    const delivery: Delivery = await receiver.receive();
    assertEquals(delivery.message.body, "b");
    // A failed attempt makes the broker rewrite the sections in front.
    delivery.modify({ deliveryFailed: true });
    const again = await receiver.receive();
    assertEquals([again.message.body, again.message.deliveryCount], ["b", 1]);
    again.accept();
    await connection.close();
    await broker.close();
  });
}

test("MSG-1: sections that no order makes a message of are refused by the broker as by every decoder", async () => {
  const broker = new Broker({ queues: { q: {} }, log: null });
  const connection = await broker.connect();
  const refused: [hex: string, problem: string][] = [
    ["00 53 77 a1 01 62 00 53 70 45 00 53 70 45", "a section occurs twice"],
    ["00 53 75 a0 01 01 00 53 70 45 00 53 75 a0 01 02", "a section occurs twice"],
    ["00 53 77 a1 01 62 00 53 75 a0 01 01", "the body is of two kinds"],
  ];
  for (const [hex, problem] of refused) {
    const error = await connection.sender("q").send(wire(hex)).catch((error) => error);
    assertEquals([error.name, error.message.includes(problem)], ["OutcomeError", true], `${hex}: ${error.message}`);
  }
  await connection.close();
  await broker.close();
});

test("MSG-6: a delivery-count at its end, and a rejection with keys that are no symbols, do not stop a queue", async () => {
  const broker = new Broker({ queues: { q: { deadLetter: "dead" }, dead: {} }, log: null } as object);
  const connection = await broker.connect();
  await connection.sender("q").send({ header: { deliveryCount: 0xffffffff }, body: "last" });
  await connection.sender("q").send({ body: "next" });
  const receiver = connection.receiver("q");
  const first = await receiver.receive();
  first.modify({ deliveryFailed: true });
  const bodies = [];
  for (let i = 0; i < 2; i++) {
    const delivery = await receiver.receive();
    bodies.push(delivery.message.body);
    delivery.reject({ condition: "app:é", description: "no", info: { schlüssel: 1 } } as never);
  }
  assertEquals(bodies.sort(), ["last", "next"]);
  await connection.sender("q").send({ body: "after" });
  assertEquals((await receiver.receive()).message.body, "after");
  await connection.close();
  await broker.close();
});
