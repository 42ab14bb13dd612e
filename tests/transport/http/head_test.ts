import { isToken } from "../../../src/transport/url.ts";
import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import {
  encodeRequestHead,
  encodeResponseHead,
  headerHasToken,
  headerList,
  headerValues,
  type HeadLimits,
  type HeadParser,
  MAX_HEAD_BYTES,
  MAX_HEADER_FIELDS,
  MAX_LINE_BYTES,
  type RequestHead,
  requestParser,
  type ResponseHead,
  responseParser,
} from "../../../src/transport/http/head.ts";
import { random, seed, test } from "../../harness.ts";
import { everyCut, latin1, randomCut, text } from "../wire.ts";

const RESPONSE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX:  a\tb \r\nEmpty:\r\n\r\nsurplus";

/** Feeds the pieces until there is a head, and returns it with the surplus. */
function feed<Head>(parser: HeadParser<Head>, pieces: Uint8Array[]): { head: Head; surplus: string } | undefined {
  for (const [index, piece] of pieces.entries()) {
    const head = parser.receive(piece);
    if (head !== undefined) {
      return { head, surplus: [parser.surplus, ...pieces.slice(index + 1)].map(text).join("") };
    }
  }
  return undefined;
}

function response(input: string, limits?: HeadLimits): ResponseHead | undefined {
  return feed(responseParser(limits), [latin1(input)])?.head;
}

function request(input: string): RequestHead | undefined {
  return feed(requestParser(), [latin1(input)])?.head;
}

function refused(read: () => unknown): TransportError {
  const error = assertThrows(read, TransportError, "Cannot read HTTP: ");
  assertEquals(error.code, "protocol-violation");
  return error;
}

test("WSB-21: a head is read wherever it is cut, and what follows it is kept", () => {
  for (const pieces of everyCut(latin1(RESPONSE))) {
    assertEquals(feed(responseParser(), pieces), {
      head: {
        version: "HTTP/1.1",
        status: 101,
        reason: "Switching Protocols",
        headers: [["Upgrade", "websocket"], ["X", "a\tb"], ["Empty", ""]],
      },
      surplus: "surplus",
    });
  }
});

test("HTTP: a request head is read wherever it is cut", () => {
  for (const pieces of everyCut(latin1("GET /$a/b?c=%20 HTTP/1.1\r\nHost: h:1\r\nhost: \xe9\r\n\r\n"))) {
    assertEquals(feed(requestParser(), pieces), {
      head: { method: "GET", target: "/$a/b?c=%20", version: "HTTP/1.1", headers: [["Host", "h:1"], ["host", "\xe9"]] },
      surplus: "",
    });
  }
});

test("WS-4: the reason phrase is free, may be empty or missing, and 1.0 is spoken as well", () => {
  const cases: [line: string, version: string, status: number, reason: string][] = [
    ["HTTP/1.1 101", "HTTP/1.1", 101, ""],
    ["HTTP/1.1 101 ", "HTTP/1.1", 101, ""],
    ["HTTP/1.1 200 Tunnel is up \xe9", "HTTP/1.1", 200, "Tunnel is up \xe9"],
    ["HTTP/1.0 407 Proxy  Authentication", "HTTP/1.0", 407, "Proxy  Authentication"],
    ["HTTP/1.1 999 x", "HTTP/1.1", 999, "x"],
  ];
  for (const [line, version, status, reason] of cases) {
    assertEquals(response(`${line}\r\n\r\n`), { version, status, reason, headers: [] } as ResponseHead);
  }
});

test("HTTP: a status line that is none is refused", () => {
  for (
    const line of [
      "",
      "HTTP/1.1",
      "HTTP/1.1 ",
      "HTTP/1.1 10",
      "HTTP/1.1 1011",
      "HTTP/1.1 099 x",
      "HTTP/1.1 1e2 x",
      "HTTP/1.1  101 x",
      "HTTP/1.1\t101 x",
      "HTTP/2.0 101 x",
      "http/1.1 101 x",
      " HTTP/1.1 101 x",
      "ICY 200 OK",
      "HTTP/1.1 101\tx",
    ]
  ) refused(() => response(`${line}\r\n\r\n`));
});

