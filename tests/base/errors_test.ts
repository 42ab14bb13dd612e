import { assertEquals } from "@std/assert";
import { inspect } from "node:util";
import { AmqpError, TransportError, type TransportErrorCode } from "../../src/base/errors.ts";
import { test } from "../harness.ts";

test("trouble of the transport is retryable where waiting may help: not for what was refused", () => {
  const retryable = (code: TransportErrorCode, status?: number): boolean =>
    new TransportError(code, "Cannot connect", status === undefined ? {} : { status }).retryable;
  const passing: TransportErrorCode[] = [
    "connect-failed",
    "connection-lost",
    "timeout",
    "handshake-failed",
    "proxy-failed",
  ];
  for (const code of passing) assertEquals(retryable(code), true, code);
  const standing: TransportErrorCode[] = ["subprotocol-mismatch", "not-supported", "proxy-authentication-failed"];
  for (const code of standing) assertEquals(retryable(code), false, code);
  for (const status of [408, 429, 500, 502, 503, 504]) assertEquals(retryable("handshake-failed", status), true);
  for (const status of [200, 301, 400, 401, 403, 404, 426, 501, 505]) {
    assertEquals(retryable("handshake-failed", status), false, `${status}`);
  }
  assertEquals(new TransportError("timeout", "Cannot connect", { retryable: false }).retryable, false);
});

test("ATK-14: a printed error shows neither headers nor body of the answer, which may repeat the request's secrets", () => {
  const error = new TransportError("handshake-failed", "Cannot open WebSocket", {
    status: 302,
    headers: [["Location", "https://broker.example/?token=secret"]],
    body: new TextEncoder().encode("secret"),
  });
  assertEquals([error.headers?.[0]?.[0], error.body?.length, error.status], ["Location", 6, 302]);
  for (const printed of [inspect(error), JSON.stringify(error)]) {
    assertEquals([printed.includes("secret"), /body|headers/.test(printed)], [false, false], printed);
  }
});

test("Azure's conditions of load and time are retryable, its refusals are not", () => {
  const retryable = (name: string): boolean => new AmqpError(`com.microsoft:${name}`, "Cannot send").retryable;
  for (const name of ["server-busy", "timeout", "operation-cancelled"]) assertEquals(retryable(name), true, name);
  for (const name of ["message-lock-lost", "session-lock-lost", "entity-disabled", "argument-error"]) {
    assertEquals(retryable(name), false, name);
  }
});
