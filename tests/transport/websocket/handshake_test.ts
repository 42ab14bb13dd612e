import { assert, assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { decodeBase64 } from "@std/encoding";
import { TransportError } from "../../../src/base/errors.ts";
import { type HeaderField, type RequestHead, requestParser } from "../../../src/transport/http/head.ts";
import { type EndpointEvent, WebSocketEndpoint } from "../../../src/transport/websocket/rfc6455.ts";
import { acceptKey, prepareUpgrade, type PrepareUpgradeOptions } from "../../../src/transport/websocket/handshake.ts";
import {
  checkUpgrade,
  encodeRefusal,
  encodeUpgraded,
  ServerUpgrade,
  type UpgradePolicy,
} from "../../../src/transport/websocket/upgrade.ts";
import { random, seed, test } from "../../harness.ts";
import { closeOf, flush } from "../endpoints.ts";
import { everyCut, latin1, text } from "../wire.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** A client's request for this URL and these options. */
async function requested(url: string, options: Partial<PrepareUpgradeOptions> = {}): Promise<RequestHead> {
  const { request } = await prepareUpgrade({ url: new URL(url), crypto, ...options });
  const parser = requestParser();
  const head = parser.receive(request);
  assert(head !== undefined && parser.surplus.length === 0);
  return head;
}

function client(subprotocols: string[] = ["amqp"]): WebSocketEndpoint {
  const handshake = { request: latin1("request"), accept: ACCEPT, subprotocols, label: "ws://broker.example/" };
  return new WebSocketEndpoint({ role: "client", handshake, random: crypto, now: 0 });
}

const UPGRADED = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${ACCEPT}`];
const AMQP = "Sec-WebSocket-Protocol: amqp";

/** A client's events for a 101 with these fields. */
function upgraded(fields: string[], subprotocols?: string[]): EndpointEvent[] {
  return client(subprotocols).receive(latin1(`HTTP/1.1 101 x\r\n${fields.join("\r\n")}\r\n\r\n`), 0);
}

function failure(events: EndpointEvent[]): TransportError {
  const { code, reason, error } = closeOf(events);
  assertEquals([code, reason], [1006, ""]);
  assert(error !== undefined);
  return error;
}

const REQUEST: readonly HeaderField[] = [
  ["Host", "broker.example"],
  ["Upgrade", "websocket"],
  ["Connection", "keep-alive, Upgrade"],
  ["Sec-WebSocket-Key", KEY],
  ["Sec-WebSocket-Version", "13"],
  ["Sec-WebSocket-Protocol", "mqtt, amqp"],
];
const POLICY: UpgradePolicy = { subprotocols: ["amqp"], origins: [] };

/** The request without some fields and with others. */
function ask(without: string[], added: HeaderField[] = [], head: Partial<RequestHead> = {}): RequestHead {
  const headers = REQUEST.filter(([name]) => !without.includes(name.toLowerCase()));
  return { method: "GET", target: "/", version: "HTTP/1.1", headers: [...headers, ...added], ...head };
}

function refused(head: RequestHead, policy: UpgradePolicy = POLICY): TransportError {
  return assertThrows(() => checkUpgrade(head, policy), TransportError, "Cannot accept WebSocket: ");
}

test("WS-1 and WSB-10: the request of a client, which offers no extension", async () => {
  const { method, target, version, headers } = await requested("wss://broker.example/$servicebus/websocket?a=%20b&c", {
    subprotocols: ["amqp", "AMQPWSB10"],
  });
  assertEquals([method, target, version], ["GET", "/$servicebus/websocket?a=%20b&c", "HTTP/1.1"]);
  const [, , , key] = headers;
  assertEquals(headers, [
    ["Host", "broker.example"],
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Key", key![1]],
    ["Sec-WebSocket-Version", "13"],
    ["Sec-WebSocket-Protocol", "amqp, AMQPWSB10"],
  ]);
  assertEquals(decodeBase64(key![1]).length, 16);
});

test("WS-1: host and path come from the URL, its port only if it is not the default, user and fragment never", async () => {
  const cases = [
    ["ws://h", "h", "/"],
    ["ws://h:80/x", "h", "/x"],
    ["wss://h:443/", "h", "/"],
    ["ws://h:443", "h:443", "/"],
    ["wss://H:5671/a?b", "h:5671", "/a?b"],
    ["ws://[::1]:8080/$x", "[::1]:8080", "/$x"],
    ["wss://user:secret@h/#fragment", "h", "/"],
    ["ws://h/a b\r\n", "h", "/a%20b"],
    ["ws://bücher.example/ü?ü", "xn--bcher-kva.example", "/%C3%BC?%C3%BC"],
  ] as const;
  for (const [url, host, target] of cases) {
    const head = await requested(url);
    assertEquals([head.headers[0], head.target], [["Host", host], target]);
    assertFalse(JSON.stringify(head).includes("secret"));
  }
});

test("WS-1 and ATK-19: the key is fresh each time and comes from the source that was handed in", async () => {
  const asked: number[] = [];
  const fixed = {
    getRandomValues(array: Uint8Array): void {
      asked.push(array.length);
      array.set(latin1("the sample nonce"));
    },
    subtle: crypto.subtle,
  };
  const handshake = await prepareUpgrade({ url: new URL("ws://h"), crypto: fixed });
  assert(text(handshake.request).includes(`\r\nSec-WebSocket-Key: ${KEY}\r\n`));
  assertEquals([handshake.accept, asked], [ACCEPT, [16]]);
  const keys = new Set<string>();
  for (let i = 0; i < 50; i++) keys.add((await requested("ws://h")).headers[3]![1]);
  assertEquals(keys.size, 50);
});

test("WS-2: there is an Origin only when it was asked for", async () => {
  const plain = await requested("ws://h");
  assertFalse(plain.headers.some(([name]) => name.toLowerCase() === "origin"));
  const asked = await requested("ws://h", { headers: [["Origin", "https://app.example"]] });
  assertEquals(asked.headers.at(-1), ["Origin", "https://app.example"]);
});

test("WS-3 and ATK-15: header fields and subprotocols are checked, and the handshake's own may not be set", async () => {
  const handshake = (options: Partial<PrepareUpgradeOptions>) => requested("ws://h", options);
  for (const value of ["a\r\nX: y", "a\n", "a\r", "a\0"]) {
    const error = await assertRejects(() => handshake({ headers: [["Authorization", `secret${value}`]] }), TypeError);
    assertFalse(error.message.includes("secret"));
    await assertRejects(() => handshake({ subprotocols: [value] }), TypeError);
    await assertRejects(() => handshake({ headers: [[value, "x"]] }), TypeError);
  }
  for (
    const name of [
      "Host",
      "UPGRADE",
      "connection",
      "Sec-WebSocket-Key",
      "sec-websocket-extensions",
      "Sec-WebSocket-Protocol",
      "Content-Length",
      "Transfer-Encoding",
    ]
  ) {
    await assertRejects(() => handshake({ headers: [[name, "x"]] }), TypeError, "belongs to the handshake");
    assertThrows(() => encodeUpgraded(ACCEPT, "", [[name, "x"]]), TypeError, "belongs to the handshake");
  }
  for (const names of [["a,b"], ["a b"], [""], ["amqp", "amqp"]]) {
    await assertRejects(() => handshake({ subprotocols: names }), TypeError);
  }
});

test("WS-4 to WS-7: a response that opens, at every cut, with the first frames right behind it", () => {
  const response = `HTTP/1.1 101\r\nupgrade:WebSocket\r\nCONNECTION: x ,UPGRADE\r\n` +
    `sec-websocket-accept:  ${ACCEPT}\t\r\nsec-websocket-protocol: amqp\r\n\r\n\x82\x04AMQP`;
  for (const pieces of everyCut(latin1(response))) {
    const endpoint = client();
    const [open, ...rest] = pieces.flatMap((piece) => endpoint.receive(piece, 0));
    assert(open?.kind === "open");
    assertEquals([open.subprotocol, open.headers.length, endpoint.state], ["amqp", 4, "open"]);
    const bytes = rest.map((event) => event.kind === "bytes" ? text(event.bytes) : event.kind).join("");
    assertEquals(bytes, "AMQP");
  }
});

test("WS-4: an HTTP/1.0 response opens nothing", () => {
  const events = client().receive(latin1(`HTTP/1.0 101 x\r\n${UPGRADED.join("\r\n")}\r\n${AMQP}\r\n\r\n`), 0);
  assertEquals(failure(events).code, "handshake-failed");
});

test("WS-5: upgrade and connection have to be there", () => {
  const [upgrade, connection, accept] = UPGRADED as [string, string, string];
  for (
    const fields of [
      [connection, accept],
      [upgrade, accept],
      ["Upgrade: websocket2", connection, accept],
      ["Upgrade: h2c, websocket", connection, accept],
      [upgrade, upgrade, connection, accept],
      [upgrade, "Connection: keep-alive", accept],
      [upgrade, "Connection: not-upgrade", accept],
    ]
  ) assertEquals(failure(upgraded([...fields, AMQP])).code, "handshake-failed", fields.join());
  const repeated = [upgrade, "Connection: keep-alive", "connection: uPGRADE", accept, AMQP];
  assertEquals(upgraded(repeated)[0]?.kind, "open");
});

test("WS-6: the accept value is the one of the key, and there is only one", async () => {
  assertEquals(await acceptKey(KEY, crypto.subtle), ACCEPT);
  const [upgrade, connection, accept] = UPGRADED as [string, string, string];
  for (
    const fields of [
      [],
      [accept, accept],
      ["Sec-WebSocket-Accept:"],
      [`Sec-WebSocket-Accept: ${ACCEPT.toLowerCase()}`],
      [`Sec-WebSocket-Accept: ${ACCEPT.slice(0, -1)}`],
      [`Sec-WebSocket-Accept: x${ACCEPT}`],
      [`Sec-WebSocket-Accept: ${ACCEPT}, ${ACCEPT}`],
    ]
  ) assertEquals(failure(upgraded([upgrade, connection, AMQP, ...fields])).code, "handshake-failed", fields.join());
});

test("WS-7, WSB-4 and WSB-10: an extension or subprotocol that was not offered fails, and so does none or two", () => {
  const extension = upgraded([...UPGRADED, AMQP, "Sec-WebSocket-Extensions: permessage-deflate"]);
  assertEquals(failure(extension).code, "handshake-failed");
  for (
    const fields of [
      [],
      ["Sec-WebSocket-Protocol:"],
      ["Sec-WebSocket-Protocol: mqtt"],
      ["Sec-WebSocket-Protocol: AMQP"],
      ["Sec-WebSocket-Protocol: mqtt-amqp"],
      ["Sec-WebSocket-Protocol: amqp, amqp"],
      ["Sec-WebSocket-Protocol: amqp, AMQPWSB10"],
      [AMQP, AMQP],
      [`Sec-WebSocket-Protocol: "${"x".repeat(5_000)}"`],
    ]
  ) {
    const error = failure(upgraded([...UPGRADED, ...fields], ["amqp", "AMQPWSB10"]));
    assertEquals(error.code, "subprotocol-mismatch", fields.join());
    assert(error.message.length < 300);
  }
  assertEquals(failure(upgraded([...UPGRADED, AMQP], [])).code, "subprotocol-mismatch");
  const [none] = upgraded(UPGRADED, []);
  assert(none?.kind === "open" && none.subprotocol === "");
});

test("WSB-4: after a failed handshake nothing more is sent or read", () => {
  const endpoint = client();
  flush(endpoint);
  const events = endpoint.receive(latin1(`HTTP/1.1 101 x\r\n${UPGRADED.join("\r\n")}\r\n\r\n\x82\x01A`), 0);
  assertEquals([events.length, endpoint.state, endpoint.nextTimeout()], [1, "closed", undefined]);
  endpoint.sendBinary(latin1("AMQP"));
  endpoint.close(0);
  assertEquals(flush(endpoint).length, 0);
  assertEquals([...endpoint.receive(latin1("\x82\x01A"), 0), ...endpoint.end(), ...endpoint.tick(1e9)], []);
});

test("WS-9: an answer that is no HTTP is told with the URL, and what speaks there instead", () => {
  const speakers: [string, string][] = [
    ["AMQP\0\x01\0\0", 'server speaks AMQP without WebSocket, "amqp:" is meant'],
    ["\x15\x03\x03\0\x02\x02P", 'server speaks TLS, "wss:" is meant'],
    ["SSH-2.0-x\r\n", 'status line is "SSH-2.0-x"'],
  ];
  for (const [answer, who] of speakers) {
    const endpoint = client();
    flush(endpoint);
    const { code, message, retryable } = failure(endpoint.receive(latin1(answer), 0));
    // What is known to be another protocol does not pass.
    assertEquals([code, retryable], ["protocol-violation", !who.startsWith("server speaks")]);
    assert(message.startsWith('Cannot open WebSocket to "ws') && message.endsWith(who), message);
  }
});

test("WS-8: a refusal tells status, headers and the beginning of the body, however it is framed and cut", () => {
  const body = "Too\r\nmany";
  const cases: [head: string, body: string, ends: boolean][] = [
    ["Content-Length: 9\r\n", body, false],
    ["Transfer-Encoding: chunked\r\n", "3\r\nToo\r\n6\r\n\r\nmany\r\n0\r\n\r\n", false],
    ["", body, true],
    ["Content-Length: 20\r\n", body, true],
  ];
  for (const [fields, content, ends] of cases) {
    for (const pieces of everyCut(latin1(`HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n${fields}\r\n${content}`))) {
      const endpoint = client();
      const events = pieces.flatMap((piece) => endpoint.receive(piece, 0));
      if (ends) {
        assertEquals(events, []);
        events.push(...endpoint.end());
      }
      const error = failure(events);
      assertEquals([error.code, error.status, error.headers?.[0]], ["handshake-failed", 429, ["Retry-After", "7"]]);
      const start = 'Cannot open WebSocket to "ws://broker.example/": status is 429, server says "Too';
      assertEquals(error.message.startsWith(start), true, error.message);
      assertEquals(text(failure(events).body!), body);
      assertEquals(endpoint.state, "closed");
    }
  }
});

test("WS-8: the status is told even if the body is endless, late, missing or nonsense; a redirect is not followed", () => {
  const endless = client();
  assertEquals(endless.receive(latin1("HTTP/1.1 503 x\r\n\r\n"), 0), []);
  const events = endless.receive(new Uint8Array(1_000_000), 0);
  assertEquals([failure(events).status, failure(events).body?.length], [503, 8_192]);

  const late = client();
  late.receive(latin1("HTTP/1.1 401 x\r\nContent-Length: 5\r\n\r\nab"), 0);
  // Two seconds at most, however the rest drips.
  assertEquals([late.nextTimeout(), late.receive(latin1("c"), 1_500), late.nextTimeout()], [2_000, [], 2_000]);
  const expired = late.tick(late.nextTimeout()!);
  assertEquals([failure(expired).status, text(failure(expired).body!)], [401, "abc"]);

  for (const fields of ["Content-Length: x", "Transfer-Encoding: gzip", "Content-Length: 0"]) {
    const events = client().receive(latin1(`HTTP/1.1 404 x\r\n${fields}\r\n\r\n`), 0);
    assertEquals([failure(events).status, failure(events).body], [404, undefined]);
  }

  const moved = failure(client().receive(latin1("HTTP/1.1 302 x\r\nLocation: ws://o\r\nContent-Length: 0\r\n\r\n"), 0));
  assertEquals([moved.status, moved.headers?.[0]], [302, ["Location", "ws://o"]]);
});

test("WS-8: interim responses are skipped", () => {
  const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\n";
  for (const pieces of everyCut(latin1(`${interim}HTTP/1.1 101\r\n${UPGRADED.join("\r\n")}\r\n${AMQP}\r\n\r\n`))) {
    const endpoint = client();
    assertEquals(pieces.flatMap((piece) => endpoint.receive(piece, 0)).map(({ kind }) => kind), ["open"]);
  }
});

test("WS-9: a response over the limits, or one that is no HTTP, fails; and so does none in time", () => {
  const many = upgraded([...UPGRADED, AMQP, ...Array.from({ length: 100 }, () => "A: b")]);
  const long = upgraded([...UPGRADED, AMQP, `A: ${"b".repeat(9_000)}`]);
  const other = client().receive(latin1("SSH-2.0-OpenSSH_9.2\r\n"), 0);
  for (const events of [many, long, other]) assertEquals(failure(events).code, "protocol-violation");

  const silent = client();
  assertEquals([silent.nextTimeout(), silent.tick(19_999)], [20_000, []]);
  assertEquals(failure(silent.tick(20_000)).code, "timeout");
  assertEquals(failure(client().end()).code, "connection-lost");
});

test("WS-11: what a server wants of a request", () => {
  const head = ask([]);
  assertEquals(checkUpgrade(head, POLICY), { head, key: KEY, subprotocol: "amqp" });
  const wrong: RequestHead[] = [
    ask([], [], { version: "HTTP/1.0" }),
    ask(["host"]),
    ask([], [["host", "other"]]),
    ask(["connection"]),
    ask(["connection"], [["Connection", "keep-alive"]]),
    ask(["sec-websocket-key"]),
    ask([], [["Sec-WebSocket-Key", KEY]]),
    ask(["sec-websocket-key"], [["Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"]]),
    ask(["sec-websocket-key"], [["Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="]]),
    ask(["sec-websocket-key"], [["Sec-WebSocket-Key", `${KEY}, ${KEY}`]]),
    ask(["sec-websocket-version"]),
    ask([], [["Content-Length", "1"]]),
    ask([], [["Transfer-Encoding", "chunked"]]),
  ];
  for (const head of wrong) assertEquals(refused(head).status, 400, JSON.stringify(head));
  for (const method of ["POST", "get"]) {
    const error = refused(ask([], [], { method }));
    assertEquals([error.status, error.headers], [405, [["Allow", "GET"]]]);
  }
  for (const extra of [[], [["Upgrade", "h2c"] as const]]) {
    const error = refused(ask(["upgrade"], extra));
    assertEquals([error.status, error.headers], [426, [["Upgrade", "websocket"]]]);
  }
  checkUpgrade(ask(["upgrade"], [["Upgrade", "h2c, WebSocket"], ["Content-Length", "0"]]), POLICY);
});

test("WS-12: another version is answered with 426 and the one that is spoken", () => {
  for (const version of ["8", "12", "14", "013", "13, 8", "13, 13", ""]) {
    const error = refused(ask(["sec-websocket-version"], [["Sec-WebSocket-Version", version]]));
    assertEquals([error.status, error.headers], [426, [["Upgrade", "websocket"], ["Sec-WebSocket-Version", "13"]]]);
  }
});

test("WS-13: an origin has to be on the list, and no origin is none", () => {
  const listed: UpgradePolicy = { subprotocols: ["amqp"], origins: ["https://app.example"] };
  const from = (...origins: string[]) => ask([], origins.map((origin) => ["Origin", origin] as const));
  for (
    const origin of [
      "https://app.example.evil",
      "http://app.example",
      "https://app.example:444",
      "null",
      "",
      "https://APP.example",
    ]
  ) assertEquals(refused(from(origin), listed).status, 403);
  assertEquals(refused(from("https://app.example", "https://evil.example"), listed).status, 403);
  assertEquals(refused(from("https://app.example")).status, 403);
  checkUpgrade(from("https://app.example"), listed);
  checkUpgrade(from(), listed);
  checkUpgrade(from("https://any.example"), { ...listed, origins: "any" });
});

test("WSB-8 and WSB-9: the server's first choice among those offered; none is refused with 400", () => {
  const offer = (...values: string[]) =>
    ask(["sec-websocket-protocol"], values.map((value) => ["Sec-WebSocket-Protocol", value] as const));
  const both = { subprotocols: ["amqp", "AMQPWSB10"], origins: [] };
  assertEquals(checkUpgrade(offer("AMQPWSB10,amqp"), both).subprotocol, "amqp");
  assertEquals(checkUpgrade(offer("x", "AMQPWSB10"), both).subprotocol, "AMQPWSB10");
  for (const offers of [[], ["mqtt"], ["mqtt-amqp"], ["AMQP"], [","]]) {
    const error = refused(offer(...offers));
    assertEquals([error.code, error.status], ["subprotocol-mismatch", 400]);
  }
  assertEquals(refused(offer('amqp, "x"')).status, 400);
  assertEquals(refused(offer("amqp x")).status, 400);
  assertEquals(checkUpgrade(offer("x"), { subprotocols: [], origins: [] }).subprotocol, "");
});

/** A server's endpoint that has received a good request. */
function asked(added: HeaderField[] = []): { server: WebSocketEndpoint; events: EndpointEvent[] } {
  const server = new WebSocketEndpoint({ role: "server", upgrade: new ServerUpgrade(POLICY), now: 0 });
  const fields = [...REQUEST, ...added].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return { server, events: server.receive(latin1(`GET /$x HTTP/1.1\r\n${fields}\r\n`), 0) };
}

test("WS-14: whoever accepts decides before the answer, with 401 or 403", () => {
  const { server, events: [event] } = asked();
  assert(event?.kind === "request");
  assertEquals([event.request.head.target, event.request.key, server.state], ["/$x", KEY, "connecting"]);
  assertEquals(flush(server).length, 0);
  server.refuse(0, 401, [["WWW-Authenticate", 'Basic realm="x"']]);
  assertEquals(
    text(flush(server)),
    "HTTP/1.1 401 \r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 24\r\n" +
      'WWW-Authenticate: Basic realm="x"\r\n\r\nRefused with status 401\n',
  );
  assertEquals([server.state, server.outputEnded], ["ending", true]);
  assertEquals([...server.receive(latin1("more"), 1), ...server.end()], []);
  assertEquals(server.state, "closed");
});

test("WS-14: an answer that comes when the client has gone does nothing, one without a request is a mistake", () => {
  const { server } = asked();
  assertEquals(closeOf(server.end()).error?.code, "connection-lost");
  server.accept(ACCEPT);
  server.refuse(0, 403);
  assertEquals([flush(server).length, server.state], [0, "closed"]);
  const fresh = new WebSocketEndpoint({ role: "server", upgrade: new ServerUpgrade(POLICY), now: 0 });
  assertThrows(() => fresh.accept(ACCEPT), TypeError);
  assertThrows(() => fresh.refuse(0, 400), TypeError);
  assertThrows(() => client().accept(ACCEPT), TypeError);
});

test("WS-15 and WSB-10: the answer that opens, without extensions, though one was offered", () => {
  const { server } = asked([["Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"]]);
  server.accept(ACCEPT, [["X-Trace", "1"]]);
  assertEquals(
    text(flush(server)),
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${ACCEPT}\r\nSec-WebSocket-Protocol: amqp\r\nX-Trace: 1\r\n\r\n`,
  );
  assertEquals([server.state, server.nextTimeout()], ["open", undefined]);
  assertFalse(text(encodeUpgraded(ACCEPT, "")).includes("Protocol:"));
});

