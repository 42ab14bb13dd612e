/**
 * The command line in a real terminal, that of tmux: its screen, Ctrl-C, and mistakes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { commands } from "../../src/cli/commands.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

const DEADLINE_MS = 40_000;
const root = fileURLToPath(new URL("../../", import.meta.url));

const RUNTIMES: Readonly<Record<string, string>> = {
  deno: "node_modules/.bin/deno run --quiet --no-check -A",
  bun: "node_modules/.bin/bun",
  node: "node_modules/.bin/node --disable-warning=ExperimentalWarning",
};

/** Installs tmux, with a server of its own. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    installDebian("tmux", "/usr/bin/tmux");
    // The server may have ended with the last of its terminals.
    running.defer(() => void tmux("start-server", ";", "kill-server"));
    return Promise.resolve({
      peer: `tmux ${debianVersion("tmux")}`,
      checks: Object.fromEntries(
        Object.keys(RUNTIMES).flatMap((runtime) =>
          Object.entries(checksOf(runtime)).map(([name, check]) => [`${runtime.padEnd(4)}  ${name}`, check])
        ),
      ),
    });
  });
}

function tmux(...args: string[]): string {
  return execFileSync("tmux", ["-L", `webamqp-${process.pid}`, "-f", "/dev/null", ...args], { encoding: "utf8" });
}

let screens = 0;

/** A shell in a terminal of 100 columns, in which `webamqp` is the command line under one runtime. */
class Screen implements Disposable {
  readonly #name = `screen${++screens}`;
  #runs = 0;

