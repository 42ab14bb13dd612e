/**
 * A program that sends or receives numbers, and may be killed at any time and started again: its store says what it has
 * done.
 *
 * @module
 */

import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { FileStore } from "../../examples/file_store.ts";
import { connect, DecodedMessage, resume } from "../../mod.ts";

const [role = "", url = "", directory = "", count = "0"] = process.argv.slice(2);

/** The numbers of all messages ever kept for a link. */
function numbersIn(path: string): number[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").split("\n").slice(0, -1)
    .map((line) => JSON.parse(line) as { payload?: string })
    .filter(({ payload }) => payload !== undefined)
    .map(({ payload }) => Number(new DecodedMessage(Uint8Array.from(atob(payload!), (c) => c.charCodeAt(0))).body));
}

const store = new FileStore(directory);
const containerId = `${role}-container`;
const before = numbersIn(store.path(`${containerId}/${role}/link`));
const connection = await connect(url, { containerId, reconnect: { initial: true, initialDelayMs: 5 } });
const recovery = resume({ store, onrecovered: () => {} });

if (role === "sender") {
  const sender = connection.sender({ address: "numbers", name: "link", recovery });
  const sends = new Set<Promise<unknown>>();
  for (let n = before.length === 0 ? 0 : Math.max(...before) + 1; n < Number(count); n++) {
    const sending = sender.send({ body: n }).then(() => {
      sends.delete(sending);
      console.log(n);
    });
    sends.add(sending);
    if (sends.size >= 8) await Promise.race(sends);
  }
  await Promise.all(sends);
  await connection.close();
} else {
  const receiver = connection.receiver({ address: "numbers", name: "link", credit: 8, recovery });
  process.stdin.on("data", () => {}).on("end", () => receiver.stop());
  await receiver.serve(({ message }) => console.log(message.body), { concurrency: 3 });
  await connection.close();
}
await store[Symbol.asyncDispose]();
process.exit(0);
