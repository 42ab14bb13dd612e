/**
 * Checks of brokers for JMS beyond sending and receiving.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { Runtime } from "./runtimes.ts";
import type { Suite } from "./suite.ts";

/** The addresses of the checks. */
export interface JmsSettings {
  place(name: string): Place;
  topic(name: string): Place;
  /** Whether the outcome `modified` counts as a failed attempt. */
  readonly counts?: boolean;
}

/** Selectors, browsing, subscriptions, transactions, drain, expiry, temporary nodes. */
export function jmsChecks(runtime: Runtime, { place, topic }: JmsSettings): Suite["checks"] {
  return {
    "selector": async () => assertEquals(await runtime.call("select", place("select"), "n > 2"), ["3", "4"]),
    "browsing leaves the messages": async () =>
      assertEquals(await runtime.call("look", place("look")), { seen: ["a", "b"], taken: ["a", "b"] }),
    "durable subscription": async () => assertEquals(await runtime.call("subscribe", topic("durable")), ["while away"]),
    "shared subscription": async () => assertEquals(await runtime.call("share", topic("shared"), 20), 20),
    "transaction: commit": async () => assertEquals(await runtime.call("transact", place("commit"), true), ["in"]),
    "transaction: rollback": async () => assertEquals(await runtime.call("transact", place("rollback"), false), []),
    "drain brings what there is": async () => assertEquals(await runtime.call("drain", place("drain"), 3), 3),
    "expired messages are gone": async () => assertEquals(await runtime.call("expire", place("expire")), ["stays"]),
    "dynamic node, request and answer": async () => {
      const at = place("request");
      const [answer] = await Promise.all([runtime.call("request", at, "a coffee"), runtime.call("answer", at, 1)]);
      assertEquals(answer, "A COFFEE");
    },
    "modified counts as an attempt": async () =>
      assertEquals(await runtime.call("attempts", place("attempts")), [0, 1]),
    "100 senders and receivers on a connection": async () =>
      assertEquals(await runtime.call("wide", place("wide"), 100), 100),
  };
}
