import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { TransportError } from "../../../src/base/errors.ts";
import type { Dial } from "../../../src/client/attempt.ts";
import { connect } from "../../../src/client/connect.ts";
import { Deferred } from "../../../src/base/wait.ts";
import { dialSocket, type SocketDialOptions } from "../../../src/transport/socket/dial.ts";
import { listen } from "../../../src/transport/socket/listen.ts";
import type { PausableChannel } from "../../../src/transport/socket/socket.ts";
import { test } from "../../harness.ts";
import { ca, keyPair } from "../../pki.ts";
import { bareServer, silent } from "../bare.ts";
import { record } from "../channel_log.ts";
import { connectProxy, PROXY_USER } from "../proxy/connect_proxy.ts";
import { rawServer } from "../raw_peer.ts";
import { latin1, text } from "../wire.ts";

async function failure(url: string, options: SocketDialOptions = {}): Promise<TransportError> {
  return await assertRejects(() => dialSocket(url, options), TransportError);
}

/** Sends received bytes back, and ends when the other end does. */
const echo = (socket: import("node:net").Socket): void => void socket.pipe(socket);

async function assertEchoes(url: string, options: SocketDialOptions = {}): Promise<void> {
  const channel = await dialSocket(url, options);
  const log = record(channel);
  channel.send(latin1("ping"));
  await log.until(4);
  assertEquals(text(log.bytes()), "ping");
  channel.close();
  assertEquals((await log.closed).code, 1000);
}

test("ATK-28: a certificate is refused that is for another host, has ended, or comes from an unknown authority", async () => {
  for (const name of ["wrong_host", "expired", "rogue"] as const) {
    await using server = await bareServer(echo, keyPair(name));
    for (const scheme of ["amqps", "wss"]) {
      const error = await failure(`${scheme}://localhost:${server.port}`, { tls: { ca } });
      assertEquals(error.code, "connect-failed", name);
      assertStringIncludes(error.message, 'Cannot open TLS to "localhost:');
    }
  }
  await using server = await bareServer(echo, keyPair("server"));
  assertEquals((await failure(`amqps://localhost:${server.port}`)).code, "connect-failed");
  await assertEchoes(`amqps://localhost:${server.port}`, { tls: { ca } });
  await assertEchoes(`amqps://127.0.0.1:${server.port}`, { tls: { ca } });
});

test("tls: serverName is the name that is asked for and checked", async () => {
  const asked: (string | false | null)[] = [];
  const onsocket = (socket: unknown): void => {
    asked.push((socket as import("node:tls").TLSSocket).servername);
    echo(socket as import("node:net").Socket);
  };
  await using server = await bareServer(onsocket, keyPair("wrong_host"));
  await assertEchoes(`amqps://127.0.0.1:${server.port}`, { tls: { ca, serverName: "elsewhere.example" } });
  // The dot of a fully qualified name is not sent [rfc6066 3].
  await assertEchoes(`amqps://127.0.0.1:${server.port}`, { tls: { ca, serverName: "elsewhere.example." } });
  assertEquals(asked, ["elsewhere.example", "elsewhere.example"]);
});

test("tls: wss speaks HTTP/1.1 by ALPN, and shows its certificate where it is asked", async () => {
  const seen: unknown[] = [];
  const onsocket = (socket: unknown): void => {
    const secure = socket as import("node:tls").TLSSocket;
    seen.push(secure.alpnProtocol, secure.getPeerCertificate().subject?.CN);
    secure.end();
  };
  await using server = await bareServer(onsocket, {
    ...keyPair("server"),
    ALPNProtocols: ["h2", "http/1.1"],
    ca,
    requestCert: true,
  });
  await failure(`wss://localhost:${server.port}`, { tls: { ca, ...keyPair("client") } });
  assertEquals(seen, ["http/1.1", "alice"]);
});

test("tls: who gives no certificate where one is wanted is told of it", async () => {
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const settings = { ...keyPair("server"), ca, requestCert: true, rejectUnauthorized: true, maxVersion };
    await using server = await bareServer(echo, settings);
    const error = await failure(`wss://localhost:${server.port}`, { tls: { ca } });
    assertStringIncludes(error.message, "see tls.cert and tls.key");
  }
});

