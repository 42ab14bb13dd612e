import { MAX_INTERIM_RESPONSES } from "../../../src/transport/http/head.ts";
import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { TransportError } from "../../../src/base/errors.ts";
import type { ProxyCredentials } from "../../../src/transport/proxy/challenge.ts";
import type { Hash } from "../../../src/transport/proxy/digest.ts";
import {
  formatAuthority,
  HttpProxy,
  type ProxyOptions,
  type ProxyPowers,
} from "../../../src/transport/proxy/http_proxy.ts";
import { type ProxyEvent, type ProxyLimits, ProxyTunnel } from "../../../src/transport/proxy/connect.ts";
import { random, seed, test } from "../../harness.ts";

const NODE_NAMES = { "MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512-256" } as const;
const hash: Hash = (algorithm, bytes) => createHash(NODE_NAMES[algorithm]).update(bytes).digest();
const md5 = (text: string): string => createHash("md5").update(text, "utf8").digest("hex");

const URL_WITH_USER = "http://puser:ppass@proxy.example:3128";
const BASIC = "Basic cHVzZXI6cHBhc3M=";
const BASIC_ASKED = 'Proxy-Authenticate: Basic realm="labrealm"';
const DIGEST_ASKED = 'Proxy-Authenticate: Digest realm="labrealm", nonce="n1", qop="auth"';
const OPEN = "HTTP/1.1 200 Connection established\r\n\r\n";

/** Random bytes that count up, so that every client nonce is known and unique. */
function powers(): ProxyPowers {
  let count = 0;
  return { hash, random: (length) => new Uint8Array(length).fill(++count) };
}

function proxyOf(options: Partial<ProxyOptions> = {}): HttpProxy {
  return new HttpProxy({ url: URL_WITH_USER, schemes: ["digest", "basic"], ...options }, powers());
}

/** A response with a length, which keeps the connection. */
function response(status: number | string, fields: string[] = [], body = "sorry"): string {
  const start = typeof status === "number" ? `HTTP/1.1 ${status} Some Reason` : status;
  return `${[start, ...fields, `Content-Length: ${body.length}`].join("\r\n")}\r\n\r\n${body}`;
}

const challenge = (...fields: string[]): string => response(407, fields);

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** The proxy's reply to one request: text, and perhaps a close. */
type Reply = string | { say: string; close: true };

interface Conversation {
  requests: string[];
  connections: number;
  asked: string[];
  outcome: ProxyEvent | undefined;
}

interface ConverseOptions {
  proxy?: HttpProxy;
  limits?: ProxyLimits;
  answers?: (ProxyCredentials | undefined)[];
  /** Cuts a reply into reads. */
  cut?: (bytes: Uint8Array) => Uint8Array[];
}

/** Acts as the owner of the connection against a scripted proxy. */
function converse(replies: Reply[], options: ConverseOptions = {}): Conversation {
  const { proxy = proxyOf(), limits, answers = [], cut = (bytes) => [bytes] } = options;
  const tunnel = new ProxyTunnel({ proxy, hostname: "broker.example", port: 443, limits }, 0);
  const conversation: Conversation = { requests: [], connections: 1, asked: [], outcome: undefined };
  for (const reply of replies) {
    conversation.requests.push(textOf(tunnel.transmit()));
    let event = feed(tunnel, cut(bytesOf(typeof reply === "string" ? reply : reply.say)));
    if (event === undefined && typeof reply !== "string") event = tunnel.end(0);
    while (event !== undefined) {
      if (event.kind === "open" || event.kind === "failed") return { ...conversation, outcome: event };
      if (event.kind === "credentials") {
        const { proxy, scheme, realm } = event.request;
        conversation.asked.push(`${proxy} ${scheme} ${realm}`);
        if (typeof reply !== "string") assertEquals(tunnel.end(0), undefined);
        event = tunnel.authenticate(answers.shift(), 0);
      } else {
        conversation.connections++;
        tunnel.reconnected(0);
        event = undefined;
      }
    }
  }
  const rest = textOf(tunnel.transmit());
  if (rest !== "") conversation.requests.push(rest);
  return conversation;
}

