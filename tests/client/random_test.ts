import { assert, assertEquals } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import type { Message } from "../../src/codec/message.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

const RUNS = 60;
const STEPS = 40;
const PATIENCE_MS = 5_000;

/** Pending calls, their results, and the rules that were broken. */
class Record {
  readonly pending = new Set<string>();
  readonly faults: string[] = [];
  #count = 0;

  watch(what: string, promise: Promise<unknown>): void {
    const call = `${what} ${this.#count++}`;
    this.pending.add(call);
    promise.catch((error) => {
      if (!(error instanceof Error)) this.faults.push(`${call} threw no error`);
    }).then(() => this.pending.delete(call));
  }

  /** Waits until no call is pending. */
  async quiet(): Promise<void> {
    const limit = performance.now() + PATIENCE_MS;
    while (this.pending.size > 0) {
      assert(performance.now() < limit, `never ended: ${[...this.pending].join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** Waits for nothing, a few microtasks, or a turn of the event loop. */
async function pause(chance: Random): Promise<void> {
  const turns = chance.int(30);
  if (turns === 0) return await new Promise((resolve) => setTimeout(resolve));
  for (let i = chance.int(turns); i > 0; i--) await Promise.resolve();
}

/** A peer that accepts, refuses or ignores links, settles in any way, and ends links now and then. */
function moody(chance: Random, record: Record) {
  const accepted = new Map<unknown, number>();
  const refusal = () => new AmqpError("test:mood", "not today", { scope: "link" });
  async function handle(delivery: Delivery): Promise<void> {
    await pause(chance);
    const { body } = delivery.message;
    switch (chance.int(6)) {
      case 0:
        return delivery.reject();
      case 1:
        return delivery.release();
      case 2:
        throw new Error("handler failed");
    }
    accepted.set(body, (accepted.get(body) ?? 0) + 1);
    delivery.accept();
  }
  async function decide(accept: () => Sender | Receiver): Promise<void> {
    const mood = chance.int(8);
    if (mood === 0) throw refusal();
    if (mood === 1) return;
    await pause(chance);
    const link = accept();
    if (chance.int(6) > 0) return;
    await pause(chance);
    record.watch("end of the peer", link.close({ timeoutMs: chance.int(10), error: refusal() }));
  }
  const server = acceptor({
    onSender: (request) =>
      decide(() => {
        const sender = request.accept(request.dynamic ? { address: "replies" } : {});
        for (let i = chance.int(20); i > 0; i--) {
          record.watch("send of the peer", sender.send({ body: i }, { settled: chance.int(3) === 0 }));
        }
        return sender;
      }),
    onReceiver: (request) =>
      decide(() => {
        const credit = 1 + chance.int(10);
        const receiver = request.accept({ credit });
        let running = 0;
        record.watch(
          "serve of the peer",
          receiver.serve(async (delivery) => {
            if (++running > credit) record.faults.push("more at work than credit");
            await handle(delivery).finally(() => running--);
          }, { concurrency: 1 + chance.int(credit), onerror: () => {} }),
        );
        return receiver;
      }),
  });
  return { server, accepted };
}

async function run(chance: Random): Promise<void> {
  const record = new Record();
  const { server, accepted } = moody(chance, record);
  const connection = linkUp(server, { limits: { closeTimeoutMs: 50 } });
  const senders: Sender[] = [connection.sender("a")];
  const receivers: Receiver[] = [connection.receiver("b")];
  const confirmed: unknown[] = [];
  let bodies = 0;

  function signal(): { signal?: AbortSignal } {
    if (chance.int(3) > 0) return {};
    const controller = new AbortController();
    void pause(chance).then(() => controller.abort(new Error("aborted")));
    return { signal: controller.signal };
  }
  async function* messages(): AsyncGenerator<Message> {
    for (let i = chance.int(20); i > 0; i--) {
      await pause(chance);
      yield { body: bodies++ };
    }
  }
  async function send(sender: Sender): Promise<void> {
    const body = bodies++;
    if (await sender.send({ body }, { settled: chance.int(5) === 0, ...signal() }) !== undefined) confirmed.push(body);
  }
  async function loop(receiver: Receiver): Promise<void> {
    let left = chance.int(6);
    for await (const delivery of receiver) {
      await pause(chance);
      if (chance.int(4) === 0 && receiver.usable) delivery.reject();
      if (chance.int(8) === 0) throw new Error("loop failed");
      if (left-- === 0) break;
    }
  }
  async function write(sender: Sender): Promise<void> {
    const writer = sender.writable.getWriter();
    writer.closed.catch(() => {});
    record.watch("write", writer.write({ body: bodies++ }));
    await pause(chance);
    await (chance.int(2) === 0 ? writer.close() : writer.abort(new Error("aborted")));
  }
  async function read(receiver: Receiver): Promise<void> {
    const reader = receiver.readable.getReader();
    reader.closed.catch(() => {});
    record.watch("read", reader.read());
    await pause(chance);
    if (chance.int(3) === 0) await reader.cancel();
  }
  const rcvSettleMode = () => chance.pick(["first", "second"] as const);
  const some = () => chance.pick<Sender | Receiver>([...senders, ...receivers]);
  const steps: { [what: string]: () => Promise<unknown> | void } = {
    sender: () => void senders.push(connection.sender({ address: "a", rcvSettleMode: rcvSettleMode() })),
    receiver: () =>
      void receivers.push(
        connection.receiver({ address: "b", credit: 1 + chance.int(9), rcvSettleMode: rcvSettleMode() }),
      ),
    session: () => {
      const session = connection.session();
      senders.push(session.sender("a"));
      receivers.push(session.receiver("b"));
      return pause(chance).then(() => session.close({ timeoutMs: chance.int(20) }));
    },
    send: () => send(chance.pick(senders)),
    sendAll: () => chance.pick(senders).sendAll(messages(), signal()),
    writable: () => write(chance.pick(senders)),
    loop: () => loop(chance.pick(receivers)),
    receive: () => chance.pick(receivers).receive(signal()).then((delivery) => delivery.accept()),
    serve: () => {
      try {
        return chance.pick(receivers).serve(() => pause(chance), { concurrency: 1 + chance.int(3), ...signal() });
      } catch (error) {
        // Serving more than one at a time needs more credit than that.
        if (!(error instanceof RangeError)) throw error;
        return Promise.resolve();
      }
    },
    readable: () => read(chance.pick(receivers)),
    drain: () => chance.pick(receivers).drain(signal()),
    request: () => connection.request("c", { body: `request ${bodies++}` }, signal()),
    ready: () => some().ready(signal()),
    close: () => chance.int(3) > 0 ? undefined : some().close({ timeoutMs: chance.int(20), ...signal() }),
    detach: () => chance.int(3) > 0 ? undefined : some().detach({ timeoutMs: chance.int(20) }),
    events: () => connection.events().next(),
  };
  for (let i = 0; i < STEPS; i++) {
    const what = chance.pick(Object.keys(steps));
    try {
      const doing = steps[what]!();
      if (doing !== undefined) record.watch(what, doing);
    } catch (error) {
      // The connection or session may have ended by then.
      assert(error instanceof AmqpError, String(error));
    }
    await pause(chance);
  }
  const end = chance.int(4);
  if (end === 0) connection.destroy(new Error("cable cut"));
  if (end === 1) record.watch("end of the server", server.close({ timeoutMs: 10 }));
  record.watch("end", connection.close({ timeoutMs: 10 }));
  await record.quiet();
  await server.close();
  assertEquals(record.faults, []);
  for (const body of confirmed) assertEquals(accepted.get(body), 1, `message ${body}`);
  assert(!/fault|illegal|violation/.test(String(connection.error)), String(connection.error));
}

test("ATK-32: whatever both sides do, every call comes to its end, and no message to two", async () => {
  const chance = random(seed());
  for (let i = 0; i < RUNS; i++) await run(chance);
});
