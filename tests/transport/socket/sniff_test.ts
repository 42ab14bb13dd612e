import { assertEquals } from "@std/assert";
import { type Opening, Sniffer } from "../../../src/transport/socket/sniff.ts";
import { test } from "../../harness.ts";
import { everyCut, hex, latin1 } from "../wire.ts";

const OPENINGS: ReadonlyArray<readonly [name: string, bytes: Uint8Array, opening: Opening]> = [
  ["a TLS 1.3 ClientHello", hex("16 03 01 02 00 01 00 01 fc 03 03"), "tls"],
  ["an SSL 2 hello", hex("80 2e 01 00 02"), "unknown"],
  ["a TLS record of another version", hex("16 02 01 00 05"), "unknown"],
  ["a TLS alert", hex("15 03 03 00 02"), "unknown"],
  ["an upgrade", latin1("GET /amqp HTTP/1.1\r\n"), "http"],
  ["another method", latin1("POST / HTTP/1.1\r\n"), "http"],
  ["a method that starts like AMQP", latin1("ACL /amqp HTTP/1.1\r\n"), "http"],
  ["a method that is nearly AMQP", latin1("AMQ / HTTP/1.1\r\n"), "http"],
  ["HTTP/2 without an upgrade", latin1("PRI * HTTP/2.0\r\n"), "http"],
  ["the SASL header", hex("41 4d 51 50 03 01 00 00"), "sasl"],
  ["the AMQP header", hex("41 4d 51 50 00 01 00 00"), "amqp"],
  ["the header of AMQP's own TLS", hex("41 4d 51 50 02 01 00 00"), "amqp"],
  ["the header of AMQP 0-9-1", hex("41 4d 51 50 00 00 09 01"), "amqp"],
  ["a WebSocket frame without a handshake", hex("82 85 01 02 03 04"), "unknown"],
  ["SSH", latin1("ssh-2.0"), "unknown"],
  ["MQTT", hex("10 0e 00 04 4d 51 54 54"), "unknown"],
  ["zeros", hex("00 00 00 00 00 00 00 00"), "unknown"],
];

test("sniffer: every opening is told from the others, at any cut, and stays what it is", () => {
  for (const [name, bytes, opening] of OPENINGS) {
    for (const pieces of everyCut(bytes)) {
      const sniffer = new Sniffer();
      const told = pieces.map((piece) => sniffer.receive(piece)).filter((one) => one !== undefined);
      assertEquals(told[0], opening, name);
    }
  }
});

test("sniffer: it decides on the first byte that decides", () => {
  const decided = OPENINGS.map(([, bytes]) => {
    const sniffer = new Sniffer();
    return bytes.findIndex((_, index) => sniffer.receive(bytes.subarray(index, index + 1)) !== undefined);
  });
  assertEquals(decided, [1, 0, 1, 0, 0, 0, 1, 3, 0, 4, 4, 4, 4, 0, 0, 0, 0]);
});

test("sniffer: nothing tells nothing", () => {
  const sniffer = new Sniffer();
  assertEquals(sniffer.receive(new Uint8Array(0)), undefined);
  assertEquals(sniffer.receive(latin1("AMQ")), undefined);
});
