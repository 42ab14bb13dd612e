/**
 * The client in a browser: a page from one origin, a broker on another, the browser's own WebSocket in between.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { createHash, X509Certificate } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { publish } from "../../mod.ts";
import { startBroker } from "../broker_server.ts";
import { bundle } from "../bundle.ts";
import { keyPair } from "../pki.ts";
import { read } from "../source.ts";
import { startProton } from "./proton.ts";
import { onEach, type Runtime, startRuntimes } from "./runtimes.ts";
import { installDebian, prepared, type Suite } from "./suite.ts";

// Defined in the page, where each function passed to `evaluate` runs.
declare const webamqp: typeof import("../../mod.ts");

const PROGRAM = "/usr/bin/chromium";
const MEGABYTE = 1_000_000;
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

interface PageServer extends AsyncDisposable {
  readonly origin: string;
}

/** Installs Chromium; starts it, the page's server and two brokers, one of which does not let the page in. */
export function prepare(): Promise<Suite> {
  return prepared(async (running) => {
    installDebian("chromium", PROGRAM);
    const { origin } = running.use(await servePages());
    const broker = running.use(await startBroker({ origins: [origin] }));
    const closed = running.use(await startBroker({ origins: ["https://elsewhere.example"] }));
    const proton = running.use(await startProton());
    const browser = await chromium.launch({
      executablePath: PROGRAM,
      args: [...ARGUMENTS, trusting(keyPair("server").cert)],
    });
    running.defer(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`${origin}/empty.html`);
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return {
      peer: `Chromium ${browser.version()}`,
      checks: {
        ...clientChecks(page, broker),
        ...refusalChecks(page, broker, closed),
        ...exampleChecks(browser, origin, broker),
        ...onEach(runtimes, (runtime) => ({
          ...listenerChecks(page, origin, runtime),
          "our gateway to Proton over wss, 1 MB": async () => {
            const port = await runtime.call("gateway", proton.url, { tls: keyPair("server"), origins: [origin] });
            assertEquals(await exchange(page, `wss://localhost:${port}/amqp`), "same");
          },
        })),
      },
    };
  });
}

type Checks = Suite["checks"];
type Url = { readonly url: string };

function clientChecks(page: Page, { url }: Url): Checks {
  return {
    "publish": async () => {
      const outcome = await page.evaluate(
        (url) => webamqp.publish(url, "published", { body: "one coffee" }),
        url,
      );
      assertEquals(outcome, { kind: "accepted" });
    },
    "connect and receive": async () => {
      const text = await page.evaluate(async (url) => {
        const connection = await webamqp.connect(url);
        const delivery = await connection.receiver("published").receive();
        delivery.accept();
        await connection.close();
        return delivery.message.text();
      }, url);
      assertEquals(text, "one coffee");
    },
    "100 messages both ways on one connection": async () => {
      const texts = await page.evaluate(async (url) => {
        const connection = await webamqp.connect(url);
        const texts: string[] = [];
        const receiver = connection.receiver("many", { credit: 10 });
        const sent = connection.sender("many").sendAll(Array.from({ length: 100 }, (_, i) => ({ body: `${i}` })));
        for await (const delivery of receiver) {
          delivery.accept();
          if (texts.push(delivery.message.text()) === 100) break;
        }
        await sent;
        await connection.close();
        return texts;
      }, url);
      assertEquals(texts, Array.from({ length: 100 }, (_, i) => `${i}`));
    },
    "request and reply": async () => {
      const text = await page.evaluate(async (url) => {
        const connection = await webamqp.connect(url);
        void connection.receiver("shout").serve(async ({ message }) => {
          const { replyTo, messageId } = message.properties ?? {};
          const properties = { correlationId: messageId };
          await connection.sender(replyTo!).send({ body: message.text().toUpperCase(), properties });
        });
        const reply = await connection.request("shout", { body: "one coffee" });
        await connection.close();
        return reply.text();
      }, url);
      assertEquals(text, "ONE COFFEE");
    },
    "bodies of 1 MB both ways": async () => {
      const differing = await page.evaluate(async ([url, size]) => {
        const body = Uint8Array.from({ length: size }, (_, i) => (i * 31) ^ (i >> 8));
        const connection = await webamqp.connect(url);
        const sender = connection.sender("large");
        const receiver = connection.receiver("large", { credit: 2 });
        let differing = 0;
        for (let round = 0; round < 3; round++) {
          await sender.send({ body });
          const delivery = await receiver.receive();
          const received = delivery.message.bytes();
          delivery.accept();
          if (received.length !== size || received.some((byte, i) => byte !== body[i])) differing++;
        }
        await connection.close();
        return differing;
      }, [url, MEGABYTE] as const);
      assertEquals(differing, 0);
    },
  };
}

