/**
 * The selector language of JMS: conditions over the properties of a message.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { type FilterCost, likeMatcher } from "./like.ts";

/** The value of an expression for one message; undefined for unknown, such as a missing property. */
export type SelectorValue = string | number | bigint | boolean | undefined;

/** Returns the value of a property. */
export type Lookup = (name: string) => SelectorValue;

/** A compiled selector, or a part of one. */
export type Expression = (lookup: Lookup) => SelectorValue;

/** The longest selector, in characters. */
const MAX_SELECTOR_LENGTH = 4_096;
/** The deepest nesting of a selector's parentheses. */
const MAX_SELECTOR_DEPTH = 64;

interface Token {
  readonly kind: "name" | "text" | "number" | "sign" | "end";
  readonly text: string;
  readonly value?: SelectorValue;
  readonly at: number;
}

const SIGNS = ["<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ","];

// The characters of a selector in one step.
const STEP_LENGTH = 256;

/**
 * Compiles a selector; each evaluation adds to `cost`.
 *
 * @throws {AmqpError} With `amqp:invalid-field` and scope `"link"` if the text is no selector, too long or too deep.
 */
export function parseSelector(text: string, cost: FilterCost): Expression {
  if (text.length > MAX_SELECTOR_LENGTH) {
    throw invalid(`it has ${text.length} characters, ${MAX_SELECTOR_LENGTH} are the most`);
  }
  const expression = new Parser(tokens(text), cost).parse();
  const steps = Math.floor(text.length / STEP_LENGTH);
  if (steps === 0) return expression;
  return (lookup) => {
    cost.steps += steps;
    return expression(lookup);
  };
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #cost: FilterCost;
  #at = 0;
  #depth = 0;
  #signs = 0;

  constructor(tokens: readonly Token[], cost: FilterCost) {
    this.#tokens = tokens;
    this.#cost = cost;
  }

  parse(): Expression {
    const expression = this.#or();
    if (this.#next.kind !== "end") throw this.#unexpected();
    return expression;
  }

  get #next(): Token {
    return this.#tokens[this.#at]!;
  }

  #or(): Expression {
    const parts = [this.#and()];
    while (this.#takeWord("OR")) parts.push(this.#and());
    if (parts.length === 1) return parts[0]!;
    return (lookup) => {
      let known = true;
      for (const part of parts) {
        const value = truth(part(lookup));
        if (value) return true;
        if (value === undefined) known = false;
      }
      return known ? false : undefined;
    };
  }

  #and(): Expression {
    const parts = [this.#not()];
    while (this.#takeWord("AND")) parts.push(this.#not());
    if (parts.length === 1) return parts[0]!;
    return (lookup) => {
      let known = true;
      for (const part of parts) {
        const value = truth(part(lookup));
        if (value === false) return false;
        if (value === undefined) known = false;
      }
      return known ? true : undefined;
    };
  }

  #not(): Expression {
    let negated = false;
    while (this.#takeWord("NOT")) negated = !negated;
    const operand = this.#comparison();
    return negated ? negation(operand) : operand;
  }

  #comparison(): Expression {
    const left = this.#sum();
    if (this.#takeWord("IS")) {
      const negated = this.#takeWord("NOT");
      if (!this.#takeWord("NULL")) throw this.#unexpected();
      return (lookup) => (left(lookup) === undefined) !== negated;
    }
    const negated = this.#takeWord("NOT");
    const test = this.#test(left);
    if (test !== undefined) return negated ? negation(test) : test;
    if (negated) throw this.#unexpected();
    const sign = this.#next.text;
    if (this.#next.kind !== "sign" || !["=", "<>", "<", "<=", ">", ">="].includes(sign)) return left;
    this.#at++;
    const right = this.#sum();
    return (lookup) => compare(sign, left(lookup), right(lookup));
  }

  // The tests that may follow NOT: BETWEEN, IN, LIKE.
  #test(left: Expression): Expression | undefined {
    if (this.#takeWord("BETWEEN")) {
      const low = this.#sum();
      if (!this.#takeWord("AND")) throw this.#unexpected();
      const high = this.#sum();
      return (lookup) => {
        const value = left(lookup);
        const above = compare(">=", value, low(lookup));
        const below = compare("<=", value, high(lookup));
        return above === false || below === false ? false : above && below;
      };
    }
    if (this.#takeWord("IN")) {
      this.#expect("(");
      const texts = new Set<SelectorValue>();
      do texts.add(this.#text()); while (this.#takeSign(","));
      this.#expect(")");
      return (lookup) => {
        const value = left(lookup);
        return value === undefined ? undefined : texts.has(value);
      };
    }
    if (!this.#takeWord("LIKE")) return undefined;
    const at = this.#next.at;
    const pattern = this.#text();
    const escape = this.#takeWord("ESCAPE") ? this.#text() : undefined;
    let matches: (text: string) => boolean;
    try {
      matches = likeMatcher(pattern, escape, this.#cost);
    } catch (error) {
      throw invalid(`${(error as Error).message} (at character ${at})`);
    }
    return (lookup) => {
      const value = left(lookup);
      if (value === undefined) return undefined;
      return typeof value === "string" && matches(value);
    };
  }

  #sum(): Expression {
    let left = this.#product();
    for (;;) {
      const sign = this.#takeSign("+") ? "+" : this.#takeSign("-") ? "-" : undefined;
      if (sign === undefined) return left;
      left = this.#calculation(sign, left, this.#product());
    }
  }

  #product(): Expression {
    let left = this.#signed();
    for (;;) {
      const sign = this.#takeSign("*") ? "*" : this.#takeSign("/") ? "/" : undefined;
      if (sign === undefined) return left;
      left = this.#calculation(sign, left, this.#signed());
    }
  }

  #calculation(sign: string, left: Expression, right: Expression): Expression {
    // Each operator is one more call on the stack.
    if (++this.#signs > MAX_SELECTOR_LENGTH / 4) throw invalid("it has too many signs");
    return (lookup) => calculate(sign, left(lookup), right(lookup));
  }

  #signed(): Expression {
    let negative = false;
    for (;;) {
      if (this.#takeSign("-")) negative = !negative;
      else if (!this.#takeSign("+")) break;
    }
    const operand = this.#primary();
    return negative ? (lookup) => calculate("-", 0, operand(lookup)) : operand;
  }

  #primary(): Expression {
    const token = this.#next;
    this.#at++;
    switch (token.kind) {
      case "text":
      case "number":
        return () => token.value;
      case "name": {
        const word = token.text.toUpperCase();
        if (word === "TRUE" || word === "FALSE") return () => word === "TRUE";
        if (RESERVED.includes(word)) break;
        // As a name of a property it would be missing in each message, and the filter pass none.
        if (token.text.startsWith("amqp.annotation.")) throw invalid(`it names an annotation, ${quote(token.text)}`);
        return (lookup) => lookup(token.text);
      }
      case "sign": {
        if (token.text !== "(") break;
        if (++this.#depth > MAX_SELECTOR_DEPTH) throw invalid(`it nests deeper than ${MAX_SELECTOR_DEPTH}`);
        const inner = this.#or();
        this.#depth--;
        this.#expect(")");
        return inner;
      }
    }
    this.#at--;
    throw this.#unexpected();
  }

  #takeWord(word: string): boolean {
    const { kind, text } = this.#next;
    const found = kind === "name" && text.toUpperCase() === word;
    if (found) this.#at++;
    return found;
  }

  #takeSign(sign: string): boolean {
    const { kind, text } = this.#next;
    const found = kind === "sign" && text === sign;
    if (found) this.#at++;
    return found;
  }

  #expect(sign: string): void {
    if (!this.#takeSign(sign)) throw this.#unexpected();
  }

  #text(): string {
    const token = this.#next;
    if (token.kind !== "text") throw this.#unexpected();
    this.#at++;
    return token.value as string;
  }

  #unexpected(): AmqpError {
    const { kind, text, at } = this.#next;
    return invalid(kind === "end" ? "it ends too early" : `"${text.slice(0, 32)}" is unexpected at character ${at}`);
  }
}

const RESERVED = ["AND", "OR", "NOT", "BETWEEN", "LIKE", "IN", "IS", "NULL", "ESCAPE"];

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const c = text[at]!;
    if (c === " " || c === "\t" || c === "\n" || c === "\r" || c === "\f") {
      at++;
      continue;
    }
    const token = c === "'"
      ? quotedAt(text, at)
      : isDigit(c) || (c === "." && isDigit(text[at + 1] ?? ""))
      ? numberAt(text, at)
      : isNameStart(c)
      ? nameAt(text, at)
      : signAt(text, at);
    found.push(token);
    at += token.text.length;
  }
  found.push({ kind: "end", text: "", at });
  return found;
}

