import { assert, assertEquals, assertFalse, assertStringIncludes, assertThrows } from "@std/assert";
import { inspect } from "node:util";
import { HttpProxy } from "../../../src/transport/proxy/http_proxy.ts";
import { ProxyTunnel } from "../../../src/transport/proxy/connect.ts";
import { test } from "../../harness.ts";
import {
  answerIn,
  BASIC,
  BASIC_ASKED,
  bytesOf,
  challenge,
  converse,
  DIGEST_ASKED,
  expectedResponse,
  failed,
  md5,
  OPEN,
  opened,
  powers,
  proxyOf,
  response,
  textOf,
  URL_WITH_USER,
} from "./conversation.ts";

test("PXY-6: a second plain challenge means wrong credentials", () => {
  for (const asked of [BASIC_ASKED, DIGEST_ASKED]) {
    const { requests, outcome } = converse([challenge(asked), challenge(asked), OPEN]);
    assertEquals(requests.length, 2);
    const error = failed(outcome);
    assertEquals([error.code, error.status], ["proxy-authentication-failed", 407]);
    assertEquals(
      error.message,
      'Cannot open tunnel through "proxy.example:3128": status is 407, credentials were refused',
    );
  }
});

test("PXY-6: a refused Digest is not tried again as Basic", () => {
  const { requests, outcome } = converse([challenge(DIGEST_ASKED, BASIC_ASKED), challenge(BASIC_ASKED), OPEN]);
  assertEquals(failed(outcome).code, "proxy-authentication-failed");
  assertFalse(requests.join().includes("Basic"));
});

test("PXY-6: without credentials a challenge is a clear failure", () => {
  const proxy = new HttpProxy("http://proxy.example:3128", powers());
  const error = failed(converse([challenge(DIGEST_ASKED), OPEN], { proxy }).outcome);
  assertEquals([error.code, error.status], ["proxy-authentication-failed", 407]);
  assertStringIncludes(error.message, "status is 407, no credentials are set");
});

test("PXY-6: a challenge that cannot be answered names what was offered", () => {
  const error = failed(converse([challenge("Proxy-Authenticate: Negotiate, NTLM"), OPEN]).outcome);
  assertEquals(error.code, "proxy-authentication-failed");
  assertStringIncludes(error.message, 'status is 407, no challenge can be answered ("negotiate, ntlm")');
  const digestOnly = converse([challenge("Proxy-Authenticate: Negotiate")], {
    proxy: proxyOf({ schemes: ["digest"] }),
  });
  assertStringIncludes(failed(digestOnly.outcome).message, 'no challenge can be answered ("negotiate")');
  assert(failed(converse([challenge(`Proxy-Authenticate: ${"x".repeat(5_000)}`)]).outcome).message.length < 200);
});

test("PXY-6: status 401 is a refusal of the credentials too", () => {
  const wrong = failed(converse([challenge(BASIC_ASKED), response("HTTP/1.0 401 Unauthorized")]).outcome);
  assertEquals([wrong.code, wrong.status], ["proxy-authentication-failed", 401]);
  assertStringIncludes(wrong.message, "status is 401, credentials were refused");
  const unknown = { proxy: new HttpProxy("http://proxy.example:3128", powers()) };
  const message = failed(converse([response(401)], unknown).outcome).message;
  assertStringIncludes(message, 'status is 401, no challenge came; "basic" among the schemes answers that');
});

test("PXY-6: a proxy that refuses without a challenge gets Basic once, where that is allowed", () => {
  for (const status of [401, 407]) {
    const { requests, outcome } = converse([response(status), OPEN]);
    opened(outcome);
    assertStringIncludes(requests[1], `Proxy-Authorization: ${BASIC}`);
    const wrong = failed(converse([response(status), response(status), OPEN]).outcome);
    assertStringIncludes(wrong.message, `status is ${status}, credentials were refused`);
    const digestOnly = { proxy: proxyOf({ schemes: ["digest"] }) };
    const { requests: first, outcome: refused } = converse([response(status), OPEN], digestOnly);
    assertEquals(first.length, 1);
    assertStringIncludes(failed(refused).message, `status is ${status}, no challenge came`);
  }
  const { requests } = converse([challenge(DIGEST_ASKED), challenge(), OPEN]);
  assertFalse(requests.join().includes("Basic"));
});

