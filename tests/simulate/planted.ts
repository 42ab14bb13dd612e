/**
 * Planted bugs, one at a time, that the simulation has to find.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutation } from "../mutate/table.ts";
import { Copy, misfits } from "../mutate/tree.ts";

const tests = ["tests/simulate/simulate_test.ts"] as const;
const TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 64 * 1_024 * 1_024;

/** The bugs; `rule` says what each breaks. */
export const planted: readonly Mutation[] = [
  {
    rule: "what had no outcome is sent again",
    file: "src/engine/outgoing.ts",
    from: "    this.attachment = undefined;\n    this.#cursor = this.#first;",
    to: "    this.attachment = undefined;",
    tests,
  },
  {
    rule: "what is sent again gets its outcome",
    file: "src/engine/outgoing.ts",
    from: "      delivery.offset = 0;\n      delivery.sent = false;",
    to: "      delivery.offset = 0;\n      delivery.sent = false;\n      delivery.context = undefined;",
    tests,
  },
  {
    rule: 'what is sent with recovery "fail" is never sent again',
    file: "src/engine/outgoing.ts",
    from: "if (!again || settled || context",
    to: "if (settled || context",
    tests,
  },
  {
    rule: "a link is attached once",
    file: "src/client/lasting_connection.ts",
    from: "      this.attachLink(link, session, attachment);\n    } catch",
    to: "      for (let i = 0; i < 2; i++) this.attachLink(link, session, attachment);\n    } catch",
    tests,
  },
  {
    rule: "one loop makes a connection anew",
    file: "src/client/reconnect.ts",
    from: "    Promise.resolve().then(() => this.#reconnect(error)).catch(ignore);",
    to: "    for (let i = 0; i < 2; i++) Promise.resolve().then(() => this.#reconnect(error)).catch(ignore);",
    tests,
  },
  {
    rule: "credit is restored",
    file: "src/client/receiver_credit.ts",
    from: "    this.#pending = this.window > 0 ? this.window : this.#pending || this.left;",
    to: "    this.#pending = 0;",
    tests,
  },
  {
    rule: "what the lost link held counts no more",
    file: "src/client/receiver_settlement.ts",
    from: "    this.unsettled = this.#outcomesSent = 0;\n",
    to: "",
    tests,
  },
  {
    rule: "an outcome that was told in vain is told when the link resumes",
    file: "src/engine/suspended.ts",
    from: "      link.update(delivery, false);\n    }",
    to: "    }",
    tests,
  },
  {
    rule: "an outcome that the receiver lists is taken",
    file: "src/recovery/resumption.ts",
    from: '  if (isOutcome(remote)) return { kind: "settle", state: remote, reported: false };',
    to: '  if (isOutcome(remote)) return { kind: "send" };',
    tests,
  },
  {
    rule: "a part that the receiver holds is not sent again",
    file: "src/recovery/resumption.ts",
    from: '  return { kind: "resume", from };',
    to: '  return { kind: "send" };',
    tests,
  },
  {
    rule: "a message leaves only when it is kept",
    file: "src/client/resume_sender.ts",
    from: "    delivery.ready = false;",
    to: "",
    tests,
  },
  {
    rule: "a process does not give tags anew that one before it has used",
    file: "src/client/resume_sender.ts",
    from: "    tag.set(this.#process, COUNTER_BYTES);",
    to: "    new DataView(tag.buffer).setBigUint64(0, BigInt(++this.#process[0]!));",
    tests,
  },
  {
    rule: "what a process before had sent goes on",
    file: "src/client/resume_sender.ts",
    from: "    for (const delivery of [...kept].reverse()) {",
    to: "    for (const delivery of [...kept].slice(1).reverse()) {",
    tests,
  },
];

/**
 * Plants each bug in a copy of the tree, and runs seeds from 1 on until one finds it, `runs` at most; prints the results.
 *
 * @returns Whether all were found.
 */
export function findPlanted(runs: number): boolean {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const faults = planted.flatMap((bug) => misfits(bug, root));
  if (faults.length > 0) throw new TypeError(`Cannot plant bugs: ${faults.join("; ")}`);
  using copy = new Copy(root);
  let found = 0;
  for (const bug of planted) {
    const started = performance.now();
    const seed = copy.changed(bug, () => firstSeed(copy.root, runs));
    if (seed !== undefined) found++;
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(
      `${seed === undefined ? `NOT FOUND in ${runs}` : `found by seed ${seed}`} in ${seconds} s: ${bug.rule}`,
    );
  }
  console.log(`${found} of ${planted.length} planted bugs found`);
  return found === planted.length;
}

function firstSeed(root: string, runs: number): string | undefined {
  const { status, stdout, stderr } = spawnSync(
    join(root, "node_modules/.bin/deno"),
    ["run", "-A", "--no-check", "tests/simulate/main.ts", "--seed", "1", "--runs", String(runs), "--jobs", "1"],
    { cwd: root, timeout: TIMEOUT_MS, encoding: "utf8", maxBuffer: MAX_OUTPUT_BYTES },
  );
  if (status === 0) return undefined;
  const seed = /^Seed (\d+) breaks a rule/m.exec(stderr)?.[1];
  if (seed === undefined) throw new Error(`Cannot simulate: ${(stdout + stderr).slice(-2_000)}`);
  return seed;
}
