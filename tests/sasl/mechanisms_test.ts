import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeBase64 } from "@std/encoding";
import { azure, sharedAccessSignature } from "../../src/azure/azure.ts";
import { AmqpError } from "../../src/base/errors.ts";
import type { SaslFrameBody } from "../../src/codec/types.ts";
import { oauthbearer, oauthbearerServer, xoauth2, xoauth2Server } from "../../src/sasl/bearer.ts";
import { anonymous, external, plain, SaslClient } from "../../src/sasl/client.ts";
import { bearer, credentials } from "../../src/sasl/credentials.ts";
import type { SaslMechanism, SaslServerMechanism } from "../../src/sasl/mechanism.ts";
import { saslprep } from "../../src/sasl/saslprep.ts";
import { scram } from "../../src/sasl/scram.ts";
import { type ScramHash, scramKeys } from "../../src/sasl/scram_keys.ts";
import { scramServer } from "../../src/sasl/scram_server.ts";
import { SaslServer } from "../../src/sasl/server.ts";
import { anonymousServer, externalServer, plainServer } from "../../src/sasl/server_mechanisms.ts";
import { saslMechanisms, type UserTable } from "../../src/server/sasl.ts";
import { test } from "../harness.ts";
import { bytes, exchange, TARGET } from "./exchange.ts";

const SAS = "Endpoint=sb://ns.servicebus.windows.net;SharedAccessKeyName=a;SharedAccessKey=b";
const CLEAR = { ...TARGET, secure: false };
const check = (username: string, password: string) => username === "tim" && password === "tanstaaftanstaaf";

test("SASL-2: PLAIN, the example of its RFC to the byte, and the one answer to all that is wrong", async () => {
  const server = plainServer(check);
  const good = await exchange(plain("tim", "tanstaaftanstaaf"), [server]);
  assertEquals(good.said, ["offer PLAIN", "init PLAIN \0tim\0tanstaaftanstaaf", "outcome ok"]);
  assertEquals(good.identity, "tim");
  const same = await exchange(plain("tim", "tanstaaftanstaaf", { authorizationId: "tim" }), [server]);
  assertEquals(same.identity, "tim");
  for (
    const wrong of [
      plain("tim", "tanstaaftanstaag"),
      plain("tim", ""),
      plain("kim", "tanstaaftanstaaf"),
      plain("tim", "tanstaaftanstaaf", { authorizationId: "kim" }),
    ]
  ) {
    const { outcome, identity, said } = await exchange(wrong, [server]);
    assertEquals([outcome, identity, said.length], [{ kind: "saslOutcome", code: "auth" }, undefined, 3]);
  }
});

test("SASL-2: PLAIN, what is malformed is refused before anybody is asked", async () => {
  let asked = 0;
  const mechanism = plainServer(() => ++asked > 0);
  for (
    const response of ["", "tim", "\0tim", "\0\0x", "\0tim\0x\0", "a\0tim\0x\0y"].map(bytes).concat(
      Uint8Array.of(0, 0xff, 0, 1),
    )
  ) {
    const server = new SaslServer([mechanism], {});
    const reply = await server.handle({ kind: "saslInit", mechanism: "PLAIN", initialResponse: response });
    assertEquals([reply, asked], [{ kind: "saslOutcome", code: "auth" }, 0]);
  }
  assertThrows(() => plain("", "x"), RangeError);
  assertThrows(() => plain("a\0", "x"), RangeError);
  assertThrows(() => plain("a", "x\0"), RangeError);
  assertThrows(() => plain("a", "x", { authorizationId: "\0" }), RangeError);
});

test("SASL-9: a table of users compares passwords to the last character, and knows no strangers", async () => {
  const tables = [{ tim: "secret" }, { tim: await scramKeys("secret", { iterations: 4_096 }) }];
  for (const users of tables) {
    const mechanisms = saslMechanisms({ users });
    const outcomeOf = async (name: string, password: string) =>
      (await exchange(plain(name, password), mechanisms)).outcome?.code;
    assertEquals(await outcomeOf("tim", "secret"), "ok");
    for (const wrong of ["secres", "secre", "secrett", "ecret", "", "tim", "secretsecret"]) {
      assertEquals(await outcomeOf("tim", wrong), "auth", wrong);
    }
    // Neither a missing name, with its own name or the password of another, nor a property of every object.
    for (const name of ["kim", "constructor", "__proto__"]) {
      for (const password of ["secret", name]) assertEquals(await outcomeOf(name, password), "auth", name);
    }
  }
});

