/**
 * Puts the questions of the conformance sheet to the peers that `npm run interop` knows, and writes down each one's
 * answers: `deno run -A tests/conformance/ask.ts`, which starts RabbitMQ, Artemis, Broker-J and rhea.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import rhea from "rhea";
import { ScriptError } from "../../src/testing/mod.ts";
import { dialSocket } from "../../src/transport/sockets.ts";
import { startArtemis } from "../interop/artemis.ts";
import { freePort, HOST, scratch } from "../interop/daemon.ts";
import { startRabbit } from "../interop/rabbitmq.ts";
import { debianVersion } from "../interop/suite.ts";
import { type Login, probes, put } from "./probes.ts";
import type { PeerAnswers } from "./peers.ts";

const TIMEOUT_MS = 3_000;

async function ask(url: string, login: Login): Promise<Record<string, string>> {
  const answers: Record<string, string> = {};
  for (const probe of probes) {
    answers[`${probe.id}: ${probe.name}`] = await put(probe, await dialSocket(url), login, TIMEOUT_MS)
      .then(() => "yes", (error: Error) => shortOf(error));
  }
  return answers;
}

// The text of the error, without the parts that differ from run to run.
function shortOf(error: Error): string {
  const [first = ""] = error.message.split("\n");
  if (!(error instanceof ScriptError)) return first;
  if (error.trace.some((line) => line.startsWith("- channel closed"))) return "ends the connection without it";
  const came = error.trace.findLast((line) => line.startsWith(">"));
  if (/nothing came/.test(first)) return "says nothing";
  const condition = /condition="([^"]+)"/.exec(came ?? "")?.[1];
  const kind = /^> (\w+)/.exec(came ?? "")?.[1];
  if (kind === undefined) return "answers in another protocol";
  return condition === undefined ? `${kind} instead` : `${kind} with ${condition}`;
}

const peers: PeerAnswers[] = [];
const running = new AsyncDisposableStack();
try {
  const port = await freePort();
  running.use(await startArtemis(port, scratch()));
  peers.push({
    peer: "Artemis 2.40.0",
    answers: await ask(`amqp://${HOST}:${port}`, ["user", "secret"]),
  });
  const { url } = await startRabbit(running);
  const { host } = new URL(url);
  peers.push({
    peer: `RabbitMQ ${debianVersion("rabbitmq-server")}`,
    answers: await ask(`amqp://${host}`, ["guest", "guest"]),
  });
  const container = rhea.create_container();
  container.on("error", () => {});
  for (const event of ["connection_error", "session_error", "protocol_error", "disconnected"]) {
    container.on(event, () => {});
  }
  container.sasl_server_mechanisms.enable_anonymous();
  const listening = container.listen({ port: 0, host: HOST });
  await new Promise((resolve) => listening.once("listening", resolve));
  peers.push({
    peer: "rhea 3",
    answers: await ask(`amqp://${HOST}:${(listening.address() as AddressInfo).port}`, undefined),
  });
  listening.close();
} finally {
  await running.disposeAsync();
}
writeFileSync(fileURLToPath(new URL("./peers.json", import.meta.url)), `${JSON.stringify(peers, undefined, 2)}\n`);
process.exit(0);