test("PXY-7: a proxy that does not ask gets no credentials and lets us in", () => {
  for (const proxy of [proxyOf(), proxyOf({ url: "http://proxy.example", credentials: () => undefined })]) {
    const { requests, outcome } = converse([OPEN], { proxy });
    opened(outcome);
    assertFalse(requests[0].includes("Proxy-Authorization"));
  }
});

test("PXY-12: Digest is preferred to Basic, the stronger hash to the weaker", () => {
  const offers = [
    'Proxy-Authenticate: Basic realm="b", Digest realm="a", nonce="1", qop="auth"',
    'Proxy-Authenticate: Digest realm="a", nonce="2", qop="auth", algorithm=SHA-256',
  ];
  const { requests } = converse([challenge(...offers)]);
  assertEquals(answerIn(requests[1])?.algorithm, "SHA-256");
  assertEquals(answerIn(requests[1])?.nonce, "2");
});

test("PXY-11: names of fields and schemes are found in any case", () => {
  const { requests, outcome } = converse([
    challenge('pROXY-aUTHENTICATE: dIGEST REALM="labrealm", NONCE="n1", QOP="AUTH-INT, AUTH", ALGORITHM=md5'),
    OPEN,
  ]);
  opened(outcome);
  const answer = answerIn(requests[1]);
  assert(answer !== null);
  assertEquals([answer.algorithm, answer.qop, answer.response], ["md5", "auth", expectedResponse(answer)]);
});

test("PXY-12: Basic goes over a cleartext link only when the user allows it", () => {
  const offered = challenge(BASIC_ASKED);
  const plain = new HttpProxy(URL_WITH_USER, powers());
  assertEquals(plain.schemes, ["digest"]);
  const { requests, outcome } = converse([offered, OPEN], { proxy: plain });
  assertEquals(requests.length, 1);
  assertEquals(
    failed(outcome).message,
    'Cannot open tunnel through "proxy.example:3128": status is 407, ' +
      'Basic would show the password on an unencrypted link and is not allowed by "schemes"',
  );
  opened(converse([offered, OPEN], { proxy: proxyOf({ schemes: ["basic"] }) }).outcome);
  const tls = new HttpProxy("https://puser:ppass@proxy.example:3128", powers());
  opened(converse([offered, OPEN], { proxy: tls }).outcome);
});

test("PXY-13: Basic is sent with the first request when asked for", () => {
  const { requests, outcome } = converse([OPEN], { proxy: proxyOf({ preemptive: true }) });
  opened(outcome);
  assertStringIncludes(requests[0], `Proxy-Authorization: ${BASIC}\r\n`);
  const refused = converse([challenge(BASIC_ASKED), OPEN], { proxy: proxyOf({ preemptive: true }) });
  assertEquals(refused.requests.length, 1, "the same answer again would be refused again");
  assertEquals(failed(refused.outcome).code, "proxy-authentication-failed");
  const better = converse([challenge(DIGEST_ASKED, BASIC_ASKED), OPEN], { proxy: proxyOf({ preemptive: true }) });
  opened(better.outcome);
  assertEquals(answerIn(better.requests[1])?.nonce, "n1");
});

test("PXY-13: sending Basic first needs credentials and permission", () => {
  for (
    const options of [
      { schemes: undefined },
      { schemes: ["digest"] as const },
      { url: "http://proxy.example" },
      { url: "http://proxy.example", credentials: () => undefined },
    ]
  ) assertThrows(() => proxyOf({ preemptive: true, ...options }), TypeError, "preemptive needs");
});

test("PXY-13: a user name that the scheme cannot carry fails before anything is sent", () => {
  assertThrows(() => proxyOf({ username: "a:b", schemes: ["basic"] }), TypeError, "colon");
  assertThrows(() => proxyOf({ username: "a\r\nb" }), TypeError, "control characters");
  const { outcome } = converse([challenge(BASIC_ASKED), OPEN], { proxy: proxyOf({ username: "a:b" }) });
  const error = failed(outcome);
  assertStringIncludes(error.message, "status is 407, the credentials cannot be used");
  assert(error.cause instanceof TypeError);
  opened(converse([challenge(DIGEST_ASKED), OPEN], { proxy: proxyOf({ username: "a:b" }) }).outcome);
});