test("WS-16: an offer of eight KiB of blanks and commas is read in linear time", () => {
  const offer = `a${" ".repeat(4_000)}b${",".repeat(4_000)}`;
  assertEquals(refused(ask(["sec-websocket-protocol"], [["Sec-WebSocket-Protocol", offer]])).status, 400);
});

test("WS-17 and ATK-16: a request over the limits or with smuggled lines gets a clean 400 that repeats nothing of it", () => {
  const base = `GET / HTTP/1.1\r\n${REQUEST.map(([name, value]) => `${name}: ${value}\r\n`).join("")}`;
  for (
    const request of [
      `${base}${"A: evil\r\n".repeat(2_000)}\r\n`,
      `${base}A: ${"evil".repeat(5_000)}\r\n\r\n`,
      `${base}A: b\nevil: c\r\n\r\n`,
      `${base}A: b\r\n evil\r\n\r\n`,
      `${base}A : evil\r\n\r\n`,
      `GET /evil\r\n\r\n`,
      `GET / HTTP/1.1\r\nevil\r\n\r\n`,
      `${base}Content-Length: 4\r\n\r\nevil`,
      `${base}\r\nGET /evil HTTP/1.1\r\n`,
    ]
  ) {
    const server = new WebSocketEndpoint({ role: "server", upgrade: new ServerUpgrade(POLICY), now: 0 });
    const events = server.receive(latin1(request), 0);
    assertEquals(events.map(({ kind }) => kind), ["close"]);
    const answer = text(flush(server));
    assert(answer.startsWith("HTTP/1.1 400 \r\nConnection: close\r\n"), answer);
    assertFalse(answer.includes("evil"), answer);
    assertEquals(answer.split("\r\n\r\n").length, 2);
    assertEquals([server.state, server.outputEnded, server.bufferedAmount], ["ending", true, 0]);
  }
});

