import { assert, assertEquals } from "@std/assert";
import { connect, publish, SendAbortedError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
// Loaded here, as loading at first use takes real time, for which a virtual clock does not wait.
import { preload } from "../../src/client/preload.ts";
import { management } from "../../src/management/management.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";

/** A signal as React Native and packages such as `abort-controller` have it: no `reason`, no `throwIfAborted`, no options. */
class OldSignal {
  aborted = false;
  readonly #listeners = new Set<(event: { type: string }) => void>();

  addEventListener(_type: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.delete(listener);
  }

  abort(): void {
    this.aborted = true;
    for (const listener of [...this.#listeners]) listener.call(this, { type: "abort" });
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

function namesOf(results: PromiseSettledResult<unknown>[]): string[] {
  return results.map((result) => {
    if (result.status === "fulfilled") return "fulfilled";
    const error: Error = result.reason;
    if (error instanceof SendAbortedError) assert(!error.message.includes("undefined"), error.message);
    return error.name;
  });
}

test("API: signals without a reason abort whatever waits, before and during it", async () => {
  await preload();
  const environment = new VirtualTime();
  const broker = new Broker({ environment });
  // Sends wait for credit.
  broker.faults.set(() => ({ withholdCreditOut: true }));
  const connection = await broker.connect();
  const silent = () => connect(channelPair()[0], { environment, signal });
  let old = new OldSignal();
  let signal = old as unknown as AbortSignal;
  const calls = (): Promise<unknown>[] => [
    silent(),
    publish("ws://silent.example", "q", { body: 1 }, { environment, dial: () => channelPair()[0], signal }),
    connection.receiver("empty").receive({ signal }),
    connection.receiver("empty").receiveBatch(1, { waitMs: 60_000, signal }),
    connection.receiver("empty").serve(() => {}, { signal }),
    connection.request("void", { body: 1 }, { signal }),
    connection.sender("gone").send({ body: 1 }, { signal }),
    management(connection, "void").request({ operation: "READ" }, { signal }),
  ];
  const waits = Promise.allSettled(calls());
  await environment.advance(1_000);
  old.abort();
  const during = namesOf(await waits);
  assertEquals(old.listeners, 0);
  old = new OldSignal();
  signal = old as unknown as AbortSignal;
  old.abort();
  const before = namesOf(await Promise.allSettled(calls()));
  const expected = before.map((_, i) => i === 4 ? "fulfilled" : "AbortError");
  assertEquals([during, before], [expected, expected]);
  await connection.close();
  await broker.close();
});
