import { assertEquals } from "@std/assert";
import type { AmqpError } from "../../src/base/errors.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import { Driver } from "../../src/client/driver.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { systemEnvironment } from "../../src/base/environment.ts";
import { test } from "../harness.ts";

/** A driver whose engine answers every byte by itself. */
function driven(authenticating = false) {
  let pending: number[] = [];
  const sent: number[][] = [];
  // Called for an event each of the next bytes that arrive.
  const handled: (() => void)[] = [];
  const channel = {
    send(bytes: Uint8Array) {
      sent.push([...bytes]);
    },
    close() {},
    bufferedAmount: 0,
    ready: () => Promise.resolve(),
    onbytes: undefined,
    onclose: undefined,
  } as Channel;
  const endpoint = {
    receive(bytes: Uint8Array) {
      for (const byte of bytes) pending.push(byte);
      return [...handled];
    },
    transmit: () => {
      const bytes = pending.length === 0 ? undefined : Uint8Array.from(pending);
      pending = [];
      return bytes;
    },
    events: () => [],
    nextTimeout: () => undefined,
    pendingBytes: 0,
    finished: false,
    authenticating,
  } as unknown as ConnectionEndpoint;
  const clock = { now: 1_000 };
  const environment = { ...systemEnvironment, now: () => clock.now };
  const driver = new Driver(channel, endpoint, { handleEvent: () => handled.shift()?.() }, { environment });
  return {
    driver,
    sent,
    handled,
    clock,
    receive: (first: number, length = 1) => channel.onbytes!(new Uint8Array(length).fill(first)),
  };
}

async function microtasks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

test("an answer leaves in the turn of its message, those that follow closely leave together at the end of theirs", async () => {
  const { sent, receive, clock } = driven();
  for (const apart of [1, 0.03]) {
    clock.now += apart;
    receive(1);
    await microtasks(20);
    assertEquals(sent.splice(0), [[1]]);
  }
  clock.now += 0.01;
  receive(2);
  await microtasks(20);
  receive(3);
  await microtasks(20);
  assertEquals(sent, []);
  // A timer may come before the end of the turn, but the work is not done twice.
  await turn();
  await turn();
  assertEquals(sent, [[2, 3]]);
});

test("work that goes on in a turn is flushed at its end, or when much has come", async () => {
  const { driver, sent, receive } = driven();
  await turn();
  receive(1);
  for (let i = 0; i < 1_000; i++) {
    driver.wake();
    await undefined;
  }
  assertEquals(sent, []);
  await turn();
  await turn();
  assertEquals(sent, [[1]]);
  receive(2);
  for (let i = 0; i < 50; i++) {
    driver.wake();
    await undefined;
  }
  receive(2, 66_000);
  assertEquals(sent, [[1]]);
  receive(3);
  assertEquals([sent.length, sent[1]!.length], [2, 66_001]);
  await turn();
  await turn();
  assertEquals(sent[2], [3]);
});

test("what the peer can go on with leaves at once behind much of its own, but not while events are handled", async () => {
  const { driver, sent, receive, handled } = driven();
  await turn();
  receive(1, 66_000);
  assertEquals(sent, []);
  driver.hurry();
  assertEquals(sent.splice(0).length, 1);
  receive(2, 60_000);
  driver.hurry();
  assertEquals(sent, []);
  await turn();
  await turn();
  assertEquals(sent.splice(0).length, 1);
  handled.push(() => driver.hurry());
  receive(3, 66_000);
  assertEquals([handled.length, sent.length], [0, 0]);
  await turn();
  await turn();
  assertEquals(sent.length, 1);
});

test("until SASL is over a client answers at once", async () => {
  const { sent, receive } = driven(true);
  receive(1);
  receive(2);
  assertEquals(sent, [[1], [2]]);
  await turn();
  assertEquals(sent.length, 2);
});

test("flushes in microtasks alone leave timers and sockets their turn", async () => {
  const { sent, receive, clock } = driven();
  await turn();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 200; i++) {
      clock.now += 1;
      receive(1);
      await microtasks(20);
    }
    // Most answers left at once; one waited for the end of the turn, and those after it with it.
    const early = sent.splice(0);
    assertEquals([early.length > 30, early.length <= 32, early.flat().length], [true, true, early.length]);
    await turn();
    await turn();
    assertEquals(sent.splice(0), [new Array(200 - early.length).fill(1)]);
  }
});

test("answers to what turns of their own brought all leave at once", async () => {
  const { sent, receive, clock } = driven();
  for (let i = 0; i < 200; i++) {
    clock.now += 1;
    receive(i % 256);
    await microtasks(20);
    assertEquals(sent.splice(0), [[i % 256]]);
    await turn();
  }
});

test("ATK-32: what whoever is told of an event throws ends the connection with it", () => {
  const failed: unknown[] = [];
  const channel = {
    send() {},
    close() {},
    bufferedAmount: 0,
    ready: () => Promise.resolve(),
    onbytes: undefined,
    onclose: undefined,
  } as unknown as Channel;
  const endpoint = {
    receive: () => [{ kind: "first" }, { kind: "second" }],
    fail: (error: unknown) => void failed.push(error),
    transmit: () => undefined,
    events: () => [],
    nextTimeout: () => undefined,
    pendingBytes: 0,
    finished: false,
  } as unknown as ConnectionEndpoint;
  const told: string[] = [];
  new Driver(channel, endpoint, {
    handleEvent: ({ kind }) => {
      told.push(kind);
      if (kind as string === "first") throw new Error("a fault of ours");
    },
  });
  channel.onbytes!(new Uint8Array(1));
  // Events after the error are reported all the same.
  assertEquals(told, ["first", "second"]);
  assertEquals((failed as AmqpError[]).map(({ condition, cause }) => [condition, (cause as Error).message]), [
    ["amqp:internal-error", "a fault of ours"],
  ]);
});
