/**
 * Proton of PyPI built with Cyrus SASL, an independent SCRAM: as a server that our client logs in to, and as a client of
 * our broker.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { file, freePort, HOST, scratch, startDaemon } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { python } from "./python.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { installDebian, prepared, type Suite } from "./suite.ts";

const VERSION = "0.40.0";
const PROGRAM = fileURLToPath(new URL("python/scram.py", import.meta.url));

/** The checks of python/scram.py as a client. */
const CHECKS = ["SCRAM-SHA-512", "SCRAM-SHA-256", "wrong password"] as const;

/** Builds Proton with Cyrus, kept for the next run, and starts its server with one user. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    installDebian("gcc libc6-dev pkg-config python3-dev libssl-dev libsasl2-dev", "/usr/include/sasl/sasl.h");
    installDebian("sasl2-bin libsasl2-modules", "/usr/sbin/saslpasswd2");
    const interpreter = python("cyrus", [`python-qpid-proton==${VERSION}`]);
    const folder = scratch();
    const users = join(folder, "users.db");
    execFileSync("/usr/sbin/saslpasswd2", ["-c", "-p", "-f", users, "user"], { input: "secret" });
    file(folder, "proton-server.conf", `pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: ${users}\n`);
    const port = await freePort();
    running.use(await startDaemon({ command: [interpreter, PROGRAM, "serve", `${port}`, folder], folder, port }));
    const url = `amqp://${HOST}:${port}`;
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `Proton ${VERSION} with Cyrus SASL`,
      checks: onEach(runtimes, (runtime) => {
        let results: Promise<Map<string, string | undefined>> | undefined;
        const run = async (): Promise<Map<string, string | undefined>> =>
          await runChecks([interpreter, PROGRAM, "client", `amqp://${HOST}:${await runtime.call("listen", {})}`]);
        return {
          ...Object.fromEntries(CHECKS.map((name) => [`its client: ${name}`, async () => {
            const found = await (results ??= run());
            assertEquals([found.has(name), found.get(name)], [true, undefined]);
          }])),
          "its server: SCRAM-SHA-256": () =>
            runtime.call("roundTrip", { url, address: "cyrus", options: { scram: ["user", "secret"] } }),
          "its server: wrong password": async () => {
            const { code } = await runtime.call("failure", { url, options: { scram: ["user", "guess"] } });
            assertEquals(code, "amqp:unauthorized-access");
          },
        };
      }),
    };
  });
}
