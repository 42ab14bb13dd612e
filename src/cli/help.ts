/**
 * Help, for a screen of 80 columns and 24 lines.
 *
 * @module
 */

import { isForEnvironment, variableOf } from "./arguments.ts";
import { type Command, commands, connectionFlags, type Flag } from "./commands.ts";

/** The version of the package, as in its manifests. */
export const VERSION = "0.2.0";

/** The text of `webamqp help`. */
export function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  return [
    "AMQP 1.0 over WebSocket, TCP and TLS.",
    "",
    "Usage: webamqp COMMAND [URL] [ADDRESS] [flags]",
    "",
    ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "URL is ws:, wss:, amqp: or amqps:, with user name and password if need be;",
    "it may come from --url or WEBAMQP_URL. More: webamqp COMMAND --help,",
    "webamqp help connection, webamqp version. Exit codes: 0 done, 1 failed,",
    "2 called wrongly, 3 time was up, 130 Ctrl-C before it was done.",
  ].join("\n");
}

/** The text of `webamqp help connection`. */
export function connectionHelp(): string {
  return [
    "Flags of all commands that connect; in the environment WEBAMQP_URL,",
    "WEBAMQP_USER, WEBAMQP_PASSWORD and so on, lists separated by commas.",
    "",
    ...flagLines(connectionFlags),
  ].join("\n");
}

/** The text of `webamqp COMMAND --help`. */
export function commandHelp(name: string, { summary, args, flags, connects, examples }: Command): string {
  const variables = Object.keys(flags).filter(isForEnvironment).map(variableOf);
  return [
    `${summary}.`,
    "",
    `Usage: webamqp ${name}${args === "" ? "" : ` ${args}`} [flags]`,
    "",
    ...flagLines(flags),
    ...(variables.length > 0 && !connects ? ["", `Environment: ${variables.slice(0, 4).join(", ")}`] : []),
    ...(connects ? ["", "How to connect: webamqp help connection"] : []),
    "",
    ...examples.map((line) => `  ${line}`),
  ].join("\n");
}

function flagLines(flags: Readonly<Record<string, Flag>>): string[] {
  const heads = Object.entries(flags).map(([name, { value, short }]) =>
    `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`
  );
  const width = Math.max(...heads.map((head) => head.length));
  return Object.values(flags).map(({ help }, i) => `  ${heads[i]!.padEnd(width)}  ${help}`);
}
