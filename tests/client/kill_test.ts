import { assertEquals } from "@std/assert";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileStore } from "../../examples/file_store.ts";
import { Broker } from "../../src/broker/broker.ts";
import { DecodedMessage } from "../../src/codec/message.ts";
import { random, seed, test } from "../harness.ts";
import { start } from "../program.ts";
import { serve } from "../serve.ts";

const KILLS = 4;
const COUNT = 400;

/** Starts a program again and again, kills it after a few lines, and lets the last one go on. */
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
    // What is told of the last ones is kept after they are printed.
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
