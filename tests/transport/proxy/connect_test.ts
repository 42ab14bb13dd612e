import { MAX_INTERIM_RESPONSES } from "../../../src/transport/http/head.ts";
import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import { formatAuthority, HttpProxy, type ProxyOptions } from "../../../src/transport/proxy/http_proxy.ts";
import { CHALLENGE_BODY_TIMEOUT_MS, ProxyTunnel } from "../../../src/transport/proxy/connect.ts";
import { random, seed, test } from "../../harness.ts";
import {
  answerIn,
  BASIC,
  BASIC_ASKED,
  bytesOf,
  challenge,
  converse,
  DIGEST_ASKED,
  failed,
  OPEN,
  opened,
  powers,
  proxyOf,
  type Reply,
  response,
  textOf,
} from "./conversation.ts";

test("PXY-1: the request is CONNECT with the authority, the same in Host, and no body", () => {
  const { requests } = converse([OPEN], { proxy: new HttpProxy("http://proxy.example:3128", powers()) });
  assertEquals(requests, ["CONNECT broker.example:443 HTTP/1.1\r\nHost: broker.example:443\r\n\r\n"]);
});

test("PXY-1: the port is always there, an IPv6 address stands in brackets", () => {
  assertEquals(formatAuthority("broker.example", 80), "broker.example:80");
  assertEquals(formatAuthority("192.0.2.1", 443), "192.0.2.1:443");
  assertEquals(formatAuthority("2001:db8::1", 443), "[2001:db8::1]:443");
  assertEquals(formatAuthority("[2001:db8::1]", 443), "[2001:db8::1]:443");
  assertEquals(formatAuthority("xn--bcher-kva.example", 1), "xn--bcher-kva.example:1");
});

test("ATK-15: a target that could change the request is refused", () => {
  const bad = [
    "",
    "a b",
    "a\r\nX: y",
    "a\0",
    "a/b",
    "a@b",
    "a?b",
    "a#b",
    "bücher.example",
    "fe80::1%eth0",
    "[::1",
    "a]",
  ];
  for (const hostname of bad) {
    assertThrows(() => formatAuthority(hostname, 443), TypeError, "Cannot open tunnel: host is neither");
  }
  for (const port of [0, -1, 65_536, 1.5, NaN]) assertThrows(() => formatAuthority("a", port), TypeError, "port");
  assertThrows(() => new ProxyTunnel({ proxy: proxyOf(), hostname: "a\r\nb", port: 1 }, 0), TypeError);
});

test("PXY-1: the user's header fields go to the proxy", () => {
  const proxy = proxyOf({ headers: { "User-Agent": "test", "X-Key": "abc" } });
  assertEquals(
    converse([OPEN], { proxy }).requests,
    ["CONNECT broker.example:443 HTTP/1.1\r\nHost: broker.example:443\r\nUser-Agent: test\r\nX-Key: abc\r\n\r\n"],
  );
});

test("WS-3: header fields that could break the request, or are not the user's to set, are refused", () => {
  for (const name of ["", "a b", "a:b", "a\r\nb", "é"]) {
    assertThrows(() => proxyOf({ headers: { [name]: "x" } }), TypeError, "Cannot write header");
  }
  for (const value of ["a\r\nb", "a\nb", "a\0", "\u0100"]) {
    const error = assertThrows(() => proxyOf({ headers: { "X-Secret": value } }), TypeError, '"X-Secret"');
    assertFalse(error.message.includes(value));
  }
  for (const name of ["Host", "PROXY-AUTHORIZATION", "Authorization", "Content-Length", "transfer-encoding"]) {
    assertThrows(() => proxyOf({ headers: { [name]: "x" } }), TypeError, `header "${name}" cannot be set`);
  }
});

test("PXY-2: any 2xx opens the tunnel, whatever lengths it claims, and keeps what follows", () => {
  for (const start of ["HTTP/1.1 200 OK", "HTTP/1.1 204", "HTTP/1.0 299 whatever"]) {
    for (const field of ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"]) {
      const { outcome } = converse([`${start}\r\n${field}\r\n\x16\x03\x01surplus`]);
      assertEquals(opened(outcome), "\x16\x03\x01surplus");
    }
  }
  assertEquals(opened(converse(["HTTP/1.1 200\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n"]).outcome), "");
});

