import { assertEquals } from "@std/assert";
import { MAX_TIMER_MS } from "../../src/base/environment.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { described, type Source, type Target } from "../../src/codec/types.ts";
import { ScriptedPeer } from "../../src/testing/mod.ts";
import { test } from "../harness.ts";
import { until } from "./set_up.ts";

// The broker's answer to the attach of a raw peer: the terminus in force, or the condition of its refusal.
async function answer(
  wish: Source | Target,
  refused = false,
  options: BrokerOptions = {},
): Promise<Record<string, unknown>> {
  await using broker = new Broker({ topics: ["news"], log: null, ...options });
  const peer = new ScriptedPeer({ ignore: ["flow", "empty"] });
  broker.accept(peer.channel);
  peer.send("header", { id: 0 });
  peer.expect("header", { id: 0 });
  peer.send("open", { containerId: "raw" });
  peer.expect("open");
  peer.send("begin", { nextOutgoingId: 0, incomingWindow: 10, outgoingWindow: 10 });
  peer.expect("begin");
  const role = wish.kind === "source" ? "receiver" : "sender";
  const termini = wish.kind === "source"
    ? { source: wish, target: { kind: "target" } as const }
    : { source: { kind: "source" } as const, target: wish, initialDeliveryCount: 0 };
  peer.send("attach", { name: "raw", handle: 0, role, ...termini });
  peer.expect("attach");
  if (refused) peer.expect("detach", { closed: true });
  await peer.done();
  const attach = peer.frames.find(({ kind }) => kind === "attach")!.fields as unknown as {
    source?: Source;
    target?: Target;
  };
  const terminus = wish.kind === "source" ? attach.source : attach.target;
  if (refused) {
    const { error } = peer.frames.find(({ kind }) => kind === "detach")!.fields as { error: { condition: string } };
    return { refused: terminus === undefined || terminus === null ? error.condition : "with a terminus" };
  }
  return Object.fromEntries(Object.entries(terminus!).filter(([, value]) => value !== undefined && value !== null));
}

const properties = { "supported-dist-modes": "copy", color: "red" };
const capabilities = ["queue", "topic", "shared", "global", "temporary-queue", "something"];

test("TRM-1, TRM-3: a queue's source: what is in force is answered, and nothing else", async () => {
  const found = await answer({
    kind: "source",
    address: "q",
    durable: "unsettled-state",
    expiryPolicy: "connection-close",
    dynamicNodeProperties: properties,
    outcomes: ["amqp:accepted:list"],
    capabilities: ["queue", "global", "temporary-queue", "something"],
  });
  const { outcomes, defaultOutcome, ...rest } = found;
  assertEquals((outcomes as string[]).length, 4);
  assertEquals((defaultOutcome as { kind: string }).kind, "modified");
  assertEquals(shown(rest), {
    kind: "source",
    address: "q",
    expiryPolicy: "link-detach",
    distributionMode: "move",
    capabilities: ["queue", "temporary-queue"],
  });
});

test("TRM-1, TRM-3: a topic's source: what is in force is answered, and nothing else", async () => {
  const wish = {
    kind: "source",
    address: "news",
    durable: "unsettled-state",
    capabilities: ["topic", "queue-like"],
  } as const;
  for (
    const [expiryPolicy, timeout, durable, policy, seconds] of [
      ["never", 60, "unsettled-state", "never", 0],
      ["connection-close", 60, "unsettled-state", "connection-close", 0],
      ["session-end", 60, "unsettled-state", "link-detach", 60],
      ["link-detach", 0, undefined, "link-detach", 0],
    ] as const
  ) {
    const found = await answer({ ...wish, capabilities: [...wish.capabilities], expiryPolicy, timeout });
    const { durable: held = "none", timeout: time = 0 } = found;
    assertEquals([held, found.expiryPolicy, time], [durable ?? "none", policy, seconds]);
    assertEquals([found.distributionMode, found.capabilities], ["copy", ["topic"]]);
  }
});

test("TRM-1, TRM-3: a target: what is in force is answered, and nothing else", async () => {
  const wish: Target = { kind: "target", durable: "unsettled-state", dynamicNodeProperties: properties };
  const queue = await answer({ ...wish, address: "q", capabilities: ["queue", "shared", "global", "something"] });
  assertEquals(shown(queue), { kind: "target", address: "q", expiryPolicy: "link-detach", capabilities: ["queue"] });
  const topic = await answer({ ...wish, address: "news", capabilities: ["topic", "shared"] });
  assertEquals(shown(topic), { kind: "target", address: "news", expiryPolicy: "link-detach", capabilities: ["topic"] });
  const relay = await answer({ ...wish, capabilities });
  assertEquals(shown(relay), { kind: "target", expiryPolicy: "link-detach" });
});

test("TRM-4, TRM-5: what would give a peer something else than it asks for is refused", async () => {
  const source = { kind: "source", address: "q" } as const;
  for (
    const wish of [
      { ...source, distributionMode: "both" as "copy" },
      { ...source, filter: { odd: described("odd:filter", 1n) } },
      { ...source, capabilities: ["shared"] },
      { ...source, address: "news", filter: { odd: 1n } },
    ]
  ) assertEquals(await answer(wish, true), { refused: "amqp:not-implemented" });
  assertEquals(await answer({ ...source, address: "news", capabilities: ["queue"] }, true), {
    refused: "amqp:not-allowed",
  });
});

test("TRM-1: what is to be kept for longer than a timer lasts is kept for so long, and the answer says so", async () => {
  const longest = Math.floor(MAX_TIMER_MS / 1_000);
  const wish = { kind: "source", durable: "unsettled-state", timeout: 0xffff_ffff } as const;
  assertEquals((await answer({ ...wish, address: "news" })).timeout, longest);
  const kept = await answer({ ...wish, address: "q" }, false, { maxSuspendMs: Infinity });
  assertEquals(kept.timeout, longest);
  const ever = await answer({ ...wish, address: "q", timeout: 0, expiryPolicy: "never" }, false, {
    maxSuspendMs: Infinity,
  });
  assertEquals(ever.timeout, longest);
});

test("TRM-1: a subscription with connection-close outlives its link, and ends with its connection", async () => {
  await using broker = new Broker({ topics: ["news"], log: null });
  const producer = await broker.connect();
  const client = await broker.connect({ containerId: "client" });
  const subscribe = () =>
    client.receiver({ address: "news", name: "sub", credit: 10, source: { expiryPolicy: "connection-close" } });
  const first = subscribe();
  await first.ready();
  await first.detach();
  await producer.sender("news").send({ body: 1n });
  const again = subscribe();
  const delivery = await again.receive();
  assertEquals(delivery.message.body, 1n);
  delivery.accept();
  await again.detach();
  await producer.sender("news").send({ body: 2n });
  assertEquals(broker.messages, 1);
  await client.close();
  await until(() => broker.messages === 0);
});

// Without the defaults that a decoder fills in.
function shown({ durable, timeout, dynamic, ...rest }: Record<string, unknown>): Record<string, unknown> {
  assertEquals([durable ?? "none", timeout ?? 0, dynamic ?? false], ["none", 0, false]);
  return rest;
}
