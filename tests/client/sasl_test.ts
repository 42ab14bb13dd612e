import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, TransportError } from "../../src/base/errors.ts";
import { faulty } from "../../src/broker/faulty_channel.ts";
import { openOver } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { bearer, credentials } from "../../src/sasl/credentials.ts";
import { oauthbearerServer } from "../../src/sasl/bearer.ts";
import type { SaslAuth, SaslMechanism } from "../../src/sasl/mechanism.ts";
import { plain } from "../../src/sasl/client.ts";
import { scram } from "../../src/sasl/scram.ts";
import { scramKeys } from "../../src/sasl/scram_keys.ts";
import { scramServer } from "../../src/sasl/scram_server.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";

interface Setup {
  readonly server: ReturnType<typeof acceptor>;
  readonly identities: (string | undefined)[];
}

function setUp(sasl: AcceptorOptions["sasl"]): Setup {
  const identities: (string | undefined)[] = [];
  const onConnection = (connection: unknown) => void identities.push((connection as Connection).identity);
  return { server: acceptor({ sasl, onConnection }), identities };
}

test("SCR-4, SCR-5: SCRAM opens a connection under the user's name, however bytes are cut", async () => {
  const { server, identities } = setUp({ users: { user: "pencil" } });
  const oneByOne = (pieces: readonly Uint8Array[]) =>
    pieces.flatMap((piece) => [...piece].map((byte) => Uint8Array.of(byte)));
  for (const pair of [{}, { rechunk: oneByOne }]) {
    const connection = linkUp(server, { auth: credentials("user", "pencil"), pair });
    await connection.ready();
    await connection.close();
  }
  assertEquals(identities, ["user", "user"]);
});

test("SCR-5, ATK-13: nothing of AMQP goes to a server before it has proved itself, nor is any of it believed", async () => {
  const keys = { ...await scramKeys("pencil", { iterations: 4_096 }), serverKey: new Uint8Array(32) };
  const heard: string[] = [];
  const rogue = acceptor({
    sasl: { mechanisms: [scramServer("SHA-256", () => keys)] },
    trace: ({ direction, body }: FrameTrace) => void (direction === "in" && heard.push(String(body?.kind))),
  });
  const connection = linkUp(rogue, { auth: scram("user", "pencil") });
  const sent = connection.sender("orders").send({ body: "a secret" });
  const error = await assertRejects(() => connection.ready(), AmqpError, "server's proof is wrong");
  assertEquals([error.condition, error.retryable], ["amqp:unauthorized-access", false]);
  await assertRejects(() => sent);
  await connection.close();
  await rogue.close();
  assertEquals(heard, ["saslInit", "saslResponse"]);
});

test("SASL-2: a mechanism that takes its time over the outcome holds the connection back, not up", async () => {
  let go: () => void = () => {};
  const looked = new Promise<void>((resolve) => go = resolve);
  const slow: SaslMechanism = {
    name: "PLAIN",
    needsPrivacy: false,
    async *exchange() {
      yield new TextEncoder().encode("\0user\0secret");
      await looked;
    },
  };
  const { server, identities } = setUp({ users: { user: "secret" } });
  const connection = linkUp(server, { auth: slow });
  for (let i = 0; i < 50; i++) await Promise.resolve();
  assertEquals([connection.remote, identities], [undefined, []]);
  go();
  await connection.ready();
  await connection.close();
  assertEquals(identities, ["user"]);
});

test("SASL-5: a wrong password names the mechanism and says what the server said, never the password", async () => {
  const { server, identities } = setUp({ users: { user: "pencil" } });
  for (const auth of [plain("user", "wr0ng"), scram("user", "wr0ng")]) {
    const connection = linkUp(server, { auth });
    const error = await assertRejects(() => connection.ready(), AmqpError, auth.name);
    assertStringIncludes(error.message, 'server refuses the credentials, SASL outcome is "auth"');
    assertEquals([error.condition, error.remote, error.retryable], ["amqp:unauthorized-access", true, false]);
    assert(!error.message.includes("wr0ng"));
    await connection.close();
  }
  assertEquals(identities, []);
});