test("SASL-7: a mechanism whose client speaks first asks for its response with an empty challenge", async () => {
  const users = { tim: "secret" };
  const mechanisms = [
    ...saslMechanisms({ users, external: (id) => id }),
    xoauth2Server((token) => token),
    oauthbearerServer((t) => t),
  ];
  for (const { name } of mechanisms) {
    const server = new SaslServer(mechanisms, {});
    const reply = await server.handle({ kind: "saslInit", mechanism: name });
    assertEquals(reply, { kind: "saslChallenge", challenge: new Uint8Array(0) }, name);
  }
  const server = new SaslServer(mechanisms, {});
  await server.handle({ kind: "saslInit", mechanism: "PLAIN" });
  const outcome = await server.handle({ kind: "saslResponse", response: bytes("\0tim\0secret") });
  assertEquals([outcome?.kind, server.identity], ["saslOutcome", "tim"]);
  // An empty response is not an absent one: EXTERNAL is complete.
  const device = new SaslServer([externalServer(() => "device-7")], {});
  await device.handle({ kind: "saslInit", mechanism: "EXTERNAL", initialResponse: new Uint8Array(0) });
  assertEquals(device.identity, "device-7");
  const nobody = new SaslServer([anonymousServer()], {});
  assertEquals((await nobody.handle({ kind: "saslInit", mechanism: "ANONYMOUS" }))?.kind, "saslOutcome");
});

test("SASL-6, SASL-9: a mechanism that was not offered, and a check that breaks down", async () => {
  const server = new SaslServer([plainServer(() => Promise.reject(new Error("directory is down")))], {});
  const init: SaslFrameBody = { kind: "saslInit", mechanism: "PLAIN", initialResponse: bytes("\0tim\0x") };
  assertEquals(await server.handle({ ...init, mechanism: "EXTERNAL" }), { kind: "saslOutcome", code: "auth" });
  assertEquals(await server.handle(init), { kind: "saslOutcome", code: "sys-temp" });
  assertEquals([server.identity, server.error?.message], [undefined, "Cannot authenticate client: internal error"]);
  // A check that returns anything but true has failed.
  const loose = plainServer((() => "no") as never);
  assertEquals((await exchange(plain("tim", "x"), [loose])).outcome?.code, "auth");
});

test("EXTERNAL and ANONYMOUS: who the layer below says, and nobody", async () => {
  const peers: unknown[] = [];
  const mechanism = externalServer((wanted, peer) => {
    peers.push(peer);
    return wanted === "" ? "device-7" : undefined;
  });
  const { said, identity } = await exchange(external(), [mechanism]);
  assertEquals([said, identity, peers], [["offer EXTERNAL", "init EXTERNAL ", "outcome ok"], "device-7", [{}]]);
  assertEquals((await exchange(external("root"), [mechanism])).outcome?.code, "auth");
  // A value other than a name refuses the client, whatever returned it.
  for (const none of ["", null, undefined, true, 0, {}] as never[]) {
    assertEquals((await exchange(external(), [externalServer(() => none)])).outcome?.code, "auth", String(none));
    for (const server of [oauthbearerServer(() => none), xoauth2Server(() => none)]) {
      const { outcome, identity } = await exchange(bearer("a-token"), [server]);
      assertEquals([outcome?.code, identity], ["auth", undefined], String(none));
    }
    const { outcome } = await exchange(scram("user", "pencil"), [scramServer("SHA-256", () => none)]);
    assertEquals(outcome?.code, "auth", String(none));
    // For a password, true is success.
    const login = await exchange(plain("user", "pencil"), [plainServer(() => none)]);
    assertEquals(login.outcome?.code, none === true ? "ok" : "auth", String(none));
  }
  const nobody = await exchange(anonymous("me@example"), [anonymousServer()]);
  assertEquals([nobody.said[1], nobody.identity], ["init ANONYMOUS me@example", undefined]);
  assertThrows(() => anonymous("a\0"), RangeError);
  assertThrows(() => anonymous("a".repeat(256)), RangeError);
});

