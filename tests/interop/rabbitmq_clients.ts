/**
 * RabbitMQ's clients for Python and Java as clients of the stand-in for RabbitMQ of the examples.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { rabbitmq } from "../../examples/rabbitmq.ts";
import { listen } from "../../src/transport/sockets.ts";
import { HOST } from "./daemon.ts";
import { jars, java, runChecks } from "./maven.ts";
import { python } from "./python.ts";
import { prepared, type Suite } from "./suite.ts";

const PYTHON = "rabbitmq-amqp-python-client==1.0.1";
const JAVA = "com.rabbitmq.client:amqp-client:1.5.0";
const CHECKS = ["queues", "exchanges", "consumer"];

/** Installs the clients, and runs all their checks. */
export function prepare(): Promise<Suite> {
  return prepared(async () => {
    const interpreter = python("rabbitmq", [PYTHON]);
    const classPath = jars("rabbitmq", [JAVA, "org.slf4j:slf4j-nop:1.7.36"]);
    const program = fileURLToPath(new URL("python/rabbitmq.py", import.meta.url));
    const checks = {
      ...await run("Python", (port) => [interpreter, program, String(port)]),
      ...await run("Java", (port) => java(classPath, "RabbitMq.java", [`amqp://guest:guest@${HOST}:${port}/%2F`])),
    };
    return { peer: `${PYTHON}, ${JAVA}`, checks };
  });
}

async function run(language: string, command: (port: number) => [string, ...string[]]): Promise<Suite["checks"]> {
  await using broker = rabbitmq();
  await using listener = await listen({ port: 0, host: HOST, acceptor: broker });
  const found = await runChecks(command(listener.port));
  return Object.fromEntries(
    CHECKS.map((check) => [
      `${language}: ${check}`,
      () => Promise.resolve(assertEquals([found.has(check), found.get(check)], [true, undefined])),
    ]),
  );
}
