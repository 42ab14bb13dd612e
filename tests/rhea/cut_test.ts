import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import rhea from "rhea";
import {
  AmqpError,
  connect,
  type Connection,
  type Delivery,
  OutcomeError,
  type Receiver,
  type Sender,
  TransportError,
} from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, rheaDial, type RheaServer, rheaServer, sendAll } from "./rhea.ts";

/** Pending calls by name, each of which must end when the connection does. */
type Calls = Record<string, Promise<unknown>>;

/** Records how calls end, without waiting for them. */
function watch(calls: Calls): Map<string, unknown> {
  const ends = new Map<string, unknown>();
  for (const [name, call] of Object.entries(calls)) {
    call.then((value) => ends.set(name, value ?? null), (error) => ends.set(name, error));
  }
  return ends;
}

/** Runs everything that is due: callbacks of promises, and timers without delay. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Checks that each call has ended with an error that a program can tell apart. */
function assertAllEnded(calls: Calls, ends: Map<string, unknown>): void {
  for (const name of Object.keys(calls)) {
    assert(ends.has(name), `${name} waits for ever`);
    const error = ends.get(name);
    assert(error instanceof AmqpError || error instanceof TransportError, `${name} ended with ${error}`);
    if (error instanceof AmqpError) assert(error.retryable, `${name}: ${error.message}`);
  }
}

async function iterate(receiver: Receiver): Promise<void> {
  for await (const delivery of receiver) void delivery;
}

/** A rhea server that gives credit for two messages on `full`, never answers, and drops the connection. */
async function stubbornServer(): Promise<RheaServer> {
  const server = await rheaServer({ receiver_options: { credit_window: 0, autoaccept: false } });
  server.container.on("receiver_open", ({ receiver }) => {
    if (receiver!.target.address === "full") receiver!.add_credit(2);
    if (receiver!.target.address === "service") receiver!.add_credit(10);
  });
  server.container.on("sender_open", ({ sender }) => {
    if ((sender!.source as { dynamic?: boolean }).dynamic) sender!.set_source({ address: "reply" });
  });
  return server;
}

function bodies(count: number): { body: number }[] {
  return Array.from({ length: count }, (_, body) => ({ body }));
}

/** Every call of ours that can wait for the peer. */
function waitingCalls(connection: Connection): Calls {
  const full = connection.sender("full");
  const receiver = (address: string) => connection.receiver({ address, credit: 5 });
  const writer = connection.sender("full").writable.getWriter();
  const writerCalls = writer.write({ body: "written" }).then(() => writer.close());
  writer.closed.catch(() => {});
  return {
    "send that left": full.send({ body: 1 }),
    "send that left second": full.send({ body: 2 }),
    "send without credit": full.send({ body: 3 }),
    "settled send without credit": connection.sender("none").send({ body: 4 }, { settled: true }),
    "sendAll": connection.sender("full").sendAll(bodies(5)),
    "writable": writerCalls,
    "receive": receiver("q").receive(),
    "second receive": receiver("q").receive(),
    "iteration": iterate(receiver("q")),
    "serve": receiver("q").serve(() => {}),
    "readable": receiver("q").readable.getReader().read(),
    "drain": receiver("q").drain(),
    "request": connection.request("service", { body: "?" }),
  };
}

