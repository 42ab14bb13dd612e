/**
 * Reads this package's own source as text, so that tests can check rules on it.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

const root = new URL("../", import.meta.url);

/** The text of a file named relative to the package's root. */
export function read(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

/** Every file under a folder whose name has this ending, relative to the package's root and in order. */
export function list(folder: string, ending: string): string[] {
  return readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(ending))
    .sort();
}

/** A source text, analysed as far as the rules need. */
export interface Source {
  /** The text with comments, regular expressions and the content of strings blanked out; offsets stay the same. */
  readonly code: string;
  /** Every string and template piece: where its content starts, and the content. */
  readonly strings: ReadonlyMap<number, string>;
}

/** Separates the code of a TypeScript file from its comments and strings. */
export function parse(text: string): Source {
  const code = text.split("");
  const strings = new Map<number, string>();
  const blank = (start: number, end: number): void => {
    for (let i = start; i < end; i++) if (text[i] !== "\n") code[i] = " ";
  };
  const string = (start: number, end: number): void => {
    strings.set(start, text.slice(start, end));
    blank(start, end);
  };
  // For every open template substitution, the number of open braces in it.
  const substitutions: number[] = [];
  let before = "";
  for (let i = 0; i < text.length; i++) {
    const rest = text.slice(i, i + 2);
    if (rest === "//" || rest === "/*") {
      const end = endOf(text, rest === "//" ? "\n" : "*/", i + 2);
      blank(i, end);
      i = end - 1;
      continue;
    }
    const char = text[i];
    let template = char === "`";
    if (char === '"' || char === "'") {
      const end = endOfQuoted(text, i + 1, char);
      string(i + 1, end);
      i = end;
    } else if (char === "/" && startsExpression(before)) {
      const end = endOfPattern(text, i + 1);
      blank(i + 1, end);
      i = end;
    } else if (char === "{" && substitutions.length > 0) {
      substitutions[substitutions.length - 1]++;
    } else if (char === "}" && substitutions.length > 0) {
      if (substitutions[substitutions.length - 1]-- === 0) {
        substitutions.pop();
        template = true;
      }
    }
    if (template) {
      const end = endOfQuoted(text, i + 1, "`");
      string(i + 1, end);
      if (text[end] === "$") {
        substitutions.push(0);
        i = end + 1;
        before = "{";
        continue;
      }
      i = end;
    }
    if (!/\s/.test(char)) before = (before + char).slice(-12);
    else if (/\w$/.test(before)) before += " ";
  }
  return { code: code.join(""), strings };
}

// Whether a slash after this code starts a regular expression; else it divides.
function startsExpression(before: string): boolean {
  return /(?:^|[(,=:[!&|?{;+\-*%<>~^]|(?:^|[^\w.])(?:return|typeof|case|in|of|void|yield|await))\s*$/.test(before);
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at < 0 ? text.length : mark === "\n" ? at : at + mark.length;
}

// The index of the closing quote or, for a template, of its next substitution.
function endOfQuoted(text: string, from: number, quote: string): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === quote) return i;
    else if (quote === "`" && text[i] === "$" && text[i + 1] === "{") return i;
  }
  return text.length;
}

function endOfPattern(text: string, from: number): number {
  let inClass = false;
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "[") inClass = true;
    else if (text[i] === "]") inClass = false;
    else if (text[i] === "/" && !inClass) return i;
  }
  return text.length;
}

/** One reference from a file to another module. */
export interface Import {
  /** The specifier as written. */
  readonly specifier: string;
  /** When it is loaded: never, with the file, or on use. */
  readonly kind: "type" | "static" | "dynamic";
}

/** Every import and re-export of a source, type imports included. */
export function imports(source: Source): Import[] {
  const found: Import[] = [];
  const take = (pattern: RegExp, kindOf: (match: RegExpExecArray) => Import["kind"]): void => {
    for (const match of source.code.matchAll(pattern)) {
      const specifier = source.strings.get(match.index + match[0].length);
      if (specifier !== undefined) found.push({ specifier, kind: kindOf(match) });
    }
  };
  take(
    /\b(?:import|export)\s+(type\s+(?!from\b))?[\w\s{},*$]*?\bfrom\s*["']/g,
    (match) => match[1] ? "type" : "static",
  );
  take(/\bimport\s*["']/g, () => "static");
  take(/\bimport\s*\(\s*["'`]/g, () => "dynamic");
  return found;
}
