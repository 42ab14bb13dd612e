import { assert, assertEquals, assertRejects } from "@std/assert";
import { OutcomeError } from "../../src/base/errors.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { ConnectOptions } from "../../src/client/connect.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { Driver, type DriverOwner } from "../../src/client/driver.ts";
import { resume } from "../../src/client/resume.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import type { DeliveryState, Received, Transfer } from "../../src/codec/types.ts";
import { sectionEnds } from "../../src/codec/primitives.ts";
import { Writer } from "../../src/codec/writer.ts";
import { accept } from "../../src/engine/accept.ts";
import type { IncomingDelivery } from "../../src/engine/deliveries.ts";
import { tagKey } from "../../src/engine/tags.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import type { OutgoingDelivery, SenderState } from "../../src/engine/outgoing.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import { isOutcome } from "../../src/recovery/resumption.ts";
import type { Faults } from "../../src/testing/mod.ts";
import { endpointOf } from "../engine/endpoint.ts";
import { type Random, random as randomOf, seed, test } from "../harness.ts";
import { dialling, HOST, MemoryStore } from "./resume_world.ts";
import { VirtualTime } from "./virtual.ts";

const ACCEPTED: DeliveryState = { kind: "accepted" };
const REJECTED: DeliveryState = { kind: "rejected" };

function received(sectionNumber: number, sectionOffset = 0n): Received {
  return { kind: "received", sectionNumber, sectionOffset };
}

/** Runs an engine on the far end of a channel, without anything above it. */
function engine(
  channel: Channel,
  time: VirtualTime,
  onevent: (event: EngineEvent) => void,
  ontransfer: (transfer: Transfer) => void = () => {},
  maxFrameSize?: number,
): Driver {
  const endpoint = endpointOf({
    maxFrameSize,
    role: "server",
    containerId: "peer",
    sasl: { mechanisms: ["ANONYMOUS"], required: false },
    trace: ({ direction, body }) => direction === "in" && body?.kind === "transfer" && ontransfer(body),
  });
  const owner: DriverOwner = {
    handleEvent: (event) => {
      if (event.kind === "saslInit") return endpoint.sasl({ kind: "saslOutcome", code: "ok" });
      onevent(event);
    },
  };
  return new Driver(channel, endpoint, owner, { environment: time });
}

const RECONNECT: ConnectOptions = { reconnect: { initial: true, initialDelayMs: 10 } };

/** A cut somewhere in the exchange that attaches a link again. */
function cutOf(random: Random): Faults {
  return {
    [random.pick(["cutAfterFramesIn", "cutAfterFramesOut"])]: 1 + random.int(11),
    delayInMs: random.int(30),
  };
}

interface Entry {
  readonly tag: Uint8Array;
  state: DeliveryState | null;
  part: Uint8Array;
}

/** A receiver's state of a delivery after the first interruption. */
const SAYS: readonly (readonly [name: string, state: DeliveryState | null | undefined, outcome: string])[] = [
  ["nothing", undefined, "accepted"],
  ["null", null, "accepted"],
  ["none of it", received(0), "accepted"],
  ["a section", received(1), "accepted"],
  ["a part of a section", received(1, 7n), "accepted"],
  ["all of it", received(2), "accepted"],
  ["more than there is", received(9, 9n), "accepted"],
  ["accepted", ACCEPTED, "accepted"],
  ["rejected", REJECTED, "rejected"],
  ["released", { kind: "released" }, "released"],
  ["modified", { kind: "modified", deliveryFailed: true }, "modified"],
  ["that it is in a transaction", { kind: "transactionalState", txnId: Uint8Array.of(1) }, "lost"],
];

/** A receiver that keeps its state over connections. */
class ReceivingPeer {
  readonly kept = new Map<number | string, Entry>();
  readonly stored: string[] = [];
  readonly faults: string[] = [];
  tells: boolean;
  /** Whether the next unsettled map is incomplete. */
  isIncomplete = false;
  /** The number of attaches. */
  attaches = 0;
  readonly #time: VirtualTime;
  readonly #maxFrameSize: number | undefined;
  #isNew = false;

  constructor(time: VirtualTime, tells: boolean, maxFrameSize?: number) {
    this.#time = time;
    this.tells = tells;
    this.#maxFrameSize = maxFrameSize;
  }

