import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { connect, type ConnectOptions } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { resume } from "../../src/client/resume.ts";
import { MAX_IDLE_ROUNDS } from "../../src/client/resume_link.ts";
import type { Attach, Source, Target } from "../../src/codec/types.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { ScriptedPeer } from "../../src/testing/mod.ts";
import { test } from "../harness.ts";
import { dialling, HOST, world } from "./resume_world.ts";
import { VirtualTime } from "./virtual.ts";

test("resume: a receiver that is refused for a passing reason when it comes back keeps what it holds", async () => {
  let refusals = 0;
  const authorize = (): boolean => {
    if (refusals === 0) return true;
    refusals--;
    throw new AmqpError("amqp:link:detach-forced", "Node moves", { scope: "link" });
  };
  await world(async ({ time, broker, connection, cut, events }) => {
    await time.wait(connection.sender("orders").sendAll(["told", "held", "later"].map((body) => ({ body }))));
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: "resume" });
    const [told, held] = [await time.wait(receiver.receive()), await time.wait(receiver.receive())];
    cut();
    // The outcome is not received before the link is attached again, which is refused twice.
    told.accept();
    refusals = 2;
    await time.pass(20_000);
    assertEquals([refusals, held.signal.aborted, held.usable], [0, false, true]);
    held.accept();
    const later = await time.wait(receiver.receive());
    assertEquals(later.message.body, "later");
    later.accept();
    await time.pass(1_000);
    assertEquals(broker.messages, 0);
    const { resumed, redelivered, reason } = events.find((event) => event.kind === "linkResumed")!;
    assertEquals([resumed, redelivered, reason], [2, 0, undefined]);
  }, { authorize: (_, action) => action !== "receive" || authorize() });
});

test("resume: where the broker keeps no links, messages are sent again, and events and log say so", async () => {
  await world(async ({ time, broker, connection, cut, events, logged }) => {
    const sender = connection.sender({ address: "orders", name: "orders-1", recovery: "resume" });
    await time.wait(sender.ready());
    const sending = sender.send({ body: "once or twice" });
    for (let i = 0; i < 2000 && broker.queue("orders")!.messages < 1; i++) await undefined;
    cut();
    const outcome = await time.wait(sending);
    assertEquals([outcome?.kind, outcome?.resent, outcome?.resumed], ["accepted", true, undefined]);
    assertEquals(broker.queue("orders")!.messages, 2);
    const resumed = events.find((event) => event.kind === "linkResumed");
    assertEquals(resumed?.kind === "linkResumed" && [resumed.resent, resumed.reason], [
      1,
      "the peer has kept nothing of it",
    ]);
    assert(
      logged.some((line) => /not-resumed: .*"orders" at broker\.example.*sent again/.test(line)),
      logged.join("\n"),
    );
    assert(logged.some((line) => /not-resumed: .*in two steps/.test(line)), logged.join("\n"));
  }, { maxSuspendMs: 0 });
});

test("resume: without its broker's map a held delivery is lost, comes again, and tells so", async () => {
  await world(async ({ time, broker, connection, cut, events }) => {
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 2, recovery: resume() });
    await time.wait(connection.send("orders", { body: "one" }));
    const delivery = await time.wait(receiver.receive());
    const aborted = delivery.signal;
    cut();
    const again = await time.wait(receiver.receive());
    assertEquals([aborted.aborted, receiver.unsettled], [true, 1]);
    again.accept();
    await time.pass(10);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 0]);
    const told = events.find((event) => event.kind === "linkResumed");
    assertEquals(told?.kind === "linkResumed" && told.redelivered, 1);
  }, { maxSuspendMs: 0 });
});

test("resume: a peer that refuses to resume gets the link as a new one, as Broker-J does", async () => {
  const time = new VirtualTime();
  let attached = 0;
  const server = acceptor({
    environment: time,
    log: null,
    onReceiver: (request) => {
      attached++;
      if (request.attach.unsettled !== undefined && request.attach.unsettled.size > 0) {
        throw new AmqpError("amqp:not-implemented", "Resuming link is not implemented", { scope: "link" });
      }
      // The first connection answers nothing.
      if (attached > 1) void request.accept({ credit: 5 }).serve(() => {});
      else request.accept({ credit: 5, settle: "manual" });
    },
  });
  const { connection, network } = await dialling(time, (channel) => server.accept(channel));
  const reasons: unknown[] = [];
  (async () => {
    for await (const event of connection.events()) if (event.kind === "linkResumed") reasons.push(event.reason);
  })();
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
  const sending = sender.send({ body: "one" });
  await time.pass(100);
  network.cut(HOST);
  assertEquals((await time.wait(sending))?.resent, true);
  assertEquals([reasons, attached], [["the peer does not resume links"], 3]);
  await time.wait(connection.close());
  await time.wait(server.close());
});

