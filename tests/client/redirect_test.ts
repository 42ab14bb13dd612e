import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect, publish } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";
import { end } from "./reconnect_world.ts";

test("WSB-32: a redirect is followed where it may be, a few times in a row", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const send = (host: string, to: string): void => {
    const server = acceptor({
      environment: time,
      onConnection: () => {
        throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info: { "network-host": to } });
      },
    });
    network.up(host, (channel) => server.accept(channel));
  };
  send("a", "b");
  send("c", "c");
  const broker = new Broker();
  network.up("b", (channel) => broker.accept(channel));
  const options = { environment: time, dial: network.dial };
  const refused = await time.wait(connect("ws://a/", options));
  await time.wait(refused.closed);
  assertEquals((refused.error as AmqpError).condition, condition.connectionRedirect);
  const connection = await time.wait(connect("ws://a/", { ...options, redirect: () => true }));
  await time.wait(connection.send("q", { body: 1 }));
  assertEquals([network.dialled, connection.state], [["a", "a", "b"], "open"]);
  await end(connection, time);
  const loop = await time.wait(connect("ws://c/", { ...options, redirect: () => true, reconnect: false }));
  await time.wait(loop.closed);
  assert(network.dialled.length < 20);
  assertEquals(time.pending, 0);
});

test("WSB-32, WSB-22: the host of the open is that of the URL, or the option, or the one that a redirect names", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const seen: (string | undefined)[] = [];
  const serve = (host: string, info?: Record<string, unknown>): void => {
    const server = acceptor({
      environment: time,
      onConnection: ({ remote }) => {
        seen.push(remote?.hostname);
        if (info !== undefined) throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info });
      },
    });
    network.up(host, (channel) => server.accept(channel));
  };
  serve("a", { "network-host": "b", hostname: "virtual" });
  serve("b", { "network-host": "c" });
  serve("c");
  const options = { environment: time, dial: network.dial, redirect: (): boolean => true };
  for (const hostname of [undefined, "mine"]) {
    const connection = await time.wait(connect("ws://a/", { ...options, hostname }));
    const sender = connection.sender("q");
    await time.wait(sender.ready().catch(() => {}));
    await end(connection, time);
  }
  assertEquals(seen, ["a", "virtual", "c", "mine", "virtual", "mine"]);
});

test("WSB-32: a callback that throws when it is asked for a redirect ends the connection with what it threw", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({
    environment: time,
    onConnection: () => {
      throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info: { "network-host": "b" } });
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const mine = new Error("mine");
  const redirect = (): boolean => {
    throw mine;
  };
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, redirect }));
  await time.pass(1_000);
  assertEquals([connection.state, connection.error, network.dialled], ["closed", mine, ["a"]]);
  await end(connection, time);
});

test("WSB-32: redirects are in a row only as long as no connection holds", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const accepted: Connection[] = [];
  const server = acceptor({
    environment: time,
    onConnection: (connection) => void accepted.push(connection),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  for (const host of ["a", "b"]) network.up(host, (channel) => server.accept(channel));
  for (const reconnect of [undefined, false] as const) {
    accepted.length = 0;
    const options = { environment: time, dial: network.dial, redirect: () => true, reconnect, log: null } as const;
    const connection = await time.wait(connect("ws://a/", options));
    // A node that is drained now and then.
    for (let turn = 1; turn <= 12; turn++) {
      await time.pass(60_000);
      const to = turn % 2 === 0 ? "a" : "b";
      const error = new AmqpError(condition.connectionRedirect, "Cannot go on", { info: { "network-host": to } });
      await time.wait(accepted.at(-1)!.close({ error }));
      if (turn === 12) break;
      await time.wait(connection.send("orders", { body: turn }));
      assertEquals([connection.state, connection.host], ["open", `${to}:80`]);
    }
    await end(connection, time);
  }
});

test("a link is attached at the address that the peer names instead", async () => {
  const addresses: unknown[] = [];
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({
    environment: time,
    onReceiver: (request) => {
      addresses.push(request.address);
      if (request.address === "old") {
        throw new AmqpError(condition.linkRedirect, "Cannot take here", { scope: "link", info: { address: "new" } });
      }
      void request.accept().serve(() => {});
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(
    connect("ws://a/", { environment: time, dial: network.dial, redirect: "same-host" }),
  );
  assertEquals(await time.wait(connection.sender("old").send({ body: 1 })), { kind: "accepted" });
  assertEquals(addresses, ["old", "new"]);
  await end(connection, time);
});

test("WSB-32: publish opens with the hostname that a redirect names", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const opened: unknown[] = [];
  const server = acceptor({
    environment: time,
    onConnection: ({ remote }) => {
      opened.push(remote?.hostname);
      const info = { hostname: "tenant-b", "network-host": "a", port: 81 };
      if (opened.length % 2 === 1) throw new AmqpError(condition.connectionRedirect, "Cannot serve here", { info });
    },
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  network.up("a", (channel) => server.accept(channel));
  network.up("a:81", (channel) => server.accept(channel));
  const options = { environment: time, dial: network.dial, redirect: "same-host", log: null } as const;
  for (const hostname of [undefined, "tenant-a"]) {
    opened.length = 0;
    assertEquals(await time.wait(publish("ws://a/", "q", { body: 1 }, { ...options, hostname })), { kind: "accepted" });
    assertEquals(opened, [hostname ?? "a", "tenant-b"]);
  }
});

test("WSB-32: publish follows redirects of connection and link where it may, a few times in a row", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const addresses: string[] = [];
  const server = acceptor({
    environment: time,
    onReceiver: (request) => {
      addresses.push(request.address!);
      const info = { address: { old: "new", ping: "pong", pong: "ping" }[request.address!] };
      if (info.address) throw new AmqpError(condition.linkRedirect, "Cannot take here", { scope: "link", info });
      void request.accept().serve(() => {});
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const sends = (address: string, options: { redirect?: "same-host"; reconnect?: false }) =>
    time.wait(publish("ws://a/", address, { body: 1 }, { environment: time, dial: network.dial, ...options }));
  assertEquals(await sends("old", { redirect: "same-host" }), { kind: "accepted" });
  assertEquals(await sends("old", { redirect: "same-host", reconnect: false }), { kind: "accepted" });
  assertEquals(addresses, ["old", "new", "old", "new"]);
  for (const [address, options] of [["old", {}], ["ping", { redirect: "same-host" }]] as const) {
    const error = await assertRejects(() => sends(address, options), AmqpError);
    assertEquals(error.condition, condition.linkRedirect);
  }
  assertEquals(addresses.length, 4 + 1 + 6);
});
