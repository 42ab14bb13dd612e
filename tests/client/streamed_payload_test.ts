import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { StreamedPayload } from "../../src/client/streamed_payload.ts";
import { data, decodeMessage, json, type Message, sequence, value, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { DEFAULT_MAX_FRAME_SIZE } from "../../src/codec/limits.ts";
import { STREAM_WINDOW } from "../../src/engine/transfer_streams.ts";
import { random, seed, test } from "../harness.ts";
import { bytes, joined, read, settle, turn } from "./streaming.ts";

function encoded(message: Message): Uint8Array {
  const writer = new Writer();
  writeMessage(message, writer);
  return writer.take();
}

test("a streamed message is handed over at its first frame, and its body comes as it is read", async () => {
  let arrived = 0;
  const trace = ({ direction, payloadBytes }: FrameTrace) => {
    if (direction === "in") arrived += payloadBytes;
  };
  const { client, senders } = joined({ trace });
  const files = client.receiver("files", { stream: true });
  await files.ready();
  let read = 0;
  async function* pieces() {
    for (; read < 120; read++) {
      await Promise.resolve();
      yield bytes(65_536, read);
    }
  }
  const sending = senders[0]!.stream({
    properties: { subject: "backup" },
    applicationProperties: { size: 120 },
    footer: { "x-opt-sum": "none" },
    body: pieces(),
  });
  const delivery = await files.receive();
  const { message } = delivery;
  assertEquals([message.properties?.subject, message.applicationProperties], ["backup", { size: 120 }]);
  assertEquals([message.body, message.footer], [undefined, undefined]);
  assertThrows(() => message.text(), TypeError, "it is streamed, await text()");
  assertThrows(() => delivery.payload, TypeError, "streamed");
  await settle(50);
  // This side holds one window; the channel and the peer's read-ahead hold the rest.
  assert(read < 60, `${read} pieces were read though none was taken`);
  assert(arrived <= STREAM_WINDOW * DEFAULT_MAX_FRAME_SIZE, `${arrived} bytes are held`);
  let [at, most] = [0, 0];
  for await (const part of delivery.stream()) {
    for (let i = 0; i < part.length; i += 4_099) {
      const [piece, place] = [Math.floor((at + i) / 65_536), (at + i) % 65_536];
      assertEquals(part[i], (place * 31 + (place >> 8) + piece) & 0xff);
    }
    at += part.length;
    most = Math.max(most, arrived - at);
  }
  assert(most <= STREAM_WINDOW * DEFAULT_MAX_FRAME_SIZE, `${most} bytes were held`);
  assertEquals(at, 120 * 65_536);
  assertEquals(message.footer, { "x-opt-sum": "none" });
  delivery.accept();
  assertEquals(await sending, { kind: "accepted" });
  await client.close();
});

test("text(), json() and bytes() collect a streamed message, and stream() gives the bytes of any other", async () => {
  const { client, senders } = joined({ maxFrameSize: 512 });
  const streamed = client.receiver("files", { stream: true });
  const plain = client.receiver("files");
  await Promise.all([streamed.ready(), plain.ready()]);
  const [one, two] = senders;
  const text = "é".repeat(3_000);
  const messages: Message[] = [
    { body: text, footer: { "x-opt-a": 1 } },
    { body: json({ a: [1, 2] }) },
    { body: data([bytes(700), bytes(0), bytes(900)]) },
    { body: sequence([[1, 2], [3]]) },
    { properties: { to: "nowhere" } },
  ];
  for (const sender of [one!, two!]) for (const message of messages) void sender.send(message).catch(() => {});
  for (const receiver of [streamed, plain]) {
    const [first, second, third, fourth, fifth] = await Array.fromAsync(messages, () => receiver.receive());
    if (receiver === streamed) assertEquals(await first!.text(), text);
    else assertEquals(new TextDecoder().decode(await read(first!.stream())), text);
    assertEquals([first!.message.text(), first!.message.footer], [text, { "x-opt-a": 1 }]);
    assertEquals(await second!.json(), { a: [1, 2] });
    assertEquals(await read(third!.stream()), concat([bytes(700), bytes(900)]));
    assertEquals(await fourth!.json(), [1, 2, 3]);
    assertEquals(await read(fifth!.stream()), new Uint8Array(0));
  }
  void one!.send({ body: value(new Map([["a", 1]])) }).catch(() => {});
  const map = await streamed.receive();
  assertEquals(await map.json(), { a: 1 });
  void one!.send({ body: new Map([["a", 1]]) }).catch(() => {});
  const other = await streamed.receive();
  await assertRejects(() => read(other.stream()), TypeError, "Cannot read body as bytes: it is a map, json() gives it");
  void one!.send({ body: bytes(100) }).catch(() => {});
  const twice = await streamed.receive();
  await read(twice.stream());
  assertThrows(() => twice.stream(), TypeError, "read already");
  await assertRejects(() => twice.bytes(), TypeError, "read already");
  await client.close({ timeoutMs: 10 });
});

test("sections of a streamed message are found however frames cut them", async () => {
  const { int, bytes: some } = random(seed());
  for (let round = 0; round < 60; round++) {
    const { client, senders } = joined({ maxFrameSize: 512 });
    const receiver = client.receiver("files", { stream: true });
    await receiver.ready();
    const chunks = Array.from({ length: int(12) }, () => some(int(4) === 0 ? int(3_000) : int(6)));
    const message: Message = {
      header: { durable: true },
      messageAnnotations: { "x-opt-long": "x".repeat(int(2_000)) },
      properties: { userId: some(int(300)), subject: "s" },
      applicationProperties: Object.fromEntries(Array.from({ length: int(80) }, (_, i) => [`key${i}`, i])),
      body: data(chunks),
      footer: int(2) === 0 ? undefined : { "x-opt-sum": "y".repeat(int(1_500)) },
    };
    const whole = encoded(message);
    // Payloads of any size, to put every cut at every place.
    let at = 0;
    const source = {
      get ended() {
        return at === whole.length;
      },
      read: (max: number) => whole.subarray(at, at += Math.min(max, whole.length - at, 1 + int(200))),
    };
    const listener = { onoutcome() {}, onsent() {}, onlost() {} };
    senders[0]!.push(source, {}, listener);
    const delivery = await receiver.receive();
    assertEquals(delivery.message.messageAnnotations, message.messageAnnotations);
    assertEquals(delivery.message.properties?.userId, message.properties?.userId);
    assertEquals({ ...delivery.message.applicationProperties }, message.applicationProperties);
    if (int(3) === 0) assertEquals(await delivery.bytes(), concat(chunks) as Uint8Array<ArrayBuffer>);
    else assertEquals(await read(delivery.stream()), concat(chunks));
    assertEquals(delivery.message.footer, message.footer);
    delivery.accept();
    await client.close();
  }
});

test("ATK-33: mutated messages in pieces are a body or an AMQP error, and all that was held is released", async () => {
  const { int, bytes: some } = random(seed());
  const receiver = { where: '"files"', connection: { wake() {} } };
  let errors = 0;
  for (let round = 0; round < 3_000; round++) {
    const whole = encoded({
      properties: { subject: "s".repeat(int(300)) },
      body: data(Array.from({ length: int(5) }, () => some(int(400)))),
      footer: int(2) === 0 ? undefined : { "x-opt-sum": "y".repeat(int(300)) },
    }).slice();
    for (let i = int(4); i > 0; i--) whole[int(Math.min(whole.length, 40 + int(whole.length)))] = int(256);
    const held = {
      transfers: 0,
      bytes: 0,
      release: (transfers: number, bytes: number) => {
        held.transfers -= transfers;
        held.bytes -= bytes;
      },
    };
    const payload = new StreamedPayload(0, held, receiver, 1_000_000);
    const feed = async () => {
      for (let at = 0; at < whole.length;) {
        const part = whole.subarray(at, at += 1 + int(100));
        held.transfers++;
        held.bytes += part.length;
        payload.write(part);
        if (int(3) === 0) await Promise.resolve();
      }
      payload.end();
    };
    const feeding = feed();
    const decode = (part: Uint8Array) => decodeMessage(part);
    const collected = async () => decodeMessage(await payload.collect()).bytes();
    try {
      await new Promise<void>((resolve, reject) => payload.listen(resolve, reject));
      const message = decode(payload.head);
      const delivery = { byHand: true, usable: true, outcome: undefined, release() {}, reject() {}, message, decode };
      if (int(4) === 0) await collected();
      else await read(payload.stream({ ...delivery, bytes: collected }));
    } catch (error) {
      errors++;
      assert(error instanceof AmqpError || error instanceof TypeError, String(error));
    }
    payload.drop();
    await feeding;
    assertEquals([held.transfers, held.bytes], [0, 0], `round ${round}`);
  }
  assert(errors > 300 && errors < 3_000, `${errors} errors`);
});

test("who cancels a stream hands the message back, and nothing of what still comes is kept", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  async function* endless() {
    for (;;) {
      await turn();
      yield bytes(200_000);
    }
  }
  for (
    const [reason, outcome] of [
      [undefined, "released"],
      [new AmqpError("x:not-a-picture", "Cannot take file: no picture"), "rejected"],
    ] as const
  ) {
    const sending = senders[0]!.stream({ body: endless() });
    const delivery = await files.receive();
    const reader = delivery.stream().getReader();
    await reader.read();
    await reader.cancel(reason);
    const error = await assertRejects(() => sending, OutcomeError);
    assertEquals(error.outcome, outcome);
    assertEquals(delivery.outcome?.kind, outcome);
  }
  // The next message arrives, so nothing of those before blocks the link.
  const sending = senders[0]!.send({ body: bytes(5_000_000) });
  const next = await files.receive();
  assertEquals((await next.bytes()).length, 5_000_000);
  next.accept();
  assertEquals(await sending, { kind: "accepted" });
  assertEquals([files.unsettled, files.buffered], [0, 0]);
  await client.close();
});

