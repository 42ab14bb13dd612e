import { assertEquals, assertRejects } from "@std/assert";
import type { Delivery as RheaDelivery, Receiver as RheaReceiver } from "rhea";
import {
  AmqpError,
  connect,
  type Delivery,
  OutcomeError,
  type ReceiverSettleMode,
  type Sender,
  type SenderSettleMode,
} from "../../mod.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, type RheaMessage, rheaRoundTrip, rheaServer, sendAll } from "./rhea.ts";

const SND_MODES: readonly SenderSettleMode[] = ["unsettled", "settled", "mixed"];
const RCV_MODES: readonly ReceiverSettleMode[] = ["first", "second"];

interface Arrivals {
  /** Whether each message was sent settled. */
  readonly settled: boolean[];
  /** The number that the sender settled after the outcome. */
  confirmed: number;
}

/** Records the messages that rhea receives and accepts. */
function arrivals(receiver: RheaReceiver): Arrivals {
  const seen: Arrivals = { settled: [], confirmed: 0 };
  receiver.on("message", ({ delivery }) => seen.settled.push(delivery!.remote_settled));
  receiver.on("settled", () => seen.confirmed++);
  return seen;
}

/** Sends what a mode allows: once by default, and once with `settled`. */
async function sendBoth(sender: Sender, mode: SenderSettleMode): Promise<void> {
  const outcome = await sender.send({ body: 1 });
  assertEquals(outcome?.kind, mode === "settled" ? undefined : "accepted");
  if (mode === "unsettled") {
    const error = await assertRejects(() => sender.send({ body: 2 }, { settled: true }), AmqpError);
    assertEquals([error.condition, error.scope], ["amqp:not-allowed", "delivery"]);
  } else {
    assertEquals(await sender.send({ body: 2 }, { settled: true }), undefined);
  }
  assertEquals(sender.pending, 0);
}

function expected(mode: SenderSettleMode): boolean[] {
  return { unsettled: [false], settled: [true, true], mixed: [false, true] }[mode];
}

for (const snd of SND_MODES) {
  for (const rcv of RCV_MODES) {
    const modes = `snd-settle-mode ${snd}, rcv-settle-mode ${rcv}`;

    test(`LNK-6, DSP-2, DSP-3: our client to a rhea server, ${modes}`, async () => {
      await using server = await rheaServer({ receiver_options: { rcv_settle_mode: RCV_MODES.indexOf(rcv) } });
      const opened = once(server.container, "receiver_open");
      await using connection = await connect(server.url);
      const sender = connection.sender({ address: "q", sndSettleMode: snd, rcvSettleMode: rcv });
      const receiver = (await opened).receiver!;
      const seen = arrivals(receiver);
      await sendBoth(sender, snd);
      await sender.close();
      assertEquals(seen.settled, expected(snd));
      assertEquals(receiver.snd_settle_mode, SND_MODES.indexOf(snd));
      assertEquals(sender.remote?.rcvSettleMode ?? "first", rcv);
      // In two steps the sender has settled each, and rhea holds nothing any more.
      assertEquals(seen.confirmed, rcv === "second" && snd !== "settled" ? 1 : 0);
    });

    test(`LNK-6, DSP-2, DSP-3: our acceptor to a rhea client, ${modes}`, async () => {
      let sent: Promise<void> | undefined;
      let attached: () => void = () => {};
      const sending = new Promise<void>((resolve) => attached = resolve);
      await using server = await acceptorServer({
        onSender: (request) => {
          sent = sendBoth(request.accept(), snd);
          attached();
        },
      });
      await using client = await rheaClient(server.url);
      const receiver = client.connection.open_receiver({
        source: "q",
        snd_settle_mode: SND_MODES.indexOf(snd) as 0 | 1 | 2,
        rcv_settle_mode: RCV_MODES.indexOf(rcv) as 0 | 1,
      });
      const seen = arrivals(receiver);
      await sending;
      await sent;
      await rheaRoundTrip(client.connection);
      assertEquals(seen.settled, expected(snd));
      assertEquals(receiver.snd_settle_mode, SND_MODES.indexOf(snd));
      assertEquals(seen.confirmed, rcv === "second" && snd !== "settled" ? 1 : 0);
    });
  }
}

/** The outcome that rhea receives; in two steps it settles then. */
function hear(
  sender: { on(name: string, listener: (context: { delivery: RheaDelivery }) => void): unknown },
  heard: string[],
): void {
  for (const name of ["accepted", "rejected", "released", "modified", "settled"]) {
    sender.on(name, ({ delivery }) => {
      heard.push(`${name}${delivery.remote_settled ? "" : " unsettled"}`);
      if (!delivery.remote_settled) delivery.update(true);
    });
  }
}

