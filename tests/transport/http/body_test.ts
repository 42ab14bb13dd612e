import { assert, assertEquals, assertThrows } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import type { HeaderField, ResponseHead } from "../../../src/transport/http/head.ts";
import { type BodyOptions, BodyReader, type BodyState, MAX_BODY_BYTES } from "../../../src/transport/http/body.ts";
import { random, seed, test } from "../../harness.ts";
import { everyCut, latin1, randomCut, text } from "../wire.ts";

function head(status: number, ...headers: HeaderField[]): ResponseHead {
  return { version: "HTTP/1.1", status, reason: "", headers };
}

const CHUNKED = head(407, ["Transfer-Encoding", "Chunked"]);

/** Feeds the pieces until the body is complete; `end` ends the connection behind them. */
function read(reader: BodyReader, pieces: Uint8Array[], end = false): [BodyState, body: string, surplus: string] {
  let next = 0;
  while (reader.state === "reading" && next < pieces.length) reader.receive(pieces[next++]!);
  if (end) reader.end();
  return [reader.state, text(reader.body), [reader.surplus, ...pieces.slice(next)].map(text).join("")];
}

function readAll(
  response: ResponseHead,
  input: string,
  options?: BodyOptions,
): [BodyState, body: string, surplus: string] {
  return read(new BodyReader(response, options), [latin1(input)]);
}

function refused(run: () => unknown): void {
  assertEquals(assertThrows(run, TransportError, "Cannot read HTTP: ").code, "protocol-violation");
}

test("PXY-4: a body with a length, wherever it is cut, with line ends inside and the next response behind", () => {
  for (const pieces of everyCut(latin1("12\r\n\r\n7HTTP/1.1"))) {
    assertEquals(read(new BodyReader(head(407, ["content-length", "7"])), pieces), [
      "complete",
      "12\r\n\r\n7",
      "HTTP/1.1",
    ]);
  }
  assertEquals(readAll(head(407, ["Content-Length", "0"]), ""), ["complete", "", ""]);
});

test("PXY-4: a chunked body, wherever it is cut, with extensions, trailer and the next response behind", () => {
  for (const pieces of everyCut(latin1('5\r\nHello\r\n00a ;x="y"\r\n, \r\nworld!\r\n0\r\nT: u\r\n\r\nHTTP/1.1'))) {
    assertEquals(read(new BodyReader(CHUNKED), pieces), ["complete", "Hello, \r\nworld!", "HTTP/1.1"]);
  }
  assertEquals(readAll(CHUNKED, "0\r\n\r\n"), ["complete", "", ""]);
});

test("PXY-4: a body without a length ends with the connection, others must not", () => {
  for (const pieces of everyCut(latin1("nothing but text"))) {
    assertEquals(read(new BodyReader(head(403)), pieces, true), ["complete", "nothing but text", ""]);
  }
  refused(() => read(new BodyReader(head(403, ["Content-Length", "3"])), [latin1("ab")], true));
  refused(() => read(new BodyReader(CHUNKED), [latin1("3\r\nab")], true));
  refused(() => read(new BodyReader(CHUNKED), [latin1("2\r\nab\r\n0\r\n")], true));
});

test("PXY-2: nothing follows 1xx, 204, 304, an answer to HEAD, or a tunnel, whatever the fields say", () => {
  const lies: HeaderField[] = [["Content-Length", "5"], ["Transfer-Encoding", "gzip"]];
  for (const status of [100, 199, 204, 304]) {
    assertEquals(new BodyReader(head(status, ...lies)).state, "complete");
  }
  assertEquals(new BodyReader(head(401, ...lies), { method: "HEAD" }).state, "complete");
  assertEquals(new BodyReader(head(200, ...lies), { method: "CONNECT" }).state, "complete");
  assertEquals(new BodyReader(head(407), { method: "CONNECT" }).state, "reading");
  assertEquals(new BodyReader(head(200), { method: "GET" }).state, "reading");
});