test("a sender that aborts ends the stream with an error, and its credit is free", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true, credit: 1 });
  await files.ready();
  async function* failing() {
    yield bytes(100_000);
    await settle();
    throw new Error("disk gone");
  }
  const sending = assertRejects(() => senders[0]!.stream({ body: failing() }), Error, "disk gone");
  const delivery = await files.receive();
  const error = await assertRejects(() => read(delivery.stream()), OutcomeError, "its sender has aborted it");
  assertEquals([error.outcome, error.remote], ["lost", true]);
  await sending;
  assert(delivery.signal.aborted);
  assertThrows(() => delivery.accept(), OutcomeError, "aborted");
  void senders[0]!.send({ body: "the next" });
  assertEquals(await (await files.receive()).text(), "the next");
  await client.close({ timeoutMs: 10 });
});

test("a stream is settled while it is read, and read on", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  let read = 0;
  async function* pieces() {
    for (; read < 100; read++) {
      await Promise.resolve();
      yield bytes(100_000);
    }
  }
  let done = false;
  const sending = senders[0]!.stream({ body: pieces() }).then((outcome) => {
    done = true;
    return outcome;
  });
  const delivery = await files.receive();
  const reader = delivery.stream().getReader();
  let length = (await reader.read()).value!.length;
  delivery.accept();
  await settle();
  assertEquals(done, false);
  for (let next = await reader.read(); !next.done; next = await reader.read()) length += next.value.length;
  assertEquals([length, await sending], [10_000_000, { kind: "accepted" }]);
  await client.close();
});

