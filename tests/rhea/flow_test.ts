import { assertEquals } from "@std/assert";
import type { Receiver as RheaReceiver, Sender as RheaSender } from "rhea";
import { connect, type Connection, type Message, type Sender } from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, type RheaMessage, rheaRoundTrip, rheaServer, sendAll } from "./rhea.ts";

const COUNT = 5_000;
const NUMBERS: unknown[] = Array.from({ length: COUNT }, (_, i) => i);

function numbered(count: number): RheaMessage[] {
  return Array.from({ length: count }, (_, body) => ({ body }));
}

/** Waits until the peer has handled everything sent: begins a session and waits for the peer's begin. */
async function roundTrip(connection: Connection): Promise<void> {
  const session = connection.session();
  await session.ready();
  await session.close();
}

// Not in rhea's typings.
function creditOf(receiver: RheaReceiver): number {
  return (receiver as unknown as { credit: number }).credit;
}

/** Collects bodies received by rhea, and resolves when there are `count`. */
function collect(receiver: RheaReceiver, count: number): { bodies: unknown[]; enough: Promise<void> } {
  const bodies: unknown[] = [];
  const enough = new Promise<void>((resolve) =>
    receiver.on("message", ({ message }) => {
      if (bodies.push(message!.body) === count) resolve();
    })
  );
  return { bodies, enough };
}

/** Resolves with the sum of outcomes that rhea's sender received, once there are `count`. */
function outcomes(sender: RheaSender, count: number): Promise<number> {
  let heard = 0;
  return new Promise((resolve) => {
    for (const name of ["accepted", "rejected", "released"]) {
      sender.on(name, () => {
        if (++heard === count) resolve(name === "accepted" ? heard : -1);
      });
    }
  });
}

test("DSP-1, FLW-3: 5,000 messages that we send at once reach a rhea server in order, all accepted", async () => {
  await using server = await rheaServer();
  const bodies: unknown[] = [];
  server.container.on("message", ({ message }) => bodies.push(message!.body));
  await using connection = await connect(server.url);
  const sender = connection.sender("q");
  const ended = await Promise.all(numbered(COUNT).map((message) => sender.send(message as Message)));
  assertEquals(bodies, NUMBERS);
  assertEquals(ended.every((outcome) => outcome?.kind === "accepted"), true);
  assertEquals(await sender.sendAll(numbered(COUNT) as Message[]), COUNT);
  assertEquals(bodies.slice(COUNT), NUMBERS);
});

test("DSP-1, FLW-3: 5,000 messages from a rhea server reach us in order, each settled once", async () => {
  await using server = await rheaServer();
  let accepted: Promise<number> | undefined;
  server.container.on("sender_open", ({ sender }) => {
    accepted = outcomes(sender!, COUNT);
    sendAll(sender!, numbered(COUNT));
  });
  await using connection = await connect(server.url);
  const bodies: unknown[] = [];
  for await (const delivery of connection.receiver("q")) {
    bodies.push(delivery.message.body);
    if (bodies.length < COUNT) continue;
    delivery.accept();
    break;
  }
  assertEquals(bodies, NUMBERS);
  assertEquals(await accepted, COUNT);
});

test("DSP-1, FLW-3: 5,000 messages from a rhea client reach our acceptor in order, all accepted", async () => {
  const bodies: unknown[] = [];
  await using server = await acceptorServer({
    onReceiver: (request) => request.accept().serve(({ message }) => bodies.push(message.body)),
  });
  await using client = await rheaClient(server.url);
  const sender = client.connection.open_sender("q");
  const accepted = outcomes(sender, COUNT);
  sendAll(sender, numbered(COUNT));
  assertEquals(await accepted, COUNT);
  assertEquals(bodies, NUMBERS);
});

test("DSP-1, FLW-3: 5,000 messages from our acceptor reach a rhea client in order, all accepted", async () => {
  let sent: Promise<number> | undefined;
  await using server = await acceptorServer({
    onSender: (request) => {
      sent = request.accept().sendAll(numbered(COUNT) as Message[]);
    },
  });
  await using client = await rheaClient(server.url);
  const { bodies, enough } = collect(client.connection.open_receiver("q"), COUNT);
  await enough;
  assertEquals(await sent, COUNT);
  assertEquals(bodies, NUMBERS);
});

