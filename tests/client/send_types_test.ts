/**
 * The types of a send's outcome; `deno check` proves them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import type { SendOutcome } from "../../mod.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

test("send: an outcome comes unless the message was sent settled, and the compiler knows", async () => {
  const connection = linkUp(new Broker());
  const sender = connection.sender("orders");
  const outcome: SendOutcome = await sender.send({ body: 1 });
  const none: undefined = await sender.send({ body: 2 }, { settled: true });
  const kept: SendOutcome = await connection.send("orders", { body: 3 });
  const noneKept: undefined = await connection.send("orders", { body: 4 }, { settled: true });
  const options: { settled?: boolean } = {};
  // @ts-expect-error whether there is one is known only when the program runs
  const perhaps: SendOutcome = await sender.send({ body: 5 }, options);
  assertEquals([outcome.kind, none, kept.kind, noneKept, perhaps?.kind], [
    "accepted",
    undefined,
    "accepted",
    undefined,
    "accepted",
  ]);
  await connection.close();
});
