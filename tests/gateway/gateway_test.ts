import type { LogEntry } from "../../src/base/log.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { Socket } from "node:net";
import { connect, plain, publish, TransportError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { gateway, type GatewayOptions, type GatewayTrace } from "../../src/gateway/gateway.ts";
import { ChannelRelay } from "../../src/gateway/relay.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { channelPair } from "../../src/transport/pair.ts";
import type { PausableChannel } from "../../src/transport/socket/socket.ts";
import { dialSocket } from "../../src/transport/socket/dial.ts";
import { random, seed, test } from "../harness.ts";
import { ca, keyPair } from "../pki.ts";
import { BareClient, bareServer, silent } from "../transport/bare.ts";
import { record } from "../transport/channel_log.ts";
import { rawServer } from "../transport/raw_peer.ts";
import { latin1, text } from "../transport/wire.ts";

const MIB = 1_048_576;
const SASL = "AMQP\x03\x01\x00\x00";
const here = { port: 0, host: "127.0.0.1" };
const echo = (socket: Socket): void => void socket.pipe(socket);

test("gateway: bytes go through as they are, whatever comes in and goes out", async () => {
  const { bytes, int } = random(seed());
  await using stream = await bareServer(echo);
  await using secure = await bareServer(echo, keyPair("server"));
  await using sockets = await listen({
    ...here,
    accept: (channel) => channel.onbytes = (bytes) => channel.send(bytes),
  });
  for (
    const target of [
      `amqp://127.0.0.1:${stream.port}`,
      `amqps://localhost:${secure.port}`,
      `ws://127.0.0.1:${sockets.port}/path`,
    ]
  ) {
    for (const scheme of ["ws", "wss", "amqp", "amqps"]) {
      const listen = { ...here, tls: keyPair("server") };
      const running = await gateway({ listen, target, dial: { tls: { ca } }, lingerMs: 20 });
      const channel = await dialSocket(`${scheme}://localhost:${running.port}`, { tls: { ca } });
      const log = record(channel);
      // The listener has to recognize the protocol; behind that, any bytes go.
      const sent = [latin1(SASL), ...[1, 100, 70_000, int(500_000)].map(bytes)];
      const total = sent.reduce((sum, { length }) => sum + length, 0);
      const expected = new Uint8Array(total);
      let at = 0;
      for (const piece of sent) {
        expected.set(piece, at);
        at += piece.length;
        channel.send(piece.slice());
      }
      await log.until(total);
      assertEquals(log.bytes().findIndex((byte, index) => byte !== expected[index]), -1);
      assertEquals([running.counters.relays, running.counters.bytesIn, running.counters.bytesOut], [1, total, total]);
      channel.close();
      await log.closed;
      await running.close();
      assertEquals([running.counters.relays, running.counters.opened, running.counters.failed], [0, 1, 0]);
    }
  }
});

test("gateway: a client's subprotocol is offered on, and its credentials reach only the broker", async () => {
  const offered: (string | undefined)[] = [];
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  const target = await listen({
    ...here,
    subprotocols: ["amqp", "AMQPWSB10"],
    accept: (channel, { protocol }) => {
      offered.push(protocol);
      broker.accept(channel);
    },
  });
  const running = await gateway({
    listen: { ...here, subprotocols: ["AMQPWSB10", "amqp"] },
    target: `ws://127.0.0.1:${target.port}`,
  });
  for (const subprotocols of [["AMQPWSB10"], ["amqp"]]) {
    const auth = plain("user", "secret");
    await publish(`ws://127.0.0.1:${running.port}`, "q", { body: 1 }, { auth, subprotocols });
  }
  assertEquals(offered, ["AMQPWSB10", "amqp"]);
  assertEquals(broker.messages, 2);
  await running.close();
  await broker.close();
  await target.close();
});

test("ATK-18: gateway: a side that does not read holds the other back", async () => {
  for (const reversed of [false, true]) {
    const total = 48 * MIB;
    let written = 0;
    const pour = (socket: Socket): void => {
      const piece = new Uint8Array(65_536).fill(7);
      const write = (): void => {
        while (written < total) {
          written += piece.length;
          if (!socket.write(piece)) return void socket.once("drain", write);
        }
      };
      write();
    };
    let target: Socket | undefined;
    await using server = await bareServer((socket) => {
      target = socket;
      socket.pause();
      if (reversed) pour(socket);
    });
    const running = await gateway({ listen: here, target: `amqp://127.0.0.1:${server.port}` });
    const client = await BareClient.connect(running.port);
    client.socket.pause();
    client.socket.write(latin1(SASL));
    if (!reversed) pour(client.socket);
    let before = -1;
    while (before !== written || target === undefined) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    const { bytesIn, bytesOut } = running.counters;
    assert(written < total, "everything was written although nothing was read");
    assert((reversed ? bytesOut : bytesIn) <= written);
    let received = 0;
    const reader = reversed ? client.socket : target;
    const all = new Promise<void>((resolve) =>
      reader.on("data", (bytes: Uint8Array) => {
        received += bytes.length;
        if (received === total + (reversed ? 0 : 8)) resolve();
      })
    );
    reader.resume();
    await all;
    await client[Symbol.asyncDispose]();
    target.destroy();
    await running.close();
  }
});

test("ATK-18: gateway: what a relay keeps is no more than its limit and the last piece", () => {
  for (const [maxBufferedBytes, limit] of [[undefined, MIB], [300_000, 300_000]] as const) {
    const fake = { ...channelPair()[0], pause: () => {}, resume: () => {}, onend: undefined, endHalf: () => true };
    let [waiting, paused] = [0, false];
    const from: PausableChannel = { ...fake, pause: () => void (paused = true) };
    const to: PausableChannel = {
      ...fake,
      close: () => {},
      send: (bytes) => void (waiting += bytes.length),
      ready: () => new Promise(() => {}),
      get bufferedAmount(): number {
        return waiting;
      },
    };
    new ChannelRelay(from, to, { lingerMs: 1, maxBufferedBytes, onbytes: () => {} });
    while (!paused) from.onbytes!(new Uint8Array(1_000));
    assertEquals(waiting, Math.floor(limit / 1_000) * 1_000 + 1_000);
    from.onclose!({ code: 1000, reason: "" });
  }
});

test("ATK-18: gateway: a side that takes nothing for too long ends the relay, and the log is told which", async () => {
  const pour = (socket: Socket): void => {
    const write = (): void => {
      while (!socket.destroyed && socket.write(new Uint8Array(65_536)));
    };
    socket.on("drain", write);
    write();
  };
  for (const side of ["client", "target"] as const) {
    await using server = await bareServer((socket) => {
      socket.pause();
      if (side === "client") pour(socket);
    });
    const told: LogEntry[] = [];
    const running = await gateway({
      listen: { ...here, closeTimeoutMs: 50, log: (entry) => told.push(entry) },
      dial: { closeTimeoutMs: 50 },
      target: `amqp://127.0.0.1:${server.port}`,
      stallTimeoutMs: 200,
    });
    await using client = await BareClient.connect(running.port);
    client.socket.pause();
    client.socket.write(latin1(SASL));
    if (side === "target") pour(client.socket);
    await waitFor(() => running.counters.opened === 1 && running.counters.relays === 0 || undefined);
    assertEquals(told.map(({ level, code }) => `${level} ${code}`), ["warning refused"]);
    assertStringIncludes(
      told[0]!.message,
      `Cannot go on with the relay of 127.0.0.1: its ${side} has taken nothing for 200 ms`,
    );
    await running.close();
  }
});

test("ATK-18: gateway: a slow side that takes a little each time keeps its relay", async () => {
  const fake = { ...channelPair()[0], pause: () => {}, resume: () => {}, onend: undefined, endHalf: () => true };
  let waiting = 0;
  let stalled = 0;
  const from: PausableChannel = { ...fake, close: () => {} };
  const to: PausableChannel = {
    ...fake,
    close: () => {},
    send: (bytes) => void (waiting += bytes.length),
    ready: () => new Promise(() => {}),
    get bufferedAmount(): number {
      return waiting;
    },
  };
  // The relay's own timers do not keep the process alive.
  const alive = setInterval(() => {}, 1_000);
  await new Promise<void>((resolve) => {
    const relay = { lingerMs: 1, maxBufferedBytes: 10, stallTimeoutMs: 20, onbytes: () => {} };
    new ChannelRelay(from, to, {
      ...relay,
      onstall: (side) => {
        assertEquals([side, stalled], ["target", 0]);
        stalled++;
        assertEquals(waiting, 90);
        from.onclose!({ code: 1000, reason: "" });
        resolve();
      },
    });
    from.onbytes!(new Uint8Array(100));
    // One step for each of the first ten looks: the number of looks, not the time, counts.
    Object.defineProperty(to, "bufferedAmount", { get: () => waiting > 90 ? --waiting : waiting });
  });
  clearInterval(alive);
});

test("gateway: halves of TCP end one by one, and a goodbye that comes later still gets through", async () => {
  await using server = await bareServer((socket) => {
    let heard = "";
    socket.on("data", (bytes: Uint8Array) => heard += text(bytes));
    socket.on("end", () => setTimeout(() => socket.end(`goodbye to ${heard}`), 20));
  });
  await using running = await gateway({ listen: here, target: `amqp://127.0.0.1:${server.port}` });
  const client = await BareClient.connect(running.port);
  client.socket.end(SASL);
  await client.ended;
  assertEquals(client.heard, `goodbye to ${SASL}`);

  // In the other direction there is a WebSocket in between: its end waits for the answer.
  const target = await rawServer((peer) => {
    peer.accept();
    void peer.until(({ received }) => received === 8).then(async () => {
      peer.send(2, latin1("goodbye"));
      peer.send(8, Uint8Array.of(3, 0xe8));
      await peer.until(({ controls }) => controls.length > 0);
      peer.socket.end();
    });
  });
  await using other = await gateway({ listen: here, target: target.url });
  const second = await BareClient.connect(other.port);
  second.socket.end(SASL);
  await second.ended;
  assertEquals(second.heard, "goodbye");
  await target.close();
});

test("gateway: whoever lingers after the other half has ended is given up", async () => {
  await using server = await bareServer((socket) => socket.resume());
  await using running = await gateway({
    listen: { ...here, closeTimeoutMs: 50 },
    dial: { closeTimeoutMs: 50 },
    target: `amqp://127.0.0.1:${server.port}`,
    lingerMs: 50,
  });
  const client = await BareClient.connect(running.port);
  client.socket.end(SASL);
  await client.ended;
  while (running.counters.relays > 0) await new Promise((resolve) => setTimeout(resolve, 1));
});

test("gateway: close codes pass between WebSockets; a broken side is 1011 to the other", async () => {
  const target = await rawServer((peer) => {
    peer.accept();
    if (peer.path === "/code") peer.send(8, Uint8Array.of(0x0f, 0xa1, ...latin1("why")));
    else peer.socket.destroy();
  });
  for (const [path, code, reason] of [["/code", 4001, "why"], ["/", 1011, ""]] as const) {
    await using running = await gateway({ listen: here, target: `${target.url}${path}` });
    const channel = await dialSocket(`ws://127.0.0.1:${running.port}`);
    if (path === "/code") {
      const peer = await waitFor(() => target.peers[0]);
      await peer.until(({ controls }) => controls.length > 0);
      peer.socket.end();
    }
    assertEquals((({ code, reason }) => [code, reason])(await record(channel).closed), [code, reason]);
  }
  await target.close();
});

test("ATK-29: targets are chosen by a function, from a list that it cannot leave", async () => {
  await using server = await bareServer(echo);
  const good = `amqp://127.0.0.1:${server.port}`;
  const errors: string[] = [];
  const told: string[] = [];
  await using running = await gateway({
    listen: { ...here, log: ({ code }) => told.push(code) },
    target: ({ request }) => {
      const path = request?.target ?? "";
      if (path === "/none") return undefined;
      if (path === "/throws") throw new Error("no idea");
      return Promise.resolve(path === "/good" ? `${good}/with/path` : path.slice(1));
    },
    targets: [good, "amqps://[::1]:1"],
    onError: (error) => {
      errors.push((error as Error).message);
      throw new Error("not here either");
    },
  });
  const enter = async (path: string): Promise<number> => {
    const channel = await dialSocket(`ws://127.0.0.1:${running.port}${path}`);
    const log = record(channel);
    channel.send(latin1("x"));
    await Promise.race([log.until(1), log.closed]);
    channel.close();
    return (await log.closed).code;
  };
  assertEquals(await enter("/good"), 1000);
  assertEquals(await enter("/none"), 1008);
  assertEquals(await enter("/amqp://127.0.0.1:1"), 1008);
  assertEquals(await enter(`/amqps://127.0.0.1:${server.port}`), 1008);
  assertEquals(await enter("/amqps://[::1]"), 1008);
  assertEquals(await enter("/amqps://[0:0::1]:1"), 1011);
  assertEquals(await enter("/throws"), 1011);
  assertEquals([running.counters.opened, running.counters.failed], [1, 6]);
  assertStringIncludes(errors[1]!, 'target "amqp://127.0.0.1:1" is not allowed');
  assertEquals(errors.at(-1), "no idea");
  assertEquals(told, ["callback-failed"]);
});

test("gateway: a target that is not there, not trusted or not willing turns its clients away", async () => {
  await using rogue = await bareServer(silent, keyPair("rogue"));
  for (const target of ["amqp://127.0.0.1:1", `amqps://localhost:${rogue.port}`]) {
    const errors: unknown[] = [];
    await using running = await gateway({
      listen: here,
      target,
      dial: { tls: { ca } },
      onError: (error) => void errors.push(error),
    });
    const error = await assertRejects(() => connect(`ws://127.0.0.1:${running.port}`), TransportError);
    assertEquals(error.closeCode, 1011);
    await assertRejects(() => connect(`amqp://127.0.0.1:${running.port}`), TransportError);
    assertEquals(errors.length, 2);
  }
});

test("gateway: without onError the log is told of whom it turns away", async () => {
  const told: LogEntry[] = [];
  const log = (entry: LogEntry): void => void told.push(entry);
  await using running = await gateway({ listen: { ...here, log }, target: () => undefined, targets: [] });
  for (let i = 0; i < 2; i++) await assertRejects(() => connect(`amqp://127.0.0.1:${running.port}`), TransportError);
  assertEquals(told.map(({ level, code, error }) => `${level} ${code} ${(error as Error).message}`), [
    "warning refused Cannot connect client: there is no target for it",
  ]);
});

test("gateway: a client that goes away while its target is looked for leaves nothing", async () => {
  await using mute = await bareServer(silent);
  await using running = await gateway({ listen: here, target: `amqps://127.0.0.1:${mute.port}` });
  const client = await BareClient.connect(running.port);
  client.socket.write(SASL);
  await waitFor(() => mute.sockets[0]);
  client.socket.resetAndDestroy();
  await mute.gone(1);
  while (running.counters.relays > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals([running.counters.opened, running.counters.failed], [0, 0]);
});

test("gateway: a target that is never found keeps neither client nor gateway", async () => {
  const running = await gateway({ listen: here, target: () => new Promise<string>(() => {}), targets: [] });
  const client = await BareClient.connect(running.port);
  client.socket.write(SASL);
  while (running.counters.relays === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const reason = new Error("in a hurry");
  const stop = new AbortController();
  const closing = running.close({ signal: stop.signal });
  stop.abort(reason);
  assertEquals(await closing.catch((error) => error), reason);
  await running.close({ drainMs: 0 });
  await client.ended;
  assertEquals([running.counters.relays, running.counters.failed], [0, 0]);
});

test("gateway: close drains, then ends what is left in order", async () => {
  const broker = new Broker();
  await using target = await listen({ ...here, acceptor: broker });
  const running = await gateway({ listen: here, target: `amqp://127.0.0.1:${target.port}` });
  const leaving = await connect(`ws://127.0.0.1:${running.port}`, { reconnect: false });
  const staying = await connect(`ws://127.0.0.1:${running.port}`, { reconnect: false });
  const closing = running.close({ drainMs: 100 });
  await assertRejects(() => connect(`ws://127.0.0.1:${running.port}`, { reconnect: false }), TransportError);
  await leaving.sender("q").send({ body: "still through" });
  await leaving.close();
  await closing;
  await staying.closed;
  assertEquals((staying.error as TransportError).closeCode, 1001);
  assertEquals([broker.messages, running.counters.relays], [1, 0]);
  await broker.close();
});

test("ATK-14: gateway: traces show frames both ways, and no secret", async () => {
  const frames: GatewayTrace[] = [];
  const broker = new Broker({ sasl: { users: { user: "s3cret" } } });
  await using target = await listen({ ...here, acceptor: broker });
  const options: GatewayOptions = { listen: here, target: `amqp://127.0.0.1:${target.port}` };
  const running = await gateway({ ...options, trace: (frame) => void frames.push(frame) });
  const url = `ws://127.0.0.1:${running.port}`;
  await publish(url, "q", { body: "x".repeat(100_000) }, { auth: plain("user", "s3cret") });
  const seen = (direction: string): string =>
    [...new Set(frames.filter((frame) => frame.direction === direction).map(({ body }) => body?.kind))].join(" ");
  assertEquals(seen("in"), "saslInit open begin attach transfer close");
  assertStringIncludes(seen("out"), "saslMechanisms saslOutcome open begin attach flow");
  assertEquals(/s3cret|7333637265/.test(JSON.stringify(frames, (_, value) => `${value}`)), false);
  assertEquals(
    frames.filter(({ payloadBytes }) => payloadBytes > 0).reduce((sum, one) => sum + one.payloadBytes, 0) > 100_000,
    true,
  );
  // Bytes that are not AMQP pass all the same.
  const client = await BareClient.connect(running.port);
  client.socket.write("AMQP\x00\x00\x09\x01");
  await client.until("AMQP");
  await client[Symbol.asyncDispose]();
  await running.close({ drainMs: 0 });
  await broker.close();
});

test("gateway: options that cannot be used are refused at once", async () => {
  const target = "amqp://127.0.0.1:1";
  for (
    const options of [
      { target: "http://127.0.0.1" },
      { target: () => target },
      { target, targets: ["amqp://127.0.0.1:2"] },
      { target, targets: ["nonsense"] },
    ]
  ) await assertRejects(() => gateway({ listen: here, ...options }), TypeError);
});

async function waitFor<T>(find: () => T | undefined): Promise<T> {
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
