import { assertEquals } from "@std/assert";
import type { Connection } from "../../mod.ts";
import { type Environment, systemEnvironment } from "../../src/base/environment.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { until } from "./set_up.ts";

/** The runtime's own environment, and the number of its timers that would keep a process alive. */
function watched(): { environment: Environment; keeping: () => number } {
  const pending = new Set<unknown>();
  const environment: Environment = {
    ...systemEnvironment,
    setTimer(call, ms) {
      const timer = { id: systemEnvironment.setTimer(() => pending.delete(timer) && call(), ms), unref };
      function unref(): void {
        pending.delete(timer);
      }
      pending.add(timer);
      return timer;
    },
    clearTimer(timer) {
      pending.delete(timer);
      systemEnvironment.clearTimer((timer as { id?: unknown } | undefined)?.id);
    },
  };
  return { environment, keeping: () => pending.size };
}

for (
  const [what, use] of Object.entries({
    "a queue's link": async (connection: Connection) => {
      await connection.sender({ address: "orders", name: "out", recovery: "resume" }).send({ body: "one" });
    },
    "a subscription": async (connection: Connection) => {
      const source = { durable: "unsettled-state", expiryPolicy: "link-detach", timeout: 600 } as const;
      await connection.receiver({ address: "topic/news", name: "mine", source }).ready();
    },
  })
) {
  test(`a broker keeps ${what} for a peer that was lost, and no process for that`, async () => {
    const { environment, keeping } = watched();
    await using broker = new Broker({ environment, log: null });
    const connection = await broker.connect({ containerId: "client" });
    await use(connection);
    connection.destroy(new Error("cable cut"));
    await until(() => broker.connections.size === 0);
    assertEquals(keeping(), 0);
  });
}
