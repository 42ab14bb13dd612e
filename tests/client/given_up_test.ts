import { assertEquals } from "@std/assert";
import type { Connection } from "../../mod.ts";
import { connect, publish, SendAbortedError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { preload } from "../../src/client/preload.ts";
import { management } from "../../src/management/management.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";

const PAYLOAD = { body: "x" };
// As many as the longest chain of promises from a call to its last wait takes, and some.
const LONGEST_CHAIN = 40;
// Enough for the end of what is given up; a loop closes its receiver.
const MICROTASKS = 80;

async function microtasks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

async function* endless(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield new Uint8Array(10);
  await new Promise(() => {});
}

interface World {
  readonly connection: Connection;
  readonly environment: VirtualTime;
  readonly dial: () => Channel;
}

// Each call waits for ever, as senders get no credit, and nobody answers.
const CALLS: Readonly<Record<string, (world: World, signal: AbortSignal) => Promise<unknown>>> = {
  connect: ({ environment }, signal) => connect("ws://silent", { environment, dial: () => channelPair()[0], signal }),
  publish: ({ environment, dial }, signal) =>
    publish("ws://one", "q", PAYLOAD, { environment, dial, log: null, signal, timeoutMs: 1e9 }),
  "connection.send": ({ connection }, signal) => connection.send("q", PAYLOAD, { signal }),
  send: ({ connection }, signal) => connection.sender("q").send(PAYLOAD, { signal }),
  sendAll: ({ connection }, signal) => connection.sender("q").sendAll([PAYLOAD], { signal }),
  stream: ({ connection }, signal) => connection.sender("q").stream({ body: endless() }, { signal }),
  receive: ({ connection }, signal) => connection.receiver("none").receive({ signal }),
  receiveBatch: ({ connection }, signal) => connection.receiver("none").receiveBatch(1, { signal, waitMs: 1e9 }),
  values: ({ connection }, signal) => connection.receiver("none").values({ signal }).next(),
  serve: ({ connection }, signal) => connection.receiver("none").serve(() => {}, { signal }),
  respond: ({ connection }, signal) => connection.respond("none", () => PAYLOAD, { signal }),
  request: ({ connection }, signal) => connection.request("q", PAYLOAD, { signal }),
  management: ({ connection }, signal) => management(connection, "q").request({ operation: "READ" }, { signal }),
  transaction: ({ connection }, signal) => connection.transaction({ signal }),
  close: ({ connection }, signal) => {
    const sender = connection.sender("q");
    sender.send(PAYLOAD).catch(() => {});
    return sender.close({ signal, timeoutMs: 1e9 });
  },
};

test("API: what is given up after any number of promise jobs ends at once", async () => {
  await preload();
  const environment = new VirtualTime();
  const broker = new Broker({ environment, log: null });
  broker.faults.set(() => ({ withholdCreditOut: true }));
  const dial = (): Channel => {
    const [near, far] = channelPair();
    broker.accept(far);
    return near;
  };
  const late: string[] = [];
  for (const [name, call] of Object.entries(CALLS)) {
    const connection = await connect("ws://one", { environment, dial, log: null });
    for (let jobs = 0; jobs < LONGEST_CHAIN; jobs++) {
      const controller = new AbortController();
      let isPending = true;
      const done = (): void => void (isPending = false);
      call({ connection, environment, dial }, controller.signal).then(done, done);
      await microtasks(jobs);
      controller.abort();
      await microtasks(MICROTASKS);
      if (isPending) late.push(`${name} after ${jobs}`);
    }
    connection.close({ timeoutMs: 0 });
    await environment.advance(1_000);
  }
  broker.close();
  await environment.advance(60_000);
  assertEquals([late, broker.connections.size, environment.timers], [[], 0, 0]);
});

test("PUB: a publish that is given up after it has lost an outcome tells that the message may have arrived", async () => {
  await preload();
  const environment = new VirtualTime();
  const broker = new Broker({ environment, log: null });
  const faults = [{ dropDispositionsOut: true }, { withholdCreditOut: true }, { dropDispositionsOut: true }];
  broker.faults.set((number) => faults[number - 1]);
  const lines: Channel[] = [];
  const dial = (): Channel => {
    const [near, far] = channelPair();
    lines.push(far);
    broker.accept(far);
    return near;
  };
  // While another attempt waits for credit, and before there is one.
  for (const isRedialling of [false, true]) {
    const { signal, abort } = controllerOf();
    const publishing = publish("ws://one", "q", PAYLOAD, { environment, dial, signal }).catch((error) => error);
    await environment.advance(10);
    lines.at(-1)!.close(1006);
    await environment.advance(isRedialling ? 0 : 5_000);
    abort();
    const error = await publishing;
    assertEquals([error.constructor, error.sent, error.retryable], [SendAbortedError, true, false]);
  }
  broker.close();
  await environment.advance(60_000);
});

function controllerOf(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