function quotedAt(text: string, at: number): Token {
  let value = "";
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] !== "'") value += text[i];
    // A doubled quote stands for one quote.
    else if (text[i + 1] === "'") value += text[i++];
    else return { kind: "text", text: text.slice(at, i + 1), value, at };
  }
  throw invalid(`the text that begins at character ${at} has no end`);
}

function numberAt(text: string, at: number): Token {
  let end = at;
  let exact = true;
  if (text[at] === "0" && (text[at + 1] === "x" || text[at + 1] === "X")) {
    end += 2;
    while (/[0-9a-fA-F]/.test(text[end] ?? "")) end++;
  } else {
    while (isDigit(text[end] ?? "")) end++;
    if (text[end] === ".") {
      exact = false;
      end++;
      while (isDigit(text[end] ?? "")) end++;
    }
    if (text[end] === "e" || text[end] === "E") {
      exact = false;
      end++;
      if (text[end] === "+" || text[end] === "-") end++;
      while (isDigit(text[end] ?? "")) end++;
    }
  }
  const digits = text.slice(at, end);
  if (exact && (text[end] === "l" || text[end] === "L")) end++;
  else if (/[dDfF]/.test(text[end] ?? "")) {
    exact = false;
    end++;
  }
  // As in Java, a leading zero makes a number octal.
  const octal = exact && /^0[0-7]+$/.test(digits);
  let value: number | bigint;
  try {
    value = exact ? BigInt(octal ? `0o${digits.slice(1)}` : digits) : Number(digits);
  } catch {
    value = NaN;
  }
  if (Number.isNaN(value) || isNameStart(text[end] ?? "")) throw invalid(`what begins at character ${at} is no number`);
  return { kind: "number", text: text.slice(at, end), value, at };
}

