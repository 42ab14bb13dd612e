import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeBase64 } from "@std/encoding";
import { AmqpError } from "../../src/base/errors.ts";
import type { SaslFrameBody } from "../../src/codec/types.ts";
import { scram } from "../../src/sasl/scram.ts";
import { type ScramHash, scramKeys } from "../../src/sasl/scram_keys.ts";
import { scramServer } from "../../src/sasl/scram_server.ts";
import { test } from "../harness.ts";
import { bytes, exchange } from "./exchange.ts";

interface Vector {
  readonly hash: ScramHash;
  readonly nonce: string;
  readonly more: string;
  readonly salt: string;
  readonly proof: string;
  readonly signature: string;
}

const SHA_256 = {
  nonce: "rOprNGfwEbeRWgbNEkqO",
  more: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
};

// The examples of the RFCs; the one of SHA-512 is computed from the inputs of SHA-256 [rfc5802 5, rfc7677 3].
const VECTORS: readonly Vector[] = [
  {
    hash: "SHA-1",
    nonce: "fyko+d2lbbFgONRv9qkxdawL",
    more: "3rfcNHYJY1ZVvWVs7j",
    salt: "QSXCR+Q6sek8bf92",
    proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
  },
  {
    hash: "SHA-256",
    ...SHA_256,
    proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
  },
  {
    hash: "SHA-512",
    ...SHA_256,
    proof: "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
    signature: "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
  },
];

const keysOf = (password: string, hash: ScramHash = "SHA-256") =>
  scramKeys(password, { hash, iterations: 4_096, salt: decodeBase64("W22ZaJ0SNY7soEsUEjb6gQ==") });

const server = scramServer("SHA-256", async (user) => user === "user" ? await keysOf("pencil") : undefined);

/** Changes the frames of one kind. */
function change<K extends SaslFrameBody["kind"]>(
  kind: K,
  to: (frame: Extract<SaslFrameBody, { kind: K }>) => SaslFrameBody | undefined,
) {
  return (frame: SaslFrameBody): SaslFrameBody | undefined =>
    frame.kind === kind ? to(frame as Extract<SaslFrameBody, { kind: K }>) : frame;
}

const challenge = (text: string): SaslFrameBody => ({ kind: "saslChallenge", challenge: bytes(text) });

test("SCR-1, SCR-2, SCR-3, SCR-4, SCR-6: the published exchanges, both sides, to the byte", async () => {
  for (const { hash, nonce, more, salt, proof, signature } of VECTORS) {
    const keys = await scramKeys("pencil", { hash, iterations: 4_096, salt: decodeBase64(salt) });
    const mechanism = scramServer(hash, () => keys, { nonce: more });
    const { said, identity, error } = await exchange(scram("user", "pencil", { hash, nonce }), [mechanism]);
    assertEquals(error, undefined);
    assertEquals(identity, "user");
    assertEquals(said, [
      `offer SCRAM-${hash}`,
      `init SCRAM-${hash} n,,n=user,r=${nonce}`,
      `challenge r=${nonce}${more},s=${salt},i=4096`,
      `response c=biws,r=${nonce}${more},p=${proof}`,
      `outcome ok v=${signature}`,
    ]);
  }
});

test("SCR-1: commas and equals signs in a name, names and passwords in compatible spellings", async () => {
  const find = async (user: string) => user === "a=b,c" ? await keysOf("IX \u00e9") : undefined;
  const mechanism = scramServer("SHA-256", find);
  const done = await exchange(scram("a=b,c", "I\u00ad\u2169".replace("\u2169", "X") + "\u00a0e\u0301"), [mechanism]);
  assertEquals([done.error, done.identity], [undefined, "a=b,c"]);
  assertStringIncludes(done.said[1]!, "n,,n=a=3Db=2Cc,r=");
});

test("SCR-1: a client may ask to act as itself, and as nobody else", async () => {
  const same = await exchange(scram("user", "pencil", { authorizationId: "user" }), [server]);
  assertEquals([same.error, same.identity], [undefined, "user"]);
  assertStringIncludes(same.said[1]!, "n,a=user,n=user,r=");
  const other = await exchange(scram("user", "pencil", { authorizationId: "root" }), [server]);
  assertEquals([other.outcome?.code, other.identity], ["auth", undefined]);
});

