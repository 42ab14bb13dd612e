import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { connect, publish } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { plain } from "../../src/sasl/client.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { listen } from "../../src/transport/sockets.ts";
import { ScriptedPeer } from "../../src/testing/mod.ts";
import { test } from "../harness.ts";
import { record } from "../transport/channel_log.ts";
import { linkUp } from "../client/link_up.ts";
import type { Sender } from "../../src/client/sender.ts";
import { Deferred } from "../../src/base/wait.ts";

test("onConnection refuses by throwing, with its error or without telling it", async () => {
  for (
    const [thrown, symbol] of [
      [new AmqpError(condition.notAllowed, "wrong virtual host"), condition.notAllowed],
      [new Error("secret of the house"), condition.internalError],
    ] as const
  ) {
    const server = acceptor({
      onConnection: () => {
        throw thrown;
      },
    });
    const connection = linkUp(server, { hostname: "elsewhere" });
    await connection.closed;
    assertEquals((connection.error as AmqpError).condition, symbol);
    assertEquals(connection.error!.message.includes("secret"), false);
  }
});

test("who sends in one flight to a server that refuses the connection learns the server's reason", async () => {
  const error = new AmqpError(condition.notAllowed, "Cannot serve tenant");
  for (const throws of [true, false]) {
    const onConnection = (connection: Connection): void => {
      if (throws) throw error;
      void connection.close({ error });
    };
    const server = acceptor({ onConnection, onReceiver: (request) => void request.accept() });
    const dial = (): Promise<Channel> => {
      const [ours, theirs] = channelPair();
      server.accept(theirs);
      return Promise.resolve(ours);
    };
    const failure = await assertRejects(() => publish("ws://a/", "q", { body: 1 }, { dial }), AmqpError);
    assertEquals(failure.condition, condition.notAllowed);
    await server.close();
  }
});

test("WSB-30: an acceptor that closes tells its clients that it goes away", async () => {
  const server = acceptor();
  const connections = [linkUp(server), linkUp(server)];
  await Promise.all(connections.map((connection) => connection.ready()));
  // This server leaves it to the client to end the transport.
  const slow = new ScriptedPeer();
  server.accept(slow.channel);
  slow.send("header", { id: 0 });
  slow.send("open");
  slow.expect("header");
  slow.expect("open");
  await slow.done();
  slow.expectClosing();
  slow.expectEnd(1001);
  await server.close();
  await slow.done();
  for (const connection of connections) {
    await connection.closed;
    assertEquals((connection.error as AmqpError).condition, condition.connectionForced);
    assertEquals((connection.error as AmqpError).retryable, true);
  }
  const late = linkUp(server);
  const error = await assertRejects(() => late.ready(), TransportError);
  assertEquals(error.closeCode, 1001);
  await late.close();
});

test("close: a second one with less time does not wait for the first", async () => {
  const handled = new Deferred<void>();
  const server = acceptor({
    onReceiver: (request) =>
      void request.accept({ credit: 1 }).serve(() => {
        handled.resolve();
        return new Promise(() => {});
      }),
  });
  const connection = linkUp(server);
  void connection.sender("orders").send({ body: 1 });
  await handled.promise;
  const first = server.close({ timeoutMs: 3_600_000 });
  await server.close({ timeoutMs: 5 });
  await first;
  assertEquals(server.connections.size, 0);
});

test("ATK-8: connections above the limit are closed before anything is made for them, and make room when they end", async () => {
  const server = acceptor({ maxConnections: 2 });
  const connections = [linkUp(server), linkUp(server)];
  const [near, far] = channelPair();
  assertEquals(server.accept(far), undefined);
  const log = record(near);
  const { code, reason } = await log.closed;
  assertEquals([code, reason, log.received], [1013, "Too many connections", 0]);
  const error = await assertRejects(() => linkUp(server).ready(), TransportError);
  assertEquals(error.closeCode, 1013);
  const told =
    'code 1013, reason "Too many connections"; the peer takes no more now: close connections that nobody needs';
  assertEquals([error.message.includes(told), error.retryable], [true, true], error.message);
  assertEquals(server.connections.size, 2);
  await connections[0]!.close();
  connections.push(linkUp(server));
  await Promise.all(connections.slice(1).map((connection) => connection.ready()));
  await server.close();
  assertEquals(server.connections.size, 0);
});

