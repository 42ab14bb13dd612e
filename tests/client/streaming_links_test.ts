import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { ReceiverOptions } from "../../src/client/link_options.ts";
import { acceptor, type AcceptSettings } from "../../src/server/acceptor.ts";
import { connect } from "../../src/client/connect.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";
import { STREAM_WINDOW } from "../../src/engine/transfer_streams.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";
import { bytes, joined, read, settle } from "./streaming.ts";

test("a connection that is lost ends the stream, and the delivery with it", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  async function* stuck() {
    yield bytes(300_000);
    await new Promise(() => {});
  }
  void senders[0]!.stream({ body: stuck() }).catch(() => {});
  const delivery = await files.receive();
  const reading = assertRejects(() => read(delivery.stream()), OutcomeError, "cable cut");
  await settle();
  client.destroy(new Error("cable cut"));
  await reading;
  assert(delivery.signal.aborted);
  assertThrows(() => delivery.accept(), OutcomeError, "cable cut");
});

test("a stream that nobody reads stops no other link, in either direction", async () => {
  const { client, senders } = joined();
  const [files, orders] = [client.receiver("files", { stream: true }), client.receiver("orders")];
  await Promise.all([files.ready(), orders.ready()]);
  const byAddress = (address: string) => senders.find((sender) => sender.address === address)!;
  async function* endless() {
    for (;;) {
      await Promise.resolve();
      yield bytes(100_000);
    }
  }
  const sending = byAddress("files").stream({ body: endless() }).catch((error) => error);
  const stuck = await files.receive();
  await settle();
  for (let i = 0; i < 3 * STREAM_WINDOW; i++) {
    const sent = byAddress("orders").send({ body: i });
    const delivery = await orders.receive();
    assertEquals(delivery.message.body, i);
    delivery.accept();
    assertEquals(await sent, { kind: "accepted" });
  }
  stuck.release();
  assertInstanceOf(await sending, OutcomeError);
  await files.close();
  await client.close();
});

test("a server takes streams, from clients that have a session for each and from those that have one for all", async () => {
  const got: [string | undefined, number][] = [];
  const settings: AcceptSettings & { stream: boolean } = { stream: true };
  const store = async (delivery: Delivery): Promise<void> => {
    let length = 0;
    for await (const part of delivery.stream()) {
      length += part.length;
      await Promise.resolve();
    }
    got.push([delivery.message.properties?.subject, length]);
  };
  const server = acceptor({ onReceiver: (request) => void request.accept(settings).serve(store, { concurrency: 2 }) });
  const client = linkUp(server);
  const files = client.sender("files");
  async function* pieces() {
    for (let i = 0; i < 100; i++) {
      await Promise.resolve();
      yield bytes(100_000);
    }
  }
  const outcomes = await Promise.all([
    files.stream({ properties: { subject: "stream" }, body: pieces() }),
    files.send({ properties: { subject: "send" }, body: bytes(6_000_000) }),
    client.sender("other").send({ body: bytes(3) }),
  ]);
  assertEquals(outcomes, [{ kind: "accepted" }, { kind: "accepted" }, { kind: "accepted" }]);
  assertEquals(got.map(([subject = "", length]) => [subject, length]).sort(), [
    ["", 3],
    ["send", 6_000_000],
    ["stream", 10_000_000],
  ]);
  await client.close();
});

test("a receiver of streams goes on after it was given its credit by hand, drained or iterated", async () => {
  const { client, senders } = joined();
  const options: ReceiverOptions = { address: "files", stream: true, credit: "manual" };
  const files = client.receiver(options);
  files.grant(2);
  await files.ready();
  for (let i = 0; i < 3; i++) void senders[0]!.send({ body: bytes(300_000, i) }).catch(() => {});
  const first = await files.receive();
  const second = await files.receive();
  assertEquals([(await second.bytes())[0], (await first.bytes())[0]], [1, 0]);
  await files.drain();
  files.grant(1);
  for await (const delivery of files) {
    assertEquals((await delivery.bytes())[0], 2);
    delivery.accept();
    break;
  }
  await client.close();
});

test("what streams cannot be taken up, and says so", () => {
  const { client } = joined();
  const options: ReceiverOptions = { address: "files", name: "files", stream: true, recovery: "resume" };
  assertThrows(() => client.receiver(options), TypeError, 'streams need recovery "resend"');
  client.destroy(new Error("done"));
});

test("ATK-7, ATK-18: a client's limit for what has arrived in part ends the link that passes it, streamed or not", async () => {
  for (const stream of [false, true]) {
    const { client, senders } = joined({ limits: { maxUnfinishedBytes: 300_000 } });
    const files = client.receiver("files", { stream, maxMessageSize: 10_000_000 });
    await files.ready();
    const receiving = files.receive();
    const sending = senders[0]!.send({ body: bytes(1_000_000) }).catch((error) => error);
    const ended = stream
      ? receiving.then((delivery) => settle().then(() => read(delivery.stream())))
      : receiving.then(() => {});
    const error = await assertRejects(() => ended, AmqpError, "too much has arrived in part");
    assertEquals(error.condition, condition.resourceLimitExceeded);
    assertInstanceOf(await sending, AmqpError);
    await client.close();
  }
});

test("a receiver of streams lives on across a reconnect: the stream that was cut is lost, the message comes again whole", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({
    environment: time,
    onSender: (request) => void request.accept().send({ body: bytes(3_000_000) }).catch(() => {}),
  });
  network.up("a", (channel) => void server.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, log: null }));
  const files = connection.receiver("files", { stream: true, credit: 1 });
  const cut = await time.wait(files.receive());
  const reader = cut.stream().getReader();
  await reader.read();
  network.cut("a");
  const lost = assertRejects(
    async () => {
      while (!(await reader.read()).done);
    },
    OutcomeError,
    "the sender hands the message out again",
  );
  await time.pass(2_000);
  await lost;
  assertThrows(() => cut.accept(), OutcomeError);
  const again = await time.wait(files.receive());
  assertEquals(await time.wait(again.bytes()), bytes(3_000_000));
  again.accept();
  await time.wait(connection.close());
  await time.pass(10_000);
  assertEquals(time.pending, 0);
});

test("streams share the one session of a peer that takes no more, and the log says so", async () => {
  const logged: string[] = [];
  let stored = 0;
  const server = acceptor({
    channelMax: 0,
    onSender: (request) => void request.accept().send({ body: bytes(3_000_000) }).catch(() => {}),
    onReceiver: (request) =>
      void request.accept({ stream: true }).serve(async (delivery) => {
        stored += (await read(delivery.stream())).length;
      }),
  });
  const client = linkUp(server, { log: ({ code, address }) => void logged.push(`${code} ${address}`) });
  await client.ready();
  const delivery = await client.receiver("files", { stream: true }).receive();
  assertEquals((await read(delivery.stream())).length, 3_000_000);
  delivery.accept();
  const sender = client.sender("files");
  assertEquals(await sender.stream({ body: new Blob([bytes(3_000_000)]).stream() }), { kind: "accepted" });
  assertEquals([stored, logged], [3_000_000, ["shares-session files"]]);
  await client.close();
});
