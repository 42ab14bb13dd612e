/**
 * Qpid Proton: its Python broker over TCP and behind our gateway, and its C and Python clients at our listener.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { execFile, execFileSync, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ca, keyPair } from "../pki.ts";
import { file, freePort, HOST, scratch, startDaemon } from "./daemon.ts";
import { brokerChecks } from "./broker_checks.ts";
import { underLoad } from "./outages.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { debianVersion, installDebian, prepared, type Suite } from "./suite.ts";

const C_EXAMPLES = "/usr/share/proton/examples/c";
const C_LIBRARIES = ["-l:libqpid-proton-core.so.10", "-l:libqpid-proton-proactor.so.1", "-lpthread"];
const MANY = 1_000;
const PYTHON_EXAMPLES = "/usr/share/proton/examples/python";
const BROKER = `${PYTHON_EXAMPLES}/broker.py`;

/** A running broker of Proton. */
export interface ProtonBroker extends AsyncDisposable {
  readonly url: string;
  /** Kills the broker with its messages, and starts it again. */
  restart(): Promise<void>;
}

/** Installs Proton and starts its broker. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    const { url } = running.use(await startProton());
    const restarted = running.use(await startProton());
    const folder = scratch();
    running.defer(() => rmSync(folder, { recursive: true }));
    const run = compile(folder);
    file(folder, "external.py", EXTERNAL);
    file(folder, "ca.pem", ca);
    for (const name of ["client", "rogue_client"] as const) {
      const { cert, key } = keyPair(name);
      file(folder, `${name}.pem`, cert);
      file(folder, `${name}.key`, key);
    }
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    const settings = {
      // For this example, every outcome is final, and so is the end of a connection.
      redelivers: false,
      keeps: false,
      // The broker keeps only the last of several data sections.
      ordersSections: false,
      lists: true,
      many: 3_000,
      large: 5_000_000,
    } as const;
    return {
      peer: `Proton ${debianVersion("python3-qpid-proton")}`,
      checks: onEach(runtimes, (runtime) => ({
        ...brokerChecks(runtime, {
          how: "TCP",
          place: (name) => ({ url, address: `${runtime.name}-${name}` }),
          ...settings,
        }),
        ...brokerChecks(runtime, {
          how: "gateway, ws to TCP",
          place: async (name) => ({
            url: `ws://${HOST}:${await runtime.call("gateway", url)}`,
            address: `${runtime.name}-gateway-${name}`,
          }),
          ...settings,
        }),
        ...clientChecks(runtime, run),
        ...certificateChecks(runtime, folder),
        ...requestChecks(runtime, url),
        ...deathChecks(runtime),
        ...restartChecks(runtime, restarted, "broker"),
      })),
    };
  });
}

type Run = (program: "send" | "receive" | "send-ssl" | "send-abort", ...args: (string | number)[]) => Promise<string>;

function clientChecks(runtime: Runtime, run: Run): Suite["checks"] {
  return {
    [`C client: ${MANY} messages in and out`]: async () => {
      const port = await runtime.call("listen");
      assertEquals(await run("send", HOST, port, "many", MANY), `${MANY} messages sent and acknowledged\n`);
      const lines = (await run("receive", HOST, port, "many", MANY)).trim().split("\n");
      assertEquals(lines.slice(-2), [`{"sequence"=${MANY}}`, `${MANY} messages received`]);
    },
    "C client: through our gateway, TCP to wss": async () => {
      const broker = await runtime.call("listen", { tls: keyPair("server"), schemes: ["wss"] });
      const port = await runtime.call("gateway", `wss://${HOST}:${broker}/amqp`, { dial: { ca } });
      assertEquals(await run("send", HOST, port, "relayed", MANY), `${MANY} messages sent and acknowledged\n`);
      const lines = (await run("receive", HOST, port, "relayed", MANY)).trim().split("\n");
      assertEquals(lines.slice(-2), [`{"sequence"=${MANY}}`, `${MANY} messages received`]);
    },
    "C client: over TLS": async () => {
      const port = await runtime.call("listen", { tls: keyPair("server"), schemes: ["amqps"] });
      const text = await run("send-ssl", HOST, port, "secure", 3);
      assert(
        /^secure connection: .*CN=server.*TLS/s.test(text) && text.endsWith("3 messages sent and acknowledged\n"),
        text,
      );
      const place = { url: `amqps://${HOST}:${port}`, address: "secure", options: { tls: { ca } } };
      assertEquals(await runtime.call("receive", place, 2), [{ sequence: 1 }, { sequence: 2 }]);
    },
    "C client: what it aborts has never been": async () => {
      const port = await runtime.call("listen");
      assert((await run("send-abort", HOST, port, "aborted", 5)).includes("5 messages started and aborted"));
      await runtime.call("send", { url: `ws://${HOST}:${port}`, address: "aborted" }, "one coffee");
      assertEquals(await run("receive", HOST, port, "aborted", 1), '"one coffee"\n1 messages received\n');
    },
  };
}

function requestChecks(runtime: Runtime, proton: string): Suite["checks"] {
  const python = (
    name: string,
    url: string,
  ): string[] => [join(PYTHON_EXAMPLES, name), "-a", url.replace("amqp://", "")];
  const ask = async (url: string): Promise<string> => {
    const server = spawn("/usr/bin/python3", python("server.py", `${url}/${runtime.name}-ask`), { stdio: "ignore" });
    try {
      return await runtime.call("request", { url, address: `${runtime.name}-ask` }, "one coffee");
    } finally {
      server.kill();
    }
  };
  return {
    "request that Python answers, at its broker and at ours": async () => {
      const ours = `amqp://${HOST}:${await runtime.call("listen")}`;
      assertEquals([await ask(proton), await ask(ours)], ["ONE COFFEE", "ONE COFFEE"]);
    },
    "requests of Python that we answer": async () => {
      const url = `amqp://${HOST}:${await runtime.call("listen")}`;
      const client = promisify(execFile)("/usr/bin/python3", python("client.py", `${url}/answer`), { timeout: 20_000 });
      await runtime.call("answer", { url, address: "answer" }, 4);
      const lines = (await client).stdout.trim().split("\n");
      assertEquals(lines.length, 4);
      for (const line of lines) assertEquals(line.split(" => ")[0].toUpperCase(), line.split(" => ")[1]);
    },
  };
}

function deathChecks(runtime: Runtime): Suite["checks"] {
  return {
    "broker that dies is told, directly and by the gateway": async () => {
      const broker = await startProton();
      const gateway = `ws://${HOST}:${await runtime.call("gateway", broker.url)}`;
      await Promise.all([
        runtime.call("roundTrip", { url: broker.url, address: "directly" }),
        runtime.call("roundTrip", { url: gateway, address: "by gateway" }),
      ]);
      const ends = Promise.all([broker.url, gateway].map((url) => runtime.call("idle", { url }, 10_000)));
      // Once this has connected, both have, since later requests are handled later.
      await runtime.call("roundTrip", { url: gateway, address: "between" });
      await broker[Symbol.asyncDispose]();
      assertEquals((await ends).map((end) => end?.code), ["connection-lost", "connection-lost"]);
    },
  };
}

/** A broker that is killed under load and keeps nothing: each send has one outcome, and later messages come. */
export function restartChecks(runtime: Runtime, { url, restart }: ProtonBroker, what: string): Suite["checks"] {
  return {
    [`${what} killed under load and started again, 3 times`]: async () => {
      const place = { url, address: `${runtime.name}-restart` };
      const report = await underLoad(runtime, { place, recovery: "resend", disturb: restart });
      assertEquals(report.twiceUnsaid, 0, "messages that came twice and were sent once");
    },
  };
}