test("tls: certificates and keys that are none are a mistake, and stay out of the error", async () => {
  await using server = await bareServer(echo, keyPair("server"));
  const { cert, key } = keyPair("client");
  const broken = key.replace(/[A-Za-z]{20}/, "s3cret");
  for (
    const tls of [
      { cert, key: "s3cret" },
      { cert: "s3cret", key },
      { cert },
      { key },
      { ca: "s3cret" },
      { ca: [ca, "s3cret"] },
      { cert, key: broken },
    ]
  ) {
    const url = `amqps://localhost:${server.port}`;
    const error = await dialSocket(url, { tls: { ca, ...tls } }).then((channel) => channel.close(), (error) => error);
    // Deno continues without a key that it cannot read.
    if (error === undefined && tls.key === broken) continue;
    assertEquals([error.name, error.message.includes("s3cret")], ["TypeError", false]);
  }
});

test("headers: they are sent, those of the handshake cannot be set, and nothing can be smuggled in", async () => {
  let head = "";
  await using server = await bareServer((socket) =>
    socket.once("data", (bytes: Uint8Array) => {
      head = text(bytes);
      socket.end("HTTP/1.1 503 x\r\nRetry-After: 9\r\n\r\n");
    })
  );
  const url = `ws://u:p@127.0.0.1:${server.port}/a?b=c`;
  const error = await failure(url, { headers: { Authorization: "Bearer t", "X-Y": "1" } });
  assertEquals([error.code, error.status], ["handshake-failed", 503]);
  assertEquals(error.headers, [["Retry-After", "9"]]);
  assertStringIncludes(head, "GET /a?b=c HTTP/1.1\r\n");
  assertStringIncludes(head, `\r\nHost: 127.0.0.1:${server.port}\r\n`);
  assertStringIncludes(head, "\r\nAuthorization: Bearer t\r\n");
  assert(!/u:p|dTpw/.test(head));
  await failure(url, { hostHeader: "broker.example" });
  assertStringIncludes(head, "\r\nHost: broker.example\r\n");
  assertEquals(head.match(/host:/gi)?.length, 1);
  const hostile = await assertRejects(() => dialSocket(url, { hostHeader: "a\r\nb: c" }), TypeError);
  assertStringIncludes(hostile.message, "Cannot");
  const connections = server.sockets.length;
  const headerSets: SocketDialOptions["headers"][] = [
    { Host: "x" },
    { "sec-websocket-key": "x" },
    { "a b": "x" },
    { a: "x\r\nb: y" },
    { a: "\0" },
    new Headers({ connection: "close" }),
    [["a", "s3cret\n"]],
  ];
  for (const headers of headerSets) {
    const error = await assertRejects(() => dialSocket(url, { headers }), TypeError);
    assertEquals(error.message.includes("s3cret"), false);
  }
  assertEquals(server.sockets.length, connections);
});

test("WS-8: a refusal is told with its status, a wrong subprotocol as such", async () => {
  const server = await rawServer((peer) => peer.path === "/" ? peer.refuse(401) : peer.accept("mqtt"));
  assertEquals((await failure(server.url)).status, 401);
  assertEquals((await failure(`${server.url}/x`)).code, "subprotocol-mismatch");
  await server.close();
});

test("PXY-9: every step has a time limit of its own", async () => {
  await using mute = await bareServer(silent);
  const options = { handshakeTimeoutMs: 60 };
  const proxy = `http://127.0.0.1:${mute.port}`;
  assertEquals((await failure(`ws://127.0.0.1:${mute.port}`, options)).code, "timeout");
  const tls = await failure(`amqps://127.0.0.1:${mute.port}`, options);
  assertEquals([tls.code, tls.message], [
    "timeout",
    `Cannot open TLS to "127.0.0.1:${mute.port}": no answer within 60 ms`,
  ]);
  const tunnel = await failure("amqp://127.0.0.1:1", { ...options, proxy });
  assertEquals(tunnel.code, "timeout");
  assertStringIncludes(tunnel.message, "Cannot open tunnel through");
  await mute.gone(3);
});

