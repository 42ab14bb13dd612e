import { createHash } from "node:crypto";
import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import {
  basicAuthorization,
  type Challenge,
  checkCredentials,
  parseChallenges,
  parseParams,
  rankChallenges,
  type UsableChallenge,
} from "../../../src/transport/proxy/challenge.ts";
import type { Hash } from "../../../src/transport/proxy/digest.ts";
import { type Random, random, seed, test } from "../../harness.ts";

const NODE_NAMES = { "MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512-256" } as const;
const hash: Hash = (algorithm, bytes) => createHash(NODE_NAMES[algorithm]).update(bytes).digest();

/** Challenges in a readable form: `scheme token68 {params}`. */
function read(...values: string[]): unknown[] {
  return parseChallenges(values).map(({ scheme, token68, params }) =>
    token68 === undefined ? [scheme, Object.fromEntries(params)] : [scheme, token68, Object.fromEntries(params)]
  );
}

function digest(params: Record<string, string> = {}): string {
  const all = { realm: "r", nonce: "n", qop: "auth", ...params };
  return `Digest ${Object.entries(all).map(([name, value]) => `${name}="${value}"`).join(", ")}`;
}

function rank(values: string[], options: Partial<Parameters<typeof rankChallenges>[1]> = {}): string[] {
  const ranked = rankChallenges(parseChallenges(values), { schemes: ["digest", "basic"], hash, ...options });
  return ranked.map(describe);
}

function describe(challenge: UsableChallenge): string {
  return challenge.scheme === "basic" ? "basic" : challenge.digest.algorithm ?? "none";
}

test("PXY-11: one challenge a value, and several values", () => {
  assertEquals(read('Basic realm="a"', 'Digest realm="b", nonce="c"'), [
    ["basic", { realm: "a" }],
    ["digest", { realm: "b", nonce: "c" }],
  ]);
  assertEquals(read(), []);
  assertEquals(read(""), []);
});

test("PXY-11: several challenges in one value are told apart from the parameters of one", () => {
  assertEquals(read('Digest realm="a", nonce=n, qop="auth,auth-int", Basic realm="b", charset="UTF-8"'), [
    ["digest", { realm: "a", nonce: "n", qop: "auth,auth-int" }],
    ["basic", { realm: "b", charset: "UTF-8" }],
  ]);
  assertEquals(read('Negotiate, NTLM , Basic realm="x"'), [["negotiate", {}], ["ntlm", {}], ["basic", { realm: "x" }]]);
});

test("PXY-11: commas and scheme names inside quotes are text", () => {
  assertEquals(read('Basic realm="a, Digest realm=\\"b\\", nonce=\\"c\\"", Digest realm="d", nonce="e"'), [
    ["basic", { realm: 'a, Digest realm="b", nonce="c"' }],
    ["digest", { realm: "d", nonce: "e" }],
  ]);
});

test("PXY-11: escapes stand for the character behind the backslash", () => {
  assertEquals(read('Basic realm="\\"\\\\\\a\\,\t"'), [["basic", { realm: '"\\a,\t' }]]);
  assertEquals(read('Basic realm=""'), [["basic", { realm: "" }]]);
});

test("PXY-11: names are taken in any case, values keep theirs", () => {
  assertEquals(read("dIgEsT ReAlM=AbC, NONCE=x"), [["digest", { realm: "AbC", nonce: "x" }]]);
});

test("PXY-11: any parameter may be a bare token", () => {
  assertEquals(read("Digest realm=r, nonce=abc.DEF~1, stale=true, algorithm=MD5"), [
    ["digest", { realm: "r", nonce: "abc.DEF~1", stale: "true", algorithm: "MD5" }],
  ]);
});

test("PXY-11: blanks around equals signs and empty list elements are passed over", () => {
  assertEquals(read(', ,\tBasic  realm = "a" ,, charset\t=\tUTF-8 , ,Digest\t realm=b,nonce=c,,'), [
    ["basic", { realm: "a", charset: "UTF-8" }],
    ["digest", { realm: "b", nonce: "c" }],
  ]);
});

test("PXY-11: a token68 is told from a parameter", () => {
  assertEquals(read("Negotiate TlRMTVNTUAAB+/8=="), [["negotiate", "TlRMTVNTUAAB+/8==", {}]]);
  assertEquals(read("Bearer realm= , Basic realm=a"), [["bearer", "realm=", {}], ["basic", { realm: "a" }]]);
  assertEquals(read("A b.c-d_e~f+g/h, B x=y"), [["a", "b.c-d_e~f+g/h", {}], ["b", { x: "y" }]]);
  assertEquals(read("A token68==, b=c, Basic realm=x"), [["basic", { realm: "x" }]], "both forms at once");
});

test("PXY-11: a repeated parameter makes its challenge unusable, not its neighbours", () => {
  assertEquals(read('Basic realm="a", Digest realm="b", nonce="c", REALM="d", Basic realm="e"'), [
    ["basic", { realm: "a" }],
    ["basic", { realm: "e" }],
  ]);
});

