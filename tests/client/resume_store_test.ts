import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { UnsettledDelivery, UnsettledStore } from "../../src/client/recovery.ts";
import { resume } from "../../src/client/resume.ts";
import { encodeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import { type Acceptor, acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { turn, VirtualNetwork, VirtualTime } from "./virtual.ts";

const HOST = "broker.example";

/** What outlives a process, in memory. */
class MemoryStore implements UnsettledStore {
  readonly kept = new Map<string, UnsettledDelivery>();
  /** What a call waits for. */
  gate: Promise<unknown> | undefined;

  async load(link: string): Promise<UnsettledDelivery[]> {
    await this.gate;
    return [...this.kept].filter(([key]) => key.startsWith(`${link} `)).map(([, delivery]) => delivery);
  }

  async put(link: string, delivery: UnsettledDelivery): Promise<void> {
    await this.gate;
    this.kept.set(`${link} ${delivery.tag}`, { ...delivery, payload: delivery.payload.slice() });
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await this.gate;
    this.kept.delete(`${link} ${tag}`);
  }
}

interface World {
  readonly time: VirtualTime;
  readonly network: VirtualNetwork;
  readonly server: Acceptor;
  readonly connection: Connection;
  readonly logged: string[];
}

async function world(options: AcceptorOptions, body: (world: World) => Promise<void>): Promise<void> {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, log: null, ...options });
  network.up(HOST, (channel) => server.accept(channel));
  const logged: string[] = [];
  const connection = await time.wait(connect(`ws://${HOST}`, {
    containerId: "client",
    dial: network.dial,
    environment: time,
    log: ({ code }) => void logged.push(code),
  } as ConnectOptions));
  try {
    await body({ time, network, server, connection, logged });
  } finally {
    connection.destroy(new Error("done"));
    await time.wait(server.close());
  }
}

function encoded(body: string): Uint8Array {
  const writer = new Writer();
  encodeMessage({ body }, writer);
  return writer.take();
}

function unsettled(number: number, payload: Uint8Array): UnsettledDelivery {
  return { tag: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, number), payload, messageFormat: 0, state: new Uint8Array(0) };
}

test("resume with a store: what was not sent, as its caller was told, is not kept for the next process", async () => {
  const store = new MemoryStore();
  const terms = { credit: 0, maxMessageSize: 1_000n };
  await world({ onReceiver: (request) => void request.accept(terms) }, async ({ time, connection }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
    await time.wait(sender.ready());
    const early = new AbortController();
    const late = new AbortController();
    const sends = [early, late].map(({ signal }) => sender.send({ body: "one" }, { signal }));
    // While it is being kept, and while it waits for credit.
    early.abort();
    await time.pass(10);
    assertEquals(store.kept.size, 1);
    late.abort();
    for (const sending of sends) {
      assertEquals((await assertRejects(() => time.wait(sending), SendAbortedError)).sent, false);
    }
    await time.pass(10);
    assertEquals(store.kept.size, 0);
  });
  await world(
    { onReceiver: (request) => void request.accept({ ...terms, credit: 5 }) },
    async ({ time, connection }) => {
      const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
      await assertRejects(() => time.wait(sender.send({ body: "x".repeat(2_000) })), AmqpError, "receiver takes 1000");
      await time.pass(10);
      assertEquals([store.kept.size, sender.pending], [0, 0]);
    },
  );
});

test("resume: a recovery that cannot be made while the connection is interrupted ends its link with the error", async () => {
  await world({ onSender: (request) => void request.accept() }, async ({ time, network, server, connection }) => {
    network.down(HOST);
    await time.pass(10);
    assertEquals(connection.state, "interrupted");
    const store = new MemoryStore();
    store.gate = Promise.reject(new Error("no disk"));
    const receiver = connection.receiver({ address: "orders", name: "in", recovery: resume({ store }) });
    const receiving = receiver.receive();
    receiving.catch(() => {});
    await time.pass(10);
    assertEquals([receiver.open, receiver.error?.message], [false, "no disk"]);
    network.up(HOST, (channel) => server.accept(channel));
    await assertRejects(() => time.wait(receiving), Error, "no disk");
  });
});

test('resume: an "onrecovered" that throws is told to the log, and the others hear of theirs', async () => {
  const store = new MemoryStore();
  const link = "client/sender/out";
  for (const n of [1, 2]) store.kept.set(`${link} ${unsettled(n, encoded("x")).tag}`, unsettled(n, encoded("x")));
  let told = 0;
  const onrecovered = (): void => {
    told++;
    throw new Error("not mine");
  };
  const onReceiver: AcceptorOptions["onReceiver"] = (request) => void request.accept({ credit: 0 });
  await world({ onReceiver }, async ({ time, connection, logged }) => {
    const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store, onrecovered }) });
    await time.wait(sender.ready());
    const waiting = sender.send({ body: "later" });
    await time.pass(10);
    connection.destroy(new Error("enough"));
    await assertRejects(() => waiting, Error, "enough");
    await turn();
    assertEquals(told, 2);
    assert(logged.includes("callback-failed"), logged.join());
  });
});