test("abort: at every step it rejects with the reason and lets go", async () => {
  const reason = new Error("enough");
  await using mute = await bareServer(silent);
  const here = `127.0.0.1:${mute.port}`;
  let count = 0;
  for (
    const [url, proxy] of [
      [`ws://${here}`],
      [`wss://${here}`],
      [`amqps://${here}`],
      ["amqp://127.0.0.1:1", `http://${here}`],
      ["amqp://127.0.0.1:1", `https://${here}`],
    ]
  ) {
    const controller = new AbortController();
    const dialled = dialSocket(url!, { signal: controller.signal, ...(proxy && { proxy }) });
    while (mute.sockets.length === count) await new Promise((resolve) => setTimeout(resolve, 1));
    count++;
    controller.abort(reason);
    assertEquals(await dialled.catch((error) => error), reason, url);
    await mute.gone(count);
  }
  const error = await dialSocket(`amqp://${here}`, { signal: AbortSignal.abort(reason) }).catch((error) => error);
  assertEquals([error, mute.sockets.length], [reason, count]);
});

test("connect: nobody there is connect-failed, with host, port and why", async () => {
  const { port, ...server } = await bareServer(() => {});
  await server[Symbol.asyncDispose]();
  const error = await failure(`amqp://user:s3cret@127.0.0.1:${port}/?k=s3cret`);
  assertEquals([error.code, error.message], [
    "connect-failed",
    `Cannot connect to "127.0.0.1:${port}": ECONNREFUSED, nothing listens there or something on the way refuses`,
  ]);
  assertEquals((await failure("amqp://nowhere.invalid")).code, "connect-failed");
});

test("ATK-15: URLs that cannot be used are refused, without their text in the error", async () => {
  for (const url of ["http://x", "amqp:", "amqp://s3cret:s3cret@", "amqp://x/#s3cret", "amqp://s3cret x", "s3cret"]) {
    const error = await assertRejects(() => dialSocket(url), TypeError);
    assertEquals(error.message.includes("s3cret"), false, error.message);
  }
});

test("PXY-7, PXY-8: tunnels of every kind, and no credentials of one for the other", async () => {
  const { cert, key } = keyPair("client");
  const heads: string[] = [];
  await using server = await bareServer((socket) => {
    socket.on("data", (bytes: Uint8Array) => heads.push(text(bytes)));
    socket.on("end", () => socket.end());
  }, { ...keyPair("server"), ca, requestCert: true });
  for (const auth of [undefined, "basic", "digest"] as const) {
    await using proxy = await connectProxy({ ...(auth && { auth }), tls: keyPair("server") });
    const error = await failure(`wss://localhost:${server.port}/`, {
      handshakeTimeoutMs: 150,
      headers: { Authorization: "Bearer s3cret" },
      proxy: { url: proxy.url, ...PROXY_USER, schemes: ["basic", "digest"] },
      tls: { ca, cert, key },
    });
    assertEquals(error.code, "timeout");
    assertEquals([proxy.requests.length, proxy.tunnels], [auth === undefined ? 1 : 2, 1]);
    for (const request of proxy.requests) {
      assertStringIncludes(request, `CONNECT localhost:${server.port} HTTP/1.1\r\nHost: localhost:${server.port}\r\n`);
      assertEquals(/s3cret|^authorization/im.test(request), false, request);
    }
  }
  assertEquals(heads.length, 3);
  for (const head of heads) assertEquals(/proxy/i.test(head), false, head);
});

test("PXY-5, PXY-6, DIG-9: a proxy that closes after its challenge, a nonce that grew old, wrong credentials", async () => {
  await using server = await bareServer(echo);
  const url = `amqp://127.0.0.1:${server.port}`;
  {
    await using proxy = await connectProxy({ auth: "digest", algorithm: "SHA-256", closes: true });
    await assertEchoes(url, { proxy: { url: proxy.url, ...PROXY_USER } });
    assertEquals(proxy.requests.length, 2);
  }
  {
    await using proxy = await connectProxy({ auth: "digest", uses: 2 });
    const options = { proxy: { url: proxy.url, ...PROXY_USER } };
    const counts: number[] = [];
    for (let i = 0; i < 4; i++) {
      await assertEchoes(url, options);
      counts.push(proxy.requests.length);
    }
    // One challenge, then answers without one as long as the nonce lasts; the fourth was stale.
    assertEquals(counts, [2, 3, 5, 6]);
  }
  for (const auth of ["basic", "digest"] as const) {
    await using proxy = await connectProxy({ auth });
    const wrong = { url: proxy.url, username: "puser", password: "s3cret", schemes: [auth] };
    const error = await failure(url, { proxy: wrong });
    assertEquals([error.code, error.status], ["proxy-authentication-failed", 407]);
    assertEquals([proxy.tunnels, `${error.message}${error.cause}`.includes("s3cret")], [0, false]);
    assertEquals((await failure(url, { proxy: proxy.url })).code, "proxy-authentication-failed");
  }
});

