import { assertEquals } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { linkRedirectOf, redirectOf } from "../../src/recovery/redirects.ts";
import { test } from "../harness.ts";

function redirect(info: Record<string, unknown>): AmqpError {
  return new AmqpError(condition.connectionRedirect, "Connection closed", { remote: true, info });
}

test("WSB-32, ATK-29: a redirect is followed only where it may be, and never from TLS to none", () => {
  const from = new URL("wss://user:secret@a.example/amqp");
  const always = (): boolean => true;
  const to = (info: Record<string, unknown>, option: Parameters<typeof redirectOf>[2] | null = always) =>
    redirectOf(redirect(info), from, option ?? undefined)?.url.href;
  assertEquals(to({ "network-host": "b.example" }, null), undefined);
  assertEquals(to({ "network-host": "b.example" }, "same-host"), undefined);
  assertEquals(to({ "network-host": "a.example", port: 8443 }, "same-host"), "wss://user:secret@a.example:8443/amqp");
  assertEquals(to({ "network-host": "b.example", path: "/other", port: 1 }), "wss://user:secret@b.example:1/other");
  assertEquals(to({ "network-host": "::1" }), "wss://user:secret@[::1]/amqp");
  assertEquals(to({ "network-host": "b.example", scheme: "amqps" })?.startsWith("amqps://user:secret@b.example"), true);
  for (const scheme of ["ws", "amqp", "http", "javascript", "x y"]) {
    assertEquals(to({ "network-host": "b.example", scheme }), undefined, scheme);
  }
  for (const info of [{}, { "network-host": "" }, { "network-host": 5 }, { "network-host": "b", port: 1e9 }]) {
    assertEquals(to(info), undefined);
  }
  const asked: unknown[] = [];
  to({ "network-host": "b.example" }, (target) => asked.push(target) > 1);
  to({ "network-host": "b.example", hostname: "b" }, (target) => asked.push(target) > 1);
  assertEquals(asked, [
    { url: "wss://b.example/amqp", sameHost: false, hostname: undefined },
    { url: "wss://b.example/amqp", sameHost: false, hostname: "b" },
  ]);
  for (const hostname of ["", 5]) {
    assertEquals(redirectOf(redirect({ "network-host": "b", hostname }), from, always)?.hostname, undefined);
  }
  assertEquals(
    redirectOf(new AmqpError(condition.notAllowed, "Cannot", { info: { "network-host": "b" } }), from, always),
    undefined,
  );
});

test("EXT-10: the port of a redirect is an integer of any type from 1 to 65,535, or left out", () => {
  const from = new URL("wss://a.example:9000/amqp");
  const port = (port: unknown) => redirectOf(redirect({ "network-host": "b", port }), from, () => true)?.url.href;
  for (const one of [5671, 5671n, "5671"]) assertEquals(port(one), "wss://b:5671/amqp");
  for (const none of [undefined, null]) assertEquals(port(none), "wss://b/amqp");
  assertEquals([port(1), port(65_535n)], ["wss://b:1/amqp", "wss://b:65535/amqp"]);
  for (const bad of [0, 0n, -1, 1.5, 65_536, 1e9, "x", NaN, {}]) assertEquals(port(bad), undefined, String(bad));
});

test("a link is sent to another address of the same peer only", () => {
  const error = (info: Record<string, unknown>) =>
    new AmqpError(condition.linkRedirect, "Link detached", { scope: "link", info });
  const to = (info: Record<string, unknown>, host = "a:5672") => linkRedirectOf(error(info), host, "same-host");
  assertEquals(to({ address: "q2" }), "q2");
  assertEquals(to({ address: "q2", "network-host": "a" }), "q2");
  assertEquals(to({ address: "q2", "network-host": "a", port: 5672 }), "q2");
  assertEquals(to({ address: "q2", "network-host": null, port: null }), "q2");
  assertEquals(to({ address: "q2", "network-host": "::1" }, "[::1]:5672"), "q2");
  assertEquals(to({ address: "q2", "network-host": "b" }), undefined);
  assertEquals(to({ address: "q2", "network-host": "a", port: 5673 }), undefined);
  assertEquals(to({ address: "q2", "network-host": 5 }), undefined);
  assertEquals(linkRedirectOf(error({ address: "q2" }), "a:5672", undefined), undefined);
  assertEquals(to({}), undefined);
});
