import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Sender } from "../../src/client/sender.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";
import { end, engineOf, scripted, world } from "./reconnect_world.ts";

test("a link that the peer ends for a reason that passes is attached again, one that it refuses ends alone", async () => {
  const senders: Sender[] = [];
  let refuse: AmqpError | undefined = undefined;
  const { time, connection, events } = await scripted({
    onSender: (request) => {
      if (refuse !== undefined && request.address === "orders") throw refuse;
      senders.push(request.accept());
    },
  });
  const receiver = connection.receiver({ address: "orders", name: "mine", credit: 5 });
  const other = connection.receiver("other");
  await time.wait(Promise.all([receiver.ready(), other.ready()]));
  const receiving = receiver.receive();
  const detach = (symbol: string): Promise<void> =>
    senders.at(-1)!.close({ error: new AmqpError(symbol, "Cannot go on: node moves", { scope: "link" }) });
  for (const symbol of [condition.detachForced, condition.resourceDeleted]) {
    const at = senders.length;
    await time.wait(senders.find((sender) => sender.address === "orders" && sender.open)!.close({
      error: new AmqpError(symbol, "Cannot go on: node moves", { scope: "link" }),
    }));
    await time.wait(receiver.ready());
    await time.pass(1);
    assertEquals([senders.length, senders.at(-1)!.name, senders.at(-1)!.credit], [at + 1, "mine", 5]);
  }
  void senders.at(-1)!.send({ body: "still here" });
  assertEquals((await time.wait(receiving)).message.body, "still here");
  refuse = new AmqpError(condition.unauthorizedAccess, "Cannot attach: not any more", { scope: "link" });
  await time.wait(detach(condition.detachForced));
  await time.wait(receiver.closed);
  assertEquals((receiver.error as AmqpError).condition, condition.unauthorizedAccess);
  await time.pass(1);
  assertEquals(events.map(({ kind }) => kind), ["linkLost"]);
  assertEquals([connection.state, other.open], ["open", true]);
  await end(connection, time);
});

test("a link that is refused for a reason that passes when it is first attached: told at once, `initial` goes on", async () => {
  for (const initial of [false, true]) {
    let refusals = 3;
    const { time, connection } = await scripted({
      onReceiver: (request) => {
        if (--refusals >= 0) {
          throw new AmqpError(condition.resourceLimitExceeded, "Cannot attach: busy", { scope: "link" });
        }
        void request.accept().serve(() => {});
      },
    }, { reconnect: { initial } });
    const sending = connection.sender("orders").send({ body: 1 });
    if (initial) assertEquals(await time.wait(sending), { kind: "accepted" });
    else {
      const error = await time.wait(assertRejects(() => sending, AmqpError));
      assertEquals([error.condition, error.retryable, refusals], [condition.resourceLimitExceeded, true, 2]);
      assertMatch(error.message, /busy .*at its first attach; try again, or have reconnect: \{ initial: true \} do so/);
    }
    await end(connection, time);
  }
});