test("DIG-3: what is signed is CONNECT and the request target", () => {
  const { requests, outcome } = converse([challenge(DIGEST_ASKED), OPEN]);
  opened(outcome);
  const answer = answerIn(requests[1]);
  assert(answer !== null);
  assertEquals(answer.uri, "broker.example:443");
  assertEquals(answer.response, expectedResponse(answer));
});

test("DIG-6: the client's nonce is 128 random bits, fresh for each challenge", () => {
  const stale = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n2", qop="auth", stale=true';
  const { requests } = converse([challenge(DIGEST_ASKED), challenge(stale), OPEN]);
  assertEquals(requests.map((request) => answerIn(request)?.cnonce), [undefined, "01".repeat(16), "02".repeat(16)]);
});

test("DIG-9: a stale nonce is answered once more with the same credentials", () => {
  const stale = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n2", qop="auth", stale=TRUE';
  const { requests, outcome } = converse([challenge(DIGEST_ASKED), challenge(stale), OPEN]);
  opened(outcome);
  const answer = answerIn(requests[2]);
  assert(answer !== null);
  assertEquals([answer.nonce, answer.nc], ["n2", "00000001"]);
  assertEquals(answer.response, expectedResponse(answer));
});

test("DIG-9: stale again, or refused after stale, ends it", () => {
  const stale = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n2", qop="auth", stale=true';
  for (const last of [stale, DIGEST_ASKED]) {
    const { requests, outcome } = converse([challenge(DIGEST_ASKED), challenge(stale), challenge(last), OPEN]);
    assertEquals(requests.length, 3);
    assertEquals(failed(outcome).code, "proxy-authentication-failed");
  }
});

test("DIG-9: stale means nothing before an answer was sent, nor for Basic", () => {
  const stale = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n2", qop="auth", stale=true';
  const first = converse([challenge(stale), challenge(DIGEST_ASKED), OPEN]);
  assertEquals(first.requests.length, 2);
  const basic = converse([challenge(BASIC_ASKED), challenge(stale), OPEN]);
  assertEquals(basic.requests.length, 2);
  assertEquals(failed(basic.outcome).code, "proxy-authentication-failed");
});

test("DIG-9: the next tunnel goes on with the nonce, and with the next one where it was announced", () => {
  const proxy = proxyOf();
  opened(converse([challenge(DIGEST_ASKED), OPEN], { proxy }).outcome);
  const second = converse(['HTTP/1.1 200\r\nProxy-Authentication-Info: nextnonce="n2", qop=auth\r\n\r\n'], { proxy });
  assertEquals(answerIn(second.requests[0])?.nc, "00000002");
  const third = converse([OPEN], { proxy });
  const answer = answerIn(third.requests[0]);
  assert(answer !== null);
  assertEquals([answer.nonce, answer.nc], ["n2", "00000001"]);
  assertEquals(answer.response, expectedResponse(answer));
});

test("DIG-9: a nextnonce that is malformed or hostile is ignored", () => {
  for (const value of ['nextnonce="n2" x', "nextnonce=a, nextnonce=b", "nextnonce", ""]) {
    const proxy = proxyOf();
    const open = `HTTP/1.1 200\r\nProxy-Authentication-Info: ${value}\r\n\r\n`;
    opened(converse([challenge(DIGEST_ASKED), open], { proxy }).outcome);
    assertEquals(answerIn(converse([OPEN], { proxy }).requests[0])?.nonce, "n1", value);
  }
  const basic = proxyOf({ preemptive: true });
  opened(converse(["HTTP/1.1 200\r\nProxy-Authentication-Info: nextnonce=n2\r\n\r\n"], { proxy: basic }).outcome);
  assertStringIncludes(converse([OPEN], { proxy: basic }).requests[0], BASIC);
});