  constructor(runtime: string) {
    tmux("new-session", "-d", "-x", "100", "-y", "45", "-s", this.#name, "-c", root, "bash --norc --noprofile");
    this.#type(`webamqp() { ${RUNTIMES[runtime]} src/cli/main.ts "$@"; }; PS1='$ '; export BROWSER=`);
  }

  [Symbol.dispose](): void {
    tmux("kill-session", "-t", this.#name);
  }

  #type(line: string): void {
    tmux("send-keys", "-t", this.#name, "-l", line);
    tmux("send-keys", "-t", this.#name, "Enter");
  }

  /** Types a command, whose exit code is shown after it. */
  start(line: string): void {
    this.#type(`clear; webamqp ${line}; echo "[exit ${++this.#runs}: $?]"`);
  }

  interrupt(): void {
    tmux("send-keys", "-t", this.#name, "C-c");
  }

  /** Waits until the screen matches, and returns the match. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const text = tmux("capture-pane", "-p", "-J", "-t", this.#name);
      const match = pattern.exec(text);
      if (match !== null) return match;
      assert(Date.now() < deadline, `Expected ${pattern} on the screen, it shows ${text.trim()}`);
      await wait(50);
    }
  }

  /** Waits for the end of the command: its exit code, and the whole screen. */
  async ends(): Promise<{ status: number; text: string }> {
    const { 1: status, input } = await this.shows(new RegExp(`\\[exit ${this.#runs}: (\\d+)\\]`));
    return { status: Number(status), text: input };
  }

  /** Runs a command to its end. */
  run(line: string): Promise<{ status: number; text: string }> {
    this.start(line);
    return this.ends();
  }
}

/** Runs `work` beside a broker started in a terminal, and ends the broker there. */
async function besideBroker(runtime: string, work: (screen: Screen, url: string) => Promise<void>): Promise<void> {
  using server = new Screen(runtime);
  server.start("broker --listen 0");
  const { 1: url } = await server.shows(/Broker listens at ws:\S+, (amqp:\S+)\n/);
  using screen = new Screen(runtime);
  await work(screen, url!);
  server.interrupt();
  assertEquals((await server.ends()).status, 0);
}

function checksOf(runtime: string): Suite["checks"] {
  const beside = (work: (screen: Screen, url: string) => Promise<void>) => () => besideBroker(runtime, work);
  return {
    "send: outcome, progress line, Ctrl-C": beside(async (screen, url) => {
      const sent = await screen.run(`send ${url} orders 'one coffee'`);
      assertMatch(sent.text, /1 message sent: 1 accepted \(/);
      assertEquals(sent.status, 0);
      assertMatch((await screen.run(`send ${url} orders`)).text, /TEXT is missing, or --file/);
      screen.start(`send ${url} topic/many -n 100000000`);
      await screen.shows(/[\d,]+ of 100,000,000 sent {2}[\d,]+\/s {2}credit \d+ {2}[\d,]+ accepted {2}ETA \d+ s/);
      screen.interrupt();
      const { status, text } = await screen.ends();
      assertMatch(text, /[\d,]+ messages sent: [\d,]+ accepted/);
      assertEquals(status, 130);
    }),
    "receive, browse, drain": beside(async (screen, url) => {
      await screen.run(`send ${url} orders one two three`);
      assertMatch((await screen.run(`browse ${url} orders`)).text, /one\ntwo\nthree\n3 messages seen\n\[exit 2: 0\]/);
      screen.start(`receive ${url} orders`);
      await screen.shows(/three\n3 received {2}[\d,]+\/s {2}credit \d+/);
      screen.interrupt();
      assertMatch((await screen.ends()).text, /one\ntwo\nthree\n(?:\^C\n?)?\[exit 3: 0\]/);
      await screen.run(`send ${url} orders one two`);
      assertMatch((await screen.run(`drain ${url} orders`)).text, /2 messages removed\n\[exit 5: 0\]/);
      assertMatch((await screen.run(`receive ${url} orders -n 1 -t 0.2`)).text, /0 of 1 message came\n\[exit 6: 3\]/);
    }),
    "request, respond": beside(async (screen, url) => {
      using other = new Screen(runtime);
      other.start(`respond ${url} shout --exec 'tr a-z A-Z'`);
      await other.shows(/Answering requests at "shout", Ctrl-C ends it/);
      assertMatch((await screen.run(`request ${url} shout 'one coffee'`)).text, /ONE COFFEE\n\[exit 1: 0\]/);
      other.interrupt();
      assertMatch((await other.ends()).text, /1 request answered\n\[exit 1: 0\]/);
      other.start(`respond ${url} slow --exec 'echo working >&2; exec sleep 100'`);
      await other.shows(/Answering requests/);
      screen.start(`request ${url} slow 'two teas'`);
      await other.shows(/\nworking/);
      screen.interrupt();
      assertEquals((await screen.ends()).status, 130);
      // The signal also goes to the command that it runs.
      other.interrupt();
      assertMatch((await other.ends()).text, /0 requests answered\n\[exit 2: 0\]/);
    }),
    "gateway, trace": beside(async (screen, url) => {
      using between = new Screen(runtime);
      for (
        const [command, told] of [["gateway", /\[exit 1: 0\]/], ["trace", /\d+ frames\n\[exit 2: 0\]/]] as const
      ) {
        between.start(`${command} ${url} --listen 0`);
        const { 1: there } = await between.shows(/Gateway listens at (ws:\S+),/);
        assertEquals((await screen.run(`send ${there} orders x`)).status, 0);
        if (command === "trace") await between.shows(/-> \[0\] transfer\(.*\) \+\d+ bytes/);
        else await between.shows(/1 opened {2}0 failed/);
        between.interrupt();
        assertMatch((await between.ends()).text, told);
      }
    }),
    "bench, doctor, completion": beside(async (screen, url) => {
      assertMatch((await screen.run(`bench ${url} work -n 1000`)).text, /Throughput .* messages\/s[^]*\[exit 1: 0\]/);
      screen.start(`bench ${url} work -n 100000000`);
      await screen.shows(/[\d,]+ of 100,000,000 {2}[\d,]+\/s {2}ETA/);
      screen.interrupt();
      assertEquals((await screen.ends()).status, 130);
      assertMatch((await screen.run(`doctor ${url} orders`)).text, /\nAll is well\n\[exit 3: 0\]/);
      assertMatch((await screen.run("doctor amqp://127.0.0.1:1")).text, /FAIL {2}TCP, port 1 [^]*Nothing listens/);
      assertMatch((await screen.run("completion fish | head -n 1")).text, /complete[^]*\[exit 5: 0\]/);
    }),
    "mistakes are told": async () => {
      using screen = new Screen(runtime);
      for (const name of Object.keys(commands)) {
        const { status, text } = await screen.run(`${name} --nonsense`);
        assertEquals(status, 2, text);
        assertMatch(text, new RegExp(`Unknown option '--nonsense'\nSee webamqp ${name} --help`));
      }
    },
  };
}