test("ATK-8: an acceptor takes ten thousand connections unless told otherwise", async () => {
  const server = acceptor();
  // Only what an acceptor needs of a channel before its client has sent anything.
  const mute = (): Channel => ({
    bufferedAmount: 0,
    onbytes: undefined,
    onclose: undefined,
    send: () => {},
    ready: () => Promise.resolve(),
    close(code = 1000): void {
      this.onclose?.({ code, reason: "" });
    },
  });
  for (let i = 0; i < 10_000; i++) server.accept(mute());
  assertEquals([server.connections.size, server.accept(mute())], [10_000, undefined]);
  await server.close({ timeoutMs: 0 });
  assertEquals(server.connections.size, 0);
});

test("a peer that is disconnected for what it exceeds is named in the log, with what that is", async () => {
  const messages: string[] = [];
  const server = acceptor({ containerId: "server", log: ({ message }) => void messages.push(message) });
  const peer = new ScriptedPeer();
  const connection = server.accept(peer.channel)!;
  peer.send("header", { id: 0 });
  // With a channel-max of 0 it can be answered on one channel only.
  peer.send("open", { containerId: "many", channelMax: 0 });
  for (const channel of [0, 1]) {
    peer.send("begin", { nextOutgoingId: 0, incomingWindow: 9, outgoingWindow: 9 }, { channel });
  }
  await connection.closed;
  assertEquals(messages, ['Cannot keep connection with "many": Cannot begin session: 1 sessions are open ("many")']);
});