function nameAt(text: string, at: number): Token {
  let end = at + 1;
  while (end < text.length && (isNameStart(text[end]!) || isDigit(text[end]!) || text[end] === ".")) end++;
  return { kind: "name", text: text.slice(at, end), at };
}

function signAt(text: string, at: number): Token {
  const sign = SIGNS.find((sign) => text.startsWith(sign, at));
  if (sign === undefined) throw invalid(`"${text[at]}" is unexpected at character ${at}`);
  return { kind: "sign", text: sign, at };
}

function isDigit(c: string): boolean {
  return c >= "0" && c <= "9";
}

// A name starts as in Java.
function isNameStart(c: string): boolean {
  return c !== "" && /[\p{L}\p{Nl}_$]/u.test(c);
}

function negation(operand: Expression): Expression {
  return (lookup) => {
    const value = truth(operand(lookup));
    return value === undefined ? undefined : !value;
  };
}

// A value that is not a boolean is unknown.
function truth(value: SelectorValue): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function isNumeric(value: SelectorValue): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

function compare(sign: string, left: SelectorValue, right: SelectorValue): boolean | undefined {
  if (left === undefined || right === undefined) return undefined;
  const numeric = isNumeric(left) && isNumeric(right);
  // Values of different kinds are in no relation [jms 3.8.1.2].
  if (!numeric && typeof left !== typeof right) return false;
  switch (sign) {
    case "=":
      // Loose equality compares numbers of both types by value.
      return numeric ? left == right : left === right;
    case "<>":
      return numeric ? left != right : left !== right;
  }
  if (!numeric) return false;
  switch (sign) {
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    default:
      return left >= right;
  }
}

function calculate(sign: string, left: SelectorValue, right: SelectorValue): SelectorValue {
  if (!isNumeric(left) || !isNumeric(right)) return undefined;
  if (typeof left === "bigint" || typeof right === "bigint") {
    const a = exact(left);
    const b = exact(right);
    // Results wrap at 64 bits: bigints that grow with each operator would cost without bound.
    if (a !== undefined && b !== undefined) {
      if (sign === "/") return b === 0n ? undefined : BigInt.asIntN(64, a / b);
      return BigInt.asIntN(64, sign === "+" ? a + b : sign === "-" ? a - b : a * b);
    }
  }
  const a = Number(left);
  const b = Number(right);
  return sign === "+" ? a + b : sign === "-" ? a - b : sign === "*" ? a * b : a / b;
}

function exact(value: number | bigint): bigint | undefined {
  return typeof value === "bigint" ? value : Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function invalid(problem: string): AmqpError {
  return new AmqpError(condition.invalidField, `Cannot use selector: ${problem}`, { scope: "link" });
}