  /** Drops all its state. */
  forget(): void {
    this.kept.clear();
    this.#isNew = true;
  }

  readonly accept = (channel: Channel): void => {
    const driver = engine(
      channel,
      this.#time,
      (event) => {
        if (event.kind === "attachRequested") this.#attach(event.link as ReceiverEndpoint);
        else if (event.kind === "delivery") this.#take(event.delivery);
        else if (event.kind === "disposition" && event.settled) {
          this.kept.delete((event.delivery as IncomingDelivery).key);
        }
        driver.wake();
      },
      ({ aborted, deliveryTag }) => aborted && this.kept.delete(tagKey(deliveryTag!)),
      this.#maxFrameSize,
    );
  };

  #attach(link: ReceiverEndpoint): void {
    const { unsettled } = link.remote!;
    const listed = new Set(Array.from(unsettled?.keys() ?? [], tagKey));
    // A delivery that the sender does not list is settled.
    for (const key of this.kept.keys()) if (!listed.has(key)) this.kept.delete(key);
    const list = new Map(Array.from(this.kept.values(), ({ tag, state }) => [tag, state] as const));
    const incompleteUnsettled = this.isIncomplete || undefined;
    accept(link, { unsettled: this.#isNew ? undefined : unsettled && list, incompleteUnsettled });
    if (unsettled !== undefined) this.#isNew = this.isIncomplete = false;
    this.attaches++;
    link.flow({ linkCredit: 10 });
  }

  #take(delivery: IncomingDelivery): void {
    const { key, tag, resume, remoteSettled, remoteState, payload } = delivery;
    const entry = this.kept.get(key);
    if (resume !== (entry !== undefined)) this.faults.push(`resume is ${resume} where it was ${entry?.state?.kind}`);
    if (remoteSettled) return void this.kept.delete(key);
    if (isOutcome(entry?.state)) {
      // The sender has another outcome, which counts.
      if (!isOutcome(remoteState)) this.faults.push("an outcome was not stated again");
      else delivery.update(remoteState, true);
      return void this.kept.delete(key);
    }
    const { sectionNumber, sectionOffset } = remoteState?.kind === "received" ? remoteState : received(0);
    const start = (sectionNumber === 0 ? 0 : sectionEnds(entry!.part)![sectionNumber - 1]!) + Number(sectionOffset);
    const whole = new Uint8Array(start + payload.length);
    if (start > 0) whole.set(entry!.part.subarray(0, start));
    whole.set(payload, start);
    this.stored.push(decodeMessage(whole).text());
    this.kept.set(key, { tag, state: this.tells ? ACCEPTED : null, part: whole });
    if (this.tells) delivery.update(ACCEPTED);
  }
}

interface SenderCase {
  /** The peer's state of either message after the first cut, as an index into the list above. */
  readonly says: readonly [number, number];
  /** Whether this side has received the outcome and not reported it, because its store is slow. */
  readonly heard: boolean;
  /** Whether the peer has lost its state, and lists nothing. */
  readonly isNew?: boolean;
  /** Milliseconds after the first cut at which this side may report the outcome. */
  readonly opensMs: number;
  readonly cuts: readonly Faults[];
}

async function sendThrough({ says, heard, isNew, opensMs, cuts }: SenderCase): Promise<void> {
  const time = new VirtualTime();
  const peer = new ReceivingPeer(time, heard);
  const { connection, network } = await dialling(time, peer.accept, RECONNECT, [{}, ...cuts]);
  const store = new MemoryStore();
  let open!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  if (heard) store.wait = (call) => call === "delete" ? opened : undefined;
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume({ store }) });
  await time.wait(sender.ready());
  const told: string[][] = [[], []];
  ["one", "two"].forEach((body, i) => {
    sender.send({ properties: { subject: "x" }, body }).then(
      ({ kind }) => told[i]!.push(kind),
      ({ outcome }) => told[i]!.push(outcome),
    );
  });
  await time.pass(10);
  assertEquals(peer.kept.size, 2);
  [...peer.kept].forEach(([key, entry], i) => {
    const [, state] = SAYS[says[i]!]!;
    entry.state = state ?? null;
    if (state === undefined) peer.kept.delete(key);
    if (state?.kind !== "accepted") peer.stored.splice(peer.stored.indexOf(["one", "two"][i]!), 1);
  });
  const before = peer.stored.toSorted();
  peer.tells = true;
  if (isNew) peer.forget();
  network.cut(HOST);
  await time.pass(opensMs);
  open();
  store.wait = () => undefined;
  await time.pass(2_000);
  const what = JSON.stringify([says.map((at) => SAYS[at]![0]), heard, isNew, opensMs, cuts]);
  assertEquals(told, says.map((at) => [heard ? "accepted" : SAYS[at]![2]]), what);
  assertEquals(peer.faults, [], what);
  assertEquals([sender.pending, store.kept.size, peer.kept.size], [0, 0, 0], what);
  const once = ["one", "two"].filter((_, i) => SAYS[says[i]!]![2] === "accepted");
  assertEquals(peer.stored.toSorted(), heard ? before : once, what);
  // The link works as before.
  assertEquals((await time.wait(sender.send({ body: "three" }))).kind, "accepted");
  connection.destroy(new Error("done"));
}