test("WS-17: bytes between the request and its answer are refused", () => {
  const { server } = asked();
  assertEquals(closeOf(server.receive(latin1("\x82"), 0)).error?.status, 400);
  assert(text(flush(server)).startsWith("HTTP/1.1 400 "));
  server.accept(ACCEPT);
  assertEquals([flush(server).length, server.state], [0, "ending"]);
});

test("ATK-15: an answer cannot be split by what goes into it", () => {
  for (const value of ["x\r\n\r\nHTTP/1.1 200 OK", "x\n", "\0"]) {
    assertThrows(() => encodeRefusal(401, "", [["WWW-Authenticate", value]]), TypeError);
    assertThrows(() => encodeUpgraded(value, "amqp"), TypeError);
    assertThrows(() => encodeUpgraded(ACCEPT, value), TypeError);
  }
  for (const name of ["Content-Length", "Transfer-Encoding", "Connection"]) {
    assertThrows(() => encodeRefusal(401, "", [[name, "0"]]), TypeError, "belongs to the handshake");
  }
  const splitting = text(encodeRefusal(400, "é\r\n\r\nHTTP/1.1 200 OK\r\n"));
  assert(splitting.includes("\r\nContent-Length: 23\r\n"));
});

test("ATK-16: slow heads run into the time limit, on both sides", () => {
  const server = new WebSocketEndpoint({
    role: "server",
    upgrade: new ServerUpgrade(POLICY),
    now: 1_000,
    limits: { handshakeTimeoutMs: 500 },
  });
  for (let now = 1_000; now < 1_500; now += 100) assertEquals(server.receive(latin1("G"), now), []);
  assertEquals(server.nextTimeout(), 1_500);
  assertEquals(closeOf(server.tick(1_500)).error?.code, "timeout");
  assertEquals([server.state, flush(server).length], ["closed", 0]);
});