test("a message that is settled unread is dropped, and serve settles as ever", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  const lengths: number[] = [];
  const serving = files.serve(async (delivery) => {
    const { subject } = delivery.message.properties ?? {};
    if (subject === "skip") return;
    if (subject === "fail") {
      for await (const part of delivery.stream()) throw new Error(`cannot store ${part.length > 0}`);
    }
    lengths.push((await read(delivery.stream())).length);
  }, { concurrency: 2, onerror: () => {} });
  const outcomes = await Promise.allSettled(
    ["skip", "keep", "fail", "skip", "keep"].map((subject) =>
      senders[0]!.send({ properties: { subject }, body: bytes(2_000_000) })
    ),
  );
  assertEquals(
    outcomes.map((outcome) => outcome.status === "fulfilled" ? outcome.value?.kind : outcome.reason.outcome),
    ["accepted", "accepted", "modified", "accepted", "accepted"],
  );
  assertEquals(lengths, [2_000_000, 2_000_000]);
  await client.close();
  await serving;
});

test("a delivery that ends before its head is whole is handed to nobody", async () => {
  const whole = encoded({ properties: { subject: "s".repeat(100) }, body: bytes(10) });
  const receiver = { where: '"files"', connection: { wake() {} } };
  for (const end of ["abort", "fail"] as const) {
    const told: string[] = [];
    const payload = new StreamedPayload(0, { release() {} }, receiver, 1_000_000);
    payload.listen(() => told.push("handed out"), () => told.push("aborted"));
    payload.write(whole.subarray(0, 50));
    if (end === "abort") payload.abort();
    else payload.fail(new Error("cable cut"));
    assertEquals(told, end === "abort" ? ["aborted"] : []);
  }
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true, credit: 1 });
  await files.ready();
  const receiving = files.receive();
  let read = 0;
  const source = { ended: false, read: () => read++ === 0 ? whole.subarray(0, 50) : undefined };
  const half = senders[0]!.push(source, {}, { onoutcome() {}, onsent() {}, onlost() {} });
  while (files.unsettled === 0) await turn();
  half.abort();
  void senders[0]!.send({ body: "the next" }).catch(() => {});
  assertEquals(await (await receiving).text(), "the next");
  await client.close({ timeoutMs: 10 });
});

