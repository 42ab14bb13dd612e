import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, connect, resume } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";

// A rejection that nobody handles fails the test on every runtime.
test("API: a token that is refused while its link still loads what it resumes, or cannot be had, is no unhandled rejection", async () => {
  const broker = new Broker({ verifyToken: () => true, session: { handleMax: 5 } });
  const [near, far] = channelPair();
  broker.accept(far);
  const connection = await connect(near, {
    containerId: "client",
    log: null,
    claims: {
      token: (audience) =>
        audience.includes("good")
          ? { token: "t", type: "jwt" }
          : Promise.reject(new AmqpError("amqp:unauthorized-access", "Cannot get token: none is left")),
    },
  });
  const loading = Promise.withResolvers<void>();
  const store = {
    load: async () => {
      await loading.promise;
      return [];
    },
    put: () => Promise.resolve(),
    delete: () => Promise.resolve(),
  };
  const sender = connection.sender({ address: "q", name: "keeps", recovery: resume({ store }) });
  const ended = assertRejects(() => sender.ready(), AmqpError, "none is left");
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve));
  loading.resolve();
  await ended;
  const full = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) await connection.sender({ address: "good", name: `link ${i}` }).ready();
  };
  await assertRejects(full, AmqpError, "links are attached");
  const late = { address: "bad", name: "late", recovery: resume({ store }) };
  assertThrows(() => connection.sender(late), AmqpError, "links are attached");
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve));
  await connection.close();
  await broker.close();
  assertEquals(connection.error, undefined);
});
