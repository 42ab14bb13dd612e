import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import rhea from "rhea";
import { connect, type FrameTrace } from "../../mod.ts";
import { random, seed, test } from "../harness.ts";
import { acceptorServer, rheaClient, type RheaMessage, rheaServer, sendAll } from "./rhea.ts";

const MEBI = 1_048_576;
// Around every size where an encoding changes: 8 and 32 bit sizes, one frame and several, one flush and several.
const SIZES = [1, 100, 255, 256, 400, 440, 460, 480, 511, 512, 513, 1_024, 65_300, 65_535, 65_536, 65_537, 200_000];

function bodies(sizes: readonly number[]): Uint8Array[] {
  const source = random(seed()).bytes(Math.min(MEBI, Math.max(...sizes)));
  return sizes.map((size) => {
    const body = new Uint8Array(size);
    for (let at = 0; at < size; at += source.length) body.set(source.subarray(0, size - at), at);
    return body;
  });
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Counts transfers, and records their largest payload. */
function transfers(direction: "in" | "out"): { count: number; largest: number; trace(frame: FrameTrace): void } {
  const seen = {
    count: 0,
    largest: 0,
    trace(frame: FrameTrace): void {
      if (frame.direction !== direction || frame.body?.kind !== "transfer") return;
      seen.count++;
      seen.largest = Math.max(seen.largest, frame.payloadBytes);
    },
  };
  return seen;
}

type Direction = (sizes: readonly number[], maxFrameSize: number) => Promise<ReturnType<typeof transfers>>;

/** Sends from our client to a rhea server that accepts frames of this size. */
const clientToRhea: Direction = async (sizes, maxFrameSize) => {
  await using server = await rheaServer({ max_frame_size: maxFrameSize });
  const sent = bodies(sizes);
  let intact = 0;
  server.container.on("message", ({ message }) => intact += same(message!.body.content, sent[intact]!) ? 1 : 0);
  const seen = transfers("out");
  await using connection = await connect(server.url, { trace: seen.trace });
  const sender = connection.sender("q");
  await Promise.all(sent.map((body) => sender.send({ body })));
  assertEquals(intact, sent.length);
  return seen;
};

/** Sends from a rhea server to our client, which accepts frames of this size. */
const rheaToClient: Direction = async (sizes, maxFrameSize) => {
  await using server = await rheaServer();
  const sent = bodies(sizes);
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, asData(sent)));
  const seen = transfers("in");
  await using connection = await connect(server.url, { maxFrameSize, trace: seen.trace });
  let intact = 0;
  for await (const { message } of connection.receiver("q")) {
    assert(same(message.body as Uint8Array, sent[intact]!));
    if (++intact === sent.length) break;
  }
  return seen;
};

/** Sends from a rhea client to our acceptor, which accepts frames of this size. */
const rheaToAcceptor: Direction = async (sizes, maxFrameSize) => {
  const sent = bodies(sizes);
  const seen = transfers("in");
  let intact = 0;
  await using server = await acceptorServer({
    maxFrameSize,
    trace: seen.trace,
    onReceiver: (request) =>
      request.accept().serve(({ message }) => {
        intact += same(message.body as Uint8Array, sent[intact]!) ? 1 : 0;
      }),
  });
  await using client = await rheaClient(server.url);
  const sender = client.connection.open_sender("q");
  let accepted = 0;
  const done = new Promise<void>((resolve) =>
    sender.on("accepted", () => {
      if (++accepted === sent.length) resolve();
    })
  );
  sendAll(sender, asData(sent));
  await done;
  assertEquals(intact, sent.length);
  return seen;
};

/** Sends from our acceptor to a rhea client that accepts frames of this size. */
const acceptorToRhea: Direction = async (sizes, maxFrameSize) => {
  const sent = bodies(sizes);
  const seen = transfers("out");
  let outcomes: Promise<unknown> | undefined;
  await using server = await acceptorServer({
    trace: seen.trace,
    onSender: (request) => {
      const sender = request.accept();
      outcomes = Promise.all(sent.map((body) => sender.send({ body })));
    },
  });
  await using client = await rheaClient(server.url, { max_frame_size: maxFrameSize });
  const receiver = client.connection.open_receiver("q");
  let intact = 0;
  const done = new Promise<void>((resolve) =>
    receiver.on("message", ({ message }) => {
      assert(same(message!.body.content, sent[intact]!));
      if (++intact === sent.length) resolve();
    })
  );
  await done;
  await outcomes;
  return seen;
};

function asData(sent: readonly Uint8Array[]): RheaMessage[] {
  return sent.map((body) => ({ body: rhea.message.data_section(Buffer.from(body)) }));
}

const DIRECTIONS: ReadonlyArray<readonly [string, Direction]> = [
  ["our client to a rhea server", clientToRhea],
  ["a rhea server to our client", rheaToClient],
  ["a rhea client to our acceptor", rheaToAcceptor],
  ["our acceptor to a rhea client", acceptorToRhea],
];

for (const [from, transport] of DIRECTIONS) {
  for (const maxFrameSize of [512, 65_536]) {
    test(`TRF-4, TRF-9: bodies of 1 byte to 200 kB from ${from} in frames of ${maxFrameSize} bytes`, async () => {
      const { largest, count } = await transport(SIZES, maxFrameSize);
      assert(largest > maxFrameSize * 0.8 && largest < maxFrameSize, `${largest} bytes in one frame`);
      assert(count > SIZES.length, `${count} frames`);
    });
    // More frames than a session window has room for: 4 MB in small ones are eight thousand.
    test(`SES-9, TRF-4, TRF-9: 4 MB from ${from} in frames of ${maxFrameSize} bytes`, async () => {
      const { count } = await transport([4_000_000], maxFrameSize);
      assert(count > 4_000_000 / maxFrameSize, `${count} frames`);
    });
  }
}
