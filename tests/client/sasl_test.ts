import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { bearer, credentials } from "../../src/sasl/credentials.ts";
import { oauthbearerServer } from "../../src/sasl/bearer.ts";
import type { SaslMechanism } from "../../src/sasl/mechanism.ts";
import { plain } from "../../src/sasl/mechanisms.ts";
import { scram } from "../../src/sasl/scram.ts";
import { scramKeys } from "../../src/sasl/scram_keys.ts";
import { scramServer } from "../../src/sasl/scram_server.ts";
import { acceptor, type AcceptorOptions } from "../../src/server/acceptor.ts";
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

test("OAUTHBEARER: the identity is what the token stands for", async () => {
  const verify = (token: string) => token === "fresh" ? "alice" : undefined;
  const { server, identities } = setUp({ mechanisms: [oauthbearerServer(verify)] });
  const good = linkUp(server, { auth: bearer(() => Promise.resolve("fresh")) });
  await good.ready();
  await good.close();
  const stale = linkUp(server, { auth: bearer("stale") });
  await assertRejects(() => stale.ready(), AmqpError, "OAUTHBEARER");
  await stale.close();
  assertEquals(identities, ["alice"]);
});
