/**
 * HTTP proxies: each of them in front of our broker over `wss:` and `ws:`, and of Proton's over `amqp:`.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { ProxyScheme, SocketProxyOptions } from "../../src/transport/sockets.ts";
import { ca } from "../pki.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { exactlyOnce } from "./outages.ts";
import { startProton } from "./proton.ts";
import { PROXY_USER, type RunningProxy, startApache, startSquid, startTinyproxy } from "./proxies.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { startScriptedProxy } from "./scripted_proxy.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

/** One proxy, and the schemes that we answer. */
interface Way {
  readonly name: string;
  readonly start: () => Promise<RunningProxy>;
  readonly schemes: readonly ProxyScheme[];
  /** The status for a wrong password, if it is visible. */
  readonly refusal?: number;
}

const LARGE = 3_000_000;
const STALE = "squid, a nonce for two uses";

const WAYS: readonly Way[] = [
  { name: "squid Basic", start: () => startSquid({ schemes: ["basic"] }), schemes: ["basic"], refusal: 407 },
  { name: "squid Digest", start: () => startSquid({ schemes: ["digest"] }), schemes: ["digest"], refusal: 407 },
  { name: "squid both", start: () => startSquid({ schemes: ["basic", "digest"] }), schemes: ["digest", "basic"] },
  {
    name: STALE,
    start: () => startSquid({ schemes: ["digest"], nonceMaxCount: 2 }),
    schemes: ["digest"],
  },
  { name: "squid over TLS, Basic", start: () => startSquid({ schemes: ["basic"], tls: true }), schemes: ["basic"] },
  { name: "squid over TLS, Digest", start: () => startSquid({ schemes: ["digest"], tls: true }), schemes: ["digest"] },
  { name: "apache Digest", start: () => startApache({ scheme: "digest" }), schemes: ["digest"], refusal: 407 },
  { name: "tinyproxy Basic", start: startTinyproxy, schemes: ["basic"], refusal: 401 },
  { name: "scripted SHA-256", start: () => startScriptedProxy("SHA-256"), schemes: ["digest"], refusal: 407 },
  { name: "scripted SHA-256-sess", start: () => startScriptedProxy("SHA-256-sess"), schemes: ["digest"] },
];

type Running = Way & { readonly proxy: RunningProxy };