test("FLW-2, FLW-4: we send a rhea server as much as it gave credit for, and the rest when it gives more", async () => {
  await using server = await rheaServer({ receiver_options: { credit_window: 0 } });
  const opened = once(server.container, "receiver_open");
  await using connection = await connect(server.url);
  const sender = connection.sender("q");
  const sends = Promise.all(numbered(20).map((message) => sender.send(message as Message)));
  const receiver = (await opened).receiver!;
  const { bodies } = collect(receiver, 20);
  for (const [credit, total] of [[0, 0], [7, 7], [1, 8], [3, 11]] as const) {
    receiver.add_credit(credit);
    await rheaRoundTrip(receiver.connection);
    await roundTrip(connection);
    assertEquals(bodies, NUMBERS.slice(0, total));
    assertEquals([sender.pending, sender.credit], [20 - total, 0]);
  }
  receiver.add_credit(100);
  await sends;
  assertEquals(bodies.length, 20);
  assertEquals(sender.credit, 91);
});

test("FLW-2, FLW-4: a rhea server sends what we gave credit for, however it is given and taken back", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, numbered(20)));
  await using connection = await connect(server.url);
  const receiver = connection.receiver({ address: "q", credit: "manual", settle: "manual" });
  for (const [credit, total] of [[5, 5], [0, 5], [1, 6]] as const) {
    receiver.grant(credit);
    await roundTrip(connection);
    await roundTrip(connection);
    assertEquals([receiver.buffered, receiver.credit], [total, 0]);
  }
  receiver.grant(100);
  for (let i = 0; i < 20; i++) {
    const delivery = await receiver.receive();
    assertEquals(delivery.message.body, i);
    delivery.accept();
  }
  assertEquals(receiver.credit, 86);
});

test("FLW-2: messages that are not settled yet hold their credit; a rhea server sends no more than that", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, numbered(50)));
  await using connection = await connect(server.url);
  const receiver = connection.receiver({ address: "q", credit: 10, settle: "manual" });
  const held = [];
  for (let i = 0; i < 10; i++) held.push(await receiver.receive());
  await roundTrip(connection);
  await roundTrip(connection);
  assertEquals([receiver.buffered, receiver.credit], [0, 0]);
  for (const delivery of held.splice(0, 4)) delivery.accept();
  await roundTrip(connection);
  await roundTrip(connection);
  assertEquals(receiver.buffered + receiver.credit + held.length <= 10, true);
  for (const delivery of held) delivery.release();
  for (let i = 10; i < 50; i++) (await receiver.receive()).accept();
});

test("FLW-2, FLW-4: our acceptor and a rhea client keep to each other's credit", async () => {
  let ours: Sender | undefined;
  const bodies: unknown[] = [];
  await using server = await acceptorServer({
    onSender: (request) => {
      ours = request.accept();
      for (let body = 0; body < 20; body++) ours.send({ body }).catch(() => {});
    },
    onReceiver: async (request) => {
      const receiver = request.accept({ credit: "manual", settle: "manual" });
      receiver.grant(3);
      for (let i = 0; i < 3; i++) bodies.push((await receiver.receive()).message.body);
    },
  });
  await using client = await rheaClient(server.url);
  const receiver = client.connection.open_receiver({ source: "q", credit_window: 0 });
  const seen = collect(receiver, 4);
  receiver.add_credit(4);
  const sender = client.connection.open_sender("q");
  sendAll(sender, numbered(20));
  await seen.enough;
  await rheaRoundTrip(client.connection);
  await rheaRoundTrip(client.connection);
  assertEquals(seen.bodies, [0, 1, 2, 3]);
  assertEquals([ours!.pending, ours!.credit], [16, 0]);
  assertEquals(bodies, [0, 1, 2]);
  assertEquals(sender.sendable(), false);
  await client.connection.close();
});

test("FLW-5: draining a rhea server brings what it has and takes the rest of the credit back, again and again", async () => {
  await using server = await rheaServer();
  const stock = [3, 0, 2];
  server.container.on("sender_open", ({ sender }) => {
    sender!.on("sender_draining", () =>
      void setImmediate(() => {
        for (let n = stock.shift()!; n > 0; n--) sender!.send({ body: n });
        sender!.set_drained(true);
        // rhea sends the flow with its next event.
        sender!.session.connection._register();
      }));
  });
  await using connection = await connect(server.url);
  const receiver = connection.receiver({ address: "q", credit: "manual", settle: "manual" });
  for (const total of [3, 3, 5]) {
    receiver.grant(10);
    await receiver.drain();
    assertEquals([receiver.buffered, receiver.credit], [total, 0]);
  }
  // A drain without credit has nothing to wait for.
  await receiver.drain();
  receiver.grant(1);
  await roundTrip(connection);
  assertEquals(receiver.credit, 1);
});

