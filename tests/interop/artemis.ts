/**
 * ActiveMQ Artemis, over TCP and WebSocket, and two of them behind a list of URLs.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { brokerChecks } from "./broker_checks.ts";
import { freePort, HOST, type RunningDaemon, scratch, startDaemon } from "./daemon.ts";
import { jars, java, type JavaOptions } from "./maven.ts";
import { jmsChecks } from "./jms_checks.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, type Suite } from "./suite.ts";

const VERSION = "2.40.0";

/** Starts an Artemis whose journal is in the folder. */
export async function startArtemis(port: number, folder: string, options?: JavaOptions): Promise<RunningDaemon> {
  const classPath = jars(`artemis-${VERSION}`, [
    `org.apache.activemq:artemis-server:${VERSION}`,
    `org.apache.activemq:artemis-amqp-protocol:${VERSION}`,
    "org.slf4j:slf4j-nop:2.0.16",
  ]);
  const command = java(classPath, "Artemis.java", [`${port}`, folder], options);
  return await startDaemon({ command, folder: scratch(), port });
}

/** Installs Artemis and starts it. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const port = await freePort();
    running.use(await startArtemis(port, scratch()));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    const login = `user:secret@${HOST}:${port}`;
    const settings = { redelivers: "unmarked", lists: true, many: 3_000, large: 20_000_000 } as const;
    return {
      peer: `ActiveMQ Artemis ${VERSION}`,
      checks: {
        ...onEach(runtimes, (runtime) => ({
          ...brokerChecks(runtime, {
            how: "TCP",
            place: (name) => ({ url: `amqp://${login}`, address: `${runtime.name}-${name}` }),
            ...settings,
          }),
          ...brokerChecks(runtime, {
            how: "WebSocket",
            place: (name) => ({ url: `ws://${login}/`, address: `${runtime.name}-ws-${name}` }),
            ...settings,
          }),
          ...jmsChecks(runtime, {
            place: (name) => ({ url: `ws://${login}/`, address: `${runtime.name}-jms-${name}` }),
            topic: (name) => ({ url: `ws://${login}/`, address: `${runtime.name}-topic-${name}` }),
          }),
          "wrong password": async () => {
            const { code, message } = await runtime.call("failure", { url: `amqp://user:guess@${HOST}:${port}` });
            assertEquals([code, message.includes("guess")], ["amqp:unauthorized-access", false]);
          },
          "a second connection of a container that may have one only": async () => {
            const { code } = await runtime.call("sole", { url: `amqp://${login}` });
            assertEquals(code, "amqp:invalid-field");
          },
          "killed and started again: the connection comes back, nothing that was accepted is lost": async () => {
            const folder = scratch();
            const port = await freePort();
            const url = `ws://user:secret@${HOST}:${port}/`;
            let broker = await startArtemis(port, folder);
            try {
              const sending = runtime.call("keepSending", { url, address: "orders" }, 400);
              const early = await runtime.call("receive", { url, address: "orders" }, 50);
              await broker.kill();
              broker = await startArtemis(port, folder);
              const accepted = await sending;
              const late = await runtime.call("receiveAll", { url, address: "orders" });
              assertEquals([accepted, new Set([...early, ...late]).size], [400, 400]);
            } finally {
              await broker[Symbol.asyncDispose]();
            }
          },
          "two on one journal, the first killed under load: the second takes over all that was accepted": async () => {
            await using ends = new AsyncDisposableStack();
            const folder = scratch();
            const ports = [await freePort(), await freePort()] as const;
            const url = ports.map((port) => `amqp://user:secret@${HOST}:${port}`);
            const first = ends.use(await startArtemis(ports[0], folder));
            // The second answers once it has the journal.
            const second = startArtemis(ports[1], folder);
            second.catch(() => {});
            ends.defer(() => second.then((broker) => broker[Symbol.asyncDispose](), () => {}));
            const place = { url: url[0]!, address: "orders" };
            const sending = runtime.call("keepSending", { url, address: "orders" }, 400);
            const early = await runtime.call("receive", place, 50);
            await first.kill();
            await second;
            assertEquals(await sending, 400);
            const late = await runtime.call("receiveAll", { ...place, url: url[1]! });
            const seen = new Set([...early, ...late]);
            assertEquals(seen.size, 400, `only ${seen.size} of 400 are there`);
          },
        })),
      },
    };
  });
}