test("PXY-11: what breaks off takes the rest of its value along, not what came before or other values", () => {
  const broken = [
    'Digest realm="b, Basic realm=x',
    'Digest realm="b\\',
    "Digest realm=a, nonce=",
    "Digest realm a",
    "Digest realm=a nonce=c",
    'Digest realm="a"nonce="c"',
    'Digest realm="a" nonce="c"',
    "Digest realm=a;nonce=c",
    'Digest "a"',
    "Digest realm=a b",
    "Digest Basic realm=a",
    "Digest r\u00e9alm=a",
    "Digest(realm=a)",
  ];
  for (const value of broken) {
    assertEquals(read(`Basic realm="first", ${value}, Basic realm="y"`, 'Basic realm="other"'), [
      ["basic", { realm: "first" }],
      ["basic", { realm: "other" }],
    ], value);
  }
  assertEquals(read('realm="no scheme", Basic realm="x"'), []);
  assertEquals(read('Digest ==, Basic realm="x"'), []);
  assertEquals(read(`="x"`), []);
  assertEquals(read(`Basic realm=a, Digest ="b"`), [["basic", { realm: "a", digest: "b" }]]);
});

test("DIG-10: control characters never come out of a challenge, escaped or not", () => {
  for (const code of [0, 1, 8, 10, 13, 27, 31, 127]) {
    const char = String.fromCharCode(code);
    assertEquals(read(`Basic realm="a${char}b"`), [], `bare ${code}`);
    assertEquals(read(`Basic realm="a\\${char}b"`), [], `escaped ${code}`);
    assertEquals(read(`Basic realm=a${char}b`), [], `token ${code}`);
  }
});

test("ATK-25: parameter names that objects know are only names", () => {
  const [challenge] = parseChallenges(["Digest __proto__=a, constructor=b, realm=r, nonce=n"]);
  assertEquals([...challenge.params], [["__proto__", "a"], ["constructor", "b"], ["realm", "r"], ["nonce", "n"]]);
  assertEquals(rank(["constructor realm=x", "__proto__ a=b"]), []);
});

test("ATK-31: hostile values are read in linear time", () => {
  const size = 200_000;
  const start = performance.now();
  for (const piece of [",", " ", "a ", "a,", "a=", "a b", '"', 'a="', "\\", 'a="\\', "a=b,", "=", "a  =  b ,"]) {
    parseChallenges([piece.repeat(size / piece.length)]);
    parseChallenges([`Digest ${piece.repeat(size / piece.length)}`]);
    parseChallenges([`Digest realm="${piece.repeat(size / piece.length)}`]);
  }
  // Quadratic work over 200 kB would take minutes; the bound is loose because machines are busy.
  assert(performance.now() - start < 5_000);
});

test("PXY-12: our ranking decides, not the order that the proxy wrote", () => {
  const values = [
    'Basic realm="r"',
    digest({ algorithm: "MD5" }),
    digest({ algorithm: "SHA-256-sess" }),
    digest({ algorithm: "SHA-256" }),
    digest({ algorithm: "MD5-sess" }),
    digest({ algorithm: "SHA-512-256-sess" }),
    digest({ algorithm: "SHA-512-256" }),
  ];
  const best = ["SHA-512-256", "SHA-512-256-sess", "SHA-256", "SHA-256-sess", "MD5", "MD5-sess", "basic"];
  assertEquals(rank(values), best);
  assertEquals(rank(values.toReversed()), best);
  assertEquals(rank([values.join(", ")]), best);
});

test("PXY-12: what is unknown is skipped", () => {
  assertEquals(rank(["Negotiate", "Bearer realm=x", digest({ algorithm: "SHA-1024" }), "Basic realm=r"]), ["basic"]);
  assertEquals(rank([digest({ qop: "auth-conf" }), "Digest realm=only"]), []);
  assertEquals(rank(["Basic dG9rZW4="]), []);
});

test("PXY-12: only the schemes that the user allows are chosen", () => {
  const values = [digest(), "Basic realm=r"];
  assertEquals(rank(values, { schemes: ["digest"] }), ["none"]);
  assertEquals(rank(values, { schemes: ["basic"] }), ["basic"]);
  assertEquals(rank(values, { schemes: [] }), []);
});

test("PXY-12: a hash that the runtime lacks is passed over for the next", () => {
  const values = [digest({ algorithm: "SHA-512-256" }), digest({ algorithm: "SHA-256" }), digest(), "Basic realm=r"];
  const web: Hash = (algorithm, bytes) => algorithm === "SHA-256" ? hash(algorithm, bytes) : undefined;
  assertEquals(rank(values, { hash: web }), ["SHA-256", "basic"]);
});

test("PXY-13: RFC 7617's examples are reproduced", () => {
  assertEquals(
    basicAuthorization({ username: "Aladdin", password: "open sesame" }),
    "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
  );
  assertEquals(basicAuthorization({ username: "", password: "" }), "Basic Og==");
  assertEquals(basicAuthorization({ username: "u", password: "a:b" }), "Basic dTphOmI=");
});

