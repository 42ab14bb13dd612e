import { assert, assertEquals } from "@std/assert";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileStore } from "../../examples/file_store.ts";
import { OutcomeError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { DecodedMessage } from "../../src/codec/message.ts";
import { random, seed, test } from "../harness.ts";
import { start } from "../program.ts";
import { serve } from "../serve.ts";

const KILLS = 4;
const COUNT = 400;

/** Starts a program again and again, kills it after a few lines, and lets the last one finish. */
async function killed(args: readonly string[], lines: (turn: number) => number): Promise<ReturnType<typeof start>> {
  for (let turn = 0; turn < KILLS; turn++) {
    const program = start("tests/client/exactly_once.ts", args);
    for (let left = lines(turn); left > 0 && !(await program.lines.next()).done; left--);
    await program.kill();
  }
  return start("tests/client/exactly_once.ts", args);
}

test("resume with a store: kill -9 of sender and of receiver loses no message and doubles none", async () => {
  const { int } = random(seed());
  const directory = await mkdtemp(join(tmpdir(), "webamqp-"));
  const broker = new Broker({ queues: { numbers: {} } });
  const server = await serve((channel) => void broker.accept(channel));
  try {
    const [sender, receiver] = await Promise.all([
      killed(["sender", server.url, directory, `${COUNT}`], () => 1 + int(40)),
      killed(["receiver", server.url, directory], () => 1 + int(30)),
    ]);
    assertEquals(await sender.end(), 0);
    const path = new FileStore(directory).path("receiver-container/receiver/link");
    const numbers = async (): Promise<number[]> =>
      (await readFile(path, "utf8")).split("\n").slice(0, -1)
        .map((line) => JSON.parse(line) as { payload?: string })
        .filter(({ payload }) => payload !== undefined)
        .map(({ payload }) => Number(new DecodedMessage(Uint8Array.from(atob(payload!), (c) => c.charCodeAt(0))).body));
    // The last outcomes are stored after their lines are printed.
    while (broker.queue("numbers")!.messages > 0) await receiver.lines.next();
    while ((await numbers()).length < COUNT);
    assertEquals(await receiver.end(), 0);
    assertEquals((await numbers()).toSorted((a, b) => a - b), Array.from({ length: COUNT }, (_, i) => i));
  } finally {
    await broker.close();
    await server.close();
    await rm(directory, { recursive: true });
  }
});

/** The fate of one message. */
interface Fate {
  outcome: "accepted" | "lost" | undefined;
  resent: boolean;
  arrived: number;
  /** The number of reconnects before its outcome. */
  after: number;
}

for (
  const [recovery, scheme] of [["fail", "ws"], ["resend", "amqp"], ["resend", "ws"], ["resume", "ws"]] as const
) {
  test(`kill -9 of the broker, which keeps nothing, with recovery "${recovery}" over ${scheme}: one outcome per send, nothing twice`, async () => {
    const { int } = random(seed());
    let broker = start("tests/client/mortal_broker.ts");
    const port = (await broker.lines.next()).value as string;
    const connection = await connect(`${scheme}://127.0.0.1:${port}/`, {
      containerId: "survivor",
      reconnect: { initial: true, initialDelayMs: 5, maxDelayMs: 100 },
      log: null,
    });
    const fates: Fate[] = [];
    let arrived: () => void = () => {};
    const sender = connection.sender({ address: "orders", name: "out", recovery });
    const receiver = connection.receiver({
      address: "orders",
      name: "in",
      credit: 10,
      ...recovery === "resume" ? { recovery } : {},
    });
    const serving = receiver.serve(({ message }) => {
      fates[Number(message.text())]!.arrived++;
      arrived();
    }, { concurrency: 4 });
    const send = async (): Promise<void> => {
      const fate: Fate = { outcome: undefined, resent: false, arrived: 0, after: 0 };
      const body = `${fates.push(fate) - 1}`.padEnd(1 + int(3_000));
      try {
        const outcome = await sender.send({ body });
        assertEquals([fate.outcome, outcome?.kind], [undefined, "accepted"]);
        fate.outcome = "accepted";
        fate.resent = outcome?.resent ?? false;
      } catch (error) {
        assert(error instanceof OutcomeError && error.outcome === "lost" && fate.outcome === undefined, String(error));
        fate.outcome = "lost";
      }
      fate.after = connection.stats().reconnects;
    };
    const reach = async (more: number): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      arrived = () => --more <= 0 && resolve();
      await promise;
    };
    let over = false;
    const work = Promise.all(Array.from({ length: 20 }, async () => {
      while (!over) await send();
    }));
    for (let kills = 0; kills < KILLS; kills++) {
      await reach(1 + int(200));
      await broker.kill();
      broker = start("tests/client/mortal_broker.ts", [port]);
    }
    await reach(100);
    over = true;
    await work;
    // Messages accepted by this last broker arrive; those that the others held are lost with them.
    const { reconnects } = connection.stats();
    const isDue = ({ outcome, after, arrived }: Fate): boolean =>
      outcome === "accepted" && after === reconnects && arrived === 0;
    while (fates.some(isDue)) await reach(1);
    await connection.close();
    await serving;
    for (const [number, { outcome, resent, arrived }] of fates.entries()) {
      assert(outcome !== undefined, `${number} has no outcome`);
      assert(recovery === "fail" || outcome === "accepted", `${number} is lost although it is sent again`);
      assert(arrived <= 1 || resent, `${number} came ${arrived} times and went out once`);
    }
    const lost = fates.filter(({ outcome }) => outcome === "lost").length;
    assertEquals([lost > 0, reconnects >= KILLS], [recovery === "fail", true]);
    await broker.kill();
  });
}