test("resume: a peer that ends the session over a link that is resumed gets it as a new one, and the others back", async () => {
  const time = new VirtualTime();
  const lists: [name: string, size: number | undefined][] = [];
  let links = 0;
  // RabbitMQ 3 answers with an empty map.
  const refuses = ({ attach, connection }: { attach: Attach; connection: Connection }): boolean => {
    lists.push([attach.name, attach.unsettled?.size]);
    if (!attach.unsettled?.size) return false;
    const { endpoint } = (connection as unknown as { attachment: { endpoint: ConnectionEndpoint } }).attachment;
    for (const session of endpoint.sessions()) {
      session.end(new AmqpError("amqp:not-implemented", "Link recovery not supported", { scope: "session" }));
    }
    return true;
  };
  const server = acceptor({
    environment: time,
    log: null,
    onSender: (request) => {
      if (refuses(request)) return;
      const sender = request.accept();
      if (request.address === "numbers") void sender.send({ body: ++links }).catch(() => {});
    },
    onReceiver: (request) => {
      if (refuses(request)) return;
      const receiver = request.accept({ credit: 5, settle: "manual" });
      // The first link answers nothing.
      if (links > 2) void receiver.serve((delivery) => delivery.accept());
    },
  });
  const { connection, network } = await dialling(time, (channel) => server.accept(channel));
  const session = connection.session();
  const receiver = session.receiver({ address: "numbers", name: "in", credit: 2, recovery: resume() });
  const plain = session.receiver({ address: "numbers", name: "plain", credit: 2 });
  const sender = session.sender({ address: "orders", name: "out", recovery: resume() });
  for (const each of [receiver, plain]) (await time.wait(each.receive())).accept();
  const sending = sender.send({ body: "one" });
  await time.pass(100);
  network.cut(HOST);
  assertEquals((await time.wait(sending))?.resent, true);
  await time.pass(1_000);
  const numbers = [];
  for (const each of [receiver, plain]) numbers.push((await time.wait(each.receive())).message.body);
  assertEquals([receiver.open, plain.open, sender.open, session.open], [true, true, true, true]);
  assert(numbers.every((number) => Number(number) > 2), numbers.join());
  assertEquals(lists.filter(([name]) => name === "out"), [["out", undefined], ["out", 1], ["out", undefined]]);
  connection.destroy(new Error("enough"));
  await time.wait(server.close());
});

test("resume: a peer that refuses two steps gets a link of one, unless the program has asked for two", async () => {
  const time = new VirtualTime();
  const modes: unknown[] = [];
  // As RabbitMQ 3 does.
  const refuses = ({ attach, connection }: { attach: Attach; connection: Connection }): boolean => {
    modes.push(attach.rcvSettleMode);
    if (attach.rcvSettleMode !== "second") return false;
    const { endpoint } = (connection as unknown as { attachment: { endpoint: ConnectionEndpoint } }).attachment;
    for (const session of endpoint.sessions()) {
      session.end(new AmqpError("amqp:not-implemented", "rcv-settle-mode second not supported", { scope: "session" }));
    }
    return true;
  };
  const server = acceptor({
    environment: time,
    log: null,
    onSender: (request) => void (refuses(request) || request.accept().send({ body: 1 }).catch(() => {})),
    onReceiver: (request) => void (refuses(request) || request.accept({ credit: 5 }).serve(() => {})),
  });
  const logged: string[] = [];
  const { connection } = await dialling(time, (channel) => server.accept(channel), {
    log: ({ code }) => void logged.push(code),
  });
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
  assertEquals((await time.wait(sender.send({ body: 1 }))).kind, "accepted");
  const receiver = connection.receiver({ address: "orders", name: "in", credit: 1, recovery: resume() });
  (await time.wait(receiver.receive())).accept();
  await time.pass(1);
  assertEquals([modes, sender.open, receiver.unsettled], [["second", "first", "second", "first", "first"], true, 0]);
  assert(logged.includes("not-resumed"));
  const strict = connection.session().sender({
    address: "orders",
    name: "strict",
    rcvSettleMode: "second",
    recovery: resume(),
  });
  await assertRejects(() => time.wait(strict.ready()), AmqpError, "rcv-settle-mode second not supported");
  connection.destroy(new Error("enough"));
  await time.wait(server.close());
});

test("resume: a link whose peer never comes to the end of its list is given up", async () => {
  for (const role of ["sender", "receiver"] as const) {
    let dialled = 0;
    let attached = 0;
    const dial = () => {
      const peer = new ScriptedPeer({ ignore: ["empty", "flow", "detach", "disposition"] });
      peer.expectOpening();
      peer.expect("begin").respond();
      if (++dialled === 1) {
        peer.expect("attach").respond();
        if (role === "receiver") peer.drop();
        else {
          peer.send("flow", { handle: 0, linkCredit: 10, deliveryCount: 0 });
          peer.expect("transfer").drop();
        }
        return peer.channel;
      }
      const next = (): void => {
        peer.expect("attach").then(({ fields }) => {
          const { name, handle, source, target } = fields as {
            name: string;
            handle: number;
            source: Source;
            target: Target;
          };
          const answer = role === "sender" ? "receiver" : "sender";
          const list = { unsettled: new Map(), incompleteUnsettled: true, initialDeliveryCount: 0 } as const;
          peer.send("attach", { name, source, target, handle, role: answer, rcvSettleMode: "second", ...list });
          attached++;
          next();
        });
      };
      next();
      return peer.channel;
    };
    const options = { containerId: "client", dial, log: null, reconnect: { initialDelayMs: 1 } };
    const connection = await connect(`ws://${HOST}`, options as ConnectOptions);
    const settings = { address: "orders", name: "out", recovery: resume() };
    const waiting = role === "sender"
      ? connection.sender(settings).send({ body: "one" })
      : connection.receiver(settings).receive();
    const error = await assertRejects(() => waiting, AmqpError, "list of unsettled deliveries does not end");
    assertEquals([error.scope === "delivery" || error.scope === "link", attached], [true, MAX_IDLE_ROUNDS + 1]);
    connection.destroy(new Error("done"));
  }
});
