/**
 * ActiveMQ Classic in memory, over TCP and WebSocket.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { brokerChecks } from "./broker_checks.ts";
import { freePort, HOST, scratch, startDaemon } from "./daemon.ts";
import { jmsChecks } from "./jms_checks.ts";
import { jars, java } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "6.1.7";

/** Installs ActiveMQ Classic and starts it. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const parts = ["broker", "amqp", "http", "jaas"].map((name) => `org.apache.activemq:activemq-${name}:${VERSION}`);
    const classPath = jars(`activemq-${VERSION}`, [
      ...parts,
      // Its WebSocket connector asks for this one without naming it.
      "org.eclipse.jetty.websocket:websocket-jetty-server:11.0.25",
      "org.slf4j:slf4j-nop:2.0.16",
    ]);
    const [port, webPort, folder] = [await freePort(), await freePort(), scratch()];
    // That of TCP is bound when it is named, that of WebSocket when the broker has started.
    const command = java(classPath, "ActiveMq.java", [`${port}`, `${webPort}`, folder]);
    running.use(await startDaemon({ command, folder, port: webPort }));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    const [tcp, web] = [`amqp://user:secret@${HOST}:${port}`, `ws://user:secret@${HOST}:${webPort}/`];
    const settings = { redelivers: "unmarked", lists: true, many: 3_000, large: 20_000_000 } as const;
    return {
      peer: `ActiveMQ Classic ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        // Its links share no subscription, though its attach says so.
        const { "shared subscription": _, ...jms } = jmsChecks(runtime, {
          place: (name) => ({ url: web, address: `${runtime.name}-jms-${name}` }),
          topic: (name) => ({ url: web, address: `topic://${runtime.name}-${name}` }),
        });
        return {
          ...jms,
          ...brokerChecks(runtime, {
            how: "TCP",
            place: (name) => ({ url: tcp, address: `${runtime.name}-${name}` }),
            ...settings,
          }),
          ...brokerChecks(runtime, {
            how: "WebSocket",
            place: (name) => ({ url: web, address: `${runtime.name}-ws-${name}` }),
            ...settings,
          }),
          "wrong password": async () => {
            const { code, message } = await runtime.call("failure", { url: `amqp://user:guess@${HOST}:${port}` });
            assertEquals([code, message.includes("guess")], ["amqp:unauthorized-access", false]);
          },
          "a second connection of a container that may have one only": async () => {
            const { code } = await runtime.call("sole", { url: tcp });
            assertEquals(code, "amqp:invalid-field");
          },
        };
      }),
    };
  });
}