test("OAUTHBEARER, XOAUTH2: the token to the byte, asked for on every attempt", async () => {
  let count = 0;
  const token = () => Promise.resolve(`token-${++count}`);
  const verify = (given: string, username?: string) => `${given} of ${username}`;
  const oauth = oauthbearer(token, { username: "a,b=c" });
  const first = await exchange(oauth, [oauthbearerServer(verify)]);
  assertEquals(first.said.slice(1), [
    "init OAUTHBEARER n,a=a=2Cb=3Dc,\x01host=broker.example\x01port=5671\x01auth=Bearer token-1\x01\x01",
    "outcome ok",
  ]);
  assertEquals(first.identity, "token-1 of a,b=c");
  const bare = await exchange(oauthbearer("t"), [oauthbearerServer(verify)], {
    target: { hostname: undefined, secure: true },
  });
  assertEquals([bare.said[1], bare.identity], ["init OAUTHBEARER n,,\x01auth=Bearer t\x01\x01", "t of undefined"]);
  const older = await exchange(xoauth2(token, { username: "user" }), [xoauth2Server(verify)]);
  assertEquals(older.said[1], "init XOAUTH2 user=user\x01auth=Bearer token-2\x01\x01");
  assertEquals(older.identity, "token-2 of user");
});

test("OAUTHBEARER, XOAUTH2: a refusal says why, is acknowledged, and ends with the outcome", async () => {
  const why = '{"status":"invalid_token","schemes":"bearer"}';
  for (
    const [mechanism, server, answer] of [
      [oauthbearer("t"), oauthbearerServer(() => undefined), "\x01"],
      [xoauth2("t"), xoauth2Server(() => undefined), ""],
    ] as const
  ) {
    const { said, outcome, identity } = await exchange(mechanism, [server]);
    assertEquals(said.slice(2), [`challenge ${why}`, `response ${answer}`, "outcome auth"]);
    assertEquals([outcome?.code, identity], ["auth", undefined]);
  }
  for (
    const malformed of [
      "",
      "n,,",
      "n,,\x01auth=Bearer t",
      "n,,\x01auth=Basic t\x01\x01",
      "x,,\x01auth=Bearer t\x01\x01",
    ]
  ) {
    const server = new SaslServer([oauthbearerServer(() => "somebody")], {});
    await server.handle({ kind: "saslInit", mechanism: "OAUTHBEARER", initialResponse: bytes(malformed) });
    const outcome = await server.handle({ kind: "saslResponse", response: bytes("\x01") });
    assertEquals([outcome, server.identity], [{ kind: "saslOutcome", code: "auth" }, undefined], malformed);
  }
  for (const token of ["", "a b", "a\x01auth=Bearer b", "\u00e9"]) {
    assertThrows(() => oauthbearer(token), RangeError, "token is not printable ASCII");
    const { error } = await exchange(oauthbearer(() => token), [oauthbearerServer(() => "x")]);
    assertInstanceOf(error, TypeError);
    if (token !== "") assert(!error.message.includes(token));
  }
});

const offered = (names: string[]): SaslServerMechanism[] => names.map((name) => ({ ...anonymousServer(), name }));

async function chosen(auth: SaslMechanism[], names: string[], secure = true): Promise<string> {
  const { said, error } = await exchange(auth, offered(names), { target: { ...TARGET, secure } });
  return error === undefined || said.length > 1 ? said[1]!.split(" ")[1]! : error.message;
}

test("SASL-4, ATK-13: the strongest by our order is used, however the server's list was ordered", async () => {
  const auth = credentials("user", "pencil");
  const all = ["PLAIN", "ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"];
  assertEquals(await chosen(auth, all), "SCRAM-SHA-512");
  assertEquals(await chosen(auth, all.toReversed()), "SCRAM-SHA-512");
  assertEquals(await chosen(auth, all.slice(0, 4)), "SCRAM-SHA-256");
  assertEquals(await chosen(auth, all.slice(0, 3)), "SCRAM-SHA-1");
  assertEquals(await chosen(auth, all.slice(0, 2)), "PLAIN");
  assertStringIncludes(
    await chosen(auth, ["ANONYMOUS"]),
    'SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN: server offers "ANONYMOUS"',
  );
  assertEquals(await chosen(bearer("t"), ["XOAUTH2", "OAUTHBEARER"]), "OAUTHBEARER");
  assertEquals(await chosen(bearer("t"), ["XOAUTH2", "PLAIN"]), "XOAUTH2");
});

