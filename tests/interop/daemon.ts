/**
 * Starts foreign daemons on 127.0.0.1, each with a scratch folder that is deleted with it.
 *
 * @module
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The only address that a daemon is bound to. */
export const HOST = "127.0.0.1";

/** A daemon to start; its log files are those of `logs` in its folder. */
export interface Daemon {
  /** The program and its arguments. */
  readonly command: readonly [program: string, ...args: string[]];
  /** The scratch folder, see {@linkcode scratch}. */
  readonly folder: string;
  /** The port that answers once the daemon is ready. */
  readonly port: number;
  /** Names of its log files; `out.log` is what it prints. */
  readonly logs?: readonly string[];
  /** Additional environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A daemon that runs until its disposal. */
export interface RunningDaemon extends AsyncDisposable {
  /** Its process. */
  readonly pid: number;
  log(): string;
  /** Kills the daemon; its folder stays until disposal. */
  kill(): Promise<void>;
}

/** Starts a daemon and waits until it answers on its port. */
export async function startDaemon({ command, folder, port, logs = ["out.log"], env }: Daemon): Promise<RunningDaemon> {
  const output = openSync(join(folder, "out.log"), "a");
  const [program, ...args] = command;
  const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
  // A process group of its own, so that the daemon's children end with it.
  const child = spawn(program, args, {
    stdio: ["ignore", output, output],
    env: { ...process.env, PATH: path, ...env },
    cwd: folder,
    detached: true,
  });
  closeSync(output);
  const leaveNothing = (): void => {
    signal(child, "SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", leaveNothing);
  const log = (): string =>
    logs.map((name) => join(folder, name)).filter(existsSync).map((name) => readFileSync(name, "utf8")).join("");
  const stop = async (): Promise<void> => {
    await ended(child);
    process.off("exit", leaveNothing);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await ready(port, child);
  } catch (cause) {
    const error = new Error(`Cannot start ${program}: ${log()}`, { cause });
    await stop();
    throw error;
  }
  const kill = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    signal(child, "SIGKILL");
    await gone;
  };
  return { pid: child.pid!, log, kill, [Symbol.asyncDispose]: stop };
}

// The daemons do not report when they are ready, so the port is tried until one of them answers.
async function ready(port: number, child: ChildProcess): Promise<void> {
  let gone: unknown;
  child.once("exit", (code) => gone ??= new Error(`it ended with code ${code}`));
  child.once("error", (error) => gone ??= error);
  const deadline = Date.now() + 40_000;
  while (!(await answers(port))) {
    if (gone !== undefined) throw gone;
    if (Date.now() > deadline) throw new Error(`nothing listens on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once("connect", () => socket.destroy());
    socket.once("error", () => resolve(false));
    socket.once("close", (hadError) => resolve(!hadError));
  });
}

function ended(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return Promise.resolve();
  return new Promise((resolve) => {
    const force = setTimeout(() => signal(child, "SIGKILL"), 5_000);
    child.once("exit", () => {
      clearTimeout(force);
      resolve();
    });
    signal(child, "SIGTERM");
  });
}

function signal(child: ChildProcess, name: "SIGTERM" | "SIGKILL"): void {
  if (!hasEnded(child)) process.kill(-child.pid!, name);
}

function hasEnded({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}

/** A port that is free at this moment; if another program takes it first, the start fails visibly. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** Makes a scratch folder, which a daemon that drops its rights has to own. */
export function scratch(owner?: string): string {
  const folder = mkdtempSync(join(tmpdir(), "interop-"));
  if (owner !== undefined && process.getuid?.() === 0) {
    const id = (flag: string): number => Number(execFileSync("id", [flag, owner], { encoding: "utf8" }));
    chownSync(folder, id("-u"), id("-g"));
  }
  return folder;
}

/** Writes a file into a folder and returns its path. */
export function file(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}