// The number of runs of each case.
const RUNS = 2;

for (const heard of [false, true]) {
  const what = heard ? "that has heard outcomes, and not told them," : "that has heard nothing";
  test(`RES-1: whatever the receiver says of what it has, a sender ${what} has one outcome of each over three cuts`, async () => {
    const random = randomOf(seed());
    for (let first = 0; first < SAYS.length; first++) {
      for (let i = 0; i < RUNS; i++) {
        const says = [first, random.int(SAYS.length)] as const;
        await sendThrough({ says, heard, opensMs: random.int(300), cuts: [cutOf(random), cutOf(random)] });
      }
    }
  });
}

test("RES-1: what this side has heard the outcome of is not sent again to a receiver that has kept nothing", async () => {
  const random = randomOf(seed());
  for (let i = 0; i < 10; i++) {
    await sendThrough({ says: [0, 0], heard: true, isNew: true, opensMs: random.int(200), cuts: [cutOf(random)] });
  }
});

test("RES-1: what this side tells while its list is on the way is told of it, too, whenever that is", async () => {
  for (let opensMs = 0; opensMs < 250; opensMs += 10) {
    await sendThrough({ says: [1, 7], heard: true, opensMs, cuts: [{ delayInMs: 40 }] });
  }
});

test("LNK-9: a round of a list ends with its connection, and detaches no link of the next", async () => {
  const time = new VirtualTime();
  const peer = new ReceivingPeer(time, false);
  const { connection, network } = await dialling(time, peer.accept, RECONNECT);
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
  const sending = sender.send({ body: "one" });
  await time.pass(10);
  peer.isIncomplete = true;
  // The store reports nothing that happens meanwhile.
  network.cut(HOST);
  await time.pass(500);
  assertEquals(peer.attaches, 2);
  peer.tells = true;
  network.cut(HOST);
  assertEquals((await time.wait(sending)).kind, "accepted");
  await time.pass(500);
  assertEquals([peer.attaches, peer.kept.size, peer.faults], [3, 0, []]);
  connection.destroy(new Error("done"));
});

test("LNK-9: a round goes on where what it waits for was given up", async () => {
  const time = new VirtualTime();
  const peer = new ReceivingPeer(time, false);
  const { connection, network } = await dialling(time, peer.accept, RECONNECT);
  const sender = connection.sender({ address: "orders", name: "out", recovery: resume() });
  const sending = sender.send({ body: "one" });
  await time.pass(10);
  for (const entry of peer.kept.values()) entry.state = { kind: "transactionalState", txnId: Uint8Array.of(1) };
  peer.isIncomplete = peer.tells = true;
  network.cut(HOST);
  await assertRejects(() => time.wait(sending), OutcomeError, "the peer is ahead of this side");
  assertEquals((await time.wait(sender.send({ body: "two" }))).kind, "accepted");
  assertEquals([peer.attaches, peer.kept.size], [3, 0]);
  connection.destroy(new Error("done"));
});

