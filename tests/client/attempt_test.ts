/**
 * The options asked for on each attempt to connect, and the events that end the pause before the next.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { connect, publish } from "../../mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { TransportError } from "../../src/base/errors.ts";
import type { Dial } from "../../src/client/attempt.ts";
import type { Channel, ChannelClose } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { turn, VirtualNetwork, VirtualTime } from "./virtual.ts";

function world() {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, log: null });
  const up = () => network.up("broker.example", (channel) => server.accept(channel));
  up();
  return { time, network, up };
}

test("headers and tls are callbacks that are asked again on each attempt, and dialled with what they give", async () => {
  const { time, network, up } = world();
  const dialled: unknown[] = [];
  const dial: Dial = (url, { headers, tls }) => {
    dialled.push([headers, tls]);
    return network.dial(url);
  };
  let asked = 0;
  const connection = await connect("wss://broker.example/", {
    dial,
    environment: time,
    log: null,
    headers: async () => {
      await undefined;
      return { Authorization: `Bearer ${++asked}` };
    },
    tls: () => ({ cert: `certificate ${asked}`, key: `key ${asked}` }),
  });
  network.down("broker.example");
  await turn();
  up();
  await time.wait(connection.ready());
  assertEquals(dialled.length >= 2, true);
  assertEquals(
    dialled,
    dialled.map((_, i) => [
      { Authorization: `Bearer ${i + 1}` },
      { cert: `certificate ${i + 1}`, key: `key ${i + 1}` },
    ]),
  );
  await time.wait(connection.close());
});

test("what a callback throws is the error of the first attempt, and passes on a later one", async () => {
  const { time, network, up } = world();
  let asked = 0;
  const options = { dial: network.dial, environment: time, log: null };
  const refusing = () => {
    throw new Error("no token today");
  };
  await assertRejects(
    () => connect("wss://broker.example/", { ...options, headers: refusing }),
    Error,
    "no token today",
  );
  const connection = await connect("wss://broker.example/", {
    ...options,
    headers: () => {
      if (++asked === 2) throw new Error("the vault is restarting");
      return { Authorization: "Bearer t" };
    },
  });
  network.down("broker.example");
  up();
  await turn();
  await time.wait(connection.ready());
  assertEquals([connection.state, asked], ["open", 3]);
  await time.wait(connection.close());
});

test("a pause before the next attempt ends when the runtime says that the network is back", async () => {
  const { time, network, up } = world();
  // As in browsers: not every runtime has events of its own.
  const global = globalThis as Partial<EventTarget>;
  const { addEventListener, removeEventListener, dispatchEvent } = global;
  const target = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"] as const) {
    Object.defineProperty(globalThis, name, { value: target[name].bind(target), configurable: true, writable: true });
  }
  try {
    const connection = await connect("wss://broker.example/", {
      dial: network.dial,
      environment: time,
      log: null,
      reconnect: { initialDelayMs: 60_000, maxDelayMs: 600_000 },
    });
    network.down("broker.example");
    await turn();
    up();
    assertEquals([connection.state, network.dialled.length], ["interrupted", 1]);
    // No time passes: the event ends the pause.
    target.dispatchEvent(new Event("online"));
    await turn();
    assertEquals([connection.state, network.dialled.length], ["open", 2]);
    await time.wait(connection.close());
  } finally {
    Object.assign(globalThis, { addEventListener, removeEventListener, dispatchEvent });
  }
});

test("a dial that does not know of the signal holds up no publish, and its channel is closed when it comes", async () => {
  const [channel, other] = channelPair();
  other.onbytes = () => {};
  const closed = new Promise<ChannelClose>((resolve) => other.onclose = resolve);
  let dialled!: (channel: Channel) => void;
  const dial = () => new Promise<Channel>((resolve) => dialled = resolve);
  const publishing = publish("ws://broker.example", "orders", { body: 1 }, { dial, timeoutMs: 5, log: null });
  await assertRejects(() => publishing, TransportError, "no outcome in 5 ms");
  dialled(channel);
  await closed;
});

test("a connection whose telemetry cannot be made is closed, and so is its channel", async () => {
  const [channel, other] = channelPair();
  other.onbytes = () => {};
  const closed = new Promise<ChannelClose>((resolve) => other.onclose = resolve);
  const telemetry = () => {
    throw new Error("no meter");
  };
  await assertRejects(() => connect(channel, { log: null, telemetry }), Error, "no meter");
  await closed;
});
