import { assertEquals } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import { dial } from "../../../src/transport/websocket/standard.ts";
import { test } from "../../harness.ts";
import { startWorker } from "./workerd.ts";
import { record } from "../channel_log.ts";

const MIB = 1024 * 1024;

// Reported over HTTP, since nothing else shows what happens inside a worker.
const WORKER = `
  import { handler } from "./src/transport/runtime/workers.ts";
  import { dial } from "./src/transport/websocket/standard.ts";

  const closes = [];
  const amqp = handler((channel, { protocol, request }) => {
    channel.onbytes = (bytes) => channel.send(bytes);
    channel.onclose = ({ code, reason }) => closes.push([protocol, code, reason]);
    if (request.url.endsWith("/closing")) channel.close(1001, "going");
  }, { subprotocols: ["amqp", "AMQPWSB10"] });

  async function dialled(url) {
    try {
      const channel = await dial(url);
      const seen = [];
      channel.onbytes = (bytes) => {
        seen.push(bytes.constructor.name, bytes.length);
        channel.close(3000, "done");
      };
      const closed = new Promise((resolve) => channel.onclose = resolve);
      channel.send(new Uint8Array(5));
      const { code } = await closed;
      return [channel.protocol, ...seen, code];
    } catch (error) {
      return [error.name, error.code, error.status, error.message];
    }
  }

  export default {
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/closes") return Response.json(closes.splice(0));
      if (pathname === "/dial") return Response.json(await dialled(searchParams.get("to")));
      return amqp(request);
    },
  };
`;

// Outside of a test; see startWorker.
const seen = await exercise();

async function exercise(): Promise<Record<string, unknown>> {
  const workers = startWorker(WORKER);
  try {
    const http = await workers.ready;
    const url = http.href.replace("http:", "ws:");
    const json = async (path: string): Promise<unknown> => await (await fetch(new URL(path, http))).json();
    const dialFrom = (target: string): Promise<unknown> => json(`/dial?to=${encodeURIComponent(target)}`);

    const echo = await dial(url, { subprotocols: ["mqtt", "AMQPWSB10"] });
    const log = record(echo);
    echo.send(new Uint8Array(MIB).fill(7));
    await log.until(MIB);
    echo.close(3005, "why");
    await log.closed;

    const refused = await dial(url, { subprotocols: ["mqtt"] }).catch((error) => error);
    const plain = await fetch(http);
    return {
      echoed: log.bytes().every((byte) => byte === 7) && log.received,
      closes: await json("/closes"),
      closedBy: await record(await dial(`${url}closing`)).closed,
      refused: refused instanceof TransportError,
      plain: [plain.status, await plain.text()],
      dialled: await dialFrom(url),
      notDialled: (await dialFrom(`${url}closes?sig=secret`) as string[]).join().replaceAll(url, "URL/"),
    };
  } finally {
    await workers.dispose();
  }
}

test("WSB-3, WSB-27: the adapter for Workers upgrades with a known name, carries bytes and closes", () => {
  assertEquals(seen.echoed, MIB);
  assertEquals(seen.closes, [["AMQPWSB10", 3005, "why"]]);
  assertEquals(seen.closedBy, { code: 1001, reason: "going" });
});

test("WSB-8, WS-12: the adapter for Workers refuses everything else", () => {
  assertEquals(seen.refused, true);
  assertEquals(seen.plain, [426, "Cannot accept WebSocket: a WebSocket is required\n"]);
});

test("WS-36: Workers dial, and tell the status of a handshake that failed", () => {
  assertEquals(seen.dialled, ["amqp", "Uint8Array", 5, 3000]);
  const failure = 'TransportError,handshake-failed,200,Cannot open WebSocket to "URL/closes": status is 200';
  assertEquals(seen.notDialled, failure);
});