test("HTTP: a request line that is none is refused, and not quoted", () => {
  for (
    const line of [
      "",
      "GET /",
      "GET  / HTTP/1.1",
      "GET / HTTP/1.1 ",
      "GET / x HTTP/1.1",
      "G(T / HTTP/1.1",
      "GET /\xe9 HTTP/1.1",
      "GET /secret\t HTTP/1.1",
      "GET /?secret HTTP/1.2",
      "GET /?secret HTTP/2.0",
      "GET\t/\tHTTP/1.1",
    ]
  ) assertFalse(refused(() => request(`${line}\r\n\r\n`)).message.includes("secret"));
});

test("WS-9: bare LF, bare CR, fold, NUL, a space before the colon and a line without one are refused", () => {
  for (
    const fields of [
      "A: b\nC: d\r\n",
      "A: b\rC: d\r\n",
      "A: b\r\r\n",
      "A: b\r\n folded\r\n",
      "A: b\r\n\tfolded\r\n",
      " A: b\r\n",
      "A: b\0c\r\n",
      "A: b\x1bc\r\n",
      "A: b\x7fc\r\n",
      "A : b\r\n",
      "A\t: b\r\n",
      "secret\r\n",
      ": b\r\n",
      "A b: c\r\n",
      "\xe9: c\r\n",
      "\n",
    ]
  ) {
    assertFalse(refused(() => response(`HTTP/1.1 101 x\r\n${fields}\r\n`)).message.includes("secret"));
    for (const pieces of everyCut(latin1(`HTTP/1.1 101 x\r\n${fields}\r\n`))) {
      refused(() => feed(responseParser(), pieces));
    }
  }
});

test("WS-9: the limits hold to the byte, and are 16 KiB, 8 KiB and 100 fields unless told otherwise", () => {
  assertEquals([MAX_HEAD_BYTES, MAX_LINE_BYTES, MAX_HEADER_FIELDS], [16_384, 8_192, 100]);
  const head = "HTTP/1.1 101 x\r\nA: 1\r\nB: 22\r\n\r\n";
  assert(response(head, { maxHeadBytes: head.length, maxLineBytes: 14, maxHeaderFields: 2 }));
  refused(() => response(head, { maxHeadBytes: head.length - 1 }));
  refused(() => response(head, { maxLineBytes: 13 }));
  refused(() => response(head, { maxHeaderFields: 1 }));

  const start = "HTTP/1.1 101 x\r\n";
  assert(response(`${start}A: ${"x".repeat(MAX_LINE_BYTES - 3)}\r\n\r\n`));
  refused(() => response(`${start}A: ${"x".repeat(MAX_LINE_BYTES - 2)}\r\n\r\n`));
  assert(response(`${start}${"A: b\r\n".repeat(100)}\r\n`));
  refused(() => response(`${start}${"A: b\r\n".repeat(101)}\r\n`));
});

test("ATK-16: endless fields, an endless line and endless blanks end at the limit, byte by byte", () => {
  for (const input of ["A: b\r\n", "x", " ", "A:\r\n", "\t"]) {
    const parser = responseParser();
    parser.receive(latin1("HTTP/1.1 101 "));
    const piece = latin1(input);
    let sent = 0;
    refused(() => {
      for (; sent < 1_000_000; sent += piece.length) parser.receive(piece);
    });
    assert(sent <= MAX_HEAD_BYTES, `${JSON.stringify(input)} went on for ${sent} bytes`);
  }
});

test("WS-5: names and tokens are found whatever their case, over repeated fields, as whole tokens", () => {
  const headers = [["Connection", "keep-alive , Upgrade,"], ["CONNECTION", "\tx\t"], ["Other", "y"]] as const;
  assertEquals(headerValues(headers, "connection"), ["keep-alive , Upgrade,", "\tx\t"]);
  assertEquals(headerList(headers, "Connection"), ["keep-alive", "Upgrade", "x"]);
  assert(headerHasToken(headers, "connection", "upgrade"));
  assert(headerHasToken(headers, "connection", "X"));
  assertFalse(headerHasToken(headers, "connection", "up"));
  assertFalse(headerHasToken(headers, "connection", "alive"));
  assertEquals(headerValues(headers, "none"), []);
  assertFalse(headerHasToken([["Connection", "upgrade\xa0"]], "connection", "upgrade"));
});

