import { createHash } from "node:crypto";
import { assert, assertEquals, assertFalse, assertMatch, assertThrows } from "@std/assert";
import { inspect } from "node:util";
import { TransportError } from "../../../src/base/errors.ts";
import {
  type DigestChallenge,
  type DigestHash,
  DigestSession,
  type Hash,
  readDigestChallenge,
} from "../../../src/transport/proxy/digest.ts";
import { test } from "../../harness.ts";

const NODE_NAMES = { "MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512-256" } as const;
const hash: Hash = (algorithm, bytes) => createHash(NODE_NAMES[algorithm]).update(bytes).digest();

// RFC 7616 3.9.1.
const MUFASA = { username: "Mufasa", password: "Circle of Life" };
const MUFASA_PARAMS = {
  realm: "http-auth@example.org",
  nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
  opaque: "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
  qop: "auth, auth-int",
};
const MUFASA_CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
const DIR_INDEX = { method: "GET", uri: "/dir/index.html" };
const CONNECT = { method: "CONNECT", uri: "broker.example.com:443" };

// RFC 7616 3.9.2.
const JASON = { username: "Jäsøn Doe", password: "Secret, or not?" };
const JASON_PARAMS = {
  realm: "api@example.org",
  nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
  opaque: "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
  qop: "auth",
  algorithm: "SHA-512-256",
  charset: "UTF-8",
};
const JASON_CNONCE = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";

function read(params: Record<string, string>): DigestChallenge | undefined {
  return readDigestChallenge(new Map(Object.entries(params)));
}

function usable(params: Record<string, string>): DigestChallenge {
  const challenge = read(params);
  assert(challenge !== undefined);
  return challenge;
}

function mufasa(params: Record<string, string> = {}): DigestSession {
  return new DigestSession(usable({ ...MUFASA_PARAMS, ...params }), { ...MUFASA, cnonce: MUFASA_CNONCE, hash });
}

function jason(params: Record<string, string> = {}): DigestSession {
  return new DigestSession(usable({ ...JASON_PARAMS, ...params }), { ...JASON, cnonce: JASON_CNONCE, hash });
}

/** The value of one parameter, quotes kept; undefined when it is absent. */
function param(header: string, name: string): string | undefined {
  return header.match(new RegExp(`[ ,]${name.replace("*", "\\*")}=("(?:[^"\\\\]|\\\\.)*"|[^",]*)`))?.[1];
}

/** A hash function that records its inputs. */
function recorder(): { hash: Hash; inputs: string[]; algorithms: DigestHash[] } {
  const inputs: string[] = [];
  const algorithms: DigestHash[] = [];
  return {
    inputs,
    algorithms,
    hash: (algorithm, bytes) => {
      algorithms.push(algorithm);
      inputs.push(new TextDecoder("latin1").decode(bytes));
      return hash(algorithm, bytes);
    },
  };
}

test("DIG-1: realm and nonce are mandatory, everything else has a default", () => {
  assertEquals(read({ realm: "r" }), undefined);
  assertEquals(read({ nonce: "n" }), undefined);
  assertEquals(read({ realm: "r", nonce: "n" }), {
    realm: "r",
    nonce: "n",
    opaque: undefined,
    hash: "MD5",
    session: false,
    algorithm: undefined,
    qop: undefined,
    stale: false,
    utf8: false,
    userhash: false,
  });
});

test("DIG-1: every parameter is read, case aside where it does not matter", () => {
  const all = {
    realm: "r",
    nonce: "n",
    opaque: "o",
    algorithm: "sha-512-256-SESS",
    qop: "auth-conf , AUTH",
    stale: "TRUE",
    charset: "utf-8",
    userhash: "True",
    domain: "/ignored",
  };
  assertEquals(read(all), {
    realm: "r",
    nonce: "n",
    opaque: "o",
    hash: "SHA-512-256",
    session: true,
    algorithm: "sha-512-256-SESS",
    qop: "auth",
    stale: true,
    utf8: true,
    userhash: true,
  });
  assertFalse(usable({ ...all, charset: "ISO-8859-1" }).utf8);
  assertFalse(usable({ ...all, userhash: "yes" }).userhash);
});

test("DIG-1: an algorithm that nobody knows makes the challenge unusable", () => {
  for (const algorithm of ["SHA-512", "MD4", "", "-sess", "MD5-sess-sess", "constructor"]) {
    assertEquals(read({ realm: "r", nonce: "n", algorithm }), undefined, algorithm);
  }
});