test("FLW-5: a rhea client that drains our acceptor gets what there is, and its credit back", async () => {
  const senders: Sender[] = [];
  await using server = await acceptorServer({
    onSender: (request) => {
      const sender = request.accept();
      senders.push(sender);
      for (let body = 0; body < 3; body++) sender.send({ body }).catch(() => {});
    },
  });
  await using client = await rheaClient(server.url);
  const receiver = client.connection.open_receiver({ source: "q", credit_window: 0 });
  await once(receiver, "receiver_open");
  const { bodies } = collect(receiver, 3);
  receiver.add_credit(10);
  receiver.drain_credit();
  await once(receiver, "receiver_drained");
  assertEquals(bodies, [0, 1, 2]);
  assertEquals([creditOf(receiver), senders[0]!.credit], [0, 0]);
  // The flag stays set: every further credit is drained at once.
  const again = once(receiver, "receiver_drained");
  receiver.add_credit(5);
  await again;
  assertEquals([creditOf(receiver), senders[0]!.credit], [0, 0]);
});

test("LNK-2, SES-2: 200 links each way on one connection, over five sessions, do not mix", async () => {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => {
    const { address } = sender!.source;
    sender!.set_source(sender!.source);
    sendAll(sender!, [{ body: `${address} 0` }, { body: `${address} 1` }]);
  });
  const seen = new Map<string, unknown[]>();
  server.container.on("message", ({ receiver, message }) => {
    const { address } = receiver!.target;
    seen.set(address!, [...seen.get(address!) ?? [], message!.body]);
  });
  await using connection = await connect(server.url);
  const sessions = Array.from({ length: 5 }, () => connection.session());
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const session = sessions[i % 5]!;
    const sender = session.sender(`q${i}`);
    const receiver = session.receiver({ address: `q${i}`, credit: 2, settle: "manual" });
    await sender.send({ body: `mine ${i}` });
    for (let n = 0; n < 2; n++) {
      const delivery = await receiver.receive();
      assertEquals(delivery.message.body, `q${i} ${n}`);
      delivery.accept();
    }
    if (i % 2 === 0) await Promise.all([sender.close(), receiver.close()]);
  }));
  assertEquals(seen.size, 200);
  for (let i = 0; i < 200; i++) assertEquals(seen.get(`q${i}`), [`mine ${i}`]);
  await sessions[0]!.close();
  // The other sessions go on, and freed handles can be used again.
  await sessions[1]!.sender("again").send({ body: "once more" });
  assertEquals(seen.get("again"), ["once more"]);
});

test("LNK-2, SES-2: a rhea client may have 100 links each way over five sessions of our acceptor", async () => {
  const seen = new Map<string, unknown[]>();
  await using server = await acceptorServer({
    onReceiver: (request) =>
      request.accept().serve(({ message }) => {
        seen.set(request.address!, [...seen.get(request.address!) ?? [], message.body]);
      }),
    onSender: async (request) => {
      await request.accept().send({ body: request.address });
    },
  });
  await using client = await rheaClient(server.url);
  const sessions = Array.from({ length: 5 }, () => client.connection.create_session());
  for (const session of sessions) session.begin();
  await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const session = sessions[i % 5]!;
    const receiver = session.open_receiver(`q${i}`);
    const { bodies, enough } = collect(receiver, 1);
    const sender = session.open_sender(`q${i}`);
    const accepted = outcomes(sender, 1);
    sendAll(sender, [{ body: `theirs ${i}` }]);
    await enough;
    assertEquals(bodies, [`q${i}`]);
    assertEquals(await accepted, 1);
    const closed = once(sender, "sender_close");
    sender.close();
    await closed;
  }));
  assertEquals(seen.size, 100);
  for (let i = 0; i < 100; i++) assertEquals(seen.get(`q${i}`), [`theirs ${i}`]);
});
