/**
 * RabbitMQ 3.10 with its plugin for AMQP 1.0, over TCP, over TLS and behind our gateway.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { brokerChecks } from "./broker_checks.ts";
import { ca, keyPair } from "../pki.ts";
import { file, freePort, HOST, type RunningDaemon, scratch, startDaemon } from "./daemon.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

const PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** Installs RabbitMQ and starts a private one. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    installDebian("rabbitmq-server", PROGRAM);
    const { url, secureUrl } = await startRabbit(running);
    const other = await startRabbit(running);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    const settings = {
      redelivers: true,
      // RabbitMQ reads the items of a list as fields of something, and breaks the connection.
      lists: false,
      // RabbitMQ ends the session of a link that asks for two steps.
      settlesTwice: false,
      // RabbitMQ keeps data sections last to first.
      ordersSections: false,
      many: 3_000,
      large: 8_000_000,
    } as const;
    return {
      peer: `RabbitMQ ${debianVersion("rabbitmq-server")}`,
      checks: onEach(runtimes, (runtime) => ({
        ...brokerChecks(runtime, {
          how: "TCP",
          place: (name) => ({ url, address: `/queue/${runtime.name}-${name}` }),
          ...settings,
        }),
        ...brokerChecks(runtime, {
          how: "gateway, ws to TCP",
          place: async (name) => ({
            url: `ws://guest:guest@${HOST}:${await runtime.call("gateway", url)}`,
            address: `/queue/${runtime.name}-gateway-${name}`,
          }),
          ...settings,
        }),
        "gateway, wss to TLS: send and receive": async () => {
          const port = await runtime.call("gateway", secureUrl, { tls: keyPair("server"), dial: { ca } });
          const place = { url: `wss://guest:guest@localhost:${port}`, address: `/queue/${runtime.name}-secure` };
          await runtime.call("roundTrip", { ...place, options: { tls: { ca } } });
        },
        "TLS: send and receive": () =>
          runtime.call("roundTrip", { url: secureUrl, address: "/queue/secure", options: { tls: { ca } } }),
        "TCP: wrong password": async () => {
          const { code, message } = await runtime.call("failure", { url: url.replace(":guest@", ":guess@") });
          assertEquals([code, message.includes("guess")], ["amqp:unauthorized-access", false]);
        },
        "killed and started again: the connection comes back, nothing that was accepted is lost": async () => {
          const place = { url: other.url, address: `/amq/queue/${runtime.name}-restart` };
          // The sender declares the queue, which outlives the broker since its target does.
          const declaring = { url: other.url, address: `/queue/${runtime.name}-restart` };
          await runtime.call("keepSending", declaring, 1);
          const sending = runtime.call("keepSending", declaring, 400);
          const early = await runtime.call("receive", place, 50);
          await other.restart();
          const accepted = await sending;
          const late = await runtime.call("receiveAll", place);
          assertEquals([accepted, new Set([...early, ...late]).size], [400, 400]);
        },
      })),
    };
  });
}

/** A running RabbitMQ. */
export interface RunningRabbit {
  readonly url: string;
  readonly secureUrl: string;
  /** Kills RabbitMQ, and starts it again with what is on its disk. */
  restart(): Promise<void>;
}

/** Starts a RabbitMQ of its own, with the plugin for AMQP 1.0. */
export async function startRabbit(running: AsyncDisposableStack): Promise<RunningRabbit> {
  const folder = scratch();
  const [port, securePort, epmdPort, distPort] = await Promise.all(Array.from({ length: 4 }, freePort));
  const { cert, key } = keyPair("server");
  // Started here, since RabbitMQ would leave it running.
  const epmd = ["epmd", "-address", HOST, "-port", `${epmdPort}`] as const;
  running.use(await startDaemon({ command: epmd, folder: scratch(), port: epmdPort }));
  const settings = [
    `listeners.tcp.1 = ${HOST}:${port}`,
    `listeners.ssl.1 = ${HOST}:${securePort}`,
    `ssl_options.certfile = ${file(folder, "server.pem", cert)}`,
    `ssl_options.keyfile = ${file(folder, "server.key", key)}`,
    "default_user = guest",
    "default_pass = guest",
    "amqp1_0.default_user = none",
    "amqp1_0.protocol_strict_mode = false",
    "",
  ];
  file(folder, "rabbitmq.conf", settings.join("\n"));
  const start = (): Promise<RunningDaemon> =>
    startDaemon({
      command: [PROGRAM],
      folder,
      // The last port that it opens.
      port: securePort,
      env: {
        HOME: folder,
        RABBITMQ_NODENAME: `interop${port}@localhost`,
        RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq"),
        RABBITMQ_ENABLED_PLUGINS_FILE: file(folder, "enabled_plugins", "[rabbitmq_amqp1_0].\n"),
        RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
        RABBITMQ_LOG_BASE: join(folder, "log"),
        RABBITMQ_PID_FILE: join(folder, "pid"),
        ERL_EPMD_ADDRESS: HOST,
        ERL_EPMD_PORT: `${epmdPort}`,
        RABBITMQ_DIST_PORT: `${distPort}`,
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1",
      },
    });
  let daemon = await start();
  running.defer(() => daemon[Symbol.asyncDispose]());
  return {
    url: `amqp://guest:guest@${HOST}:${port}`,
    secureUrl: `amqps://guest:guest@localhost:${securePort}`,
    restart: async () => {
      await daemon.kill();
      daemon = await start();
    },
  };
}