test("handshake: whatever arrives, it opens, waits, or ends in one close; the cut makes no difference", () => {
  const source = random(seed());
  const good = {
    client: latin1(`HTTP/1.1 101 x\r\n${[...UPGRADED, AMQP].join("\r\n")}\r\n\r\n\x82\x01A`),
    server: latin1(`GET / HTTP/1.1\r\n${REQUEST.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`),
  };
  const outcome = (role: "client" | "server", pieces: Uint8Array[]): unknown => {
    const endpoint = role === "client"
      ? client()
      : new WebSocketEndpoint({ role, upgrade: new ServerUpgrade(POLICY), now: 0 });
    const events = pieces.flatMap((piece) => endpoint.receive(piece, 0));
    const closes = events.filter(({ kind }) => kind === "close");
    assert(closes.length <= 1 && (closes.length === 0 || events.at(-1) === closes[0]));
    const kinds = events.map((event) => event.kind === "close" ? [event.code, event.error?.message] : event.kind);
    return [endpoint.state, kinds];
  };
  for (let round = 0; round < 2_000; round++) {
    const role = source.pick(["client", "server"] as const);
    const bytes = Uint8Array.from(good[role]);
    for (let i = source.int(3); i > 0; i--) bytes[source.int(bytes.length)] = source.int(256);
    // In two pieces only: bytes behind a request have to come with it, or the server is already waiting for its own answer.
    const at = source.int(bytes.length);
    const cut = [Uint8Array.from(bytes.subarray(0, at)), Uint8Array.from(bytes.subarray(at))];
    assertEquals(outcome(role, cut), outcome(role, [bytes]));
  }
});