test("PXY-13: a colon in the name and control characters anywhere are refused", () => {
  assertThrows(
    () => basicAuthorization({ username: "a:b", password: "p" }),
    TypeError,
    "Cannot use proxy credentials: a user name for Basic must not hold a colon",
  );
  for (const bad of ["a\r\nb", "\0", "\x7f", "\t"]) {
    for (const credentials of [{ username: bad, password: "p" }, { username: "u", password: bad }]) {
      const error = assertThrows(() => basicAuthorization(credentials), TypeError, "control characters");
      assertFalse(error.message.includes(bad));
    }
  }
  checkCredentials({ username: "a:b", password: "p" }, ["digest", "basic"]);
  assertThrows(() => checkCredentials({ username: "a:b", password: "p" }, ["basic"]), TypeError, "colon");
  // deno-lint-ignore no-explicit-any
  assertThrows(() => checkCredentials({ username: "u", password: 5 as any }, ["basic"]), TypeError, "strings");
});

test("PXY-14: Basic is UTF-8, whatever charset the challenge claims", () => {
  assertEquals(basicAuthorization({ username: "test", password: "123£" }), "Basic dGVzdDoxMjPCow==");
  assertEquals(rank(['Basic realm="r", charset="ISO-8859-1"']), ["basic"]);
});

test("DIG-9: a bare parameter list is read, and not read at all when malformed", () => {
  assertEquals([...parseParams('NextNonce="a\\"b", qop=auth, nc=00000001')], [
    ["nextnonce", 'a"b'],
    ["qop", "auth"],
    ["nc", "00000001"],
  ]);
  for (
    const value of [
      'nextnonce="a" b=c',
      "nextnonce=a, nextnonce=b",
      "Digest nextnonce=a",
      'nextnonce="a',
      "=a",
      "nextnonce, qop=auth",
    ]
  ) {
    assertEquals(parseParams(value).size, 0, value);
  }
  assertEquals(parseParams("").size, 0);
});

const NAME_CHARS = "abcXYZ019-._~!#$%&'*+^`|";
const TEXT_CHARS = 'az AZ09,="\\;\t/é\u00ff';
const TOKEN68_CHARS = "azAZ09-._~+/";

function word(source: Random, chars: string, least: number): string {
  return Array.from({ length: least + source.int(8) }, () => source.pick([...chars])).join("");
}

function anyChallenge(source: Random): Challenge {
  const scheme = word(source, NAME_CHARS, 1).toLowerCase();
  if (source.int(5) === 0) {
    return { scheme, token68: word(source, TOKEN68_CHARS, 1) + "=".repeat(source.int(3)), params: new Map() };
  }
  const params = new Map<string, string>();
  for (let i = source.int(5); i > 0; i--) {
    params.set(word(source, NAME_CHARS, 1).toLowerCase(), word(source, TEXT_CHARS, 0));
  }
  return { scheme, token68: undefined, params };
}

/** Writes a challenge in one of many ways. */
function write(source: Random, challenge: Challenge): string {
  const blank = (): string => source.pick(["", "", " ", "\t", "  "]);
  const cased = (name: string): string => source.int(2) === 0 ? name : name.toUpperCase();
  if (challenge.token68 !== undefined) return `${cased(challenge.scheme)} ${blank()}${challenge.token68}`;
  const params = [...challenge.params].map(([name, value]) => {
    const bare = /^[\w.~-]+$/.test(value) && source.int(2) === 0;
    const escaped = value.replace(/[^]/g, (char) => '"\\'.includes(char) || source.int(4) === 0 ? `\\${char}` : char);
    return `${cased(name)}${blank()}=${blank()}${bare ? value : `"${escaped}"`}`;
  });
  const first = `${cased(challenge.scheme)}${params.length > 0 ? ` ${blank()}` : ""}`;
  return first + params.join(source.pick([",", ", ", " ,", ",, ,"]));
}

test("PXY-11: any challenges, written in any way, are read back", () => {
  const source = random(seed());
  for (let round = 0; round < 2_000; round++) {
    const values = Array.from(
      { length: 1 + source.int(3) },
      () => Array.from({ length: source.int(4) }, () => anyChallenge(source)),
    );
    const written = values.map((list) => list.map((one) => write(source, one)).join(source.pick([", ", ",", " ,,\t"])));
    assertEquals(parseChallenges(written), values.flat(), JSON.stringify(written));
  }
});

test("PXY-11: random text never throws and never yields a control character", () => {
  const source = random(seed() + 1);
  const pieces = [
    "Digest ",
    "Basic ",
    "realm",
    "nonce",
    "=",
    ",",
    '"',
    "\\",
    " ",
    "\t",
    "\r\n",
    "\0",
    "a",
    "é",
    "qop=",
    ";",
  ];
  for (let round = 0; round < 5_000; round++) {
    const value = Array.from({ length: source.int(30) }, () => source.pick(pieces)).join("");
    const challenges = parseChallenges([value]);
    rankChallenges(challenges, { schemes: ["digest", "basic"], hash });
    parseParams(value);
    for (const { scheme, params } of challenges) {
      // deno-lint-ignore no-control-regex
      assertFalse(/[\x00-\x08\x0a-\x1f\x7f]/.test([scheme, ...params.keys(), ...params.values()].join("")));
    }
  }
});