test("SASL-4, ATK-13: over a clear transport a list that was cut does not take us below SCRAM", async () => {
  const auth = credentials("user", "pencil");
  assertEquals(await chosen(auth, ["PLAIN", "SCRAM-SHA-1"], false), "SCRAM-SHA-1");
  assertStringIncludes(
    await chosen(auth, ["PLAIN"], false),
    'SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1: server offers "PLAIN"',
  );
  assertEquals(await chosen(credentials("user", "pencil", { allowCleartext: true }), ["PLAIN"], false), "PLAIN");
  for (const secret of [plain("user", "pencil"), oauthbearer("t"), xoauth2("t")]) {
    const error = assertThrows(() => new SaslClient(secret, CLEAR), AmqpError, "anyone on the way can read the secret");
    assertEquals(error.condition, "amqp:unauthorized-access");
  }
  assertThrows(() => new SaslClient(bearer("t"), CLEAR), AmqpError, "OAUTHBEARER, XOAUTH2");
  const allowed = [plain("user", "x", { allowCleartext: true }), oauthbearer("t", { allowCleartext: true })];
  for (const mechanism of allowed) assertEquals(await chosen([mechanism], [mechanism.name], false), mechanism.name);
});

test("SASL-4: a floor keeps out what is weaker, over TLS as well", async () => {
  const auth = credentials("user", "pencil", { floor: "SCRAM-SHA-256" });
  assertEquals(auth.map(({ name }) => name), ["SCRAM-SHA-512", "SCRAM-SHA-256"]);
  assertStringIncludes(await chosen(auth, ["SCRAM-SHA-1", "PLAIN"]), 'server offers "SCRAM-SHA-1, PLAIN"');
  assertThrows(
    () => credentials("user", "pencil", { floor: "SCRAM-MD5" as never }),
    RangeError,
    "floor is none of SCRAM-SHA-512",
  );
});

test("SASL-2: what is no mechanism is refused by what to use instead", () => {
  for (const auth of ["plain", {}, [], [plain("a", "b"), undefined], { username: "a", password: "b" }]) {
    assertThrows(() => new SaslClient(auth as never, TARGET), TypeError, "plain(user, password)");
  }
});

test("SASL-2: what was not set, does not exist or is of the wrong kind is told, and never used as a text", async () => {
  const wrong = (value: unknown) => value as never;
  const typos: (() => unknown)[] = [
    () => plain("user", wrong(undefined)),
    () => plain(wrong(undefined), "x"),
    () => plain("user", "x", wrong({ allowClearText: true })),
    () => plain("user", "x", wrong({ authorizationId: 5 })),
    () => scram("user", wrong(undefined)),
    () => scram(wrong(5), "x"),
    () => scram("user", "x", wrong({ minIteration: 5_000 })),
    () => scram("user", "x", { hash: wrong("SHA-224") }),
    () => scram("user", "x", { maxIterations: wrong("1") }),
    () => scramServer("SHA-256", wrong({})),
    () => scramServer("SHA-256", () => undefined, wrong({ decoys: {} })),
    () => credentials("user", wrong(undefined)),
    () => credentials("user", "x", wrong({ flor: "PLAIN" })),
    () => bearer(wrong(undefined)),
    () => bearer("x", wrong({ allowClearText: true })),
    () => azure(SAS, wrong({ ttl: 5 })),
    () => azure(SAS, { transport: wrong("tcp") }),
    () => azure("ns.servicebus.windows.net", { credential: wrong({}) }),
  ];
  for (const typo of typos) assertThrows(typo, TypeError, "Cannot ", String(typo));
  for (const options of [{ hash: "MD5" }, { iteration: 5_000 }, { salt: "x" }]) {
    await assertRejects(() => scramKeys("x", wrong(options)), TypeError, "Cannot make keys");
  }
  // NaN is no limit, nothing is no salt, and a lifetime must end.
  const none: (() => unknown)[] = [
    () => scram("user", "x", { maxIterations: NaN }),
    () => scram("user", "x", { minIterations: NaN }),
    () => scram("user", "x", { minIterations: 5_000, maxIterations: 4_999 }),
    () => credentials("user", "x", { maxIterations: 0 }),
    () => scram("user", "x", { nonce: "a,b" }),
    () => scram("user", "x", { nonce: "" }),
    () => azure(SAS, { ttlMs: NaN }),
    () => azure(SAS, { ttlMs: -1 }),
    () => azure(SAS, { ttlMs: Infinity }),
  ];
  for (const nothing of none) assertThrows(nothing, RangeError, "Cannot use ", String(nothing));
  await assertRejects(() => scramKeys("x", { salt: new Uint8Array(0) }), RangeError, "salt is empty");
  await assertRejects(() => sharedAccessSignature("sb://ns/q", "a", "b", new Date(NaN)), RangeError, "is no date");
});

