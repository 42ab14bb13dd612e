/**
 * Qpid Proton: its Python broker over TCP.
 *
 * @module
 */

import { freePort, HOST, type RunningDaemon, scratch, startDaemon } from "./daemon.ts";
import { brokerChecks } from "./broker_checks.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

const BROKER = "/usr/share/proton/examples/python/broker.py";

/** A broker of Proton that runs. */
export interface ProtonBroker extends RunningDaemon {
  /** Where to connect. */
  readonly url: string;
}

/** Installs Proton and starts its broker. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const { url } = running.use(await startProton());
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `Proton ${debianVersion("python3-qpid-proton")}`,
      checks: onEach(runtimes, (runtime) =>
        brokerChecks(runtime, {
          how: "TCP",
          place: (name) => ({ url, address: `${runtime.name}-${name}` }),
          // To this example, every outcome is the last.
          redelivers: false,
          many: 3_000,
          large: 5_000_000,
        })),
    };
  });
}

/** Installs Proton's example broker, which lets everybody in, and starts it. */
export async function startProton(): Promise<ProtonBroker> {
  installDebian("python3-qpid-proton", BROKER);
  const port = await freePort();
  // By its path: another python3 may come first.
  const command = ["/usr/bin/python3", BROKER, "-a", `${HOST}:${port}`] as const;
  const daemon = await startDaemon({ command, folder: scratch(), port });
  return { ...daemon, url: `amqp://${HOST}:${port}` };
}