test("WSB-27, ATK-32: all that waits ends at once with a typed error when a rhea server's socket is cut", async () => {
  await using server = await stubbornServer();
  let arrived = 0;
  const enough = new Promise<void>((resolve) =>
    server.container.on("message", () => {
      // Two by send, two by sendAll, the written one, and the request.
      if (++arrived === 6) resolve();
    })
  );
  const connection = await connect(server.url, { reconnect: false });
  const events = connection.events();
  const closedEvent = events.next();
  const calls = waitingCalls(connection);
  const ends = watch(calls);
  await enough;
  assertEquals(ends.size, 0);
  for (const socket of server.sockets) socket.terminate();
  await connection.closed;
  await settled();
  assertAllEnded(calls, ends);
  for (const name of ["send that left", "send that left second"]) {
    const error = ends.get(name);
    assertInstanceOf(error, OutcomeError);
    assertEquals(error.outcome, "lost");
    assertInstanceOf(error.cause, TransportError);
  }
  assertInstanceOf(connection.error, TransportError);
  assertEquals([connection.error.code, connection.open], ["connection-lost", false]);
  assertEquals((await closedEvent).value, { kind: "closed", error: connection.error });
  // Later calls fail in the same way.
  await assertRejects(() => connection.request("service", { body: "?" }), AmqpError);
  await assertRejects(async () => await connection.sender("q").send({ body: 1 }), AmqpError);
  await assertRejects(() => connection.ready().then(() => connection.receiver("q").receive()), AmqpError);
  await connection.close();
});

test("WSB-27: links, sessions and connections that are about to begin end at once, too", async () => {
  await using server = await rheaServer();
  const connection = await connect(server.url, { reconnect: false });
  const [socket] = server.sockets;
  // rhea receives nothing from now on.
  socket!.onmessage = () => {};
  const calls: Calls = {
    "session": connection.session().ready(),
    "sender": connection.sender("q").ready(),
    "receiver": connection.receiver("q").ready(),
    "send": connection.sender("q").send({ body: 1 }),
    "request": connection.request("q", { body: 1 }),
  };
  const ends = watch(calls);
  const closing = connection.receiver("r").close();
  await settled();
  socket!.terminate();
  await connection.closed;
  await settled();
  assertAllEnded(calls, ends);
  await closing;

  const accepting = await rheaServer();
  accepting.container.on("connection_open", () => {
    for (const socket of accepting.sockets) socket.terminate();
  });
  const error = await connect(accepting.url).then(
    (connection) => connection.closed.then(() => connection.error),
    (e) => e,
  );
  assertInstanceOf(error, TransportError);
  assertEquals(error.code, "connection-lost");
  await accepting[Symbol.asyncDispose]();
});

test("WSB-27: a delivery in hand cannot be settled after the cut, and its loop ends with the error", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, bodies(10)));
  const connection = await connect(server.url, { reconnect: false });
  const held: Delivery[] = [];
  const loop = assertRejects(async () => {
    for await (const delivery of connection.receiver("q")) {
      held.push(delivery);
      for (const socket of server.sockets) socket.terminate();
      await connection.closed;
    }
  }, TransportError);
  const served = assertRejects(
    () =>
      connection.receiver("q").serve(async () => {
        await connection.closed;
      }),
    TransportError,
  );
  await Promise.all([loop, served]);
  assertEquals(held.length > 0, true);
  for (const settle of ["accept", "release", "reject", "modify"] as const) {
    try {
      held[0]![settle]();
      assert(false, `${settle} did not throw`);
    } catch (error) {
      assertInstanceOf(error, AmqpError);
    }
  }
});

test("WSB-27, TRF-4: a cut in the middle of a large message loses it, whichever way it went", async () => {
  const large = new Uint8Array(8_000_000);
  await using server = await rheaServer({ max_frame_size: 512 });
  const connection = await connect(server.url, { maxFrameSize: 512, reconnect: false });
  const [socket] = server.sockets;
  server.container.on("sender_open", ({ sender }) => {
    sender!.on("sendable", () =>
      void setImmediate(() => {
        if (sender!.is_open()) sender!.send({ body: rhea.message.data_section(Buffer.from(large)) });
      }));
  });
  let frames = 0;
  const hear = socket!.onmessage;
  socket!.onmessage = function (event) {
    if (++frames === 5) return socket!.terminate();
    hear?.call(socket!, event);
  };
  const receiver = connection.receiver("q");
  const calls = { receive: receiver.receive(), send: connection.sender("q").send({ body: large }) };
  const ends = watch(calls);
  await connection.closed;
  await settled();
  assertAllEnded(calls, ends);
  assertEquals((ends.get("send") as OutcomeError).outcome, "lost");
});