test("DIG-9: a remembered answer that has gone stale, or is unknown by now, is renewed", () => {
  for (const note of [", stale=true", ""]) {
    const proxy = proxyOf();
    opened(converse([challenge(DIGEST_ASKED), OPEN], { proxy }).outcome);
    const again = `Proxy-Authenticate: Digest realm="labrealm", nonce="n3", qop="auth"${note}`;
    const { requests, outcome } = converse([challenge(again), OPEN], { proxy });
    opened(outcome);
    assertEquals(requests.map((request) => answerIn(request)?.nonce), ["n1", "n3"]);
  }
});

test("PXY-6: refused credentials are not sent again unasked", () => {
  const proxy = proxyOf();
  failed(converse([challenge(BASIC_ASKED), challenge(BASIC_ASKED)], { proxy }).outcome);
  assertFalse(converse([OPEN], { proxy }).requests[0].includes("Proxy-Authorization"));
});

test("PXY-6: Basic, once asked for, goes with the next tunnel's first request", () => {
  const proxy = proxyOf();
  opened(converse([challenge(BASIC_ASKED), OPEN], { proxy }).outcome);
  assertStringIncludes(converse([OPEN], { proxy }).requests[0], BASIC);
});

test("PXY-6: tunnels that are opened at once do not take each other's answers for their own", () => {
  for (const asked of [BASIC_ASKED, DIGEST_ASKED]) {
    const proxy = proxyOf();
    const tunnels = [1, 2, 3].map((port) => new ProxyTunnel({ proxy, hostname: "a", port }, 0));
    for (const tunnel of tunnels) assertFalse(textOf(tunnel.transmit()).includes("Proxy-Authorization"));
    for (const tunnel of tunnels) {
      assertEquals(tunnel.receive(bytesOf(challenge(asked)), 0), undefined);
      assertStringIncludes(textOf(tunnel.transmit()), "Proxy-Authorization");
    }
    for (const tunnel of tunnels) opened(tunnel.receive(bytesOf(OPEN), 0));
  }
});

test("PXY-6: a tunnel answers the challenge that it was given, whatever others were given or refused meanwhile", () => {
  const proxy = proxyOf();
  const ask = (nonce: string): string =>
    challenge(`Proxy-Authenticate: Digest realm="labrealm", nonce="${nonce}", qop="auth"`, "Connection: close");
  const tunnels = ["n1", "n2", "n3"].map((nonce) => {
    const tunnel = new ProxyTunnel({ proxy, hostname: "a", port: 1 }, 0);
    tunnel.transmit();
    assertEquals(tunnel.receive(bytesOf(ask(nonce)), 0)?.kind, "reconnect");
    return { tunnel, nonce };
  });
  for (const { tunnel, nonce } of tunnels) {
    // A nonce may be good for one tunnel only, so no other tunnel uses it before it has worked.
    const late = new ProxyTunnel({ proxy, hostname: "a", port: 1 }, 0);
    assertFalse(textOf(late.transmit()).includes("Proxy-Authorization"));
    tunnel.reconnected(0);
    assertStringIncludes(textOf(tunnel.transmit()), `nonce="${nonce}"`);
    failed(tunnel.receive(bytesOf(ask("n4")), 0));
  }
});

test("PXY-6: a callback is asked when the proxy asks, and told why", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const asked = 'Proxy-Authenticate: Digest realm="Ã©t\\"s", nonce="n1", qop="auth"';
  const { asked: questions, requests, outcome, connections } = converse([challenge(asked), OPEN], {
    proxy,
    answers: [{ username: "u", password: "p" }],
  });
  opened(outcome);
  assertEquals(questions, ['proxy.example:3128 digest ét"s']);
  assertEquals([requests.length, connections], [2, 1]);
});

test("PXY-6: a callback that gives nothing, or something unusable, ends it", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const none = failed(converse([challenge(BASIC_ASKED), OPEN], { proxy }).outcome);
  assertEquals([none.code, none.status], ["proxy-authentication-failed", 407]);
  assertStringIncludes(none.message, "status is 407, no credentials were given");
  const answers = [{ username: "a\r\nb", password: "topsecret" }];
  const bad = failed(converse([challenge(BASIC_ASKED), OPEN], { proxy, answers }).outcome);
  assertStringIncludes(bad.message, "the credentials cannot be used");
  assertFalse(inspect(bad).includes("topsecret"));
});