test("SCR-2, ATK-13: a server's first message that does not go on from ours, or asks for too little or too much, is refused", async () => {
  const cases: [(nonce: string) => string, string][] = [
    [(r) => `r=${r},s=QSXCR+Q6sek8bf92,i=4096`, "nonce does not go on"],
    [(r) => `r=x${r},s=QSXCR+Q6sek8bf92,i=4096`, "nonce does not go on"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=4095`, "asks for 4095 iterations, not 4096 to 1000000"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=1000001`, "asks for 1000001 iterations"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=9999999999`, "asks for 9999999999 iterations"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=99999999999`, "malformed"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=-1`, "malformed"],
    [(r) => `r=${r}x,s=QSXCR+Q6sek8bf92,i=0x5000`, "malformed"],
    [(r) => `r=${r}x,s=,i=4096`, "malformed"],
    [(r) => `r=${r}x,s=Q,i=4096`, "malformed"],
    [(r) => `m=new,r=${r}x,s=QSXCR+Q6sek8bf92,i=4096`, "malformed"],
    [(r) => `r=${r}\u00e9,s=QSXCR+Q6sek8bf92,i=4096`, "malformed"],
    [() => "e=unknown-user", 'server says "unknown-user"'],
    [() => "", "malformed"],
  ];
  for (const [first, why] of cases) {
    const tamper = change("saslChallenge", () => challenge(first("abc")));
    const { error, identity } = await exchange(scram("user", "pencil", { nonce: "abc" }), [server], { tamper });
    assert(error instanceof AmqpError, why);
    assertStringIncludes(error.message, why);
    assertEquals([error.condition, identity], ["amqp:unauthorized-access", undefined]);
  }
});

test("SCR-2: the floor and the cap of iterations are options", async () => {
  const low = await exchange(scram("user", "pencil", { minIterations: 10_000 }), [server]);
  assertStringIncludes(low.error!.message, "asks for 4096 iterations, not 10000");
  const high = await exchange(scram("user", "pencil", { minIterations: 1, maxIterations: 4_000 }), [server]);
  assertStringIncludes(high.error!.message, "not 1 to 4000");
});

test("SCR-4, SCR-5, ATK-13: a server that says yes without a proof, or with a wrong one, is not believed", async () => {
  const answers: [SaslFrameBody, string][] = [
    [{ kind: "saslOutcome", code: "ok" }, "without a proof"],
    [{ kind: "saslOutcome", code: "ok", additionalData: bytes("") }, "proof is wrong"],
    [{ kind: "saslOutcome", code: "ok", additionalData: bytes("v=") }, "proof is wrong"],
    [{ kind: "saslOutcome", code: "ok", additionalData: bytes(`v=${VECTORS[1]!.signature}`) }, "proof is wrong"],
    [{ kind: "saslOutcome", code: "ok", additionalData: bytes("e=other-error") }, 'server says "other-error"'],
  ];
  for (const [answer, why] of answers) {
    const { error } = await exchange(scram("user", "pencil"), [server], {
      tamper: change("saslOutcome", () => answer),
    });
    assertStringIncludes(error!.message, why);
  }
  // An outcome instead of the challenge.
  const early = { tamper: change("saslChallenge", () => ({ kind: "saslOutcome", code: "ok" })) };
  assertStringIncludes((await exchange(scram("user", "pencil"), [server], early)).error!.message, "without a proof");
  // A server that knows only the user's name.
  const rogue = scramServer("SHA-256", async () => ({ ...await keysOf("pencil"), serverKey: new Uint8Array(32) }));
  assertStringIncludes((await exchange(scram("user", "pencil"), [rogue])).error!.message, "proof is wrong");
});

test("SCR-5: a proof that comes as a challenge is answered with nothing, and the outcome needs no other", async () => {
  let final: SaslFrameBody | undefined;
  const said: SaslFrameBody[] = [];
  const tamper = (frame: SaslFrameBody): SaslFrameBody | undefined => {
    said.push(frame);
    if (frame.kind !== "saslOutcome" || final !== undefined) return frame;
    final = { kind: "saslOutcome", code: "ok" };
    return { kind: "saslChallenge", challenge: frame.additionalData! };
  };
  // The scripted server has sent everything; the client's empty answer counts.
  const { error } = await exchange(scram("user", "pencil"), [server], { tamper });
  assertEquals(error, undefined);
  assertEquals(said.at(-2), { kind: "saslResponse", response: new Uint8Array(0) });
});

test("SCR-4, SASL-9: a wrong password, a changed proof, nonce or binding, a replay: all get the one answer", async () => {
  const good = scram("user", "pencil", { nonce: "abc" });
  const whole = await exchange(good, [scramServer("SHA-256", () => keysOf("pencil"), { nonce: "xyz" })]);
  const proof = whole.said[3]!.slice("response ".length);
  const response = (to: (text: string) => string) =>
    change("saslResponse", ({ response }) => ({
      kind: "saslResponse",
      response: bytes(to(new TextDecoder().decode(response))),
    }));
  const refused = { outcome: { kind: "saslOutcome", code: "auth" }, identity: undefined };
  const tampers = [
    response((text) => text.replace("c=biws", "c=eSws")),
    response((text) => text.replace(/p=./, (found) => found === "p=A" ? "p=B" : "p=A")),
    response((text) => text.replace(/r=[^,]*/, "$&x")),
    response((text) => text.replace(/,p=.*/, "")),
    response((text) => text.replace(/,p=.*/, ",p=")),
    response((text) => `${text},x=1`),
    response(() => proof),
    response(() => ""),
  ];
  for (const tamper of tampers) {
    const { outcome, identity } = await exchange(good, [server], { tamper });
    assertEquals({ outcome, identity }, refused as never);
  }
  for (const other of [scram("user", "pencil2"), scram("nobody", "pencil")]) {
    const { outcome, identity } = await exchange(other, [server]);
    assertEquals({ outcome, identity }, refused as never);
  }
});

test("SCR-1: what is no first message of SCRAM is refused, a channel binding that was not offered as well", async () => {
  for (
    const first of [
      "",
      "n,,",
      "n,,n=user",
      "n,,n=,r=abc",
      "n,,r=abc,n=user",
      "n,,n=us=er,r=abc",
      "n,,m=x,n=user,r=abc",
      "p=tls-unique,,n=user,r=abc",
      "n,b=user,n=user,r=abc",
      "n,,n=user,r=\u00e9",
    ]
  ) {
    const tamper = change("saslInit", (init) => ({ ...init, initialResponse: bytes(first) }));
    const { outcome, said } = await exchange(scram("user", "pencil"), [server], { tamper });
    assertEquals([outcome?.code, said.length], ["auth", 3], first);
  }
  // A client that could bind the channel, and sees that the server cannot.
  const tamper = change("saslInit", (init) => ({ ...init, initialResponse: bytes("y,,n=user,r=abc") }));
  const able = await exchange(scram("user", "pencil", { nonce: "abc" }), [server], { tamper });
  assertStringIncludes(able.said[2]!, "challenge r=abc");
});

test("SASL-9: an unknown user is asked the same question every time, with salt and iterations like anybody's", async () => {
  const ask = async (user: string) =>
    /s=([^,]*),i=(\d+)$/.exec((await exchange(scram(user, "x"), [stranger])).said[2]!)!;
  const stranger = scramServer("SHA-256", () => undefined);
  const [first, second, other] = [await ask("nobody"), await ask("nobody"), await ask("somebody")];
  assertEquals([first[1], first[2]], [second[1], "16384"]);
  assertNotEquals(first[1], other[1]);
  assertEquals(decodeBase64(first[1]!).length, (await scramKeys("x")).salt.length);
});

test("SCR-3: keys of a server, and what cannot be made into them", async () => {
  const [one, two] = [await scramKeys("pencil"), await scramKeys("pencil")];
  assertEquals([one.hash, one.iterations, one.salt.length, one.storedKey.length], ["SHA-256", 16_384, 16, 32]);
  assertNotEquals(one.salt, two.salt);
  await assertRejects(() => scramKeys(""), RangeError, "password: it is empty");
  await assertRejects(() => scramKeys("x", { iterations: 4_095 }), RangeError, "fewer than 4096");
  assertThrows(() => scram("user", "\x07"), RangeError, "control character");
  assertThrows(() => scram("", "x"), RangeError, "user name: it is empty");
});

test("SCR-3: one value serves many exchanges, and computes the keys of a salt once", async () => {
  const { subtle } = crypto;
  const deriveBits = subtle.deriveBits;
  let derived = 0;
  const keys = await keysOf("pencil");
  const mechanism = scramServer("SHA-256", () => keys);
  subtle.deriveBits = (...given: Parameters<typeof deriveBits>) => {
    derived++;
    return deriveBits.apply(subtle, given);
  };
  try {
    const auth = scram("user", "pencil");
    const all = await Promise.all([1, 2, 3].map(() => exchange(auth, [mechanism])));
    assertEquals(all.map(({ identity }) => identity), ["user", "user", "user"]);
    assertEquals(derived, 1);
  } finally {
    subtle.deriveBits = deriveBits;
  }
});