/** Sends a large body from the page and receives it. */
function exchange(page: Page, url: string): Promise<string> {
  return page.evaluate(async ([url, size]) => {
    const connection = await webamqp.connect(url);
    const body = Uint8Array.from({ length: size }, (_, i) => (i * 31) ^ (i >> 8));
    const [delivery] = await Promise.all([
      connection.receiver("pages").receive(),
      connection.sender("pages").send({ body }),
    ]);
    delivery.accept();
    await connection.close();
    const received = delivery.message.bytes();
    return received.length === size && received.every((byte, i) => byte === body[i]) ? "same" : "differs";
  }, [url, MEGABYTE] as const);
}

function listenerChecks(page: Page, origin: string, runtime: Runtime): Checks {
  return {
    "our listener over wss and ws, 1 MB": async () => {
      const port = await runtime.call("listen", { tls: keyPair("server"), origins: [origin] });
      assertEquals(await exchange(page, `wss://user:secret@localhost:${port}/amqp`), "same");
      assertEquals(await exchange(page, `ws://user:secret@127.0.0.1:${port}/amqp`), "same");
    },
    "our listener refuses pages it does not know": async () => {
      const port = await runtime.call("listen", { tls: keyPair("server") });
      assertEquals(await failure(page, `wss://user:secret@localhost:${port}`), "connect-failed");
    },
    "our listener's certificate of a rogue authority is refused": async () => {
      const port = await runtime.call("listen", { tls: keyPair("rogue"), origins: [origin] });
      assertEquals(await failure(page, `wss://user:secret@localhost:${port}`), "connect-failed");
    },
  };
}

function refusalChecks(page: Page, broker: Url, closed: Url): Checks {
  return {
    "wrong password is told": async () => {
      assertEquals(await failure(page, broker.url.replace("secret", "guess")), "amqp:unauthorized-access");
    },
    "origin that is not allowed is refused": async () => {
      // A program sends no Origin, so this shows that only the page is refused.
      await publish(closed.url, "refused", { body: "one coffee" });
      assertEquals(await failure(page, closed.url), "connect-failed");
    },
    "subprotocol that is not spoken is refused": async () => {
      assertEquals(await failure(page, broker.url, "mqtt"), "connect-failed");
    },
  };
}

/** The error of publishing from the page. */
function failure(page: Page, url: string, subprotocol = "amqp"): Promise<string> {
  return page.evaluate(async ([url, subprotocol]) => {
    try {
      await webamqp.publish(url, "refused", { body: "one coffee" }, { subprotocols: [subprotocol], reconnect: false });
    } catch (error) {
      if (error instanceof webamqp.AmqpError) return error.condition;
      return error instanceof webamqp.TransportError ? error.code : String(error);
    }
    return "none";
  }, [url, subprotocol] as const);
}

function exampleChecks(browser: Browser, origin: string, { url }: Url): Checks {
  return {
    "examples/browser.html": async () => {
      const page = await browser.newPage();
      await page.goto(`${origin}/browser.html`);
      await page.fill("[name=url]", url);
      await page.click("button");
      assertEquals(await page.locator("output:not(:empty)").textContent(), "Received one coffee");
      await page.close();
    },
  };
}

// Makes Chromium accept one certificate, by its key, whoever has signed it.
function trusting(cert: string): string {
  const key = new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" });
  return `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`;
}

async function servePages(): Promise<PageServer> {
  const pages: Record<string, [type: string, text: string]> = {
    "/empty.html": [
      "text/html",
      `<!DOCTYPE html><script type="module">import * as all from "./webamqp.js"; globalThis.webamqp = all</script>`,
    ],
    "/browser.html": ["text/html", read("examples/browser.html")],
    "/webamqp.js": ["text/javascript", bundle(`export * from "./mod.ts";`).code],
  };
  const server = createServer((request, response) => {
    const [type, text] = pages[request.url ?? ""] ?? ["text/plain", ""];
    response.writeHead(text === "" ? 404 : 200, { "content-type": type }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