test("WSB-27: a rhea server hears of the end when we drop the connection, and so does all that waits here", async () => {
  await using server = await stubbornServer();
  const dropped = once(server.container, "disconnected");
  const connection = await connect(server.url, { reconnect: false });
  const calls = waitingCalls(connection);
  const ends = watch(calls);
  await once(server.container, "message");
  connection.destroy(new TransportError("connection-lost", "The network is gone"));
  await settled();
  assertAllEnded(calls, ends);
  await dropped;
  await connection.closed;
  await connection.close();
});

test("WSB-27, ATK-32: all that waits at our acceptor ends at once when a rhea client's socket is cut", async () => {
  const ends: Map<string, unknown>[] = [];
  const calls: Calls[] = [];
  let connection: Connection | undefined;
  const senders: Sender[] = [];
  await using server = await acceptorServer({
    onConnection: (opened) => {
      connection = opened;
    },
    onSender: (request) => {
      const sender = request.accept();
      senders.push(sender);
      calls.push({
        "send that left": sender.send({ body: 1 }),
        "send without credit": sender.send({ body: 2 }),
        "sendAll": sender.sendAll(bodies(3)),
      });
      ends.push(watch(calls.at(-1)!));
    },
    onReceiver: (request) => {
      const receiver = request.accept({ credit: 5 });
      calls.push({
        "receive": receiver.receive(),
        "drain": receiver.drain(),
        "serve": receiver.serve(() => {}),
        "iteration": iterate(receiver),
        "session": request.connection.session().closed.then(() => Promise.reject(request.connection.error)),
      });
      ends.push(watch(calls.at(-1)!));
    },
  });
  await using client = await rheaClient(server.url);
  const receiver = client.connection.open_receiver({ source: "q", credit_window: 0, autoaccept: false });
  receiver.add_credit(1);
  const arrived = once(receiver, "message");
  const sender = client.connection.open_sender("q");
  await once(sender, "sender_open");
  await arrived;
  client.socket.terminate();
  await connection!.closed;
  await settled();
  assertEquals(calls.length, 2);
  for (const [i, each] of calls.entries()) assertAllEnded(each, ends[i]!);
  assertEquals((ends[0]!.get("send that left") as OutcomeError).outcome, "lost");
  assertInstanceOf(connection!.error, TransportError);
  await assertRejects(() => senders[0]!.send({ body: 4 }), AmqpError);
});

test("WSB-27: a rhea client that is cut before, while or after it opens leaves nothing behind in our acceptor", async () => {
  let opened = 0;
  await using server = await acceptorServer({ onConnection: () => void opened++ });
  const { connections } = server.acceptor as { connections?: ReadonlySet<Connection> };
  const early = rheaDial(server.url, { username: "anonymous" });
  await new Promise((resolve) => early.socket.on("open", resolve));
  early.socket.terminate();
  await early[Symbol.asyncDispose]();
  const late = await rheaClient(server.url);
  late.socket.terminate();
  await late[Symbol.asyncDispose]();
  await using other = await rheaClient(server.url);
  assertEquals(other.connection.is_open(), true);
  const left = [...connections!];
  await other.connection.close();
  await Promise.all(left.map((connection) => connection.closed));
  assertEquals([connections!.size, opened], [0, 2]);
});

test("WSB-27: a rhea client hears of the end when our acceptor drops the connection", async () => {
  let told: (connection: Connection) => void = () => {};
  const connected = new Promise<Connection>((resolve) => told = resolve);
  await using server = await acceptorServer({ onConnection: (connection) => told(connection) });
  await using client = await rheaClient(server.url);
  const dropped = once(client.connection, "disconnected");
  (await connected).destroy(new TransportError("connection-lost", "The network is gone"));
  await dropped;
});
