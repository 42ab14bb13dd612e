import { assertEquals } from "@std/assert";
import { proxyFromEnvironment } from "../../../src/transport/proxy/environment.ts";
import { test } from "../../harness.ts";

const PROXY = "http://proxy.example:3128";

function isProxied(noProxy: string, hostname: string, port = 443): boolean {
  const environment = { HTTPS_PROXY: PROXY, NO_PROXY: noProxy };
  return proxyFromEnvironment(environment, { secure: true, hostname, port }) === PROXY;
}

function chosen(environment: Record<string, string | undefined>, secure = true): string | undefined {
  return proxyFromEnvironment(environment, { secure, hostname: "broker.example", port: secure ? 443 : 80 });
}

/** Checks a NO_PROXY list against targets that it exempts and targets that it does not. */
function check(noProxy: string, exempt: string[], proxied: string[]): void {
  for (const [targets, expected] of [[exempt, false], [proxied, true]] as const) {
    for (const target of targets) {
      const [, hostname, port] = /^(\[.*\]|[^:]*|[^[]*:[^[]*:[^[]*)(?::([0-9]+))?$/.exec(target) ?? [];
      assertEquals(isProxied(noProxy, hostname, Number(port ?? 443)), expected, `"${noProxy}" and ${target}`);
    }
  }
}

test("PXY-10: only what is passed in is read", () => {
  assertEquals(chosen({}), undefined);
  assertEquals(chosen({ NO_PROXY: "*" }), undefined);
});

test("PXY-10: the target's own security chooses the variable, ALL_PROXY serves both", () => {
  const both = { HTTPS_PROXY: "http://s:1", HTTP_PROXY: "http://p:2", ALL_PROXY: "http://a:3" };
  assertEquals(chosen(both, true), "http://s:1");
  assertEquals(chosen(both, false), "http://p:2");
  assertEquals(chosen({ ALL_PROXY: "http://a:3" }, true), "http://a:3");
  assertEquals(chosen({ ALL_PROXY: "http://a:3" }, false), "http://a:3");
  assertEquals(chosen({ HTTP_PROXY: "http://p:2" }, true), undefined);
  assertEquals(chosen({ HTTPS_PROXY: "http://s:1" }, false), undefined);
});

test("PXY-10: lower case wins, empty counts as absent", () => {
  assertEquals(chosen({ HTTPS_PROXY: "http://upper:1", https_proxy: "http://lower:1" }), "http://lower:1");
  assertEquals(chosen({ HTTPS_PROXY: "http://upper:1", https_proxy: "  " }), "http://upper:1");
  assertEquals(chosen({ HTTPS_PROXY: "", all_proxy: "http://all:1" }), "http://all:1");
  assertEquals(chosen({ HTTPS_PROXY: "http://upper:1", https_proxy: undefined }), "http://upper:1");
  assertEquals(chosen({ HTTPS_PROXY: PROXY, no_proxy: "other.example", NO_PROXY: "*" }), PROXY);
});

test("PXY-10: a value without a scheme is an http proxy, credentials stay in it", () => {
  assertEquals(chosen({ HTTPS_PROXY: "proxy.example:3128" }), PROXY);
  assertEquals(chosen({ HTTPS_PROXY: " u:p@proxy.example " }), "http://u:p@proxy.example");
  assertEquals(chosen({ HTTPS_PROXY: "https://proxy.example" }), "https://proxy.example");
  assertEquals(chosen({ ALL_PROXY: "socks5://proxy.example" }), "socks5://proxy.example");
});

test("PXY-10: under CGI the upper-case HTTP_PROXY is the client's and is ignored", () => {
  const cgi = { REQUEST_METHOD: "GET", HTTP_PROXY: "http://evil:1" };
  assertEquals(chosen(cgi, false), undefined);
  assertEquals(chosen({ ...cgi, http_proxy: "http://good:1" }, false), "http://good:1");
  assertEquals(chosen({ ...cgi, HTTPS_PROXY: "http://good:1" }, true), "http://good:1");
});

test("PXY-10: a star exempts everything", () => {
  check("*", ["a.example", "10.0.0.1", "[::1]"], []);
  check("a, *", ["b"], []);
  check("*:8443", ["a.example:8443"], ["a.example:443", "10.0.0.1:8443"]);
});

test("PXY-10: a domain exempts itself and everything below it, on whole labels", () => {
  for (const entry of ["corp.example", ".corp.example", "CORP.Example.", " corp.example ,"]) {
    check(entry, ["corp.example", "a.corp.example", "a.b.corp.example", "A.CORP.EXAMPLE."], [
      "mycorp.example",
      "corp.example.org",
      "example",
      "orp.example",
    ]);
  }
  check("*.corp.example", ["a.corp.example", "a.b.corp.example"], ["corp.example", "mycorp.example"]);
});

test("PXY-10: entries are separated by commas, blanks or both", () => {
  check("a.example,b.example , c.example\td.example", ["a.example", "b.example", "c.example", "d.example"], [
    "e.example",
  ]);
  check(", ,", [], ["a.example", "10.0.0.1"]);
  check(".", [], ["a.example"]);
});

test("PXY-10: a port behind an entry must be the target's", () => {
  check("corp.example:8443", ["corp.example:8443", "a.corp.example:8443"], ["corp.example:443"]);
  check("10.0.0.1:1", ["10.0.0.1:1"], ["10.0.0.1:2"]);
  check("[::1]:1", ["[::1]:1"], ["[::1]:2"]);
  check("10.0.0.0/8:1", ["10.1.1.1:1"], ["10.1.1.1:2"]);
});

test("PXY-10: addresses are compared as numbers, never as suffixes", () => {
  check("10.0.0.1", ["10.0.0.1"], ["10.0.0.10", "110.0.0.1", "a.10.0.0.1", "1.10.0.0.1"]);
  check("0.0.1", [], ["10.0.0.1"]);
  for (const entry of ["::1", "[::1]", "0:0:0:0:0:0:0:1", "0000::0001"]) {
    check(entry, ["[::1]", "::1", "[0:0::0:1]"], ["[::2]", "0.0.0.1"]);
  }
  check("::ffff:10.0.0.1", ["10.0.0.1", "[::ffff:a00:1]"], ["10.0.0.2", "[::ff:a00:1]", "[::ff00:a00:1]"]);
  check("1:2:3:4:5:6:7::", ["[1:2:3:4:5:6:7:0]"], ["[1:2:3:4:5:6:7:8]"]);
});

test("PXY-10: a network exempts its addresses to the bit", () => {
  check("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "9.255.255.255", "ten.example"]);
  check("192.168.4.0/22", ["192.168.4.0", "192.168.7.255"], ["192.168.3.255", "192.168.8.0"]);
  check("192.168.4.9/22", ["192.168.7.1"], ["192.168.8.1"]);
  check("10.0.0.1/32", ["10.0.0.1"], ["10.0.0.2"]);
  check("0.0.0.0/0", ["1.2.3.4"], ["[::1]", "a.example"]);
  check("fd00::/8", ["[fd12:3456::1]", "fdff::"], ["[fe80::1]", "253.0.0.1"]);
  check("2001:db8::/33", ["[2001:db8:7fff::1]"], ["[2001:db8:8000::1]"]);
  check("10.0.0.0/8", ["[::ffff:10.1.2.3]"], ["[::ffff:11.1.2.3]"]);
});

test("PXY-10: what is no address or network exempts nothing", () => {
  check("10.0.0.0/33, 10.0.0.0/, 10.0.0.0/x, 10.0.0.0/-1, 10.0.0/8, fd00::/129, /8, a.example/8", [], [
    "10.0.0.0",
    "10.0.0.1",
    "[fd00::]",
    "a.example",
  ]);
  check("1:2:3:4:5:6:7, 1::2::3, 12345::, 1:2:3:4:5:6:7:8:9, ::10.0.0.256, 1.2.3.4::, 1:2:3:4:5:6:7::8", [], [
    "[1:2:3:4:5:6:7:8]",
    "[1::2:3]",
    "[1::]",
    "[102:304::]",
  ]);
  check("999.0.0.1, 1e1.0.0.2, 0x1.0.0.3", [], ["231.0.0.1", "10.0.0.2", "1.0.0.3"]);
});