test("WS-16: a long list of blanks and commas is read in linear time", () => {
  const list = `a${" ".repeat(500_000)}b,${",".repeat(500_000)}${" \t".repeat(250_000)}c`;
  const start = performance.now();
  assertEquals(headerList([["X", list]], "x").length, 2);
  // A scan that backtracks at every blank would take minutes.
  assert(performance.now() - start < 5_000);
});

test("HTTP: tokens", () => {
  for (const name of ["a", "amqp", "AMQPWSB10", "!#$%&'*+-.^_`|~09azAZ"]) assert(isToken(name), name);
  for (const name of ["", " ", "a b", "a,b", "a\r", "a\n", "a:", "a/b", "é", '"a"', "a=b"]) {
    assertFalse(isToken(name), JSON.stringify(name));
  }
});

test("HTTP: heads are written as they are read", () => {
  const headers = [["Host", "h"], ["X-Obs", "\xe9\t,"], ["Empty", ""]] as const;
  assertEquals(
    text(encodeRequestHead({ method: "CONNECT", target: "h:443", headers })),
    "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nX-Obs: \xe9\t,\r\nEmpty: \r\n\r\n",
  );
  assertEquals(
    text(encodeResponseHead({ status: 426, reason: "", headers })),
    "HTTP/1.1 426 \r\nHost: h\r\nX-Obs: \xe9\t,\r\nEmpty: \r\n\r\n",
  );
  const parsed = feed(requestParser(), [encodeRequestHead({ method: "GET", target: "/", headers })]);
  assertEquals(parsed?.head.headers, headers);
});

test("ATK-15: nothing that ends a line or a head gets into one, and no value gets into an error", () => {
  for (const bad of ["\r", "\n", "\0", "\r\nX: y", "\x1b", "\x7f", "\u0100", "\u2028"]) {
    const value = `secret${bad}`;
    const errors = [
      assertThrows(() => encodeRequestHead({ method: "GET", target: "/", headers: [["A", value]] }), TypeError),
      assertThrows(() => encodeResponseHead({ status: 400, reason: "", headers: [["A", value]] }), TypeError),
      assertThrows(() => encodeResponseHead({ status: 400, reason: value, headers: [] }), TypeError),
      assertThrows(() => encodeRequestHead({ method: "GET", target: `/${value}`, headers: [] }), TypeError),
    ];
    for (const { message } of errors) assertFalse(message.includes("secret"), message);
    assertThrows(() => encodeRequestHead({ method: `GET${bad}`, target: "/", headers: [] }), TypeError);
    assertThrows(() => encodeRequestHead({ method: "GET", target: "/", headers: [[`A${bad}`, ""]] }), TypeError);
  }
  for (const target of ["", "/a b", "/\t"]) {
    assertThrows(() => encodeRequestHead({ method: "GET", target, headers: [] }), TypeError);
  }
  for (const name of ["", "A:", "A B", " A"]) {
    assertThrows(() => encodeRequestHead({ method: "GET", target: "/", headers: [[name, ""]] }), TypeError);
  }
  for (const status of [99, 1000, 200.5, NaN]) {
    assertThrows(() => encodeResponseHead({ status, reason: "", headers: [] }), TypeError);
  }
});

test("HTTP: whatever arrives, a head, an error, or more is wanted; and the cut makes no difference", () => {
  const source = random(seed());
  const seeds = [RESPONSE, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200\r\nA: b\r\nA: c\r\n\r\n\r\n"].map(latin1);
  const outcome = (parser: HeadParser<unknown>, pieces: Uint8Array[]): unknown => {
    try {
      return feed(parser, pieces) ?? "more";
    } catch (error) {
      assert(error instanceof TransportError, String(error));
      return error.message;
    }
  };
  for (let round = 0; round < 2_000; round++) {
    const bytes = new Uint8Array(source.pick(seeds));
    for (let i = source.int(4); i > 0; i--) {
      bytes[source.int(bytes.length)] = source.pick([0, 9, 10, 13, 32, 58, 44, 255, source.int(256)]);
    }
    for (const parser of [requestParser, responseParser] as const) {
      assertEquals(outcome(parser(), randomCut(bytes, source)), outcome(parser(), [bytes]));
    }
  }
});
