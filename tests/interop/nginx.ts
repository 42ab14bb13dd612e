/**
 * nginx as a reverse proxy that terminates TLS for our broker: client certificates, a header field that browsers cannot
 * set, certificates to refuse, and reloads under load.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { TlsOptions } from "../../src/transport/sockets.ts";
import { ca, keyPair } from "../pki.ts";
import { file, freePort, HOST, scratch, startDaemon } from "./daemon.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { exactlyOnce } from "./outages.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

const LARGE = 2_000_000;

const SITES = {
  open: ["server"],
  mutual: ["server", "ssl_client_certificate ca.pem;", "ssl_verify_client on;"],
  bearer: ["server", 'if ($http_authorization != "Bearer token") { return 401; }'],
  impatient: ["server", "proxy_read_timeout 1s;"],
  wrongHost: ["wrong_host"],
  expired: ["expired"],
  rogue: ["rogue"],
} as const;

// Whether old workers end their connections after a reload, or wait until these end.
const SHUTDOWNS = ["worker_shutdown_timeout 1s;", ""] as const;

interface Reloadable {
  readonly url: string;
  readonly cuts: boolean;
  /** Makes nginx reload its configuration. */
  reload(): void;
}

type Site = keyof typeof SITES;
type Urls = Readonly<Record<Site, string>>;

/** Installs nginx and starts it with one port for each kind of site. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    installDebian("nginx-light", "/usr/sbin/nginx");
    const origin = running.use(await startOrigin());
    const urls = await startNginx(running, origin);
    const reloaded = await Promise.all(SHUTDOWNS.map((shutdown) => startReloadable(running, origin, shutdown)));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `nginx ${debianVersion("nginx-light")}`,
      checks: onEach(runtimes, (runtime) => ({
        ...checks(runtime, urls),
        ...refusals(runtime, urls),
        ...reloads(runtime, reloaded),
      })),
    };
  });
}

function checks(runtime: Runtime, urls: Urls): Suite["checks"] {
  const tls = { ca };
  const address = runtime.name;
  return {
    "wss: send and receive": () => runtime.call("roundTrip", { url: urls.open, address, options: { tls } }),
    [`wss: message of ${LARGE / 1e6} MB`]: async () => {
      assert(await runtime.call("large", { url: urls.open, address, options: { tls } }, LARGE));
    },
    "wss with a client certificate": () =>
      runtime.call("roundTrip", { url: urls.mutual, address, options: { tls: { ca, ...keyPair("client") } } }),
    "wss with Authorization": () =>
      runtime.call("roundTrip", {
        url: urls.bearer,
        address,
        options: { tls, headers: { Authorization: "Bearer token" } },
      }),
    "wss that is cut when idle: told, and prevented": async () => {
      const idle = (idleTimeOut: number, forMs: number) =>
        runtime.call("idle", { url: urls.impatient, options: { tls, idleTimeOut } }, forMs);
      // nginx waits for the broker's heartbeats.
      const [broken, whole] = await Promise.all([idle(0, 10_000), idle(1_000, 2_500)]);
      assertEquals([broken?.code, whole], ["connection-lost", null]);
    },
  };
}

function refusals(runtime: Runtime, urls: Urls): Suite["checks"] {
  const fails = async (site: Site, why: RegExp, tls: TlsOptions = { ca }): Promise<void> => {
    const { code, status, message } = await runtime.call("failure", { url: urls[site], options: { tls } });
    assertMatch(`${code}: ${message}`, why);
    assert(status === null || code === "handshake-failed", `${code} with status ${status}`);
  };
  return {
    "no client certificate: status 400": () => fails("mutual", /^handshake-failed: .*400/),
    "rogue client certificate: status 400": () =>
      fails("mutual", /^handshake-failed: .*400/, { ca, ...keyPair("rogue_client") }),
    "no Authorization: status 401": () => fails("bearer", /^handshake-failed: .*401/),
    "certificate of another host is refused": () => fails("wrongHost", /^connect-failed: .*altname/i),
    // Deno reports one reason for everything that is wrong with a chain.
    "expired certificate is refused": () => fails("expired", /^connect-failed: .*(CERT_HAS_EXPIRED|UNABLE_TO_VERIFY)/),
    "certificate of a rogue authority is refused": () => fails("rogue", /^connect-failed: .*UNABLE_TO_VERIFY/),
    "authority that is not named is not trusted": () => fails("open", /^connect-failed: .*UNABLE_TO_VERIFY/, {}),
  };
}

function reloads(runtime: Runtime, reloaded: readonly Reloadable[]): Suite["checks"] {
  return Object.fromEntries(reloaded.map(({ url, cuts, reload }) => {
    const name = `reloaded under load, connections ${cuts ? "end" : "stay"}: everything comes once`;
    return [name, () => {
      const place = { url, address: `${runtime.name} reload ${cuts}`, options: { tls: { ca } } };
      return exactlyOnce(runtime, { place, cuts, disturb: () => Promise.resolve(reload()) });
    }];
  }));
}

async function startReloadable(running: AsyncDisposableStack, origin: Origin, shutdown: string): Promise<Reloadable> {
  const folder = scratch();
  const port = await freePort();
  const { cert, key } = keyPair("server");
  file(folder, "server.pem", cert);
  file(folder, "server.key", key);
  const server = siteOf(port, "server", [], origin);
  const text = configuration(`master_process on;\nuser root;\n${shutdown}`, [server]);
  const config = file(folder, "nginx.conf", text);
  const command = ["nginx", "-p", folder, "-c", config] as const;
  running.use(await startDaemon({ command, folder, port, logs: ["out.log", "error.log"] }));
  return {
    url: `wss://user:secret@localhost:${port}/amqp`,
    cuts: shutdown !== "",
    reload: () => void process.kill(Number(readFileSync(join(folder, "nginx.pid"), "utf8")), "SIGHUP"),
  };
}

function siteOf(port: number, certificate: string, lines: readonly string[], origin: Origin): string {
  return `  server {
    listen ${HOST}:${port} ssl;
    ssl_certificate ${certificate}.pem;
    ssl_certificate_key ${certificate}.key;
    ${lines.join("\n    ")}
    location / {
      proxy_pass http://${new URL(origin.ws).host};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }`;
}

function configuration(processes: string, servers: readonly string[]): string {
  return `daemon off;
${processes}
pid nginx.pid;
error_log error.log;
events {}
http {
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
${servers.join("\n")}
}
`;
}

async function startNginx(running: AsyncDisposableStack, origin: Origin): Promise<Urls> {
  const folder = scratch();
  const ports = Object.fromEntries(
    await Promise.all(Object.keys(SITES).map(async (site) => [site, await freePort()])),
  ) as Record<Site, number>;
  file(folder, "ca.pem", ca);
  const servers = Object.entries(SITES).map(([site, [name, ...lines]]) => {
    const { cert, key } = keyPair(name);
    file(folder, `${name}.pem`, cert);
    file(folder, `${name}.key`, key);
    return siteOf(ports[site as Site], name, lines, origin);
  });
  const config = file(folder, "nginx.conf", configuration("master_process off;", servers));
  running.use(
    await startDaemon({
      command: ["nginx", "-p", folder, "-c", config],
      folder,
      port: ports.open,
      logs: ["out.log", "error.log"],
    }),
  );
  const url = (site: Site): string => `wss://user:secret@localhost:${ports[site]}/amqp`;
  return Object.fromEntries(Object.keys(SITES).map((site) => [site, url(site as Site)])) as Record<Site, string>;
}