/** Installs and starts all proxies and both brokers. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    installDebian("squid openssl", "/usr/sbin/squid");
    installDebian("apache2", "/usr/sbin/apache2");
    installDebian("apache2-utils", "/usr/bin/htpasswd");
    installDebian("tinyproxy", "/usr/bin/tinyproxy");
    installDebian("curl", "/usr/bin/curl");
    const origin = running.use(await startOrigin());
    const proton = running.use(await startProton());
    const ways: Running[] = [];
    // In parallel, since squid takes its time to end.
    running.defer(async () => void await Promise.all(ways.map(({ proxy }) => proxy[Symbol.asyncDispose]())));
    await Promise.all(WAYS.map(async (way, i) => ways[i] = { ...way, proxy: await way.start() }));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    const versions = [["squid", "squid"], ["apache", "apache2"], ["tinyproxy", "tinyproxy"]] as const;
    return {
      peer: versions.map(([name, debian]) => `${name} ${debianVersion(debian)}`).join(", "),
      checks: {
        ...curlChecks(ways, origin),
        ...onEach(runtimes, (runtime) => ({
          ...tunnelChecks(runtime, ways, { wss: origin.wss, ws: origin.ws, amqp: proton.url }),
          ...refusals(runtime, ways, origin),
          ...outages(runtime, ways, origin),
        })),
        "no origin has seen Proxy-Authorization": () => {
          assert(origin.fields.has("sec-websocket-key"));
          assertEquals([...origin.fields].filter((name) => name.startsWith("proxy-")), []);
          return Promise.resolve();
        },
      },
    };
  });
}

function curlChecks(ways: readonly Running[], origin: Origin): Suite["checks"] {
  const scripted = ways.filter(({ name }) => name.startsWith("scripted"));
  return Object.fromEntries(scripted.map(({ name, proxy }) => [`${name}: curl finds it right`, async () => {
    const { username, password } = PROXY_USER;
    const status = async (password: string): Promise<string> => {
      const url = `http://${new URL(origin.ws).host}/`;
      const options = ["--silent", "--output", "/dev/null", "--write-out", "%{http_connect}", "--proxy-digest"];
      const args = [...options, "--proxy-user", `${username}:${password}`, "--proxytunnel", "--proxy", proxy.url, url];
      // curl fails where the proxy refuses, and its output says so.
      return (await promisify(execFile)("curl", args).catch((error) => error)).stdout;
    };
    assertEquals([await status(password), await status("wrong")], ["200", "407"]);
  }]));
}

function tunnelChecks(runtime: Runtime, ways: readonly Running[], urls: Record<string, string>): Suite["checks"] {
  const checks: Record<string, () => Promise<void>> = {};
  for (const way of ways) {
    checks[`${way.name}: ${Object.keys(urls).join(", ")}`] = async () => {
      const options = { proxy: optionsOf(way), tls: { ca } };
      for (const url of Object.values(urls)) {
        await runtime.call("roundTrip", { url, address: `${runtime.name} ${way.name}`, options });
      }
    };
  }
  for (const way of ways.filter(({ schemes }) => schemes[0] === "digest")) {
    checks[`${way.name}: 10 tunnels at once, twice`] = () =>
      runtime.call("tunnels", urls.ws, optionsOf(way), { turns: 2, atOnce: 10 });
  }
  const nested = ways.find(({ proxy }) => proxy.ca !== undefined)!;
  checks[`${nested.name}: ${LARGE / 1e6} MB by TLS within TLS`] = async () => {
    const options = { proxy: optionsOf(nested), tls: { ca } };
    assert(await runtime.call("large", { url: urls.wss, address: `${runtime.name} large`, options }, LARGE));
  };
  const stale = ways.find(({ name }) => name === STALE)!;
  checks["squid: stale nonces are renewed"] = async () => {
    const denied = (): number => stale.proxy.log().split("TCP_DENIED/407").length;
    const before = denied();
    await runtime.call("tunnels", urls.ws, optionsOf(stale), { turns: 8, atOnce: 1 });
    assertGreaterOrEqual(denied() - before, 2);
  };
  return checks;
}

function refusals(runtime: Runtime, ways: readonly Running[], origin: Origin): Suite["checks"] {
  const checks: Record<string, () => Promise<void>> = {};
  for (const way of ways.filter(({ refusal }) => refusal !== undefined)) {
    checks[`${way.name}: wrong password, status ${way.refusal}`] = async () => {
      const options = { proxy: { ...optionsOf(way), password: "mistaken" } };
      const { code, status, message } = await runtime.call("failure", { url: origin.ws, options });
      assertEquals([code, status], ["proxy-authentication-failed", way.refusal!], message);
      assert(!message.includes("mistaken") && !message.includes(PROXY_USER.username), message);
    };
  }
  const basic = ways.find(({ name }) => name === "squid Basic")!;
  checks["squid Basic: not unless it is allowed"] = async () => {
    const { schemes: _, ...proxy } = optionsOf(basic);
    const { code, message } = await runtime.call("failure", { url: origin.ws, options: { proxy } });
    assertEquals(code, "proxy-authentication-failed");
    assert(message.includes("Basic would show the password"), message);
  };
  return checks;
}

// Proxies that are killed under load and started again.
function outages(runtime: Runtime, ways: readonly Running[], origin: Origin): Suite["checks"] {
  const killed = ways.filter(({ name }) => ["squid Digest", "apache Digest", "tinyproxy Basic"].includes(name));
  return Object.fromEntries(killed.map((way) => [`${way.name}: goes and comes back under load`, () => {
    const options = { proxy: optionsOf(way), tls: { ca } };
    const place = { url: origin.wss, address: `${runtime.name} outage ${way.name}`, options };
    return exactlyOnce(runtime, { place, disturb: () => way.proxy.restart!() });
  }]));
}

function optionsOf({ proxy, schemes }: Running): SocketProxyOptions {
  return { url: proxy.url, ...PROXY_USER, schemes, ...(proxy.ca === undefined ? {} : { tls: { ca: proxy.ca } }) };
}