test("SASL-2, SASL-9: mechanisms of one's own on both sides, in which the server speaks first", async () => {
  const client: SaslMechanism = {
    name: "X-ADD",
    needsPrivacy: false,
    *exchange() {
      const question = yield undefined;
      yield bytes(String(JSON.parse(new TextDecoder().decode(question)).reduce((sum: number, n: number) => sum + n)));
    },
  };
  const server: SaslServerMechanism = {
    name: "X-ADD",
    async *exchange(initialResponse) {
      assertEquals(initialResponse, undefined);
      const answer = yield bytes("[20,22]");
      await Promise.resolve();
      return new TextDecoder().decode(answer) === "42"
        ? { identity: "adder", additionalData: bytes("bye") }
        : undefined;
    },
  };
  const { said, identity } = await exchange(client, [server]);
  assertEquals(said.slice(1), ["init X-ADD none", "challenge [20,22]", "response 42", "outcome ok bye"]);
  assertEquals(identity, "adder");
});

test("ATK-13: a server that goes on asking, or says yes in the middle, ends the exchange", async () => {
  const client = new SaslClient(plain("tim", "x"), TARGET);
  // Not a promise: a new connection waits for no turn of a mechanism that waits for nothing.
  const init = { kind: "saslInit", mechanism: "PLAIN", initialResponse: bytes("\0tim\0x"), hostname: TARGET.hostname };
  assertEquals(client.handle({ kind: "saslMechanisms", saslServerMechanisms: ["PLAIN"] }), init as SaslFrameBody);
  const challenge: SaslFrameBody = { kind: "saslChallenge", challenge: new Uint8Array(0) };
  assertEquals(await client.handle(challenge), { kind: "saslResponse", response: new Uint8Array(0) });
  const again = await Promise.resolve().then(() => client.handle(challenge)).catch((error: Error) => error);
  assertInstanceOf(again, AmqpError);
  assertStringIncludes(again.message, "a challenge, which the mechanism has none of");
  const halfway = await exchange(scram("tim", "x"), [{
    name: "SCRAM-SHA-256",
    // deno-lint-ignore require-yield
    *exchange() {
      return { identity: "tim", additionalData: bytes("r=x,s=AAAA,i=4096") };
    },
  }]);
  assert(halfway.error instanceof AmqpError);
});

test("SASL-3: what an acceptor offers follows from who may connect", async () => {
  const names = (options: Parameters<typeof saslMechanisms>[0]) => saslMechanisms(options).map(({ name }) => name);
  assertEquals(names(undefined), ["ANONYMOUS"]);
  assertEquals(names({ users: { a: "b" } }), ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]);
  assertEquals(names({ users: () => true }), ["PLAIN"]);
  assertEquals(names({ scram: () => undefined }), ["SCRAM-SHA-256", "PLAIN"]);
  assertEquals(names({ users: { a: await scramKeys("b", { hash: "SHA-1" }) } }), ["SCRAM-SHA-1", "PLAIN"]);
  assertEquals(names({ external: () => "x", anonymous: true }), ["EXTERNAL", "ANONYMOUS"]);
  assertEquals(names({ mechanisms: [scramServer("SHA-512", () => undefined)] }), ["SCRAM-SHA-512"]);
});

test("SCR-2, SASL-9: users by table and by callback, of passwords and of stored keys, by SCRAM and by PLAIN", async () => {
  const keys = await scramKeys("pencil");
  for (
    const options of [{ users: { user: "pencil" } }, { users: { user: keys } }, {
      scram: (name: string) => name === "user" ? keys : undefined,
    }]
  ) {
    const mechanisms = saslMechanisms(options);
    for (const auth of [credentials("user", "pencil"), plain("user", "pencil"), scram("user", "pencil")]) {
      const { identity, error } = await exchange(auth, mechanisms);
      assertEquals([identity, error], ["user", undefined]);
    }
    for (
      const auth of [
        credentials("user", "pencils"),
        credentials("kim", "pencil"),
        plain("user", "pencils"),
        plain("kim", "pencil"),
      ]
    ) {
      const { identity, outcome } = await exchange(auth, mechanisms);
      assertEquals([identity, outcome], [undefined, { kind: "saslOutcome", code: "auth" }]);
    }
  }
});

