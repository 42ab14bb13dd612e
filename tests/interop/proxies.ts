/**
 * Starts real HTTP proxies on 127.0.0.1, each with its own scratch folder, for checks against software that we did not
 * write.
 *
 * Debian's packages are needed: `apt-get install -y squid apache2 apache2-utils tinyproxy openssl`. The daemons that
 * those packages would start are not used. As root, squid and apache give up their rights to `proxy` and `www-data`.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Daemon, file, freePort, HOST, type RunningDaemon, scratch, startDaemon } from "./daemon.ts";

/** The only user that the proxies know. */
export const PROXY_USER: { readonly username: string; readonly password: string } = {
  username: "puser",
  password: "ppass",
};

/** The realm of the proxies. */
export const PROXY_REALM: string = "labrealm";

/** A scheme that a proxy can require. */
export type AskedScheme = "basic" | "digest";

/** A proxy that runs until it is stopped. */
export interface RunningProxy extends Omit<RunningDaemon, "kill" | "pid"> {
  /** `http://127.0.0.1:port`, or `https://localhost:port`; without credentials. */
  readonly url: string;
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** The certificate to trust, for a proxy over TLS. */
  readonly ca: string | undefined;
  /** Kills the proxy, and starts it again; absent for one inside this process. */
  restart?(): Promise<void>;
}

/** The settings of squid. */
export interface SquidOptions {
  /** The challenges, in this order. */
  schemes: readonly AskedScheme[];
  /** The number of uses after which a Digest nonce becomes stale. */
  nonceMaxCount?: number;
  /** Whether the proxy itself speaks TLS. Default: false. */
  tls?: boolean;
}

/** Squid: HTTP/1.1, keeps its connections, Basic and Digest with MD5. */
export async function startSquid(options: SquidOptions): Promise<RunningProxy> {
  const folder = scratch("proxy");
  const port = await freePort();
  const tls = options.tls ? certificate(folder) : undefined;
  const programs: Record<AskedScheme, string> = {
    basic: `/usr/lib/squid/basic_ncsa_auth ${basicFile(folder)}`,
    digest: `/usr/lib/squid/digest_file_auth -c ${digestFile(folder)}`,
  };
  const lines = [
    tls === undefined
      ? `http_port 127.0.0.1:${port}`
      : `https_port 127.0.0.1:${port} tls-cert=${tls.cert} tls-key=${tls.key}`,
    `pid_filename ${join(folder, "squid.pid")}`,
    `cache_log ${join(folder, "cache.log")}`,
    `access_log stdio:${join(folder, "access.log")}`,
    `coredump_dir ${folder}`,
    "cache deny all",
    "shutdown_lifetime 0 seconds",
    "udp_outgoing_address 127.0.0.1",
    "dns_nameservers 127.0.0.1",
    "pinger_enable off",
    "icp_port 0",
  ];
  for (const scheme of options.schemes) {
    lines.push(`auth_param ${scheme} program ${programs[scheme]}`, `auth_param ${scheme} realm ${PROXY_REALM}`);
    lines.push(`auth_param ${scheme} children 1`);
  }
  if (options.nonceMaxCount !== undefined) lines.push(`auth_param digest nonce_max_count ${options.nonceMaxCount}`);
  lines.push("acl authed proxy_auth REQUIRED", "http_access allow authed", "http_access deny all");
  const config = file(folder, "squid.conf", lines.join("\n") + "\n");
  const logs = ["out.log", "cache.log", "access.log"];
  // The name keeps the shared memory of several squids apart; only letters and digits are allowed in it.
  const command: Daemon["command"] = ["squid", "-N", "-n", `proxy${port}`, "-f", config];
  return run({ command, folder, port, logs }, tls && readFileSync(tls.cert, "utf8"));
}

/** Apache with mod_proxy_connect: answers HTTP/1.0 to CONNECT, Basic or Digest with MD5. */
export async function startApache(options: { scheme: AskedScheme }): Promise<RunningProxy> {
  const folder = scratch("www-data");
  const port = await freePort();
  const isDigest = options.scheme === "digest";
  const modules = ["mpm_event", "authn_core", "authz_core", "authn_file", "authz_user", "proxy", "proxy_connect"];
  modules.push(isDigest ? "auth_digest" : "auth_basic");
  const config = file(
    folder,
    "apache.conf",
    [
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `ServerRoot ${folder}`,
      `DefaultRuntimeDir ${folder}`,
      `PidFile ${join(folder, "apache.pid")}`,
      `ErrorLog ${join(folder, "error.log")}`,
      "ServerName localhost",
      `Listen 127.0.0.1:${port}`,
      "User www-data",
      "Group www-data",
      "ProxyRequests On",
      "AllowCONNECT 1-65535",
      '<Proxy "*">',
      `  AuthType ${isDigest ? "Digest" : "Basic"}`,
      `  AuthName ${PROXY_REALM}`,
      isDigest ? "  AuthDigestProvider file" : "  AuthBasicProvider file",
      `  AuthUserFile ${isDigest ? digestFile(folder) : basicFile(folder)}`,
      "  Require valid-user",
      "</Proxy>",
      "",
    ].join("\n"),
  );
  // One process, not a parent with children: a child was seen to outlive its parent.
  const command: Daemon["command"] = ["apache2", "-X", "-d", folder, "-f", config];
  return run({ command, folder, port, logs: ["out.log", "error.log"] });
}

/** Tinyproxy: Basic only, answers HTTP/1.0 and closes; a wrong password gives 401 instead of 407. */
export async function startTinyproxy(): Promise<RunningProxy> {
  const folder = scratch();
  const port = await freePort();
  const config = file(
    folder,
    "tinyproxy.conf",
    [
      `Port ${port}`,
      "Listen 127.0.0.1",
      "Timeout 60",
      "MaxClients 20",
      `LogFile "${join(folder, "tinyproxy.log")}"`,
      `BasicAuth ${PROXY_USER.username} ${PROXY_USER.password}`,
      "",
    ].join("\n"),
  );
  return run({ command: ["tinyproxy", "-d", "-c", config], folder, port, logs: ["out.log", "tinyproxy.log"] });
}

async function run(daemon: Daemon & { readonly port: number }, ca?: string): Promise<RunningProxy> {
  let running = await startDaemon(daemon);
  const url = ca === undefined ? `http://${HOST}:${daemon.port}` : `https://localhost:${daemon.port}`;
  return {
    url,
    port: daemon.port,
    ca,
    log: () => running.log(),
    restart: async () => {
      await running.kill();
      running = await startDaemon(daemon);
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function basicFile(folder: string): string {
  const { username, password } = PROXY_USER;
  return file(folder, "basic.pw", execFileSync("htpasswd", ["-nb", username, password], { encoding: "utf8" }));
}

function digestFile(folder: string): string {
  const { username, password } = PROXY_USER;
  const ha1 = createHash("md5").update(`${username}:${PROXY_REALM}:${password}`).digest("hex");
  return file(folder, "digest.pw", `${username}:${PROXY_REALM}:${ha1}\n`);
}

function certificate(folder: string): { cert: string; key: string } {
  const cert = join(folder, "cert.pem");
  const key = join(folder, "key.pem");
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const parameters = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert];
  execFileSync("openssl", [...parameters, ...subject], { stdio: "ignore" });
  return { cert, key };
}
