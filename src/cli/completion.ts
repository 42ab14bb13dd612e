/**
 * Completion for shells, generated from the table of commands.
 *
 * @module
 */

import type { Context } from "./context.ts";
import { commands, flagsOf } from "./commands.ts";
import { UsageError } from "./terminal.ts";

/** Prints the completion of a shell. */
export async function completion({ args, terminal }: Context): Promise<number> {
  const make = Object.hasOwn(shells, args[0] ?? "") ? shells[args[0] as keyof typeof shells] : undefined;
  if (make === undefined) throw new UsageError(`SHELL is not one of ${Object.keys(shells).join(", ")}`);
  await terminal.write(make());
  return 0;
}

const shells = { bash, zsh, fish };

function bash(): string {
  const cases = Object.entries(commands).map(([name, command]) => {
    const flags = Object.keys(flagsOf(command)).map((flag) => `--${flag}`).join(" ");
    return `    ${name}) words="${name === "completion" ? Object.keys(shells).join(" ") : `${flags} --help`}" ;;`;
  });
  return `_webamqp() {
  local word="\${COMP_WORDS[COMP_CWORD]}" words="${Object.keys(commands).join(" ")} help version"
  if [ "$COMP_CWORD" -gt 1 ]; then case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
    *) words="" ;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _webamqp webamqp
`;
}

function zsh(): string {
  const names = Object.entries(commands).map(([name, { summary }]) => `    '${name}:${quoted(summary)}'`);
  const cases = Object.entries(commands).map(([name, command]) => {
    const flags = Object.entries(flagsOf(command)).map(([flag, { help, value, multiple }]) => {
      const text = quoted(help).replaceAll(/[[\]:]/g, "\\$&");
      return `'${multiple ? "*" : ""}--${flag}[${text}]${value === undefined ? "" : `:${flag}:_files`}'`;
    });
    return `    ${name}) _arguments ${flags.join(" ")} '*::file:_files' ;;`;
  });
  return `#compdef webamqp
_webamqp() {
  local -a names=(
${names.join("\n")}
  )
  if (( CURRENT == 2 )); then _describe command names; return; fi
  case "\${words[2]}" in
${cases.join("\n")}
  esac
}
compdef _webamqp webamqp
`;
}

function fish(): string {
  const lines = Object.entries(commands).flatMap(([name, command]) => [
    `complete -c webamqp -n __fish_use_subcommand -f -a ${name} -d '${quoted(command.summary)}'`,
    ...Object.entries(flagsOf(command)).map(([flag, { help, short, value }]) =>
      `complete -c webamqp -n '__fish_seen_subcommand_from ${name}' -l ${flag}` +
      `${short === undefined ? "" : ` -s ${short}`}${value === undefined ? "" : " -r"} -d '${quoted(help)}'`
    ),
  ]);
  return `${lines.join("\n")}\n`;
}

function quoted(text: string): string {
  return text.replaceAll("'", "’");
}