test("DIG-2: the answers published in RFC 7616 3.9.1 are reproduced", () => {
  const md5 = recorder();
  const session = new DigestSession(usable(MUFASA_PARAMS), { ...MUFASA, cnonce: MUFASA_CNONCE, hash: md5.hash });
  assertEquals(param(session.authorization(DIR_INDEX), "response"), '"8ca523f5e9506fed4657c9700eebdbec"');
  assertEquals(
    md5.inputs.at(-1)?.startsWith("3d78807defe7de2157e2b0b6573a855f:") &&
      md5.inputs.at(-1)?.endsWith(":39aff3a2bab6126f332b942af96d3366"),
    true,
  );
  const sha = recorder();
  const challenge = usable({ ...MUFASA_PARAMS, algorithm: "SHA-256" });
  const header = new DigestSession(challenge, { ...MUFASA, cnonce: MUFASA_CNONCE, hash: sha.hash })
    .authorization(DIR_INDEX);
  assertEquals(param(header, "response"), '"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"');
  assertEquals(sha.inputs.at(-1)?.split(":")[0], "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
  assertEquals(
    sha.inputs.at(-1)?.split(":").at(-1),
    "9a3fdae9a622fe8de177c24fa9c070f2b181ec85e15dcbdc32e10c82ad450b04",
  );
  assertEquals(new Set(sha.algorithms), new Set(["SHA-256"]));
});

test("DIG-2: SHA-512/256 is the function of its own, not SHA-512 cut short [erratum 4897]", () => {
  const header = jason({ userhash: "true" }).authorization({ method: "GET", uri: "/doe.json" });
  assertEquals(param(header, "username"), '"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"');
  assertEquals(param(header, "response"), '"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"');
  // The value printed in the RFC comes from the wrong function; the vector distinguishes the two.
  const cut: Hash = (_, bytes) => createHash("sha512").update(bytes).digest().subarray(0, 32);
  const challenge = usable({ ...JASON_PARAMS, userhash: "true" });
  const wrong = new DigestSession(challenge, { ...JASON, cnonce: JASON_CNONCE, hash: cut })
    .authorization({ method: "GET", uri: "/doe.json" });
  assertEquals(param(wrong, "username"), '"488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec"');
  assertEquals(param(wrong, "response"), '"ae66e67d6b427bd3f120414a82e4acff38e8ecd9101d6c861229025f607a79dd"');
});

test("DIG-2: a hash that the runtime lacks is a clear error", () => {
  const error = assertThrows(
    () => new DigestSession(usable(JASON_PARAMS), { ...JASON, cnonce: "c", hash: () => undefined }),
    TransportError,
    'Cannot answer Digest challenge: this runtime lacks "SHA-512-256"',
  );
  assertEquals(error.code, "not-supported");
});

test("DIG-3: the -sess forms hash the nonces into H(A1)", () => {
  const md5 = recorder();
  const challenge = usable({ ...MUFASA_PARAMS, algorithm: "MD5-sess" });
  const header = new DigestSession(challenge, { ...MUFASA, cnonce: MUFASA_CNONCE, hash: md5.hash })
    .authorization(DIR_INDEX);
  assertEquals(md5.inputs.at(-1)?.split(":")[0], "2b3d906f52651c3136e1502b3d6f38ee");
  assertEquals(param(header, "response"), '"e783283f46242139c486a698fec7211d"');
  assertEquals(param(header, "algorithm"), "MD5-sess");
  const sha = recorder();
  const sha256 = usable({ ...MUFASA_PARAMS, algorithm: "SHA-256-sess" });
  const shaHeader = new DigestSession(sha256, { ...MUFASA, cnonce: MUFASA_CNONCE, hash: sha.hash })
    .authorization(DIR_INDEX);
  assertEquals(sha.inputs.at(-1)?.split(":")[0], "bca21f4c7d7e8bf70d96361085370c7d219947abc1b8cd628f710917b89bed5b");
  assertEquals(param(shaHeader, "response"), '"2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7"');
});

test("DIG-3: a renewed -sess session keeps its first H(A1)", () => {
  const seen = recorder();
  const challenge = usable({ ...MUFASA_PARAMS, algorithm: "MD5-sess" });
  const session = new DigestSession(challenge, { ...MUFASA, cnonce: MUFASA_CNONCE, hash: seen.hash });
  session.renew("next");
  session.authorization(DIR_INDEX);
  assertMatch(seen.inputs.at(-1) ?? "", /^2b3d906f52651c3136e1502b3d6f38ee:next:00000001:/);
});

test("DIG-3: method CONNECT and the request target are what is signed", () => {
  const header = mufasa().authorization(CONNECT);
  assertEquals(param(header, "response"), '"9de79c6b2966a3f6ccbe230b63791161"');
  assertEquals(param(header, "uri"), '"broker.example.com:443"');
  assertEquals(
    param(mufasa({ algorithm: "SHA-256" }).authorization(CONNECT), "response"),
    '"41f0cbcb831906a774d53a5632dae2a37cf828a6ba9c2391a8c7ecda87f9911c"',
  );
});

test("DIG-3: auth-int also signs the body, an empty one when there is none", () => {
  const header = mufasa({ qop: "auth-int" }).authorization(DIR_INDEX);
  assertEquals(param(header, "response"), '"8804a53d3640a40a4f73cea12c5ba451"');
  assertEquals(
    param(mufasa({ qop: "auth-int", algorithm: "SHA-256" }).authorization(DIR_INDEX), "response"),
    '"8bdf6f15638e260831e905028de5450562816d093c9bfc5c13d3a46adcdde940"',
  );
  const body = mufasa({ qop: "auth-int" }).authorization({ ...DIR_INDEX, body: Uint8Array.of(1) });
  assert(param(body, "response") !== param(header, "response"));
});

test("DIG-4: RFC 2617's example is reproduced", () => {
  const challenge = usable({
    realm: "testrealm@host.com",
    nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    qop: "auth,auth-int",
  });
  const options = { username: "Mufasa", password: "Circle Of Life", cnonce: "0a4f113b", hash };
  const header = new DigestSession(challenge, options).authorization(DIR_INDEX);
  assertEquals(param(header, "response"), '"6629fae49393a05397450978507c4ef1"');
});

test("DIG-4: without qop the older form is sent, with cnonce only for -sess", () => {
  const params = { realm: "testrealm@host.com", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093" };
  const options = { username: "Mufasa", password: "Circle Of Life", cnonce: "0a4f113b", hash };
  const header = new DigestSession(usable(params), options).authorization(DIR_INDEX);
  // RFC 2617's H(A1) and H(A2) around the bare nonce.
  const md5 = (text: string): string => createHash("md5").update(text).digest("hex");
  const expected = md5(`939e7578ed9e3c518a452acee763bce9:${params.nonce}:39aff3a2bab6126f332b942af96d3366`);
  assertEquals(param(header, "response"), `"${expected}"`);
  for (const name of ["qop", "nc", "cnonce", "algorithm", "opaque"]) assertEquals(param(header, name), undefined, name);
  const session = new DigestSession(usable({ ...params, algorithm: "MD5-sess" }), options).authorization(DIR_INDEX);
  assertEquals(param(session, "cnonce"), '"0a4f113b"');
  assertEquals(param(session, "nc"), undefined);
});

test("DIG-5: auth is taken when offered, auth-int only alone, an unknown one never", () => {
  const qop = (value: string): string | undefined => read({ realm: "r", nonce: "n", qop: value })?.qop;
  assertEquals(qop("auth-int,auth"), "auth");
  assertEquals(qop("auth-int"), "auth-int");
  assertEquals(qop("auth-conf, auth-int"), "auth-int");
  assertEquals(read({ realm: "r", nonce: "n", qop: "auth-conf" }), undefined);
  assertEquals(read({ realm: "r", nonce: "n", qop: "" }), undefined);
});

test("DIG-6: nc counts the requests of one nonce in eight lower-case hex digits", () => {
  const session = mufasa();
  const counts = Array.from({ length: 27 }, () => param(session.authorization(CONNECT), "nc"));
  assertEquals(counts[0], "00000001");
  assertEquals(counts[9], "0000000a");
  assertEquals(counts[26], "0000001b");
  session.renew("another");
  const header = session.authorization(CONNECT);
  assertEquals(param(header, "nc"), "00000001");
  assertEquals(param(header, "nonce"), '"another"');
});

test("DIG-6: a client nonce that could break the header is refused", () => {
  for (const cnonce of ["", "a b", "a\r\nb", "é"]) {
    assertThrows(() => new DigestSession(usable(MUFASA_PARAMS), { ...MUFASA, cnonce, hash }), TypeError, "cnonce");
  }
});

test("DIG-7: what must be quoted is quoted, what must not be is bare", () => {
  assertEquals(
    mufasa({ algorithm: "MD5" }).authorization(DIR_INDEX),
    'Digest username="Mufasa", realm="http-auth@example.org", ' +
      'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", ' +
      'response="8ca523f5e9506fed4657c9700eebdbec", algorithm=MD5, ' +
      'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop=auth, nc=00000001, ' +
      'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"',
  );
});

test("DIG-7: quotes and backslashes are escaped on the way out and bare in what is hashed", () => {
  const seen = recorder();
  const challenge = usable({ realm: 'a "b" \\ c', nonce: 'n"', opaque: "\\" });
  const options = { username: 'u"s\\er', password: "p", cnonce: "c", hash: seen.hash };
  const header = new DigestSession(challenge, options).authorization(CONNECT);
  assertEquals(param(header, "realm"), '"a \\"b\\" \\\\ c"');
  assertEquals(param(header, "nonce"), '"n\\""');
  assertEquals(param(header, "opaque"), '"\\\\"');
  assertEquals(param(header, "username"), '"u\\"s\\\\er"');
  assertEquals(seen.inputs[0], 'u"s\\er:a "b" \\ c:p');
});

test("DIG-7: an empty opaque is returned, an absent one is not made up", () => {
  assertEquals(param(mufasa({ opaque: "" }).authorization(CONNECT), "opaque"), '""');
});

test("DIG-8: a hashed name is sent with userhash and the plain one stays in the hash", () => {
  const seen = recorder();
  const challenge = usable({ ...JASON_PARAMS, userhash: "true" });
  const header = new DigestSession(challenge, { ...JASON, cnonce: JASON_CNONCE, hash: seen.hash })
    .authorization(CONNECT);
  assertEquals(param(header, "userhash"), "true");
  assertFalse(header.includes("username*"));
  assert(seen.inputs.some((input) => input.endsWith(":api@example.org:Secret, or not?")));
});

test("DIG-8: a name beyond ASCII goes as username* where the charset is declared, never both", () => {
  const header = jason().authorization({ method: "GET", uri: "/doe.json" });
  assertEquals(param(header, "username*"), "UTF-8''J%C3%A4s%C3%B8n%20Doe");
  assertEquals(param(header, "username"), undefined);
  assertEquals(param(header, "response"), '"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"');
  assertEquals(param(mufasa({ charset: "UTF-8" }).authorization(CONNECT), "username"), '"Mufasa"');
});

test("DIG-8: username* escapes whatever an extended value does not allow", () => {
  const options = { username: "é'(*)%\"\\ ;,=/\ud800", password: "p", cnonce: "c", hash };
  const header = new DigestSession(usable(JASON_PARAMS), options).authorization(CONNECT);
  assertEquals(param(header, "username*"), "UTF-8''%C3%A9%27%28%2A%29%25%22%5C%20%3B%2C%3D%2F%EF%BF%BD");
});

test("DIG-8: without a declared charset the name's UTF-8 bytes stand in the quoted string", () => {
  const options = { username: "é", password: "p", cnonce: "c", hash };
  const header = new DigestSession(usable(MUFASA_PARAMS), options).authorization(CONNECT);
  assertEquals(param(header, "username"), '"Ã©"');
});

test("DIG-10: a realm beyond ASCII is hashed and returned byte for byte", () => {
  const seen = recorder();
  const challenge = usable({ realm: "Ã©", nonce: "n" });
  const header = new DigestSession(challenge, { username: "u", password: "é", cnonce: "c", hash: seen.hash })
    .authorization(CONNECT);
  assertEquals(seen.inputs[0], "u:Ã©:Ã©");
  assertEquals(param(header, "realm"), '"Ã©"');
});

test("DIG-10: a challenge whose text could break the header is unusable", () => {
  for (const bad of ["a\r\nX: y", "a\rb", "a\nb", "a\0b", "\x7f", "\x1b[2J", "\u010d\u010a"]) {
    for (const name of ["realm", "nonce", "opaque"]) {
      assertEquals(read({ ...MUFASA_PARAMS, [name]: bad }), undefined, name);
    }
  }
  const session = mufasa();
  session.renew("a\r\nX: y");
  assertEquals(param(session.authorization(CONNECT), "nonce"), `"${MUFASA_PARAMS.nonce}"`);
});

test("DIG-10: neither can a user name", () => {
  for (const username of ["a\r\nX: y", "a\0", "a\x7f"]) {
    for (const params of [MUFASA_PARAMS, JASON_PARAMS, { ...JASON_PARAMS, userhash: "true" }]) {
      assertThrows(
        () => new DigestSession(usable(params), { username, password: "p", cnonce: "c", hash }),
        TypeError,
        "Cannot start Digest: user name must not hold control characters",
      );
    }
  }
});

test("ATK-14: a session shows neither the password nor what is derived from it", () => {
  const session = mufasa();
  session.authorization(CONNECT);
  const shown = [inspect(session, { depth: 9, showHidden: true }), JSON.stringify(session), String(session)].join();
  for (const secret of ["Circle", "Mufasa", "3d78807defe7de2157e2b0b6573a855f"]) assertFalse(shown.includes(secret));
});