test("PXY-2: what is beyond 2xx is a refusal, redirects included", () => {
  for (const status of [300, 302, 399, 400, 500, 600, 999]) {
    const error = failed(converse([response(status, ["Location: http://elsewhere.example/"])]).outcome);
    assertEquals([error.code, error.status], ["proxy-failed", status]);
  }
});

test("PXY-1: a request is handed out once", () => {
  const tunnel = new ProxyTunnel({ proxy: proxyOf(), hostname: "a", port: 1 }, 0);
  assert(tunnel.transmit().length > 0);
  assertEquals(tunnel.transmit().length, 0);
  assertEquals(tunnel.receive(new Uint8Array(0), 0), undefined);
});

test("PXY-3: interim responses are skipped", () => {
  const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  assertEquals(opened(converse([`${interim}${OPEN}rest`]).outcome), "rest");
  assertEquals(failed(converse([`${interim}${response(403)}`]).outcome).status, 403);
});

test("PXY-3: 101 is not a tunnel", () => {
  const error = failed(converse(["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]).outcome);
  assertEquals([error.code, error.status], ["proxy-failed", 101]);
});

test("PXY-3: HTTP/1.0, HTTP/1.1 and a missing reason are understood, other versions are not", () => {
  for (const start of ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200"]) {
    opened(converse([`${start}\r\n\r\n`]).outcome);
  }
  for (
    const start of ["HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/1.1 20", "HTTP/1.1 2000", "SSH-2.0-x"]
  ) {
    const error = failed(converse([`${start}\r\n\r\n`]).outcome);
    assertEquals(error.code, "proxy-failed", start);
    assertEquals(error.message, 'Cannot open tunnel through "proxy.example:3128": the answer is not valid HTTP');
    assert(error.cause instanceof TransportError);
  }
});

test("PXY-3: interim responses without end are cut off, counted for each request", () => {
  const interim = "HTTP/1.1 100 Continue\r\n\r\n";
  opened(converse([interim + challenge(BASIC_ASKED), interim + OPEN], { limits: { maxInterimResponses: 1 } }).outcome);
  opened(converse([interim.repeat(MAX_INTERIM_RESPONSES) + OPEN]).outcome);
  const { outcome } = converse([interim.repeat(MAX_INTERIM_RESPONSES + 1) + OPEN]);
  assertStringIncludes(failed(outcome).message, "too many interim responses");
  assertStringIncludes(
    failed(converse([interim + interim + OPEN], { limits: { maxInterimResponses: 1 } }).outcome).message,
    "too many interim responses",
  );
});

test("WS-9: the head of an answer is limited and strict", () => {
  const heads = [
    `HTTP/1.1 200\r\n${"A: b\r\n".repeat(101)}\r\n`,
    `HTTP/1.1 200\r\nA: ${"b".repeat(9_000)}\r\n\r\n`,
    `HTTP/1.1 200\r\n${`A: ${"b".repeat(1_000)}\r\n`.repeat(17)}\r\n`,
    "HTTP/1.1 200\nA: b\n\n",
    "HTTP/1.1 200\r\nA: b\r\n folded\r\n\r\n",
    "HTTP/1.1 200\r\nA : b\r\n\r\n",
    "HTTP/1.1 200\r\nA: \0\r\n\r\n",
    "\r\nHTTP/1.1 200\r\n\r\n",
  ];
  for (const head of heads) assertEquals(failed(converse([head]).outcome).code, "proxy-failed", head.slice(0, 40));
  assertEquals(failed(converse([`${OPEN}`], { limits: { maxHeadBytes: 20 } }).outcome).code, "proxy-failed");
});

test("ATK-16: an endless head costs no more than its limit", () => {
  const tunnel = new ProxyTunnel({ proxy: proxyOf(), hostname: "a", port: 1 }, 0);
  const piece = bytesOf(`A: ${"b".repeat(1_000)}\r\n`);
  let event = tunnel.receive(bytesOf("HTTP/1.1 200\r\n"), 0);
  let sent = 0;
  for (; event === undefined && sent < 1_000_000; sent += piece.length) event = tunnel.receive(piece, 0);
  assertEquals(failed(event).code, "proxy-failed");
  assert(sent < 20_000);
});

test("ATK-16: a challenge with two lengths is refused", () => {
  for (
    const fields of [
      "Content-Length: 5\r\nContent-Length: 6",
      "Content-Length: 5\r\nTransfer-Encoding: chunked",
      "Content-Length: +5",
    ]
  ) {
    const { outcome } = converse([`HTTP/1.1 407 x\r\n${BASIC_ASKED}\r\n${fields}\r\n\r\nsorry`]);
    assertEquals(failed(outcome).code, "proxy-failed", fields);
  }
});

test("PXY-4: the body of a challenge is read by its length, and the connection used again", () => {
  const { requests, connections, outcome } = converse([response(407, [BASIC_ASKED], "a\r\n\r\nb"), OPEN]);
  opened(outcome);
  assertEquals(connections, 1);
  assertStringIncludes(requests[1], `Proxy-Authorization: ${BASIC}\r\n`);
});

test("PXY-4: an empty body needs no read of its own", () => {
  assertEquals(converse([response(407, [BASIC_ASKED], ""), OPEN]).connections, 1);
});

test("PXY-4: the body of a challenge is read by its chunks", () => {
  const chunked = `HTTP/1.1 407 x\r\n${BASIC_ASKED}\r\nTransfer-Encoding: chunked\r\n\r\n` +
    "5;x=y\r\nHTTP/\r\n2\r\n\r\n\r\n0\r\nTrailer: t\r\n\r\n";
  const { connections, outcome } = converse([chunked, OPEN]);
  opened(outcome);
  assertEquals(connections, 1);
});

test("PXY-4: a body that only ends with the connection is not waited for", () => {
  const { connections, outcome } = converse([`HTTP/1.1 407 x\r\n${BASIC_ASKED}\r\n\r\npage`, OPEN]);
  opened(outcome);
  assertEquals(connections, 2);
});

test("PXY-4: only the answer to a challenge needs the body of a refusal", () => {
  const endless = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 999999\r\n\r\n";
  assertEquals(failed(converse([endless]).outcome).status, 502);
});

test("PXY-5: a challenge that ends its connection is answered on a new one", () => {
  const ends = [
    response(407, [BASIC_ASKED, "Connection: close"]),
    response(407, [BASIC_ASKED, "Connection: x, CLOSE"]),
    response(407, [BASIC_ASKED, "Proxy-Connection: close"]),
    response(407, [BASIC_ASKED, "Connection: keep-alive", "Proxy-Connection: close"]),
    response("HTTP/1.0 407 x", [BASIC_ASKED]),
    `HTTP/1.1 407 x\r\n${BASIC_ASKED}\r\nConnection: close\r\n\r\n`,
  ];
  for (const end of ends) {
    const { connections, requests, outcome } = converse([end, OPEN]);
    opened(outcome);
    assertEquals(connections, 2, end);
    assertEquals(requests.length, 2);
    assertFalse(requests[0].includes("Proxy-Authorization"));
    assertStringIncludes(requests[1], BASIC);
  }
  const kept = response("HTTP/1.0 407 x", [BASIC_ASKED, "Proxy-Connection: Keep-Alive"]);
  assertEquals(converse([kept, OPEN]).connections, 1);
});

test("PXY-5: a body over the cap is given up for a new connection", () => {
  for (const body of ["x".repeat(101), "x".repeat(5_000)]) {
    const reply = response(407, [BASIC_ASKED], body);
    assertEquals(converse([reply, OPEN], { limits: { maxBodyBytes: 100 } }).connections, 2);
    assertEquals(converse([reply, OPEN]).connections, 1);
  }
  const chunked = `HTTP/1.1 407 x\r\n${BASIC_ASKED}\r\nTransfer-Encoding: chunked\r\n\r\n` +
    "8\r\n12345678\r\n".repeat(20);
  assertEquals(converse([chunked, OPEN], { limits: { maxBodyBytes: 100 } }).connections, 2);
});

test("PXY-5: a connection that breaks off inside the body is replaced", () => {
  const { connections, outcome } = converse([{ say: challenge(BASIC_ASKED).slice(0, -1), close: true }, OPEN]);
  opened(outcome);
  assertEquals(connections, 2);
});

test("PXY-5: a body that is shorter than it says is given up for a new connection", () => {
  for (const limits of [{}, { bodyTimeoutMs: 50 }]) {
    const { bodyTimeoutMs = CHALLENGE_BODY_TIMEOUT_MS } = limits;
    const tunnel = new ProxyTunnel({ proxy: proxyOf({ schemes: ["basic"] }), hostname: "a", port: 1, limits }, 0);
    assertEquals(tunnel.receive(bytesOf(challenge(BASIC_ASKED).slice(0, -1)), 10), undefined);
    assertEquals([tunnel.nextTimeout(), tunnel.tick(9 + bodyTimeoutMs)], [10 + bodyTimeoutMs, undefined]);
    assertEquals(tunnel.tick(10 + bodyTimeoutMs)?.kind, "reconnect");
    tunnel.reconnected(2_000);
    assertStringIncludes(textOf(tunnel.transmit()), BASIC);
    opened(tunnel.receive(bytesOf(OPEN), 2_001));
  }
});

test("PXY-5: a kept connection that closes before it says a byte is replaced once", () => {
  const { connections, requests, outcome } = converse([challenge(DIGEST_ASKED), { say: "", close: true }, OPEN]);
  opened(outcome);
  assertEquals(connections, 2);
  assertEquals(requests.map((request) => answerIn(request)?.nc), [undefined, "00000001", "00000002"]);
  const twice = converse([challenge(DIGEST_ASKED), { say: "", close: true }, { say: "", close: true }]);
  assertEquals(failed(twice.outcome).code, "proxy-failed");
});

test("PXY-5: a connection that closes inside a head, or before the first, is a failure", () => {
  const closed = 'Cannot open tunnel through "proxy.example:3128": the proxy closed the connection before it answered';
  for (const say of ["HTTP/1.1 2", OPEN.slice(0, -1)]) {
    assertEquals(failed(converse([{ say, close: true }]).outcome).message, closed);
  }
  const expectsTls = `${closed}; does it expect TLS? Then its URL begins with https:`;
  assertEquals(failed(converse([{ say: "", close: true }]).outcome).message, expectsTls);
  assertEquals(failed(converse([challenge(BASIC_ASKED), { say: "H", close: true }]).outcome).code, "proxy-failed");
  const speaksTls = 'Cannot open tunnel through "proxy.example:3128": the proxy speaks TLS, its URL begins with https:';
  assertEquals(failed(converse([{ say: "\x15\x03\x03\x00\x02", close: true }]).outcome).message, speaksTls);
});

test("PXY-5: bytes beyond the body leave the connection out of step, so it is replaced", () => {
  for (const extra of [OPEN, "x"]) {
    assertEquals(converse([challenge(BASIC_ASKED) + extra, OPEN]).connections, 2);
    assertEquals(converse([response(407, [BASIC_ASKED], "") + extra, OPEN]).connections, 2);
  }
});

test("PXY-8: the link to the proxy has its own security, and the tunnel gets nothing from us", () => {
  assertEquals(proxyOf().secure, false);
  const proxy = proxyOf({ url: "https://puser:ppass@proxy.example" });
  assertEquals([proxy.secure, proxy.port, proxy.authority], [true, 443, "proxy.example:443"]);
  const tunnel = new ProxyTunnel({ proxy, hostname: "broker.example", port: 443 }, 0);
  tunnel.transmit();
  opened(tunnel.receive(bytesOf(OPEN), 0));
  assertEquals(tunnel.transmit().length, 0);
  assertEquals(tunnel.receive(bytesOf(challenge(BASIC_ASKED)), 0), undefined);
  assertEquals(tunnel.end(0), undefined);
  assertEquals(tunnel.transmit().length, 0);
});

test("PXY-9: the target's name goes to the proxy unresolved", () => {
  const tunnel = new ProxyTunnel({ proxy: proxyOf(), hostname: "no-such-host.invalid", port: 5671 }, 0);
  assertMatch(textOf(tunnel.transmit()), /^CONNECT no-such-host\.invalid:5671 HTTP\/1\.1\r\n/);
});

test("PXY-9: each step has its own time limit", () => {
  const limits = { stepTimeoutMs: 100 };
  const proxy = proxyOf({ url: "http://proxy.example", credentials: () => undefined });
  const tunnel = new ProxyTunnel({ proxy, hostname: "a", port: 1, limits }, 1_000);
  assertEquals(tunnel.nextTimeout(), 1_100);
  assertEquals(tunnel.tick(1_099), undefined);
  // Bytes that drip in slowly do not move the deadline.
  assertEquals(tunnel.receive(bytesOf(challenge(BASIC_ASKED).slice(0, -1)), 1_090), undefined);
  assertEquals(tunnel.nextTimeout(), 1_100);
  assertEquals(tunnel.receive(bytesOf("y"), 1_095)?.kind, "credentials");
  assertEquals(tunnel.nextTimeout(), undefined, "somebody may have to type them");
  assertEquals(tunnel.tick(9_000), undefined);
  assertEquals(tunnel.authenticate({ username: "u", password: "p" }, 9_000), undefined);
  assertEquals(tunnel.nextTimeout(), 9_100);
  assertEquals(tunnel.end(9_050)?.kind, "reconnect");
  assertEquals(tunnel.nextTimeout(), 9_150);
  tunnel.reconnected(9_140);
  assertEquals(tunnel.nextTimeout(), 9_240);
  const error = failed(tunnel.tick(9_240));
  assertEquals(error.code, "timeout");
  assertEquals(error.message, 'Cannot open tunnel through "proxy.example:80": no answer within 100 ms');
  assertEquals([tunnel.nextTimeout(), tunnel.tick(99_999), tunnel.transmit().length], [undefined, undefined, 0]);
});

test("PXY-9: a reconnection that hangs is told apart", () => {
  const tunnel = new ProxyTunnel({ proxy: proxyOf(), hostname: "a", port: 1, limits: { stepTimeoutMs: 5 } }, 0);
  assertEquals(tunnel.receive(bytesOf(response("HTTP/1.0 407 x", [BASIC_ASKED])), 1)?.kind, "reconnect");
  assertStringIncludes(failed(tunnel.tick(6)).message, "no new connection within 5 ms");
});

test("PXY-9: a refusal carries status and header fields", () => {
  const error = failed(converse([response(503, ["Retry-After: 7", "X-Squid-Error: ERR_CONNECT_FAIL 111"])]).outcome);
  assertEquals(error.message, 'Cannot open tunnel through "proxy.example:3128": status is 503');
  assertEquals([error.code, error.status], ["proxy-failed", 503]);
  assertEquals(error.headers?.[0], ["Retry-After", "7"]);
});

test("PXY-5: a connection lost while the callback thinks is replaced", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const answers = [{ username: "u", password: "p" }];
  const lost = converse([{ say: challenge(BASIC_ASKED), close: true }, OPEN], { proxy, answers });
  opened(lost.outcome);
  assertEquals(lost.connections, 2);
});

test("PXY-5: a proxy that talks while the callback thinks is out of step", () => {
  const proxy = proxyOf({ url: "http://proxy.example:3128", credentials: () => undefined });
  const tunnel = new ProxyTunnel({ proxy, hostname: "a", port: 1 }, 0);
  assertEquals(tunnel.receive(bytesOf(challenge(BASIC_ASKED)), 0)?.kind, "credentials");
  assertEquals(tunnel.receive(bytesOf(OPEN), 0), undefined);
  assertEquals(tunnel.authenticate({ username: "u", password: "p" }, 0)?.kind, "reconnect");
  assertEquals(tunnel.receive(bytesOf(OPEN), 0), undefined, "the old connection has nothing to say any more");
  assertEquals(tunnel.end(0), undefined);
  assertEquals(tunnel.transmit().length, 0);
});

test("PXY-5: calls out of turn are the caller's mistake", () => {
  const tunnel = new ProxyTunnel({ proxy: proxyOf(), hostname: "a", port: 1 }, 0);
  assertThrows(() => tunnel.authenticate(undefined, 0), TypeError, "no credentials were asked for");
  assertThrows(() => tunnel.reconnected(0), TypeError, "no new connection was asked for");
});

test("PXY-1: where the proxy is and who we are come from the URL or from options", () => {
  const encoded = proxyOf({ url: "http://us%40er:p%3Ass%C3%A9@[2001:db8::1]:8080/ignored" });
  assertEquals([encoded.hostname, encoded.port, encoded.authority], ["2001:db8::1", 8080, "[2001:db8::1]:8080"]);
  const { requests } = converse([challenge(BASIC_ASKED)], { proxy: encoded });
  assertStringIncludes(requests[1], `Basic ${btoa("us@er:p:ssÃ©")}`);
  const options = proxyOf({ username: "other", password: "else" });
  assertStringIncludes(converse([challenge(BASIC_ASKED)], { proxy: options }).requests[1], btoa("other:else"));
  const noPassword = proxyOf({ url: new URL("http://only@proxy.example") });
  assertEquals(noPassword.port, 80);
  assertStringIncludes(converse([challenge(BASIC_ASKED)], { proxy: noPassword }).requests[1], btoa("only:"));
});

test("PXY-1: options that make no sense are refused", () => {
  const cases: [Partial<ProxyOptions>, string][] = [
    [{ url: "proxy.example:3128" }, 'url starts with "proxy.example:"'],
    [{ url: "socks5://proxy.example" }, 'url starts with "socks5:"'],
    [{ url: "http://" }, "url cannot be parsed"],
    [{ url: "http://%zz@proxy.example" }, "user info in url is not percent-encoded"],
    [{ url: "http://:secret@proxy.example" }, "a password is set but no user name"],
    [{ credentials: () => undefined }, "credentials are both set and left to a callback"],
    // deno-lint-ignore no-explicit-any
    [{ schemes: ["ntlm" as any] }, 'scheme "ntlm" is neither'],
  ];
  for (const [options, message] of cases) assertThrows(() => proxyOf(options), TypeError, message);
});

// Each conversation whole, then with every reply cut at every byte, then byte by byte.
const CONVERSATIONS: Record<string, Reply[]> = {
  "straight through": [`${OPEN}surplus`],
  "interim, Basic on one connection": [`HTTP/1.1 100\r\n\r\n${response(407, [BASIC_ASKED], "a\r\nb")}`, OPEN],
  "Digest, chunked": [
    `HTTP/1.1 407 x\r\n${DIGEST_ASKED}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n`,
    `${OPEN}\x16\x03\x01`,
  ],
  "two connections": [{ say: response("HTTP/1.0 407 x", [BASIC_ASKED]), close: true }, OPEN],
  "over the cap": [response(407, [BASIC_ASKED], "x".repeat(60)), OPEN],
  "stale": [
    challenge(DIGEST_ASKED),
    challenge('Proxy-Authenticate: Digest realm="labrealm", nonce="a,\\"b", stale=true'),
    OPEN,
  ],
  "refused": [challenge(DIGEST_ASKED, BASIC_ASKED), challenge(DIGEST_ASKED)],
  "forbidden": [response(403)],
  "malformed": ["HTTP/1.1 200 OK\r\nA : b\r\n\r\n"],
  "cut off": [{ say: "HTTP/1.1 200 OK\r\n", close: true }],
};

for (const [name, replies] of Object.entries(CONVERSATIONS)) {
  test(`PXY-4: how bytes are cut makes no difference (${name})`, () => {
    const limits = { maxBodyBytes: 50 };
    const summary = (cut?: (bytes: Uint8Array) => Uint8Array[]): unknown => {
      const { requests, connections, outcome } = converse(replies, { cut, limits });
      return { requests, connections, outcome: outcome?.kind === "failed" ? outcome.error.message : opened(outcome) };
    };
    const whole = summary();
    const longest = Math.max(...replies.map((reply) => (typeof reply === "string" ? reply : reply.say).length));
    for (let at = 1; at < longest; at++) {
      assertEquals(summary((bytes) => [bytes.subarray(0, at), bytes.subarray(at)]), whole, `cut at ${at}`);
    }
    assertEquals(summary((bytes) => Array.from(bytes, (byte) => Uint8Array.of(byte))), whole, "byte by byte");
  });
}

test("ATK-16: random answers end in an event or wait for more, never in an exception", () => {
  const source = random(seed());
  const pieces = [
    "HTTP/1.1 ",
    "200",
    "407",
    "100",
    " x",
    "\r\n",
    "\r\n\r\n",
    BASIC_ASKED,
    DIGEST_ASKED,
    "Content-Length: ",
    "Transfer-Encoding: chunked",
    "5",
    "sorry",
    "Connection: close",
    "\0",
    "\xff",
    '"',
  ];
  for (let round = 0; round < 3_000; round++) {
    const proxy = round % 2 === 0 ? proxyOf() : proxyOf({ url: "http://p.example", credentials: () => undefined });
    const tunnel = new ProxyTunnel({ proxy, hostname: "a", port: 1 }, 0);
    for (let step = 0; step < 12; step++) {
      const text = Array.from({ length: source.int(12) }, () => source.pick(pieces)).join("");
      const valid = source.pick([challenge(BASIC_ASKED), challenge(DIGEST_ASKED), "HTTP/1.1 407 x\r\n", text]);
      const event = source.int(6) === 0 ? tunnel.end(step) : tunnel.receive(bytesOf(source.pick([text, valid])), step);
      if (event?.kind === "reconnect") tunnel.reconnected(step);
      if (event?.kind === "credentials") tunnel.authenticate({ username: "u", password: "p" }, step);
      assertFalse(textOf(tunnel.transmit()).split("\r\n").length > 5);
    }
  }
});