for (const rcv of RCV_MODES) {
  const told = rcv === "first" ? ["accepted", "settled"] : ["accepted unsettled"];

  test(`DSP-2, DSP-3: a rhea server to our client, rcv-settle-mode ${rcv}`, async () => {
    // The agreed mode is the one that both sides name.
    const options = { treat_modified_as_released: false, rcv_settle_mode: rcv === "first" ? 0 : 1 };
    await using server = await rheaServer({ sender_options: options });
    const heard: string[] = [];
    server.container.on("sender_open", ({ sender }) => {
      sendAll(sender!, [{ body: 1 }, { body: 2 }]);
      hear(sender as never, heard);
    });
    await using connection = await connect(server.url);
    // One at a time: the second comes when the first is settled on both sides.
    const receiver = connection.receiver({ address: "q", credit: 1, rcvSettleMode: rcv });
    const bodies: unknown[] = [];
    for await (const delivery of receiver) {
      assertEquals(delivery.remoteSettled, false);
      bodies.push(delivery.message.body);
      if (bodies.length === 2) {
        delivery.accept();
        break;
      }
    }
    await connection.close();
    assertEquals(bodies, [1, 2]);
    assertEquals(heard, [...told, ...told]);
  });

  test(`DSP-2, DSP-3, LNK-6: a rhea client to our acceptor, rcv-settle-mode ${rcv} as it wishes and the hook agrees`, async () => {
    let second: () => void = () => {};
    const done = new Promise<void>((resolve) => second = resolve);
    await using server = await acceptorServer({
      onReceiver: (request) =>
        request.accept({ credit: 1, rcvSettleMode: rcv }).serve(({ message }) => {
          if (message.body === 2) second();
        }),
    });
    await using client = await rheaClient(server.url);
    const sender = client.connection.open_sender({ target: "q", rcv_settle_mode: RCV_MODES.indexOf(rcv) as 0 | 1 });
    const heard: string[] = [];
    hear(sender as never, heard);
    sendAll(sender, [{ body: 1 }, { body: 2 }]);
    await done;
    await rheaRoundTrip(client.connection);
    assertEquals(sender.rcv_settle_mode, RCV_MODES.indexOf(rcv));
    assertEquals(heard, [...told, ...told]);
  });
}

test("DSP-3: what rhea sends settled costs no outcome, and its credit comes back by itself", async () => {
  await using server = await rheaServer({ sender_options: { snd_settle_mode: 1 } });
  const heard: string[] = [];
  server.container.on("sender_open", ({ sender }) => {
    sendAll(sender!, Array.from({ length: 50 }, (_, i) => ({ body: i })));
    hear(sender as never, heard);
  });
  // What is settled when it is sent is fetched before the receiver closes.
  server.container.on("sender_draining", ({ sender }) => sender!.set_drained(true));
  await using connection = await connect(server.url);
  const receiver = connection.receiver({ address: "q", credit: 5, settle: "manual" });
  for (let i = 0; i < 25; i++) {
    const { remoteSettled, message } = await receiver.receive();
    assertEquals([remoteSettled, message.body], [true, i]);
  }
  for await (const { message } of receiver) if (message.body === 49) break;
  await connection.close();
  assertEquals(heard, []);
});

/** An action of rhea's on a delivery, and the result of our send. */
const OUTCOMES: ReadonlyArray<readonly [string, (delivery: RheaDelivery) => void, Partial<OutcomeError>]> = [
  ["released", (d) => d.release(), { outcome: "released", condition: "amqp:released:list", retryable: true }],
  ["rejected", (d) => d.reject(), { outcome: "rejected", condition: "amqp:rejected:list", retryable: false }],
  [
    "rejected with an error",
    (d) => d.reject({ condition: "amqp:precondition-failed", description: "no", info: { why: "x" } }),
    { outcome: "rejected", condition: "amqp:precondition-failed", retryable: false },
  ],
  [
    "rejected with an error that passes",
    (d) => d.reject({ condition: "amqp:resource-limit-exceeded", description: "full" }),
    { outcome: "rejected", condition: "amqp:resource-limit-exceeded", retryable: true },
  ],
  [
    "modified",
    (d) => d.modified({ delivery_failed: true, undeliverable_here: false } as never),
    { outcome: "modified", condition: "amqp:modified:list", retryable: true },
  ],
  [
    "modified, undeliverable here",
    (d) => d.modified({ delivery_failed: true, undeliverable_here: true } as never),
    { outcome: "modified", condition: "amqp:modified:list", retryable: false },
  ],
];

