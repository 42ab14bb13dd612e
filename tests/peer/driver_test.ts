import { assert, assertEquals } from "@std/assert";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import { Driver } from "../../src/peer/driver.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { test } from "../harness.ts";

/** A driver whose engine answers every byte by itself. */
function driven() {
  let pending: number[] = [];
  const sent: number[][] = [];
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
      return [];
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
  } as unknown as ConnectionEndpoint;
  const driver = new Driver(channel, endpoint, { onevent() {}, onready() {} });
  return { driver, sent, receive: (first: number, length = 1) => channel.onbytes!(new Uint8Array(length).fill(first)) };
}

async function microtasks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

test("an answer leaves in the turn of its message, those that follow closely leave together at the end of theirs", async () => {
  const { sent, receive } = driven();
  await turn();
  // How much time passes between is not ours to say, but it is hardly ever much.
  for (let attempt = 0; attempt < 1_000; attempt++) {
    sent.length = 0;
    await turn();
    receive(1);
    await microtasks(20);
    const alone = sent.length;
    receive(2);
    await microtasks(20);
    receive(3);
    await microtasks(20);
    const together = sent.length === 1;
    assertEquals(alone, 1);
    await turn();
    await turn();
    if (together) return assertEquals(sent, [[1], [2, 3]]);
  }
  assert(false, "never together");
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