test("SASL-9: a stranger to a table is asked what a user is asked, after the same work", async () => {
  const { subtle } = crypto;
  const deriveBits = subtle.deriveBits;
  const work: number[] = [];
  subtle.deriveBits = (...given: Parameters<typeof deriveBits>) => {
    work.push((given[0] as Pbkdf2Params).iterations);
    return deriveBits.apply(subtle, given);
  };
  try {
    const salt = new Uint8Array(24).fill(1);
    const keys = await scramKeys("pencil", { iterations: 5_000, salt });
    const others = await scramKeys("pencil", { hash: "SHA-512", iterations: 6_000 });
    // A stranger must look like each of these: iterations, bytes of salt, and the hash.
    const asked = async (users: UserTable, name: string, hash: ScramHash): Promise<string> => {
      const server = saslMechanisms({ users }).find((mechanism) => mechanism.name === `SCRAM-${hash}`)!;
      work.length = 0;
      const said = server.exchange(bytes(`n,,n=${name},r=abc`), {});
      const { value } = await said.next(new Uint8Array(0));
      const [, salted, iterations] = /s=([^,]*),i=(\d+)$/.exec(new TextDecoder().decode(value as Uint8Array))!;
      return `${iterations} ${decodeBase64(salted!).length} after ${work}`;
    };
    const stored = { user: keys, other: others };
    assertEquals(await asked(stored, "user", "SHA-256"), "5000 24 after ");
    // "other" has no keys of this hash.
    for (const name of ["kim", "other", "constructor"]) {
      assertEquals(await asked(stored, name, "SHA-256"), await asked(stored, "user", "SHA-256"), name);
    }
    assertEquals(await asked(stored, "kim", "SHA-512"), "6000 16 after ");
    // A password that SCRAM does not allow looks like the others.
    const texts = { user: "pencil", odd: "\x07" };
    for (const name of ["user", "odd", "kim"]) {
      assertEquals(await asked(texts, name, "SHA-256"), "4096 16 after 4096", name);
    }
    // In a mixed table, a stranger looks like one kind or the other, and always like the same.
    const both = { user: keys, kim: "pencil" };
    const kinds = new Set<string>();
    const mechanisms = saslMechanisms({ users: both });
    for (let n = 0; n < 32; n++) {
      work.length = 0;
      const { outcome } = await exchange(plain(`nobody${n}`, "pencil"), mechanisms);
      assertEquals(outcome?.code, "auth");
      const first = String(work);
      await exchange(plain(`nobody${n}`, "pencil"), mechanisms);
      assertEquals(String(work), first === "" ? "" : `${first},${first}`);
      kinds.add(first);
    }
    assertEquals([...kinds].sort(), ["", "5000"]);
  } finally {
    subtle.deriveBits = deriveBits;
  }
});

test("SCR-1: SASLprep, the examples of its RFC and more", () => {
  const cases: [string, string | undefined][] = [
    ["I\u00adX", "IX"],
    ["user", "user"],
    ["USER", "USER"],
    ["\u00aa", "a"],
    ["\u2168", "IX"],
    ["\u0007", undefined],
    ["\u06271", undefined],
    ["\u06271\u0628", "\u06271\u0628"],
    ["\u0627a\u0628", undefined],
    ["1\u0627", undefined],
    ["a\u00a0b\u3000c", "a b c"],
    ["\u{1f600}", "\u{1f600}"],
    ["\ud800", undefined],
    ["\ue000", undefined],
    ["\ufffe", undefined],
    ["\u200d", undefined],
    ["", undefined],
  ];
  for (const [text, wanted] of cases) {
    if (wanted !== undefined) assertEquals(saslprep(text, "password"), wanted);
    else {
      const { message } = assertThrows(() => saslprep(text, "password"), RangeError, "Cannot use password");
      assert(text === "" || !message.includes(text));
    }
  }
});