test("proxy: a callback is asked for credentials with the attempt's signal, and what it throws ends the attempt", async () => {
  await using server = await bareServer(echo);
  await using proxy = await connectProxy({ auth: "digest" });
  const url = `amqp://127.0.0.1:${server.port}`;
  const asked: unknown[] = [];
  const { signal } = new AbortController();
  await assertEchoes(url, {
    signal,
    proxy: {
      url: proxy.url,
      credentials: async (request) => {
        asked.push(request);
        await Promise.resolve();
        return PROXY_USER;
      },
    },
  });
  assertEquals(asked, [{ proxy: new URL(proxy.url).host, scheme: "digest", realm: "labrealm", signal }]);
  assert((asked[0] as { signal?: AbortSignal }).signal === signal);
  const credentials = (): never => {
    throw new Error("no password today");
  };
  await assertRejects(() => dialSocket(url, { proxy: { url: proxy.url, credentials } }), Error, "no password today");
});

test("proxy: a callback that never answers ends with the attempt", async () => {
  await using proxy = await connectProxy({ auth: "digest" });
  const reason = new Error("changed my mind");
  const stop = new AbortController();
  const credentials = (): Promise<undefined> => {
    queueMicrotask(() => stop.abort(reason));
    return new Promise(() => {});
  };
  const dialled = dialSocket("amqp://127.0.0.1:1", { signal: stop.signal, proxy: { url: proxy.url, credentials } });
  assertEquals(await dialled.catch((error) => error), reason);
  assertEquals(proxy.requests.length, 1);
});

test("PXY-8, ATK-28: the certificate of a proxy over TLS is checked too, against authorities of its own", async () => {
  await using server = await bareServer(echo);
  const url = `amqp://127.0.0.1:${server.port}`;
  await using proxy = await connectProxy({ tls: keyPair("server") });
  assertEquals((await failure(url, { proxy: proxy.url })).code, "connect-failed");
  await assertEchoes(url, { proxy: { url: proxy.url, tls: { ca } } });
  await assertEchoes(url, { proxy: proxy.url, tls: { ca } });
});

test("PXY-8: what is wrong with the TLS of a proxy names the proxy and its own options, not those of the target", async () => {
  const wanting = { ...keyPair("server"), ca, requestCert: true, rejectUnauthorized: true };
  await using rogue = await bareServer(echo, keyPair("rogue"));
  await using named = await bareServer(echo, keyPair("wrong_host"));
  await using plain = await bareServer((socket) => void socket.end("HTTP/1.1 400 x\r\n\r\n"));
  await using secure = await connectProxy({ tls: keyPair("server") });
  await using early = await bareServer(echo, { ...wanting, maxVersion: "TLSv1.2" });
  await using late = await bareServer(echo, { ...wanting, maxVersion: "TLSv1.3" });
  const place = "localhost:";
  for (
    const [url, what] of [
      [`https://${place}${rogue.port}`, /^Cannot open TLS to proxy .* in proxy\.tls\.ca$/],
      [
        `https://${place}${named.port}`,
        /^Cannot open TLS to proxy .* in proxy\.tls\.serverName if it is the right one$/,
      ],
      [
        `https://${place}${plain.port}`,
        /^Cannot open TLS to proxy .*(?:URL as http: if that is meant|an http: URL .*)$/,
      ],
      [secure.url.replace("https:", "http:"), /^Cannot open tunnel .* URL begins with https:$/],
      [`https://${place}${early.port}`, /proxy .* see proxy\.tls\.cert and proxy\.tls\.key$/],
      [`https://${place}${late.port}`, /^Cannot open tunnel .* see proxy\.tls\.cert and proxy\.tls\.key$/],
    ] as const
  ) {
    const error = await failure("wss://broker.invalid", { tls: { ca }, proxy: { url } });
    assertMatch(error.message, what);
  }
});