// Sends one message with a client certificate and prints the outcome.
const EXTERNAL = `import sys
from proton import Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import Container

class Client(MessagingHandler):
    sent = False

    def on_start(self, event):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db("ca.pem")
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        domain.set_credentials(sys.argv[2] + ".pem", sys.argv[2] + ".key", None)
        connection = event.container.connect(sys.argv[1], ssl_domain=domain, allowed_mechs=sys.argv[3], reconnect=False)
        event.container.create_sender(connection, "alice/orders")

    def on_sendable(self, event):
        if not self.sent:
            event.sender.send(Message(body="one coffee"))
        self.sent = True

    def on_accepted(self, event):
        print("accepted")
        event.connection.close()

    def on_link_error(self, event):
        print(event.link.remote_condition.name)
        event.connection.close()

    def on_transport_error(self, event):
        print("not connected")

Container(Client()).run()
`;

function certificateChecks(runtime: Runtime, folder: string): Suite["checks"] {
  const come = async (certificate: string, mechanism: string): Promise<string> => {
    const tls = { ...keyPair("server"), ca, clientCertificate: "request" } as const;
    const port = await runtime.call("listen", { tls });
    const args = ["external.py", `amqps://localhost:${port}`, certificate, mechanism];
    return (await promisify(execFile)("/usr/bin/python3", args, { cwd: folder, timeout: 20_000 })).stdout;
  };
  return {
    "Python client: certificate as SASL EXTERNAL": async () => {
      assertEquals(await come("client", "EXTERNAL"), "accepted\n");
      assertEquals(await come("client", "ANONYMOUS"), "amqp:unauthorized-access\n");
      assertEquals(await come("rogue_client", "EXTERNAL"), "not connected\n");
    },
  };
}

function compile(folder: string): Run {
  installDebian("gcc libc6-dev", "/usr/bin/gcc");
  installDebian("libqpid-proton11-dev", "/usr/include/proton/proactor.h");
  installDebian("libqpid-proton11-dev-examples", `${C_EXAMPLES}/send.c`);
  for (const name of ["send", "receive", "send-ssl", "send-abort"]) {
    execFileSync("gcc", ["-O1", "-o", join(folder, name), `${C_EXAMPLES}/${name}.c`, ...C_LIBRARIES]);
  }
  return async (program, ...args) => {
    const { stdout } = await promisify(execFile)(join(folder, program), args.map(String), { timeout: 20_000 });
    return stdout;
  };
}

/** Installs Proton's example broker, which accepts everybody, and starts it. */
export async function startProton(interpreter = "/usr/bin/python3"): Promise<ProtonBroker> {
  installDebian("python3-qpid-proton", "/usr/lib/python3/dist-packages/proton/__init__.py");
  installDebian("libqpid-proton11-dev-examples", BROKER);
  const port = await freePort();
  // By its path, since another python3 may come first.
  const command = [interpreter, BROKER, "-a", `${HOST}:${port}`] as const;
  const folder = scratch();
  let daemon = await startDaemon({ command, folder, port });
  return {
    url: `amqp://${HOST}:${port}`,
    restart: async () => {
      await daemon.kill();
      daemon = await startDaemon({ command, folder, port });
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}
