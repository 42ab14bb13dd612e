import { assertEquals, assertRejects } from "@std/assert";
import { type Connection, type Delivery, TransportError } from "../../mod.ts";
import { AmqpError, condition, connect, type FrameTrace, plain, publish } from "../../mod.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import { random, seed, test } from "../harness.ts";
import { serve } from "../serve.ts";

/** Runs `body` against an acceptor on a real WebSocket server of this runtime. */
async function withServer(options: AcceptorOptions, body: (url: string) => Promise<void>): Promise<void> {
  const server = acceptor(options);
  const { url, close } = await serve((channel) => void server.accept(channel));
  try {
    await body(url);
  } finally {
    await server.close();
    await close();
  }
}

/** Collects every message of every sender. */
function collecting(into: Delivery[]): AcceptorOptions {
  return {
    onReceiver: (request) => void request.accept({ credit: 20 }).serve((delivery) => void into.push(delivery)),
  };
}

test("WSB-1: publish sends one message over a WebSocket and closes", async () => {
  const got: Delivery[] = [];
  await withServer(collecting(got), async (url) => {
    assertEquals(await publish(url, "orders", { body: "one coffee" }), { kind: "accepted" });
    assertEquals(await publish(url, "orders", { body: "another" }, { settled: true }), undefined);
  });
  assertEquals(got.map((delivery) => delivery.message.text()), ["one coffee", "another"]);
});

test("WSB-14: everything before the first credit goes out in one flight", async () => {
  const flights: string[][] = [[]];
  const trace = ({ direction, body }: FrameTrace) => {
    if (direction === "in") flights.push([]);
    else flights[flights.length - 1]!.push(body?.kind ?? "empty");
  };
  await withServer(collecting([]), async (url) => {
    await publish(url, "orders", { body: "one coffee" }, { trace });
  });
  assertEquals(flights.filter((flight) => flight.length > 0).slice(0, 3), [
    ["saslInit"],
    ["open", "begin", "attach"],
    ["transfer"],
  ]);
});

test("WSB-33: user info of the URL is used for SASL PLAIN only", async () => {
  const identities: (string | undefined)[] = [];
  const sasl = { users: { "me@home": "p:w" } };
  await withServer({ sasl, onConnection: (connection) => void identities.push(connection.identity) }, async (url) => {
    const target = new URL(url);
    target.username = encodeURIComponent("me@home");
    target.password = encodeURIComponent("p:w");
    await using _ = await connect(target);
  });
  assertEquals(identities, ["me@home"]);
});

test("ATK-28: PLAIN over ws to another host is refused before anything is sent", async () => {
  const error = await assertRejects(
    () => connect("ws://broker.invalid/", { auth: plain("user", "s3cret") }),
    AmqpError,
  );
  assertEquals([error.condition, error.message.includes("s3cret")], [condition.unauthorizedAccess, false]);
  // With clear text allowed, the client gets as far as the host name, which does not exist.
  await assertRejects(
    () => connect("ws://broker.invalid/", { auth: plain("user", "s3cret", { allowCleartext: true }) }),
    TransportError,
  );
});

test("a bad password rejects connect with the scope and condition of SASL", async () => {
  await withServer({ sasl: { users: { user: "right" } } }, async (url) => {
    const error = await assertRejects(() => connect(url, { auth: plain("user", "wrong") }), AmqpError);
    assertEquals([error.condition, error.scope], [condition.unauthorizedAccess, "connection"]);
    assertEquals(await tryTo(() => publish(url, "q", { body: 1 }, { auth: plain("user", "wrong") })), "AmqpError");
    await using connection = await connect(url, { auth: () => Promise.resolve(plain("user", "right")) });
    assertEquals(connection.open, true);
  });
});

test("connect and publish end with their signal", async () => {
  await withServer({}, async (url) => {
    const aborted = AbortSignal.abort(new Error("not now"));
    await assertRejects(() => connect(url, { signal: aborted }), Error, "not now");
    await assertRejects(() => publish(url, "q", { body: 1 }, { signal: aborted }), Error, "not now");
  });
  // Without credentials nothing is sent, and `auth` is not called in vain.
  let asked = 0;
  const auth = () => {
    asked++;
    return new Promise<never>(() => {});
  };
  const impatient = connect("ws://127.0.0.1:1", { auth, signal: AbortSignal.timeout(1) });
  assertEquals((await assertRejects(() => impatient, Error)).name, "TimeoutError");
  await assertRejects(
    () => connect("ws://127.0.0.1:1", { auth, signal: AbortSignal.abort(new Error("no")) }),
    Error,
    "no",
  );
  assertEquals(asked, 1);
  // A server that never answers the attach.
  await withServer({ onReceiver: () => {} }, async (url) => {
    const controller = new AbortController();
    const publishing = publish(url, "q", { body: 1 }, {
      signal: controller.signal,
      trace: ({ body, direction }) => {
        if (direction === "in" && body?.kind === "begin") controller.abort(new Error("too slow"));
      },
    });
    await assertRejects(() => publishing, Error, "too slow");
  });
});

test("TRF-9: messages of any size arrive as they were sent, both ways, in frames of any size", async () => {
  const { bytes, int } = random(seed());
  const sizes = [0, 1, 255, 256, 511, 512, 4_095, 65_535, 65_536, 65_537, 1_000_000, int(3_000_000)];
  const bodies = sizes.map((size) => bytes(size));
  for (const maxFrameSize of [512, 65_536]) {
    const got: Delivery[] = [];
    const options: AcceptorOptions = {
      ...collecting(got),
      maxFrameSize,
      onSender: (request) => {
        const sender = request.accept();
        void sender.sendAll(bodies.map((body) => ({ body }))).catch(() => {});
      },
    };
    await withServer(options, async (url) => {
      await using connection = await connect(url, { maxFrameSize });
      await connection.sender("up").sendAll(bodies.map((body) => ({ body })));
      assertEquals(got.map((delivery) => delivery.message.bytes()), bodies);
      let next = 0;
      for await (const delivery of connection.receiver("down", { credit: 3 })) {
        assertEquals(delivery.message.bytes(), bodies[next++]);
        if (next === bodies.length) break;
      }
    });
  }
});

test("WSB-27: a server that vanishes ends what waits, on its own connection only", async () => {
  const accepted: Connection[] = [];
  await withServer({
    onConnection: (connection) => void accepted.push(connection),
    onSender: (request) => void request.accept(),
  }, async (url) => {
    const first = await connect(url, { reconnect: false });
    await using second = await connect(url);
    const receiver = first.receiver("a");
    await receiver.ready();
    const waiting = receiver.receive();
    accepted.find((one) => one.remote?.containerId === first.containerId)!.destroy(new Error("power cut"));
    await assertRejects(() => waiting, TransportError);
    assertEquals([first.open, second.open], [false, true]);
    await first.close();
  });
});

async function tryTo(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
    return "ok";
  } catch (error) {
    return (error as Error).name;
  }
}