test("proxy: a refusal is told with its status", async () => {
  await using proxy = await connectProxy({ status: 403 });
  const error = await failure("amqp://127.0.0.1:1", { proxy: proxy.url });
  assertEquals([error.code, error.status], ["proxy-failed", 403]);
});

test("PXY-10, ATK-29: the environment is looked at when asked to, and NO_PROXY exempts", async () => {
  await using server = await bareServer(echo);
  await using proxy = await connectProxy();
  const url = `amqp://127.0.0.1:${server.port}`;
  const { ALL_PROXY, NO_PROXY } = process.env;
  try {
    process.env.ALL_PROXY = proxy.url;
    process.env.NO_PROXY = "";
    await assertEchoes(url);
    assertEquals(proxy.tunnels, 0);
    await assertEchoes(url, { proxy: "env" });
    await assertEchoes(url, { proxy: { url: "env", headers: { "X-Test": "1" } } });
    assertEquals(proxy.tunnels, 2);
    process.env.NO_PROXY = "127.0.0.0/8";
    await assertEchoes(url, { proxy: "env" });
    assertEquals(proxy.tunnels, 2);
  } finally {
    for (const [name, value] of Object.entries({ ALL_PROXY, NO_PROXY })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

test("PXY-2: what the target sends before anything else comes through the tunnel whole", async () => {
  await using server = await bareServer((socket) => {
    socket.write("first");
    echo(socket);
  });
  await using proxy = await connectProxy();
  const channel = await dialSocket(`amqp://127.0.0.1:${server.port}`, { proxy: proxy.url });
  const log = record(channel);
  await log.until(5);
  assertEquals(text(log.bytes()), "first");
  channel.close();
  await log.closed;
});

test("dial: what arrives is whole and in order across pauses, and on Node many reads share their memory", async () => {
  const size = 8_000_000;
  const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251);
  await using server = await bareServer((socket) => socket.write(bytes));
  const channel = await dialSocket(`amqp://127.0.0.1:${server.port}`);
  const reads: Uint8Array[] = [];
  let left = size;
  await new Promise<void>((resolve) => {
    channel.onbytes = (read) => {
      reads.push(read);
      left -= read.length;
      if (reads.length % 7 === 0) {
        (channel as unknown as PausableChannel).pause();
        Promise.resolve().then(() => (channel as unknown as PausableChannel).resume());
      }
      if (left <= 0) resolve();
    };
  });
  channel.close();
  let at = 0;
  for (const read of reads) {
    for (const byte of read) if (byte !== at++ % 251) throw new Error(`byte ${at - 1} is ${byte}`);
  }
  assertEquals(at, size);
  const memory = new Set(reads.map(({ buffer }) => buffer));
  if (process.versions.bun === undefined && process.versions.deno === undefined) {
    assert(memory.size <= size / 65_536, `${memory.size} pieces of memory for ${reads.length} reads`);
  }
});

test("dial: memory that a socket goes on reading into cannot be given away with what came in it", async () => {
  const onNode = process.versions.bun === undefined && process.versions.deno === undefined;
  await using server = await bareServer((socket) => {
    socket.write(Uint8Array.of(1));
    // Answers the first byte.
    socket.on("data", () => socket.write(Uint8Array.of(2)));
  });
  const channel = await dialSocket(`amqp://127.0.0.1:${server.port}`);
  const reads: number[] = [];
  await new Promise<void>((resolve, reject) => {
    channel.onclose = ({ cause }) => reject(cause);
    channel.onbytes = (bytes) => {
      reads.push(...bytes);
      if (reads.length === 2) return resolve();
      const give = (): unknown => structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
      if (onNode) assertThrows(give, DOMException);
      else give();
      channel.send(Uint8Array.of(0));
    };
  });
  channel.onclose = undefined;
  channel.close();
  assertEquals(reads, [1, 2]);
});

test("dial: on Node a listener that throws spoils nothing of what came before and comes after", async () => {
  if (process.versions.bun !== undefined || process.versions.deno !== undefined) return;
  await using server = await bareServer((socket) => {
    let next = 1;
    const write = (): unknown => socket.write(Uint8Array.of(next, next, next++));
    write();
    socket.on("data", write);
  });
  // A separate process, since test runners report uncaught errors.
  const program = `
    import { dialSocket } from ${JSON.stringify(new URL("../../../src/transport/sockets.ts", import.meta.url).href)};
    process.on("uncaughtException", ({ message }) => console.log(message));
    const channel = await dialSocket("amqp://127.0.0.1:${server.port}");
    const reads = [];
    channel.onbytes = (bytes) => {
      if (reads.push(bytes) === 4) {
        console.log(reads.map((read) => read.join("")).join());
        channel.close();
      } else channel.send(Uint8Array.of(0));
      if (reads.length === 2) throw new Error("mine");
    };`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => out += text);
  await new Promise((resolve) => child.on("close", resolve));
  assertEquals(out, "mine\n111,222,333,444\n");
});

test("dialSocket refuses options that it does not know, also as the dial of connect", async () => {
  const unknown = { header: { a: "b" } } as never;
  const url = "ws://127.0.0.1:1";
  await assertRejects(() => dialSocket(url, unknown), TypeError, 'there is no option "header", "headers" is meant');
  let given: string[] = [];
  const dial: Dial = (to, options) => {
    given = Object.keys(options).toSorted();
    return dialSocket(to, options as SocketDialOptions);
  };
  const options = { dial, auth: null, reconnect: false, containerId: "a", properties: { b: 1 } } as const;
  await assertRejects(() => connect(url, options), TransportError);
  assertEquals(given, [
    "closeTimeoutMs",
    "handshakeTimeoutMs",
    "headers",
    "hostHeader",
    "proxy",
    "signal",
    "subprotocols",
    "tls",
    "transport",
  ]);
});

test("ATK-32: an error of onstep ends the attempt at any step, and drops the socket", async () => {
  await using proxy = await connectProxy();
  const cases: [event: string, scheme: string, options?: SocketDialOptions][] = [
    ["tcp", "amqp"],
    ["proxy", "amqp", { proxy: proxy.url }],
    ["tls", "amqps", { tls: { ca } }],
    ["upgraded", "ws"],
  ];
  for (const [wanted, scheme, options] of cases) {
    const gone = new Deferred<void>();
    await using server = await listen({
      host: "127.0.0.1",
      port: 0,
      tls: keyPair("server"),
      accept: (channel) => void (channel.onclose = () => gone.resolve()),
      onRefused: () => gone.resolve(),
    });
    const onstep = ({ event }: { event: string }): void => {
      if (event === wanted) throw new Error(`no ${event}`);
    };
    const dialled = dialSocket(`${scheme}://127.0.0.1:${server.port}`, { ...options, onstep });
    await assertRejects(() => dialled, Error, `no ${wanted}`);
    await gone.promise;
  }
});

test("PXY-6: an authenticator and a callback that give null have nothing, and another kind of value is told", async () => {
  await using proxy = await connectProxy({ auth: "digest" });
  const dialled = (more: object) =>
    dialSocket("amqp://127.0.0.1:1", { proxy: { url: proxy.url, ...more } }).catch((error) => error.message);
  const refused = `Cannot open tunnel through "${new URL(proxy.url).host}": status is 407`;
  assertEquals(await dialled({ authenticate: () => null }), `${refused}, no answer was given`);
  assertEquals(await dialled({ credentials: () => null }), `${refused}, no credentials were given`);
  const wrong = 'Cannot authenticate at proxy: what option "authenticate" gave is a number, not a string';
  assertEquals(await dialled({ authenticate: () => 5 }), wrong);
});

test("WS-1: a Host that is none is refused before anything is dialled", async () => {
  for (const hostHeader of ["", "a b", "a/b", "user@a", "a\r\nX: y"]) {
    const dialled = dialSocket("ws://127.0.0.1:1", { hostHeader });
    await assertRejects(() => dialled, TypeError, 'Cannot set header "Host": it is no host');
  }
});