test("PXY-6: a callback is asked again by each attempt whose credentials were refused, not within one", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const answers = [{ username: "u", password: "old" }, { username: "u", password: "new" }];
  const first = converse([challenge(BASIC_ASKED), challenge(BASIC_ASKED)], { proxy, answers });
  assertEquals([first.asked.length, failed(first.outcome).code], [1, "proxy-authentication-failed"]);
  const second = converse([challenge(BASIC_ASKED), OPEN], { proxy, answers });
  opened(second.outcome);
  assertEquals(second.asked.length, 1);
  const third = converse([challenge(BASIC_ASKED), OPEN], { proxy, answers: [{ username: "u", password: "newer" }] });
  opened(third.outcome);
  assertEquals(third.asked.length, 1, "the remembered answer was refused, so it asks");
});

test("DIG-9: a stale nonce asks no callback", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const stale = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n2", qop="auth", stale=true';
  const { asked, requests, outcome } = converse([challenge(DIGEST_ASKED), challenge(stale), OPEN], {
    proxy,
    answers: [{ username: "puser", password: "ppass" }],
  });
  opened(outcome);
  assertEquals(asked.length, 1);
  const answer = answerIn(requests[2]);
  assert(answer !== null);
  assertEquals(answer.response, expectedResponse(answer));
});

/** Every text of a value that a person or a log may see. */
function shown(value: unknown): string {
  const custom = value instanceof Error ? [value.stack, shown(value.cause ?? "")] : [];
  return [inspect(value, { depth: 9, showHidden: true }), JSON.stringify(value), String(value), ...custom].join("\n");
}

test("ATK-14: nothing shows the credentials", () => {
  const secrets = ["ppass", "puser", BASIC.slice(6), md5("puser:labrealm:ppass"), "sesame"];
  const check = (value: unknown): void => {
    for (const secret of secrets) assertFalse(shown(value).includes(secret), secret);
  };
  for (const asked of [BASIC_ASKED, DIGEST_ASKED]) {
    const proxy = proxyOf({ headers: { "X-Key": "sesame" } });
    const tunnel = new ProxyTunnel({ proxy, hostname: "broker.example", port: 443 }, 0);
    check(tunnel);
    tunnel.receive(bytesOf(challenge(asked)), 0);
    check(proxy);
    check(tunnel);
    check(failed(tunnel.receive(bytesOf(challenge(asked)), 0)));
    check(proxy);
  }
  for (const reply of [response(500), "garbage\r\n\r\n", { say: "", close: true } as const, response(401)]) {
    check(converse([challenge(BASIC_ASKED), reply]).outcome);
  }
  assertEquals(JSON.stringify({ proxy: proxyOf() }), '{"proxy":"http://proxy.example:3128"}');
});

test("ATK-14: an unusable URL is not repeated in the error", () => {
  for (const url of ["http://puser:ppass@", "http://puser:ppass@a b", "puser:ppass@proxy", "ftp://puser:ppass@proxy"]) {
    const error = assertThrows(() => proxyOf({ url }), TypeError);
    assertFalse(shown(error).includes("ppass"), url);
  }
  const bad = assertThrows(() => proxyOf({ url: "http://u:pp%zzass@proxy" }), TypeError);
  assertFalse(shown(bad).includes("zzass"));
});

test("DIG-10: hostile challenges cannot put a line into our request", () => {
  const values = [
    'Digest realm="a\\\rX: y", nonce="n"',
    'Digest realm="a\\"\\\\", nonce="b\\"", opaque="\\"\\\\\\"", qop="auth"',
    'Digest realm="a", nonce="n\\\tb", algorithm="MD5\\"", qop="auth"',
    'Digest realm="\xa0\x85\xff", nonce="\x80"',
  ];
  for (const value of values) {
    for (const request of converse([challenge(`Proxy-Authenticate: ${value}`), OPEN]).requests) {
      const lines = request.split("\r\n");
      assert(lines.length <= 5, value);
      assertEquals(lines.slice(-2), ["", ""]);
      assertFalse(/[\r\n\0]/.test(lines.join("")));
    }
  }
});