test("LNK-9: a round goes on where the receiver has forgotten what this side has heard the outcome of", async () => {
  const time = new VirtualTime();
  const peer = new ReceivingPeer(time, true, 512);
  const { connection, network } = await dialling(time, peer.accept, RECONNECT);
  const store = new MemoryStore();
  let open!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  store.wait = (call) => call === "delete" ? opened : undefined;
  // With this long name, two or three messages fit into the map.
  const sender = connection.sender({ address: "orders", name: "out".repeat(80), recovery: resume({ store }) });
  const sends = Promise.all(["1", "2", "3", "4", "5", "6"].map((body) => sender.send({ body })));
  await time.pass(10);
  assertEquals([peer.kept.size, sender.pending], [6, 6]);
  peer.kept.clear();
  network.cut(HOST);
  await time.pass(500);
  open();
  await time.wait(sends);
  assertEquals((await time.wait(sender.send({ body: "7" }))).kind, "accepted");
  assertEquals([sender.pending, peer.kept.size, store.kept.size, peer.faults], [0, 0, 0, []]);
  assert(peer.attaches > 2, `${peer.attaches} times`);
  connection.destroy(new Error("done"));
});

/** A sender's ways to treat an unsettled delivery when its link is attached again. */
const ACTS = ["resume", "settle", "abort", "wait", "forget"] as const;
type Act = (typeof ACTS)[number];
/** The times at which the program settles a delivery: at once, while the link is suspended, later, or never by itself. */
const PLANS = ["at once", "meanwhile", "later"] as const;
type Plan = (typeof PLANS)[number];

/** A sender that keeps its state over connections. */
class SendingPeer {
  readonly kept = new Map<number | string, { tag: Uint8Array; body: string; act: Act }>();
  readonly heard = new Map<string, string[]>();
  readonly #time: VirtualTime;
  readonly #bodies = new WeakMap<OutgoingDelivery, string>();
  #link: SenderEndpoint | undefined;
  #driver: Driver | undefined;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  readonly accept = (channel: Channel): void => {
    const driver = this.#driver = engine(channel, this.#time, (event) => {
      if (event.kind === "attachRequested") this.#attach(event.link as SenderEndpoint);
      else if (event.kind === "disposition") this.#hear(event.delivery as OutgoingDelivery, event.state);
      driver.wake();
    });
  };

  send(body: string, tag: Uint8Array, act: Act): void {
    this.kept.set(tagKey(tag), { tag, body, act });
    this.#push(body, tag, {});
  }

  #push(body: string, tag: Uint8Array, options: { resume?: boolean; settled?: boolean }): OutgoingDelivery {
    const writer = new Writer();
    if (!options.resume) writeMessage({ body }, writer);
    const delivery = this.#link!.outgoing.push(writer.take(), { tag, ...options });
    this.#bodies.set(delivery, body);
    this.#driver!.wake();
    return delivery;
  }

  #hear(delivery: OutgoingDelivery, state: DeliveryState | undefined): void {
    if (!isOutcome(state)) return;
    const body = this.#bodies.get(delivery)!;
    this.heard.set(body, [...this.heard.get(body) ?? [], state.kind]);
    this.kept.delete(tagKey(delivery.tag));
    delivery.settle({ kind: state.kind } as SenderState);
  }

  #attach(link: SenderEndpoint): void {
    this.#link = link;
    const { unsettled } = link.remote!;
    const theirs = new Set(Array.from(unsettled?.keys() ?? [], tagKey));
    for (const [key, { act }] of this.kept) if (act === "forget") this.kept.delete(key);
    const list = new Map(Array.from(this.kept.values(), ({ tag }) => [tag, null] as const));
    accept(link, { unsettled: unsettled && list });
    for (const [key, entry] of [...this.kept]) {
      const { tag, body, act } = entry;
      entry.act = "resume";
      if (!theirs.has(key)) this.#push(body, tag, {});
      else if (act === "resume") this.#push(body, tag, { resume: true });
      else if (act !== "wait") {
        this.kept.delete(key);
        const delivery = this.#push(body, tag, { resume: true, settled: act === "settle" });
        if (act === "abort") delivery.abort();
      }
    }
  }
}

interface ReceiverCase {
  readonly acts: readonly Act[];
  readonly plans: readonly Plan[];
  /** Milliseconds that the store takes to keep or forget. */
  readonly storeMs: number;
  /** Whether the receiver settles in one step, so that an outcome may be lost and a message come twice. */
  readonly inOneStep?: boolean;
  readonly cuts: readonly Faults[];
}

