import { assert, assertEquals } from "@std/assert";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import {
  INITIAL_DELAY_MS,
  isPassing,
  isRefusedLogin,
  MAX_DELAY_MS,
  MAX_RETRY_AFTER_MS,
  mayReturn,
  Retry,
} from "../../src/recovery/retry.ts";
import { test } from "../harness.ts";

test("delays double up to their bound, full jitter takes any part of them", () => {
  const retry = new Retry({});
  retry.lost(0, undefined);
  const bounds = Array.from({ length: 10 }, () => retry.next(0, 1));
  assertEquals(bounds.slice(0, 4), [
    INITIAL_DELAY_MS,
    2 * INITIAL_DELAY_MS,
    4 * INITIAL_DELAY_MS,
    8 * INITIAL_DELAY_MS,
  ]);
  assertEquals(bounds.at(-1), MAX_DELAY_MS);
  assertEquals(retry.next(0, 0), 0);
  assertEquals(retry.next(0, 0.5), MAX_DELAY_MS / 2);
  const two = new Retry({ initialDelayMs: 10 }, 2);
  assertEquals([1, 1, 1, 1].map((chance) => two.next(0, chance)), [10, 10, 20, 20]);
});

test("a server that asks for time gets it beside the delay, within limits, and not where there is another server", () => {
  const busy = (after: string): TransportError =>
    new TransportError("handshake-failed", "Cannot open", {
      status: 503,
      headers: [["Date", "Wed, 21 Oct 2026 07:28:00 GMT"], ["Retry-After", after]],
    });
  const next = (seconds: string, options = {}, width = 1): number | undefined =>
    new Retry({ initialDelayMs: 100, ...options }, width).next(0, 0.5, busy(seconds));
  assertEquals(next("2"), 2_050);
  for (const none of ["0", "-1", "soon", "Wed, 21 Oct 2026 07:27:00 GMT"]) assertEquals(next(none), 50);
  // A date counts from the date of the response.
  assertEquals(next("Wed, 21 Oct 2026 07:28:07 GMT"), 7_050);
  assertEquals(next("Thu, 22 Oct 2026 07:28:00 GMT"), MAX_RETRY_AFTER_MS + 50);
  const undated = new TransportError("handshake-failed", "x", { headers: [["retry-after", new Date().toUTCString()]] });
  assertEquals(undated.retryAfterMs, undefined);
  assertEquals(next("99999999999"), MAX_RETRY_AFTER_MS + 50);
  assertEquals(next("2", { timeoutMs: 1_000 }), 1_000);
  assertEquals(next("2", {}, 2), 50);
});

test("a first delay of 0 stays 0 however many attempts follow", () => {
  const retry = new Retry({ initialDelayMs: 0 });
  retry.lost(0, undefined);
  for (let i = 0; i < 1_100; i++) assertEquals(retry.next(0, 1), 0);
  retry.lost(2_000, 1_000);
  assertEquals(retry.attempts, 0);
});

test("attempts count on until the connection has held longer than the next delay may last", () => {
  const retry = new Retry({ maxAttempts: 3 });
  retry.lost(0, undefined);
  retry.next(0, 1);
  retry.lost(100, 90);
  retry.next(100, 1);
  assertEquals(retry.attempts, 2);
  retry.lost(200, 190);
  retry.next(200, 1);
  assertEquals(retry.next(200, 1), undefined);
  retry.lost(100_000, 10_000);
  assertEquals([retry.attempts, retry.next(100_000, 1)], [0, INITIAL_DELAY_MS]);
});

test("the time-out counts from the loss, and no delay goes beyond it", () => {
  const retry = new Retry({ initialDelayMs: 1_000, timeoutMs: 1_500 });
  retry.lost(0, undefined);
  assertEquals(retry.next(0, 1), 1_000);
  assertEquals(retry.next(1_000, 1), 500);
  assertEquals(retry.next(1_500, 1), undefined);
});

test("errors that pass are told from those that stand by what they say of themselves", () => {
  assert(isPassing(new TransportError("connection-lost", "Cannot go on")));
  assert(isPassing(new AmqpError(condition.connectionForced, "Connection closed")));
  for (
    const symbol of [
      condition.unauthorizedAccess,
      condition.notAllowed,
      condition.notFound,
      condition.connectionRedirect,
    ]
  ) {
    assert(!isPassing(new AmqpError(symbol, "Connection closed")), symbol);
  }
  assert(!isPassing(new TypeError("Cannot connect")));
  assert(!isPassing(undefined));
  assert(mayReturn(new AmqpError(condition.resourceDeleted, "Link detached")));
  assert(mayReturn(new AmqpError(condition.unattachedHandle, "Session ended")));
  assert(!mayReturn(new AmqpError(condition.stolen, "Link detached")));
  assert(isRefusedLogin(new AmqpError(condition.unauthorizedAccess, "Cannot authenticate")));
  assert(isRefusedLogin(new TransportError("handshake-failed", "Cannot connect", { status: 401 })));
  assert(!isRefusedLogin(new TransportError("handshake-failed", "Cannot connect", { status: 404 })));
});