test("PXY-5: a body over the cap is cut there and says so, however it is framed", () => {
  assertEquals(MAX_BODY_BYTES, 8_192);
  const long = "x".repeat(MAX_BODY_BYTES + 1);
  const kept = "x".repeat(MAX_BODY_BYTES);
  assertEquals(readAll(head(400), long), ["truncated", kept, ""]);
  assertEquals(readAll(head(400, ["Content-Length", "9000000000"]), long), ["truncated", kept, ""]);
  assertEquals(readAll(head(400, ["Content-Length", `${long.length}`]), long), ["truncated", kept, ""]);
  assertEquals(readAll(CHUNKED, `fffffff\r\n${long}`), ["truncated", kept, ""]);
  assertEquals(readAll(CHUNKED, `3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`, { maxBodyBytes: 4 }), ["truncated", "abcd", ""]);
  assertEquals(readAll(head(400, ["Content-Length", "4"]), "abcd", { maxBodyBytes: 4 }), ["complete", "abcd", ""]);
});

test("ATK-16: two lengths, a length beside chunks, and lengths and codings that are none are refused", () => {
  for (
    const headers of [
      [["Content-Length", "5"], ["Content-Length", "5"]],
      [["Content-Length", "5"], ["content-length", "6"]],
      [["Content-Length", "5, 5"]],
      [["Content-Length", ""]],
      [["Content-Length", "-1"]],
      [["Content-Length", "+1"]],
      [["Content-Length", "0x10"]],
      [["Content-Length", "1e3"]],
      [["Content-Length", "9999999999999999"]],
      [["Content-Length", "5"], ["Transfer-Encoding", "chunked"]],
      [["Transfer-Encoding", "gzip, chunked"]],
      [["Transfer-Encoding", "chunked, chunked"]],
      [["Transfer-Encoding", "chunked"], ["Transfer-Encoding", "chunked"]],
      [["Transfer-Encoding", "identity"]],
      [["Transfer-Encoding", ""]],
    ] as HeaderField[][]
  ) refused(() => new BodyReader(head(400, ...headers)));
});

test("ATK-16: chunks that cannot be told apart are refused", () => {
  for (
    const input of [
      "\r\n",
      "g\r\n",
      "0x5\r\n",
      "-5\r\n",
      " 5\r\n",
      "5 5\r\n",
      "5\nHello",
      "5\xa0\r\n",
      "20000000000000\r\n",
      "2\r\nabc\r\n",
      "2\r\nab\n",
      "2\r\nab0\r\n\r\n",
      "0\r\nno colon\r\n\r\n",
      "0\r\n folded: x\r\n\r\n",
      `5;${"x".repeat(9_000)}`,
      `0\r\n${"A: b\r\n".repeat(3_000)}`,
      // Extensions are not kept, and count: 64 KiB of chunks of a byte each could otherwise cost 512 MiB.
      `1;${"x".repeat(8_000)}\r\na\r\n`.repeat(3),
      `1;x=y\r\na\r\n`.repeat(5_000),
    ]
  ) refused(() => readAll(CHUNKED, input));
});

test("HTTP: whatever arrives, a body reader ends, wants more or refuses, keeps at most its cap, and the cut is no matter", () => {
  const source = random(seed());
  const alphabet = latin1("0123456789abcdefABCDEF;\r\n: x");
  const outcome = (response: ResponseHead, pieces: Uint8Array[]): unknown => {
    const reader = new BodyReader(response, { maxBodyBytes: 20 });
    try {
      const [state, body, surplus] = read(reader, pieces);
      assert(body.length <= 20);
      // The surplus behind the cap does not matter.
      return state === "truncated" ? [state, body] : [state, body, surplus];
    } catch (error) {
      assert(error instanceof TransportError, String(error));
      return error.message;
    }
  };
  for (let round = 0; round < 2_000; round++) {
    const valid = latin1("3\r\nabc\r\n1;x\r\nd\r\n0\r\nA: b\r\n\r\nrest");
    const bytes = source.int(2) === 0 ? valid : Uint8Array.from({ length: 30 }, () => source.pick([...alphabet]));
    for (let i = source.int(3); i > 0; i--) bytes[source.int(bytes.length)] = source.pick([...alphabet]);
    const response = source.pick([CHUNKED, head(400), head(400, ["Content-Length", `${source.int(40)}`])]);
    assertEquals(outcome(response, randomCut(bytes, source)), outcome(response, [bytes]));
  }
});