test("OAUTHBEARER: the identity is what the token stands for, and a refused one is told why", async () => {
  const verify = (token: string) => token === "fresh" ? "alice" : undefined;
  const { server, identities } = setUp({ mechanisms: [oauthbearerServer(verify)] });
  const good = linkUp(server, { auth: bearer(() => Promise.resolve("fresh")) });
  await good.ready();
  await good.close();
  const stale = linkUp(server, { auth: bearer("stale") });
  const error = await assertRejects(() => stale.ready(), AmqpError, "OAUTHBEARER");
  assertStringIncludes(error.message, 'outcome is "auth", server says "{');
  assertStringIncludes(error.message, "invalid_token");
  await stale.close();
  assertEquals(identities, ["alice"]);
});

/** Opens a connection over a corrupted channel; resolves with its error, undefined if it opened. */
async function opened(
  { server, identities }: Setup,
  auth: SaslAuth,
  spoil: (client: Channel, accepted: Channel) => Channel,
): Promise<Error | undefined> {
  const [client, accepted] = channelPair();
  const channel = spoil(client, accepted);
  server.accept(accepted);
  const connection = openOver(channel, auth, { log: null });
  const error = await connection.ready().then(() => undefined, (error) => error as Error);
  if (error === undefined) await connection.close();
  await Promise.all([connection.closed, ...[...server.connections].map(({ closed }) => closed)]);
  assertEquals([connection.state, server.connections.size], ["closed", 0]);
  assertEquals(identities.filter((identity) => identity !== "user"), []);
  return error;
}

const EXCHANGES: Readonly<Record<string, () => Promise<[SaslAuth, AcceptorOptions["sasl"]]>>> = {
  PLAIN: () => Promise.resolve([plain("user", "pencil"), { users: { user: "pencil" } }]),
  "SCRAM-SHA-256": async () => {
    const keys = await scramKeys("pencil", { iterations: 4_096 });
    return [scram("user", "pencil"), { mechanisms: [scramServer("SHA-256", () => keys)] }];
  },
  OAUTHBEARER: () =>
    Promise.resolve([bearer("a-token"), {
      mechanisms: [oauthbearerServer((token) => token === "a-token" ? "user" : undefined)],
    }]),
};

for (const [name, make] of Object.entries(EXCHANGES)) {
  test(`SASL-2, ATK-13: an exchange of ${name} that is cut at any byte ends on both sides, and lets in its user or nobody`, async () => {
    const [auth, sasl] = await make();
    for (const way of ["cutAfterIn", "cutAfterOut"] as const) {
      const place = setUp(sasl);
      let bytes = 0;
      for (;; bytes++) {
        const error = await opened(place, auth, (client) => faulty(client, { [way]: bytes }));
        if (error === undefined) break;
        assert(error instanceof TransportError || error instanceof AmqpError, `${way} ${bytes}: ${error}`);
      }
      assert(bytes > 60, `${way}: ${bytes}`);
    }
  });

  test(`SASL-2, ATK-13: an exchange of ${name} with any one bit turned lets in its user or nobody`, async () => {
    const [auth, sasl] = await make();
    for (const way of ["in", "out"] as const) {
      const place = setUp(sasl);
      let spoilt = true;
      for (let at = 0; spoilt; at++) {
        spoilt = false;
        const error = await opened(place, auth, (client, accepted) => {
          const channel = way === "in" ? accepted : client;
          const send = channel.send.bind(channel);
          let seen = 0;
          channel.send = (bytes) => {
            for (const offset of offsetsOfSasl(bytes)) {
              if (seen++ !== at) continue;
              bytes[offset]! ^= 1;
              spoilt = true;
            }
            send(bytes);
          };
          return client;
        });
        assert(error === undefined || error instanceof TransportError || error instanceof AmqpError, `${at}: ${error}`);
      }
    }
  });
}

/** The offsets of SASL's bytes in whole frames, except the frame sizes: a larger size would wait for more bytes. */
function* offsetsOfSasl(bytes: Uint8Array): Generator<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint32(at);
    if (size === 0x414d5150) {
      at += 8;
      continue;
    }
    if (bytes[at + 5] === 1) { for (let offset = at + 4; offset < at + size; offset++) yield offset; }
    at += size;
  }
}
