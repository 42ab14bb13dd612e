/**
 * Our side as a program: reads one JSON request a line, and answers each by one line when it is done. Ends with its input.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { client } from "./client.ts";
import { server } from "./server.ts";
import { sockets } from "./sockets.ts";
import { traffic } from "./traffic.ts";

const actions: typeof client & typeof server & typeof sockets & typeof traffic = {
  ...client,
  ...server,
  ...sockets,
  ...traffic,
};

/** All actions of our side, whose arguments and results are JSON. */
export type Actions = typeof actions;

async function answer(line: string): Promise<void> {
  const { id, action, args } = JSON.parse(line) as { id: number; action: keyof Actions; args: unknown[] };
  const act = actions[action] as (...args: unknown[]) => Promise<unknown>;
  const reply = await act(...args).then(
    (value) => ({ id, value }),
    (error) => ({ id, error: String(error) }),
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) void answer(line);
process.exit(0);