async function receiveThrough({ acts, plans, storeMs, inOneStep, cuts }: ReceiverCase): Promise<void> {
  const time = new VirtualTime();
  const peer = new SendingPeer(time);
  const { connection, network } = await dialling(time, peer.accept, RECONNECT, [{}, ...cuts]);
  const store = new MemoryStore();
  store.wait = () => storeMs === 0 ? Promise.resolve() : new Promise((resolve) => time.setTimer(resolve, storeMs));
  const receiver = connection.receiver({
    address: "orders",
    name: "in",
    credit: 4,
    rcvSettleMode: inOneStep ? "first" : "second",
    recovery: resume({ store }),
  });
  await time.wait(receiver.ready());
  const handled: string[] = [];
  const ended = new Map<string, string>();
  let phase: Plan = "at once";
  const held: { delivery: Delivery; body: string; plan: Plan }[] = [];
  const settle = (): void => {
    for (const { delivery, body, plan } of held) {
      if (plan !== phase || delivery.outcome !== undefined || ended.get(body) === "lost") continue;
      try {
        delivery.accept();
        ended.set(body, "accepted");
      } catch {
        ended.set(body, "lost");
        assert(delivery.signal.aborted);
      }
    }
  };
  (async () => {
    for (;;) {
      const delivery = await receiver.receive();
      const body = delivery.message.text();
      void delivery.signal;
      handled.push(body);
      held.push({ delivery, body, plan: plans[Number(body)] ?? phase });
      settle();
    }
  })().catch(() => {});
  acts.forEach((act, i) => peer.send(`${i}`, Uint8Array.of(0, 0, 0, i), act));
  await time.pass(storeMs === 0 ? 10 : storeMs >> 1);
  network.down(HOST);
  await time.pass(5);
  phase = "meanwhile";
  settle();
  network.up(HOST, peer.accept);
  await time.pass(2_000);
  // Also for those that the sender let wait.
  network.cut(HOST);
  await time.pass(1_000);
  phase = "later";
  settle();
  await time.pass(1_000);
  const what = JSON.stringify([acts, plans, storeMs, inOneStep, cuts]);
  const bodies = acts.map((_, i) => `${i}`);
  assertEquals(inOneStep ? [...new Set(handled)].toSorted() : handled.toSorted(), bodies, what);
  assertEquals([receiver.unsettled, store.kept.size, peer.kept.size], [0, 0, 0], what);
  // Credit is renewed at half the window.
  assert(receiver.credit >= 2 && receiver.credit <= 4, `${receiver.credit}: ${what}`);
  acts.forEach((act, i) => {
    const heard = peer.heard.get(`${i}`) ?? [];
    if (act === "resume" || act === "wait") assertEquals([ended.get(`${i}`), heard], ["accepted", ["accepted"]], what);
    else assert(heard.length <= 1, what);
  });
  // The same tags, of other messages.
  acts.forEach((_, i) => peer.send(`${i + 10}`, Uint8Array.of(0, 0, 0, i), "resume"));
  const before = handled.length;
  await time.pass(1_000);
  assertEquals([handled.length, receiver.unsettled], [before + acts.length, 0], what);
  assertEquals(acts.map((_, i) => peer.heard.get(`${i + 10}`)), acts.map(() => ["accepted"]), what);
  connection.destroy(new Error("done"));
}

for (const storeMs of [0, 30]) {
  const what = storeMs === 0 ? "" : " and a store that takes its time";
  test(`RES-2: whatever the sender does with what it holds, a receiver${what} works on each message once, over four cuts`, async () => {
    const random = randomOf(seed());
    for (const act of ACTS) {
      for (const plan of PLANS) {
        for (let i = 0; i < RUNS; i++) {
          await receiveThrough({
            acts: [act, random.pick(ACTS), random.pick(ACTS)],
            plans: [plan, random.pick(PLANS), random.pick(PLANS)],
            storeMs,
            cuts: [cutOf(random), cutOf(random)],
          });
        }
      }
    }
  });
}

test("RES-2: a receiver that settles in one step gets its credit back, whatever was settled on which link", async () => {
  const random = randomOf(seed());
  for (let i = 0; i < 8 * RUNS; i++) {
    await receiveThrough({
      acts: ["resume", "wait", random.pick(ACTS)],
      plans: [random.pick(PLANS), random.pick(PLANS), random.pick(PLANS)],
      storeMs: random.pick([0, 30]),
      inOneStep: true,
      cuts: [cutOf(random), cutOf(random)],
    });
  }
});