test("ATK-32: a link hook that fails refuses the link, and the connection lives on", async () => {
  const server = acceptor({
    onReceiver: () => Promise.reject(new Error("secret of the house")),
    onSender: async (request) => {
      request.accept();
      await Promise.reject(new AmqpError(condition.resourceLocked, "somebody else has it"));
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("a");
  const refused = await assertRejects(() => sender.ready(), AmqpError);
  assertEquals([refused.condition, refused.message.includes("secret")], [condition.internalError, false]);
  const receiver = connection.receiver("b");
  await receiver.closed;
  assertEquals((receiver.error as AmqpError).condition, condition.resourceLocked);
  assertEquals(connection.open, true);
  await connection.close();
});

test("ATK-8: no more links than the accepting side takes, on whatever session", async () => {
  const server = acceptor({ maxLinks: 2, onReceiver: (request) => void request.accept().serve(() => {}) });
  const connection = linkUp(server);
  const first = connection.sender("a");
  await first.send({ body: 1 });
  await connection.session().sender("b").send({ body: 2 });
  const error = await assertRejects(() => connection.sender("c").send({ body: 3 }), AmqpError);
  assertEquals([error.condition, error.remote, error.retryable], [condition.resourceLimitExceeded, true, true]);
  await first.close();
  await connection.sender("c").send({ body: 3 });
  await connection.close();
});

test("onConnection comes before the links that were attached ahead of it", async () => {
  const order: string[] = [];
  const server = acceptor({
    onConnection: (connection) => {
      order.push("connection");
      if (connection.remote!.hostname === "elsewhere") throw new AmqpError(condition.notAllowed, "not here");
    },
    onSender: (request) => {
      order.push("link");
      request.accept();
    },
  });
  const welcome = linkUp(server, { hostname: "here" });
  await welcome.receiver("orders").ready();
  const refused = linkUp(server, { hostname: "elsewhere" });
  await assertRejects(() => refused.receiver("orders").ready(), AmqpError);
  assertEquals(order, ["connection", "link", "connection"]);
  await welcome.close();
});

test("an acceptor whose close was given up on can be waited for again", async () => {
  const server = acceptor();
  const connection = linkUp(server);
  await connection.ready();
  await assertRejects(() => server.close({ signal: AbortSignal.abort(new Error("no time")) }), Error, "no time");
  await server.close();
  assertEquals(server.connections.size, 0);
  await connection.closed;
});

test("ATK-32: hooks that answer when the peer has gone do no harm", async () => {
  const asked = new Deferred<void>();
  const late: Promise<unknown>[] = [];
  const looking = new Deferred<void>();
  const server = acceptor({
    onSender: (request) => {
      late.push(asked.promise.then(() => assertThrows(() => request.accept(), AmqpError)));
    },
    onReceiver: (request) => {
      late.push(asked.promise.then(() => assertThrows(() => request.refuse(new AmqpError("a:b", "no")), AmqpError)));
    },
  });
  const attaching = linkUp(server);
  for (const link of [attaching.receiver("a"), attaching.sender("b")]) link.ready().catch(() => {});
  await attaching.session().ready();
  const slow = acceptor({
    sasl: {
      users: async () => {
        looking.resolve();
        await asked.promise;
        return true;
      },
    },
  });
  const authenticating = linkUp(slow, { auth: plain("user", "secret") });
  await looking.promise;
  const peers = [...server.connections, ...slow.connections];
  for (const connection of [attaching, authenticating]) connection.destroy(new Error("cable cut"));
  await Promise.all(peers.map((peer) => peer.closed));
  asked.resolve();
  await Promise.all(late);
  assertEquals([late.length, server.connections.size, slow.connections.size], [2, 0, 0]);
});

test("a hook that fails after it has accepted ends the link at once, whatever the peer says", async () => {
  const ends: Sender[] = [];
  const failed = new Deferred<void>();
  const server = acceptor({
    onSender: async (request) => {
      ends.push(request.accept());
      await failed.promise;
      throw new AmqpError(condition.resourceDeleted, "queue was deleted", { scope: "link" });
    },
  });
  const connection = linkUp(server);
  const receiver = connection.receiver({ address: "orders", credit: "manual" });
  await receiver.ready();
  const waiting = ends[0]!.send({ body: 1 });
  waiting.catch(() => {});
  failed.resolve();
  await receiver.closed;
  assertEquals((receiver.error as AmqpError).condition, condition.resourceDeleted);
  assertEquals((await assertRejects(() => waiting, AmqpError)).condition, condition.resourceDeleted);
  assertEquals(ends[0]!.open, false);
  await connection.close();
});

test("ATK-32: an error that cannot be encoded still refuses what it was thrown at", async () => {
  const error = new AmqpError(condition.notFound, "no such queue", { scope: "link", info: { why: () => {} } });
  const server = acceptor({
    onSender: () => {
      throw error;
    },
    onReceiver: () => Promise.reject(error),
    onConnection: (connection) => {
      if (connection.remote!.hostname === "elsewhere") throw error;
    },
  });
  const connection = linkUp(server, { hostname: "here" });
  for (const link of [connection.sender("a"), connection.receiver("b")]) {
    assertEquals((await assertRejects(() => link.ready(), AmqpError)).condition, condition.notFound);
  }
  await connection.close({ error });
  assertEquals(connection.error, undefined);
  const other = linkUp(server, { hostname: "elsewhere" });
  await other.closed;
  assertEquals((other.error as AmqpError).condition, condition.notFound);
});

test("a hook that serves its link is not blamed for the end of the connection", async () => {
  const entries: LogEntry[] = [];
  const failed = new Deferred<unknown>();
  const server = acceptor({
    log: (entry) => void entries.push(entry),
    onReceiver: async (request) => {
      try {
        await request.accept().serve(() => {});
      } catch (error) {
        failed.resolve(error);
        throw error;
      }
    },
  });
  const [near, far] = channelPair();
  server.accept(far);
  await using connection = await connect(near, { log: null });
  await connection.send("orders", { body: 1 });
  near.close(1000);
  assert(await failed.promise instanceof TransportError);
  await server.close();
  assertEquals(entries, []);
});

test("what a callback of the program throws goes to the log, as the peer learns only of an internal error", async () => {
  const entries: LogEntry[] = [];
  const told = new Set<string>();
  const server = acceptor({
    log: (entry) => void entries.push(entry),
    sasl: { anonymous: true, users: () => Promise.reject(new Error("no directory")) },
    onReceiver: ({ address }) => {
      if (address === "known") throw new AmqpError(condition.notFound, "Cannot attach: it is gone");
      throw new Error("no database");
    },
    onSender: (request) => {
      request.accept({ prefetch: 5 } as never);
    },
  });
  const connection = linkUp(server);
  for (const address of ["orders", "known"]) {
    await connection.sender(address).send({ body: 1 }).catch((error: Error) => told.add(error.message));
  }
  await connection.receiver("jobs").receive().catch((error: Error) => told.add(error.message));
  await linkUp(server, { auth: plain("user", "secret") }).ready().catch((error: Error) => told.add(error.message));
  assertEquals([...told].filter((text) => /database|directory|prefetch/.test(text)), []);
  const found = entries.map(({ level, code, address, error }) => [level, code, address, (error as Error).message]);
  assertEquals(found, [
    ["error", "callback-failed", "orders", "no database"],
    [
      "error",
      "callback-failed",
      "jobs",
      'Cannot accept link of a receiver: there is no option "prefetch", but address, suspendMs, source, target, ' +
      "sndSettleMode, rcvSettleMode, maxMessageSize, initialDeliveryCount, unsettled, incompleteUnsettled, " +
      "desiredCapabilities, offeredCapabilities, properties, maxInFlight, recovery",
    ],
    ["error", "callback-failed", undefined, "no directory"],
  ]);
  await connection.close();
});

test("WSB-5: what speaks AMQP 0-9-1 under the name amqp is refused, as a client and as a server", async () => {
  const old = (): Uint8Array => Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1);
  const server = acceptor();
  const [client, accepted] = channelPair();
  const log = record(client);
  server.accept(accepted);
  client.send(old());
  await log.closed;
  const [, , , , , ...version] = log.bytes();
  assertEquals([log.bytes().length, ...version], [8, 1, 0, 0]);

  const dial = (): Channel => {
    const [near, far] = channelPair();
    far.onbytes = () => far.send(old());
    return near;
  };
  const refused = (): Promise<unknown> => connect("ws://a/", { dial, reconnect: false });
  const error = await assertRejects(refused, AmqpError, "it speaks AMQP 0-9-1 and not 1.0");
  assertEquals(error.retryable, false);
});

test("ATK-21: a program that routes by Host learns open.hostname before any link, and refuses another", async () => {
  const routed: string[] = [];
  await using listener = await listen({
    host: "127.0.0.1",
    port: 0,
    accept: (channel, { request }) => {
      const host = request!.headers.find(([name]) => name.toLowerCase() === "host")![1];
      acceptor({
        onConnection: ({ remote }) => {
          if (remote?.hostname === host) return;
          throw new AmqpError(condition.notAllowed, `Cannot serve ${remote?.hostname} at ${host}`);
        },
        onReceiver: (request) => {
          routed.push(host);
          request.accept();
        },
      }).accept(channel);
    },
  });
  const as = (hostHeader: string, hostname: string) => {
    const options = { transport: "socket", hostHeader, hostname, reconnect: false } as const;
    return connect(`ws://127.0.0.1:${listener.port}`, options);
  };
  const shop = await as("shop.example", "shop.example");
  await shop.sender("orders").ready();
  await shop.close();
  const stranger = await as("shop.example", "bank.example").catch((error) => error);
  // Connecting may end with the peer's open, before its close.
  if (!(stranger instanceof Error)) await stranger.closed;
  const error = stranger instanceof Error ? stranger : stranger.error;
  assertEquals((error as AmqpError).condition, condition.notAllowed);
  assertEquals(routed, ["shop.example"]);
});

test("API: a refusal without a condition is told to the program that gave it, and ends no more than its link", async () => {
  for (const error of ["no", null, 5, {}]) {
    const entries: LogEntry[] = [];
    const server = acceptor({
      onReceiver: (request) => request.refuse(error as never),
      log: (entry) => entries.push(entry),
    });
    const connection = linkUp(server);
    const refused = await assertRejects(() => connection.sender("orders").ready(), AmqpError);
    assertEquals(refused.condition, condition.internalError);
    const told = (entries[0]!.error as Error).message;
    assertEquals(/^Cannot refuse link: option "error" is .*, not object with condition$/.test(told), true, told);
    assertEquals(connection.open, true);
    await connection.close();
    await server.close();
  }
});