/** Feeds one reply; bytes behind the event would go to the tunnel, so they are added to the surplus. */
function feed(tunnel: ProxyTunnel, pieces: Uint8Array[]): ProxyEvent | undefined {
  let event: ProxyEvent | undefined;
  for (const piece of pieces) {
    if (event?.kind === "open") event = { kind: "open", surplus: bytesOf(textOf(event.surplus) + textOf(piece)) };
    else event = tunnel.receive(piece, 0) ?? event;
  }
  return event;
}

function failed(outcome: ProxyEvent | undefined): TransportError {
  assert(outcome?.kind === "failed", `outcome is ${outcome?.kind}`);
  return outcome.error;
}

function opened(outcome: ProxyEvent | undefined): string {
  assert(outcome?.kind === "open", outcome?.kind === "failed" ? outcome.error.message : `outcome is ${outcome?.kind}`);
  return textOf(outcome.surplus);
}

/** The parameters of the answer in a request; null without one. */
function answerIn(request: string): Record<string, string> | null {
  const value = /^Proxy-Authorization: Digest (.*)\r$/m.exec(request)?.[1];
  if (value === undefined) return null;
  return Object.fromEntries([...value.matchAll(/([\w*]+)=(?:"([^"]*)"|([^, ]*))/g)].map((m) => [m[1], m[2] ?? m[3]]));
}

/** The proxy's computation to check an answer with qop "auth" and MD5. */
function expectedResponse(answer: Record<string, string>, password = "ppass"): string {
  const ha1 = md5(`${answer.username}:${answer.realm}:${password}`);
  return md5(`${ha1}:${answer.nonce}:${answer.nc}:${answer.cnonce}:${answer.qop}:${md5(`CONNECT:${answer.uri}`)}`);
}

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
    const start of ["HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/1.1 20", "HTTP/1.1 2000", "SSH-2.0-x", "\x15\x03\x01"]
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

test("PXY-5: a kept connection that closes before it says a byte is replaced once", () => {
  const { connections, requests, outcome } = converse([challenge(DIGEST_ASKED), { say: "", close: true }, OPEN]);
  opened(outcome);
  assertEquals(connections, 2);
  assertEquals(requests.map((request) => answerIn(request)?.nc), [undefined, "00000001", "00000002"]);
  const twice = converse([challenge(DIGEST_ASKED), { say: "", close: true }, { say: "", close: true }]);
  assertEquals(failed(twice.outcome).code, "proxy-failed");
});

test("PXY-5: a connection that closes inside a head, or before the first, is a failure", () => {
  for (const say of ["", "HTTP/1.1 2", OPEN.slice(0, -1)]) {
    const { outcome } = converse([{ say, close: true }]);
    assertEquals(
      failed(outcome).message,
      'Cannot open tunnel through "proxy.example:3128": the proxy closed the connection before it answered',
    );
  }
  assertEquals(failed(converse([challenge(BASIC_ASKED), { say: "H", close: true }]).outcome).code, "proxy-failed");
});

test("PXY-5: bytes beyond the body leave the connection out of step, so it is replaced", () => {
  for (const extra of [OPEN, "x"]) {
    assertEquals(converse([challenge(BASIC_ASKED) + extra, OPEN]).connections, 2);
    assertEquals(converse([response(407, [BASIC_ASKED], "") + extra, OPEN]).connections, 2);
  }
});

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
  assertStringIncludes(failed(converse([challenge()]).outcome).message, 'no challenge can be answered ("")');
  assert(failed(converse([challenge(`Proxy-Authenticate: ${"x".repeat(5_000)}`)]).outcome).message.length < 200);
});

test("PXY-6: status 401 is a refusal of the credentials too", () => {
  const wrong = failed(converse([challenge(BASIC_ASKED), response("HTTP/1.0 401 Unauthorized")]).outcome);
  assertEquals([wrong.code, wrong.status], ["proxy-authentication-failed", 401]);
  assertStringIncludes(wrong.message, "status is 401, credentials were refused");
  assertStringIncludes(failed(converse([response(401)]).outcome).message, "status is 401, no credentials were sent");
});

test("PXY-7: a proxy that does not ask gets no credentials and lets us in", () => {
  for (const proxy of [proxyOf(), proxyOf({ url: "http://proxy.example", credentials: () => undefined })]) {
    const { requests, outcome } = converse([OPEN], { proxy });
    opened(outcome);
    assertFalse(requests[0].includes("Proxy-Authorization"));
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