for (const rcv of RCV_MODES) {
  test(`MSG-12: every outcome that rhea tells is that of our send, rcv-settle-mode ${rcv}`, async () => {
    await using server = await rheaServer({
      receiver_options: { autoaccept: false, rcv_settle_mode: RCV_MODES.indexOf(rcv) },
    });
    server.container.on("message", ({ message, delivery }) => OUTCOMES[message!.body]![1](delivery as RheaDelivery));
    await using connection = await connect(server.url);
    const sender = connection.sender("q");
    // One by one: of two outcomes in one turn, rhea gives both deliveries the first.
    for (const [body, [name, , fields]] of OUTCOMES.entries()) {
      const error = await assertRejects(() => sender.send({ body }), OutcomeError);
      const { outcome, condition, retryable, scope, remote } = error;
      const seen = { outcome, condition, retryable, scope, remote };
      const wanted: Partial<OutcomeError> = { ...fields, scope: "delivery", remote: true };
      assertEquals<Partial<OutcomeError>>(seen, wanted, name);
      assertEquals(error.info?.why, name === "rejected with an error" ? "x" : undefined);
    }
    assertEquals(sender.pending, 0);
  });
}

type Settle = readonly [settle: (delivery: Delivery) => void, told: unknown];

const SETTLES: readonly Settle[] = [
  [(d) => d.accept(), ["accepted"]],
  [(d) => d.release(), ["released"]],
  [(d) => d.reject(), ["rejected", undefined, undefined, undefined]],
  [
    (d) => d.reject(new AmqpError("amqp:precondition-failed", "Too old", { scope: "delivery", info: { age: 3 } })),
    ["rejected", "amqp:precondition-failed", "Too old", { age: 3 }],
  ],
  [(d) => d.reject({ condition: "com.example:bad" }), ["rejected", "com.example:bad", undefined, undefined]],
  [(d) => d.modify(), ["modified", undefined, undefined, undefined]],
  [
    (d) => d.modify({ deliveryFailed: true, undeliverableHere: true, messageAnnotations: { "x-opt-n": 1 } }),
    ["modified", true, true, { "x-opt-n": 1 }],
  ],
];

interface RheaState {
  error?: { condition: string; description: string; info: unknown };
  delivery_failed?: boolean;
  undeliverable_here?: boolean;
  message_annotations?: unknown;
}

for (const rcv of RCV_MODES) {
  test(`MSG-12: every outcome that we tell is what rhea hears, rcv-settle-mode ${rcv}`, async () => {
    const messages: RheaMessage[] = SETTLES.map((_, body) => ({ body }));
    await using server = await acceptorServer({
      onReceiver: (request) =>
        request.accept({ settle: "manual" }).serve((delivery) =>
          SETTLES[delivery.message.body as number]![0](delivery)
        ),
    });
    await using client = await rheaClient(server.url);
    const sender = client.connection.open_sender({
      target: "q",
      treat_modified_as_released: false,
      rcv_settle_mode: RCV_MODES.indexOf(rcv),
    } as never);
    const heard: unknown[] = [];
    const all = new Promise<void>((resolve) => {
      for (const name of ["accepted", "rejected", "released", "modified"]) {
        sender.on(name, ({ delivery }) => {
          const state = delivery!.remote_state as RheaState;
          const { error } = state;
          if (name === "rejected") heard.push([name, error?.condition, error?.description, error?.info]);
          else if (name === "modified") {
            heard.push([name, state.delivery_failed, state.undeliverable_here, state.message_annotations]);
          } else heard.push([name]);
          if (!delivery!.remote_settled) delivery!.update(true);
          if (heard.length === messages.length) resolve();
        });
      }
    });
    sendAll(sender, messages);
    await all;
    assertEquals(heard, SETTLES.map(([, told]) => told));
  });
}

test("MSG-12: leaving the loop hands back the message in hand as a failed attempt, releases those that wait; rhea hears of each once", async () => {
  await using server = await rheaServer();
  const heard: string[] = [];
  server.container.on("sender_open", ({ sender }) => {
    sendAll(sender!, Array.from({ length: 20 }, (_, i) => ({ body: i })));
    hear(sender as never, heard);
  });
  await using connection = await connect(server.url);
  const receiver = connection.receiver({ address: "q", credit: 10 });
  for await (const { message } of receiver) if (message.body === 3) break;
  await receiver.close();
  await connection.close();
  const words = heard.filter((word) => word !== "settled");
  assertEquals(words.filter((word) => word === "accepted").length, 3);
  assertEquals(words.filter((word) => word === "modified").length, 1);
  assertEquals(words.filter((word) => word === "released").length, words.length - 4);
});
