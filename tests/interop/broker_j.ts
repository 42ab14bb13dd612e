/**
 * Qpid Broker-J in memory, over TCP and WebSocket, with SCRAM.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { brokerChecks } from "./broker_checks.ts";
import { freePort, HOST, type RunningDaemon, scratch, startDaemon } from "./daemon.ts";
import { jmsChecks } from "./jms_checks.ts";
import { jars, java, type JavaOptions } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "9.2.0";
const ITERATIONS = 4_096;

/** Starts a Broker-J: user "user", password "secret", by SCRAM-SHA-256. */
export async function startBrokerJ(
  options?: JavaOptions,
): Promise<{ port: number; webPort: number; daemon: RunningDaemon }> {
  const plugins = ["core", "plugins-amqp-1-0-protocol", "plugins-memory-store", "plugins-websocket"];
  const libraries = plugins.map((name) => `org.apache.qpid:qpid-broker-${name}:${VERSION}`);
  // Its optional store cannot be downloaded, and messages are kept in memory here.
  const classPath = jars(`broker-j-${VERSION}`, libraries, ["com.sleepycat:je"]);
  const [port, webPort] = [await freePort(), await freePort()];
  const folder = scratch();
  const command = java(classPath, "BrokerJ.java", [`${port}`, `${webPort}`, folder, keysOf("secret")], options);
  return { port, webPort, daemon: await startDaemon({ command, folder, port }) };
}

/** Installs Broker-J and starts it. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const { port, webPort, daemon } = await startBrokerJ();
    running.use(daemon);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    // Over clear transports the password is not sent as it is, so the client takes SCRAM.
    const options = { scram: ["user", "secret"], hostname: "default" } as const;
    // Broker-J delivers rejected messages again until they have had enough attempts.
    const settings = {
      redelivers: "unmarked",
      rejects: false,
      lists: true,
      durable: false,
      many: 3_000,
      large: 20_000_000,
    } as const;
    const [tcp, web] = [`amqp://${HOST}:${port}`, `ws://${HOST}:${webPort}/`];
    return {
      peer: `Qpid Broker-J ${VERSION}`,
      checks: onEach(runtimes, (runtime) => ({
        ...brokerChecks(runtime, {
          how: "TCP",
          place: (name) => ({ url: tcp, address: `${runtime.name}-${name}`, options }),
          ...settings,
        }),
        ...brokerChecks(runtime, {
          how: "WebSocket",
          place: (name) => ({ url: web, address: `${runtime.name}-ws-${name}`, options }),
          ...settings,
        }),
        ...jmsChecks(runtime, {
          place: (name) => ({ url: web, address: `${runtime.name}-jms-${name}`, options }),
          topic: (name) => ({ url: web, address: `amq.topic/${runtime.name}-${name}`, options }),
        }),
        "wrong password": async () => {
          const { code } = await runtime.call("failure", {
            url: tcp,
            options: { scram: ["user", "guess"], hostname: "default" },
          });
          assertEquals(code, "amqp:unauthorized-access");
        },
        "unknown virtual host": async () => {
          const { code } = await runtime.call("failure", { url: tcp, options: { ...options, hostname: "nowhere" } });
          assertEquals(code, "amqp:not-found");
        },
      })),
    };
  });
}

// In Broker-J's format: salt, nothing, stored key, server key, iterations [rfc5802 3].
function keysOf(password: string): string {
  const salt = crypto.getRandomValues(Buffer.alloc(16));
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, "sha256");
  const hmac = (text: string): Buffer => createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(hmac("Client Key")).digest();
  return [salt, Buffer.alloc(0), stored, hmac("Server Key")].map((part) => part.toString("base64")).join(",") +
    `,${ITERATIONS}`;
}