test("a session that the peer ends for a reason that passes is begun again with its links", async () => {
  const accepted: Connection[] = [];
  const { time, connection } = await scripted({
    onConnection: (connection) => void accepted.push(connection),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  const session = connection.session();
  const sender = session.sender("orders");
  await time.wait(sender.send({ body: 1 }));
  for (const endpoint of engineOf(accepted[0]!).sessions()) {
    endpoint.end(new AmqpError(condition.resourceLimitExceeded, "Cannot go on: restarting", { scope: "session" }));
  }
  accepted[0]!.wake();
  await time.pass(1);
  await time.wait(sender.send({ body: 2 }));
  await time.wait(session.ready());
  assertEquals([session.open, sender.open], [true, true]);
  await end(connection, time);
});

test("a session that the peer ends over one link, as RabbitMQ does, costs that link only", async () => {
  for (const passing of [false, true]) {
    for (const initial of [false, true]) {
      let refusals = 0;
      const symbol = passing ? condition.resourceLimitExceeded : condition.notFound;
      const refuses = ({ address, connection }: { address?: string | undefined; connection: Connection }): boolean => {
        if (address !== "missing") return false;
        refusals++;
        for (const session of engineOf(connection).sessions()) {
          session.end(new AmqpError(symbol, "no queue 'missing'", { scope: "session" }));
        }
        return true;
      };
      let bodies = 0;
      const logged: string[] = [];
      const { time, connection, events } = await scripted({
        log: null,
        onReceiver: (request) => {
          if (refuses(request)) return;
          void request.accept({ credit: 5, settle: "manual" }).serve((delivery) => {
            if (delivery.message.body !== "kept") delivery.accept();
          });
        },
        onSender: (request) => void (refuses(request) || request.accept().send({ body: ++bodies }).catch(() => {})),
      }, {
        reconnect: { initial, maxAttempts: 1 },
        log: ({ code, message }) => void logged.push(`${code}: ${message}`),
      });
      const receiver = connection.receiver("orders");
      const busy = connection.sender("busy");
      (await time.wait(receiver.receive())).accept();
      await time.wait(busy.ready());
      const kept = busy.send({ body: "kept" });
      kept.catch(() => {});
      await time.pass(1);
      // Attached before, in the same flight in front of it, and behind it.
      const before = connection.receiver("orders");
      const missing = connection.sender("missing");
      const behind = connection.sender("orders");
      const [told, sent] = [missing.send({ body: 1 }), behind.send({ body: 2 })];
      told.catch(() => {});
      await time.wait(Promise.all([sent, before.ready(), receiver.ready(), busy.ready()]));
      await time.pass(60_000);
      const error = await time.wait(assertRejects(() => told, AmqpError));
      assertEquals([error.condition, refusals], [symbol, passing && initial ? 2 : 1]);
      assertMatch(error.message, /^Cannot attach sender of "missing": Session ended by peer with .* \(a:80\)/);
      assertEquals([receiver, busy, before, behind, missing].map(({ open }) => open), [true, true, true, true, false]);
      assert(Number((await time.wait(receiver.receive())).message.body) > 1);
      await time.wait(assertRejects(() => busy.close({ timeoutMs: 10 }).then(() => kept), AmqpError));
      assertMatch(
        logged.find((line) => line.startsWith("session-lost"))!,
        /with a:80: .* 4 other links of it begin another/,
      );
      assertEquals(events.filter(({ kind }) => kind === "linkLost").length, 1);
      await end(connection, time);
    }
  }
});

test("a session that the peer ends over a message costs the sender of that message only", async () => {
  const { time, connection } = await scripted({
    log: null,
    onSender: (request) => void request.accept(),
    onReceiver: (request) => {
      void request.accept({ credit: 5 }).serve(({ message }) => {
        if (message.body !== "poison") return;
        for (const session of engineOf(request.connection).sessions()) {
          session.end(new AmqpError(condition.unauthorizedAccess, "user-id is not yours", { scope: "session" }));
        }
        request.connection.wake();
        return new Promise(() => {});
      });
    },
  }, { log: null });
  const receiver = connection.receiver("orders");
  const [good, bad] = [connection.sender("orders"), connection.sender("poisoned")];
  await time.wait(Promise.all([receiver.ready(), good.send({ body: 1 }), bad.send({ body: 2 })]));
  const error = await time.wait(assertRejects(() => bad.send({ body: "poison" }), AmqpError));
  assertMatch(
    error.message,
    /^Cannot tell the outcome of a message to "poisoned" at a:80: Session ended by peer with /,
  );
  assertEquals((await time.wait(good.send({ body: 3 }))).kind, "accepted");
  await time.wait(receiver.ready());
  assertEquals([receiver.open, good.open, bad.open], [true, true, false]);
  await end(connection, time);
});

test("LNK-10: a peer that ends its session over a message to a link that it has just ended, as RabbitMQ does, costs no other", async () => {
  let deleted = 0;
  const { time, connection } = await scripted({
    log: null,
    onSender: (request) => void request.accept(),
    onReceiver: (request) => {
      const receiver = request.accept({ credit: 5 });
      void receiver.serve(async ({ message }) => {
        if (message.body !== "late" || deleted++ > 0) return;
        await receiver.close({
          error: new AmqpError(condition.resourceDeleted, "queue is deleted", { scope: "link" }),
        });
        for (const session of engineOf(request.connection).sessions()) {
          session.end(new AmqpError(condition.unattachedHandle, "Unknown link handle: 1", { scope: "session" }));
        }
        request.connection.wake();
      }).catch(() => {});
    },
  }, { log: null });
  const receiver = connection.receiver("orders");
  const [good, late] = [connection.sender("orders"), connection.sender("late")];
  await time.wait(Promise.all([receiver.ready(), good.send({ body: 1 }), late.ready()]));
  assertEquals((await time.wait(late.send({ body: "late" })))?.kind, "accepted");
  await time.wait(Promise.all([receiver.ready(), good.send({ body: 2 })]));
  assertEquals([receiver.open, good.open, late.open, deleted], [true, true, true, 2]);
  await end(connection, time);
});

test("a peer that ends every session ends the links, after attaches in proportion to them", async () => {
  let attaches = 0;
  const { time, connection } = await scripted({
    log: null,
    onReceiver: ({ connection }) => {
      attaches++;
      for (const session of engineOf(connection).sessions()) {
        session.end(new AmqpError(condition.notAllowed, "no", { scope: "session" }));
      }
    },
  }, { log: null });
  const senders = Array.from({ length: 300 }, () => connection.sender("orders"));
  const ends = senders.map((sender) => sender.ready().catch((error) => error.condition));
  assertEquals(new Set(await time.wait(Promise.all(ends))), new Set([condition.notAllowed]));
  assert(attaches <= 300 * 17, `${attaches} attaches`);
  assertEquals(connection.state, "open");
  await end(connection, time);
});

test("a dynamic node is made anew", async () => {
  const { time, network, connection } = await world();
  const receiver = connection.receiver({ dynamic: true });
  await time.wait(receiver.ready());
  const first = receiver.address!;
  network.cut("a");
  await time.pass(1);
  await time.wait(receiver.ready());
  assert(receiver.address !== undefined && receiver.address !== first);
  const receiving = receiver.receive();
  await time.wait(connection.sender(receiver.address).send({ body: "here" }));
  assertEquals((await time.wait(receiving)).message.body, "here");
  await end(connection, time);
});

test("what is closed while nothing carries it is closed, and comes back no more", async () => {
  const { time, network, start, connection } = await world();
  const receiver = connection.receiver("orders");
  const session = connection.session();
  const sender = session.sender("orders");
  await time.wait(Promise.all([receiver.ready(), session.ready(), sender.ready()]));
  network.down("a");
  await time.pass(1);
  await Promise.all([receiver.close(), session.close()]);
  assertEquals([receiver.error, session.error, sender.open], [undefined, undefined, false]);
  const broker = start("a");
  await time.wait(connection.ready());
  await time.pass(1);
  assertEquals([broker.connections.size, connection.state], [1, "open"]);
  await end(connection, time);
});

test("what closes while its connection is cut goes on when that is back: every send gets its outcome", async () => {
  for (const closes of ["sender", "session", "connection"] as const) {
    for (const recovery of ["resend", "resume", "fail"] as const) {
      const time = new VirtualTime();
      const network = new VirtualNetwork();
      let connections = 0;
      const server = acceptor({
        environment: time,
        onConnection: () => void connections++,
        onReceiver: (request) => {
          // The first connection gives no outcome, and takes two of the three messages.
          if (connections > 1) void request.accept({ suspendMs: 60_000, credit: 5 }).serve(() => {});
          else request.accept({ credit: 2, settle: "manual" });
        },
      });
      network.up("a", (channel) => server.accept(channel));
      const options = { environment: time, dial: network.dial, containerId: "client", log: null } as const;
      const connection = await time.wait(connect("ws://a/", options));
      const session = connection.session();
      const sender = session.sender({ address: "orders", name: "out", recovery });
      const told: string[] = [];
      for (const body of [1, 2, 3]) {
        sender.send({ body }).then(
          (outcome) => told.push(`${body} ${outcome.kind}${outcome.resent ? " again" : ""}`),
          (error) => told.push(`${body} ${error.outcome}`),
        );
      }
      await time.pass(10);
      const closing = { sender, session, connection }[closes].close();
      await time.pass(10);
      network.cut("a");
      await time.wait(closing);
      const what = `${closes} ${recovery}`;
      const [first, second] = recovery === "fail" ? ["1 lost", "2 lost"] : ["1 accepted again", "2 accepted again"];
      assertEquals(told, [first, second, "3 accepted"], what);
      assertEquals([sender.open, sender.error, session.open], [false, undefined, closes === "sender"], what);
      assertEquals([connection.state, connections], [closes === "connection" ? "closed" : "open", 2], what);
      await end(connection, time);
      await time.wait(server.close());
    }
  }
});

test("what closes while its connection is cut ends when its time is up, and its sends with it", async () => {
  const { time, network, connection, events } = await world();
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  network.down("a");
  await time.pass(10);
  const sending = sender.send({ body: 1 });
  sending.catch(() => {});
  const closing = connection.close({ timeoutMs: 2_000 });
  await time.pass(1_900);
  assertEquals([connection.state, sender.pending], ["closing", 1]);
  await time.pass(200);
  assertEquals([connection.state, sender.pending], ["closed", 0]);
  await closing;
  await assertRejects(() => sending, AmqpError, "is closed");
  assertEquals(events.at(-1)?.kind, "closed");
  await end(connection, time);
});

test("serve ends in order when its connection is cut while the receiver closes: no failure of what was asked to stop", async () => {
  for (const how of ["close", "drain"] as const) {
    const { time, network, connection } = await world();
    await time.wait(Promise.all([1, 2, 3, 4].map((body) => connection.send("orders", { body }))));
    let handled = 0;
    const serving = connection.receiver("orders").serve(async () => {
      await new Promise((resolve) => time.setTimer(() => resolve(undefined), 100));
      handled++;
    }, { concurrency: 2 });
    await time.pass(50);
    const ending = connection[how]();
    await time.pass(10);
    network.cut("a");
    await time.wait(Promise.all([ending, serving]));
    assertEquals([handled, connection.state, connection.error], [2, "closed", undefined], how);
    await end(connection, time);
  }
});

test("a close while the next server takes the channel and says nothing is bounded by its time once, not step by step", async () => {
  const { time, network, connection } = await world();
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  network.down("a");
  network.up("a", () => {});
  const sending = sender.send({ body: 1 });
  sending.catch(() => {});
  await time.pass(1_000);
  assertEquals(connection.state, "interrupted");
  const start = time.now();
  await time.wait(connection.close({ timeoutMs: 2_000 }));
  assertEquals([time.now() - start, connection.state, connection.error], [2_000, "closed", undefined]);
  await assertRejects(() => sending, AmqpError, "is closed");
  await end(connection, time);
});

test("SES-4: a broker that comes back with a lower handle-max is not left for the handles that it took before", async () => {
  const { time, network, connection, kinds } = await world({ log: null });
  const senders = ["1", "2", "3", "4"].map((address) => connection.sender(address));
  await time.wait(Promise.all(senders.map((sender) => sender.ready())));
  network.down("a");
  await time.pass(1);
  const broker = new Broker({ environment: time, session: { handleMax: 1 } } as object);
  network.up("a", (channel) => broker.accept(channel));
  const sent = senders.map((sender) => sender.send({ body: sender.address! }));
  await time.wait(Promise.all(sent.slice(0, 2)));
  assertEquals(connection.state, "open");
  assertEquals(kinds(), ["interrupted", "reconnecting", "resumed", "interrupted", "reconnecting", "resumed"]);
  // A link that is closed makes room for the next.
  await time.wait(Promise.all(senders.slice(0, 2).map((sender) => sender.close())));
  await time.wait(Promise.all(sent.slice(2)));
  await end(connection, time);
});