test("a stream of a value is one reader's, as that of data is, and is read on after the settlement", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  for (const body of [bytes(100), value("é".repeat(100))]) {
    const sending = senders[0]!.send({ body });
    const delivery = await files.receive();
    const stream = delivery.stream();
    assertThrows(() => delivery.stream(), TypeError, "read already");
    delivery.accept();
    assertEquals(await sending, { kind: "accepted" });
    assertEquals(await read(stream), body instanceof Uint8Array ? body : new TextEncoder().encode("é".repeat(100)));
  }
  await client.close();
});

test("a limit for messages holds for streams, and without one collecting has its own", async () => {
  const { client, senders } = joined();
  const limited = client.receiver("files", { stream: true, credit: 1, maxMessageSize: 500_000 });
  await limited.ready();
  async function* pieces() {
    for (let i = 0; i < 20; i++) yield bytes(100_000);
  }
  const tooLarge = await assertRejects(() => senders[0]!.stream({ body: pieces() }), AmqpError);
  assertEquals(
    [tooLarge.condition, tooLarge.message],
    [
      condition.messageSizeExceeded,
      `Cannot send to ${senders[0]!.where}: message has more bytes, receiver takes 500000 bytes`,
    ],
  );
  const free = client.receiver("files", { stream: true });
  await free.ready();
  assertEquals(free.remote?.maxMessageSize, undefined);
  async function* many() {
    for (let i = 0; i < 80; i++) yield new Uint8Array(1_000_000);
  }
  const sending = senders[1]!.stream({ body: many() });
  const delivery = await free.receive();
  const error = await assertRejects(() => delivery.bytes(), AmqpError, "read delivery.stream()");
  assertEquals(error.condition, condition.messageSizeExceeded);
  delivery.release();
  assertEquals((await assertRejects(() => sending, OutcomeError)).outcome, "released");
  await client.close();
});

test("bytes that are no message reject the delivery, wherever they are", async () => {
  const { client, senders } = joined();
  const files = client.receiver("files", { stream: true });
  await files.ready();
  const good = encoded({ properties: { subject: "s" }, body: bytes(1_000), footer: { "x-opt-a": 1 } });
  const bad = [
    Uint8Array.of(1, 2, 3),
    good.subarray(0, 500),
    good.subarray(0, good.length - 1),
    concat([good, Uint8Array.of(0x00, 0x53, 0x75, 0xa0, 0x01, 0x00)]),
    concat([good, Uint8Array.of(0x00)]),
    good.subarray(0, 4),
  ];
  const errors: unknown[] = [];
  const serving = files.serve((delivery) => read(delivery.stream()), { onerror: (error) => errors.push(error) });
  for (const payload of bad) {
    const error = await assertRejects(() => senders[0]!.send(payload), OutcomeError);
    assertEquals([error.outcome, error.condition], ["rejected", condition.decodeError]);
  }
  assertEquals(errors.length, bad.length);
  for (const error of errors) assertInstanceOf(error, AmqpError);
  assertEquals(await senders[0]!.send(good), { kind: "accepted" });
  await client.close();
  await serving;
});
