import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { connect as dialTcp, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { TransportError } from "../../../mod.ts";
import { inspect } from "node:util";
import { SocksProxy, SocksTunnel } from "../../../src/transport/proxy/socks.ts";
import { dialSocket } from "../../../src/transport/socket/dial.ts";
import { listen } from "../../../src/transport/socket/listen.ts";
import { test } from "../../harness.ts";
import { bareServer, silent } from "../bare.ts";

const TARGET = { hostname: "broker.example", port: 5671 };

function start(url: string, target = TARGET): SocksTunnel {
  return new SocksTunnel({ proxy: new SocksProxy({ url }), ...target }, 0);
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

test("RFC 1928, 1929: greeting, name and password, request and reply, cut anywhere; the surplus is kept", () => {
  const tunnel = start("socks5://us%C3%A9r:p%3Aw@proxy.example");
  assertEquals(hex(tunnel.transmit()), "05 02 00 02");
  assertEquals(tunnel.receive(Uint8Array.of(5), 1), undefined);
  assertEquals(tunnel.receive(Uint8Array.of(2), 1), undefined);
  assertEquals(hex(tunnel.transmit()), "01 05 75 73 c3 a9 72 03 70 3a 77");
  assertEquals(tunnel.receive(Uint8Array.of(1, 0), 2), undefined);
  const name = "62 72 6f 6b 65 72 2e 65 78 61 6d 70 6c 65";
  assertEquals(hex(tunnel.transmit()), `05 01 00 03 0e ${name} 16 27`);
  for (const byte of [5, 0, 0, 1, 127, 0, 0, 1, 0]) assertEquals(tunnel.receive(Uint8Array.of(byte), 3), undefined);
  assertEquals(tunnel.receive(Uint8Array.of(80, 65, 66), 3), { kind: "open", surplus: Uint8Array.of(65, 66) });
  assertEquals(tunnel.nextTimeout(), undefined);
});

test("RFC 1928: addresses go as addresses, and every refusal has its words", () => {
  for (const [hostname, bytes] of [["192.0.2.1", "01 c0 00 02 01"], ["[2001:db8::1]", "04 20 01 0d b8"]] as const) {
    const tunnel = start("socks5://proxy.example", { hostname, port: 80 });
    assertEquals(hex(tunnel.transmit()), "05 01 00");
    tunnel.receive(Uint8Array.of(5, 0), 0);
    assertStringIncludes(hex(tunnel.transmit()), `05 01 00 ${bytes}`);
  }
  const failure = (...answers: number[][]): TransportError => {
    const tunnel = start("socks5://u:p@proxy.example");
    let event;
    for (const answer of answers) event = tunnel.receive(Uint8Array.from(answer), 0);
    assert(event?.kind === "failed");
    assertStringIncludes(event.error.message, 'Cannot open tunnel through "proxy.example:1080": ');
    return event.error;
  };
  assertEquals(failure([5, 0xff]).code, "proxy-authentication-failed");
  assertEquals(failure([5, 2], [1, 1]).code, "proxy-authentication-failed");
  assertEquals(failure([72, 84]).message.endsWith("it does not speak SOCKS 5"), true);
  assertEquals(failure([5, 0], [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).message.endsWith("connection was refused"), true);
  assertEquals(failure([5, 0], [5, 0, 0, 9, 0]).code, "proxy-failed");
  const silent = start("socks5://proxy.example");
  const event = silent.tick(silent.nextTimeout()!);
  assertEquals(event?.kind === "failed" && event.error.code, "timeout");
});

test("socks5: what cannot be used is a TypeError, and nothing secret is printed", () => {
  const long = "x".repeat(256);
  assertThrows(() => new SocksProxy({ url: `socks5://u:${long}@h` }), TypeError, "1 to 255 bytes");
  assertThrows(() => new SocksProxy({ url: "socks5://h", headers: { a: "b" } }), TypeError, 'option "headers"');
  const proxy = new SocksProxy({ url: "socks5://u:s3cret@h:1" });
  assertEquals([`${proxy}`, JSON.stringify(proxy)], ["socks5://h:1", '"socks5://h:1"']);
});

test("ATK-14: socks5: a url that cannot be used is not in its error, neither is its password", () => {
  for (const url of ["socks5://user:s3cret@ho st:1080", "socks5://user:s3cret@h:99999", "socks5://user:s3cret@"]) {
    const error = assertThrows(() => new SocksProxy({ url }), TypeError, "Cannot use proxy: url cannot be parsed");
    assertEquals(JSON.stringify([inspect(error, { showHidden: true }), error.stack]).includes("s3cret"), false);
  }
  assertThrows(() => new SocksProxy({ url: "http://h" }), TypeError, 'url starts with "http:" and not with "socks5:"');
});

test("socks5: the port is the URL's, also 80; hosts are as in other URLs", () => {
  const authorities = [
    "socks5://u:p@h:80",
    "socks5h://H:443",
    "SOCKS5://[2001:DB8:0::1]",
    "socks5://b%C3%BCcher.example",
  ]
    .map((url) => new SocksProxy({ url }).authority);
  assertEquals(authorities, ["h:80", "h:443", "[2001:db8::1]:1080", "xn--bcher-kva.example:1080"]);
});

test("socks5: a password without a user name is a TypeError, as for HTTP proxies", () => {
  for (const options of [{ url: "socks5://:p@h" }, { url: "socks5://h", password: "p" }]) {
    assertThrows(() => new SocksProxy(options), TypeError, "a password is set but no user name");
  }
  assertEquals(new SocksProxy({ url: "socks5://h" }).hasUser, false);
});

/** A SOCKS 5 proxy that wants a name and password, and really connects. */
async function socksServer(): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {});
    client.once("data", () => {
      client.write(Uint8Array.of(5, 2));
      client.once("data", (login) => {
        const right = login.subarray(2, 6).toString() === "user" && login.subarray(7).toString() === "pass";
        client.write(Uint8Array.of(1, right ? 0 : 1));
        if (!right) return void client.end();
        client.once("data", (request) => {
          const port = request.readUInt16BE(request.length - 2);
          const upstream = dialTcp(port, "127.0.0.1", () => {
            client.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
            client.pipe(upstream).pipe(client);
          });
          sockets.add(upstream);
          upstream.on("error", () => client.destroy());
        });
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

test("RFC 1928: a host that no request can carry is a TypeError, before the proxy is dialled", async () => {
  assertThrows(() => start("socks5://h", { hostname: "a".repeat(256), port: 1 }), TypeError, "256 characters, 255");
  assertEquals(start("socks5://h", { hostname: "a".repeat(255), port: 1 }).nextTimeout()! > 0, true);
  await using server = await bareServer(silent);
  for (const scheme of ["socks5", "http"]) {
    const proxy = `${scheme}://127.0.0.1:${server.port}`;
    for (const host of ["a!b", `${"a".repeat(250)}.example`]) {
      await assertRejects(() => dialSocket(`amqp://${host}`, { proxy }), TypeError, "Cannot open tunnel: host ");
    }
  }
  assertEquals(server.sockets.length, 0);
});

test("socks5: ws and amqp go through the tunnel; a wrong password is told", async () => {
  await using proxy = await socksServer();
  await using listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: (channel) => channel.onbytes = (bytes) => channel.send(bytes),
  });
  for (const scheme of ["ws", "amqp"]) {
    const url = `${scheme}://127.0.0.1:${listener.port}`;
    const channel = await dialSocket(url, { proxy: `socks5://user:pass@127.0.0.1:${proxy.port}` });
    const heard = new Promise<Uint8Array>((resolve) => channel.onbytes = resolve);
    channel.send(new TextEncoder().encode("AMQP\0\x01\0\0"));
    assertEquals((await heard).length, 8);
    const closed = new Promise((resolve) => channel.onclose = resolve);
    channel.close();
    await closed;
  }
  const wrong = { url: `socks5://127.0.0.1:${proxy.port}`, username: "user", password: "wrong" };
  const error = await assertRejects(
    () => dialSocket(`amqp://127.0.0.1:${listener.port}`, { proxy: wrong }),
    TransportError,
    "credentials were refused",
  );
  assertEquals(error.code, "proxy-authentication-failed");
});

test("PXY-6: an authenticator of one's own answers as many rounds as its scheme takes, on one connection", async () => {
  await using listener = await listen({ port: 0, host: "127.0.0.1", accept: () => {} });
  const seen: string[] = [];
  let connections = 0;
  const sockets = new Set<Socket>();
  // As in NTLM: a first message, a challenge on the same connection, an answer to it.
  const server = createServer((client) => {
    connections++;
    sockets.add(client);
    client.on("error", () => {});
    const onrequest = (data: Uint8Array): void => {
      const answer = /Proxy-Authorization: (.*)\r\n/.exec(new TextDecoder().decode(data))?.[1] ?? "";
      seen.push(answer);
      const next = answer === "" ? "NTLM" : answer === "NTLM one" ? "NTLM Y2hhbGxlbmdl" : undefined;
      if (next === undefined) {
        client.off("data", onrequest);
        const upstream = dialTcp(listener.port, "127.0.0.1", () => {
          client.write("HTTP/1.1 200 OK\r\n\r\n");
          client.pipe(upstream).pipe(client);
        });
        sockets.add(upstream);
        upstream.on("error", () => {});
        return;
      }
      client.write(`HTTP/1.1 407 x\r\nProxy-Authenticate: ${next}\r\nContent-Length: 0\r\n\r\n`);
    };
    client.on("data", onrequest);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const rounds: unknown[] = [];
  const channel = await dialSocket(`ws://127.0.0.1:${listener.port}`, {
    proxy: {
      url,
      authenticate: ({ challenges, round, target }) => {
        rounds.push([round, target, challenges[0]?.scheme, challenges[0]?.token68]);
        return round === 1 ? "NTLM one" : "NTLM two";
      },
    },
  });
  const target = `127.0.0.1:${listener.port}`;
  assertEquals(rounds, [[1, target, "ntlm", undefined], [2, target, "ntlm", "Y2hhbGxlbmdl"]]);
  assertEquals([seen, connections], [["", "NTLM one", "NTLM two"], 1]);
  channel.close();
  const options = { proxy: { url, authenticate: () => undefined } };
  const gaveUp = await assertRejects(() => dialSocket(`ws://${target}`, options), TransportError);
  assertEquals([gaveUp.code, gaveUp.status], ["proxy-authentication-failed", 407]);
  const looping = { proxy: { url, authenticate: () => "NTLM one" } };
  await assertRejects(() => dialSocket(`ws://${target}`, looping), TransportError, "credentials were refused");
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});