test("RES-2: what is taken up has credit, also where nobody takes messages any more or the program grants it", async () => {
  for (const credit of [2, "manual"] as const) {
    const time = new VirtualTime();
    const peer = new SendingPeer(time);
    const { connection, network } = await dialling(time, peer.accept, RECONNECT);
    const receiver = connection.receiver({ address: "orders", name: "in", credit, recovery: resume() });
    if (credit === "manual") receiver.grant(1);
    await time.wait(receiver.ready());
    peer.send("one", Uint8Array.of(1), "resume");
    const delivery = await time.wait(receiver.receive());
    if (credit !== "manual") await time.wait(receiver.drain());
    network.cut(HOST);
    await time.pass(0);
    delivery.accept();
    await time.pass(5_000);
    assertEquals([peer.heard.get("one"), receiver.unsettled, receiver.credit], [["accepted"], 0, 0]);
    connection.destroy(new Error("done"));
  }
});

test("RES-2: an outcome of an earlier process uses no credit of the program's", async () => {
  const time = new VirtualTime();
  const peer = new SendingPeer(time);
  const store = new MemoryStore();
  const options = { address: "orders", name: "in", credit: "manual", recovery: resume({ store }) } as const;
  const before = await dialling(time, peer.accept, RECONNECT);
  const receiver = before.connection.receiver(options);
  receiver.grant(1);
  await time.wait(receiver.ready());
  peer.send("one", Uint8Array.of(1), "resume");
  const delivery = await time.wait(receiver.receive());
  before.network.down(HOST);
  await time.pass(0);
  delivery.accept();
  await time.pass(0);
  before.connection.destroy(new Error("killed"));
  assertEquals(store.kept.size, 1);
  const { connection } = await dialling(time, peer.accept, RECONNECT);
  const again = connection.receiver(options);
  again.grant(1);
  await time.wait(again.ready());
  peer.send("two", Uint8Array.of(2), "resume");
  await time.pass(1_000);
  assertEquals([again.buffered, peer.heard.get("one"), store.kept.size], [1, ["accepted"], 0]);
  connection.destroy(new Error("done"));
});

test("resume with a store that fails now and then: cut anywhere, each send ends once, and what was accepted is handled", async () => {
  const random = randomOf(seed());
  for (let i = 0; i < 3 * RUNS; i++) {
    const cuts = [cutOf(random), cutOf(random), cutOf(random)];
    const time = new VirtualTime();
    const broker = new Broker({ environment: time, log: null });
    const { connection } = await dialling(time, (channel) => broker.accept(channel), RECONNECT, cuts);
    const store = new MemoryStore();
    let fails = true;
    const failing = <A extends unknown[], R>(call: (...given: A) => R) => (...given: A): R => {
      if (fails && random.int(4) === 0) throw new Error("disk full");
      return call(...given);
    };
    const { put, delete: forget } = MemoryStore.prototype;
    store.put = failing(put.bind(store));
    store.delete = failing(forget.bind(store));
    store.wait = () => new Promise((resolve) => time.setTimer(resolve, random.int(20)));
    const recovery = resume({ store });
    const receiver = connection.receiver({ address: "orders", name: "in", credit: 3, recovery });
    const handled = new Set<number>();
    receiver.serve(({ message }) => void handled.add(Number(message.body)), { concurrency: 2 });
    const sender = connection.sender({ address: "orders", name: "out", recovery });
    const ends: string[][] = Array.from({ length: 20 }, () => []);
    ends.forEach((told, body) =>
      sender.send({ body }).then(({ kind }) => told.push(kind), (error) => told.push(error.message))
    );
    await time.pass(3_000);
    fails = false;
    const what = JSON.stringify(cuts);
    assert(ends.every((told) => told.length === 1 && ["accepted", "disk full"].includes(told[0]!)), `${ends} ${what}`);
    const accepted = [...ends.keys()].filter((body) => ends[body]![0] === "accepted");
    assertEquals([...handled].toSorted((a, b) => a - b), accepted, what);
    assertEquals([sender.pending, receiver.unsettled, broker.queue("orders")!.messages], [0, 0, 0], what);
    // The links work as before.
    assertEquals((await time.wait(sender.send({ body: 99 }))).kind, "accepted");
    await time.pass(100);
    assert(handled.has(99), what);
    await time.wait(connection.close());
    await time.wait(broker.close());
  }
});
