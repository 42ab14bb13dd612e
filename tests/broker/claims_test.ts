import { assertEquals, assertRejects } from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { Broker, type PutToken } from "../../src/broker/broker.ts";
import { Claims } from "../../src/client/claims.ts";
import type { Environment } from "../../src/base/environment.ts";
import { test } from "../harness.ts";
import { turn, VirtualTime } from "../client/virtual.ts";
import { until } from "./set_up.ts";

test("CBS-1, CBS-3: a link needs a token whose audience is its address, which the broker has verified", async () => {
  const seen: PutToken[] = [];
  await using broker = new Broker({
    verifyToken: (put) => {
      seen.push(put);
      return put.token === "good";
    },
  });
  const nobody = await broker.connect();
  const refused = nobody.sender("orders");
  assertEquals((await assertRejects(() => refused.ready(), AmqpError)).condition, condition.unauthorizedAccess);
  const client = await broker.connect({ identity: "me" });
  client.claims = new Claims(client, {
    token: () => ({ token: "good", type: "jwt" }),
    audience: (address) => `amqps://broker.example/${address}`,
  });
  await client.sender("orders").send({ body: 1n });
  assertEquals(seen, [{ type: "jwt", audience: "amqps://broker.example/orders", token: "good", identity: "me" }]);
  const liar = await broker.connect();
  liar.claims = new Claims(liar, { token: () => ({ token: "bad", type: "jwt" }) });
  const failed = liar.sender("orders");
  assertEquals((await assertRejects(() => failed.ready(), AmqpError)).condition, condition.unauthorizedAccess);
});

test("answers about tokens go out settled, and the link says so to who asks for that, as the Azure clients of Go do", async () => {
  await using broker = new Broker({ verifyToken: () => true });
  const client = await broker.connect();
  for (const [asked, answered] of [["settled", "settled"], ["unsettled", "mixed"], ["mixed", "mixed"]] as const) {
    const answers = client.receiver({ address: "$cbs", credit: 1, sndSettleMode: asked });
    await answers.ready();
    assertEquals(answers.remote?.sndSettleMode ?? "mixed", answered);
    await client.sender("$cbs").send({
      applicationProperties: { operation: "put-token", type: "jwt", name: "a" },
      body: "t",
    });
    const delivery = await answers.receive();
    assertEquals([delivery.remoteSettled, delivery.message.applicationProperties?.["status-code"]], [true, 200]);
    await answers.close();
  }
});

test("CBS-3: only true and a date that is to come are a yes to a token", async () => {
  const soon = new Date(Date.now() + 60_000);
  const noes = [false, undefined, null, 1, "yes", {}, new Date(NaN), new Date(0), Date.now() + 60_000];
  for (const [answer, status] of [...noes.map((no) => [no, 401]), [true, 200], [soon, 200]] as [never, number][]) {
    for (const verifyToken of [() => answer, () => Promise.resolve(answer)]) {
      await using broker = new Broker({ verifyToken });
      const client = await broker.connect();
      const [tokens, answers] = [client.sender("$cbs"), client.receiver("$cbs", { credit: 1 })];
      await answers.ready();
      await tokens.send({ applicationProperties: { operation: "put-token", type: "jwt", name: "orders" }, body: "t" });
      const { message } = await answers.receive();
      assertEquals(message.applicationProperties?.["status-code"], status, String(answer));
      const attached = client.sender("orders").ready();
      if (status === 200) await attached;
      else assertEquals((await assertRejects(() => attached, AmqpError)).condition, condition.unauthorizedAccess);
    }
  }
});

test("CBS-3, ATK-18: an audience is no longer than 2,048 characters, as each attach looks at all of them", async () => {
  const seen: number[] = [];
  await using broker = new Broker({ verifyToken: ({ audience }) => seen.push(audience.length) > 0 });
  const client = await broker.connect();
  const tokens = client.sender("$cbs");
  const put = (length: number) =>
    tokens.send({
      applicationProperties: { operation: "put-token", type: "jwt", name: "a".repeat(length) },
      body: "t",
    });
  await put(2_048);
  const error = await assertRejects(() => put(2_049), OutcomeError);
  assertEquals(error.condition, condition.invalidField);
  assertEquals(error.message.includes('property "name" has 2049 characters, 2048 are the most'), true, error.message);
  assertEquals(seen, [2_048]);
});

test("CBS-4: what is asked of one audience is done in its order, however long a token is looked at", async () => {
  const looked = Promise.withResolvers<boolean>();
  await using broker = new Broker({ verifyToken: ({ token }) => token === "slow" ? looked.promise : true });
  const client = await broker.connect();
  const [tokens, answers] = [client.sender("$cbs"), client.receiver("$cbs", { credit: 3 })];
  await answers.ready();
  const ask = (operation: string, name: string, body: string) =>
    tokens.send({ properties: { messageId: body }, applicationProperties: { operation, type: "jwt", name }, body });
  const asked = [
    ask("put-token", "orders", "slow"),
    ask("delete-token", "orders", "delete"),
    ask("put-token", "bills", "other"),
  ];
  const heard: unknown[] = [];
  const hear = async () => heard.push((await answers.receive()).message.properties?.correlationId);
  // A token for another audience need not wait.
  await hear();
  looked.resolve(true);
  await hear();
  await hear();
  await Promise.all(asked);
  assertEquals(heard, ["other", "slow", "delete"]);
  await client.sender("bills").ready();
  const gone = client.sender("orders");
  assertEquals((await assertRejects(() => gone.ready(), AmqpError)).condition, condition.unauthorizedAccess);
});

test("CBS-7: a token may also be set, with the outcome as the answer", async () => {
  await using broker = new Broker({ verifyToken: ({ token }) => token === "good" });
  const client = await broker.connect();
  const node = client.sender("$cbs");
  const set = (body: string) =>
    node.send({ properties: { subject: "set-token" }, applicationProperties: { "token-type": "jwt" }, body });
  const error = await assertRejects(() => set("bad"), OutcomeError);
  assertEquals([error.outcome, error.condition], ["rejected", condition.unauthorizedAccess]);
  await set("good");
  await client.sender("orders").send({ body: 1n });
});

test("CBS-1: who names no reply-to is answered on the one link from the node, and on none of two", async () => {
  await using broker = new Broker({ verifyToken: ({ token }) => token === "good" });
  const client = await broker.connect();
  const [tokens, answers] = [client.sender("$cbs"), client.receiver("$cbs", { credit: 10 })];
  await answers.ready();
  const applicationProperties = { operation: "put-token", type: "jwt", name: "orders" };
  const put = (messageId: string, body: string) =>
    tokens.send({ properties: { messageId }, applicationProperties, body });
  for (const [token, status] of [["good", 200], ["bad", 401]] as const) {
    await put(token, token);
    const { message } = await answers.receive();
    assertEquals([message.properties?.correlationId, message.applicationProperties?.["status-code"]], [token, status]);
  }
  // The answer's link is ambiguous, so the outcome is the answer.
  await client.receiver("$cbs", { credit: 10 }).ready();
  await assertRejects(() => put("again", "bad"), OutcomeError);
});

test("CBS-6: links end with the last token, and authorize sees which there are", async () => {
  const seen: (readonly string[])[] = [];
  await using broker = new Broker({
    verifyToken: () => new Date(Date.now() + 60),
    authorize: (_identity, _action, _address, { audiences }) => seen.push(audiences) > 0,
  });
  const client = await broker.connect();
  const node = client.sender("$cbs");
  const put = (applicationProperties: Record<string, string>) => node.send({ applicationProperties, body: "t" });
  await put({ operation: "put-token", type: "jwt", name: "a" });
  for (const wrong of [{ operation: "steal-token", type: "jwt", name: "a" }, { operation: "put-token", name: "a" }]) {
    assertEquals((await assertRejects(() => put(wrong as never), OutcomeError)).condition, condition.invalidField);
  }
  const link = client.sender("orders");
  await link.ready();
  assertEquals(seen, [["a"]]);
  await link.closed;
  assertEquals((link.error as AmqpError).condition, condition.unauthorizedAccess);
});

test("CBS-4, CBS-6: links end when the last token is deleted, and another may be put on those that are left", async () => {
  await using broker = new Broker({ verifyToken: () => true });
  const client = await broker.connect();
  const [tokens, answers] = [client.sender("$cbs"), client.receiver("$cbs", { credit: 10 })];
  await answers.ready();
  const ask = async (operation: string, name: string) => {
    await tokens.send({ applicationProperties: { operation, type: "jwt", name }, body: "t" });
    assertEquals((await answers.receive()).message.applicationProperties?.["status-code"], 200);
  };
  await ask("put-token", "orders");
  await ask("put-token", "bills");
  const link = client.sender("orders");
  await link.ready();
  await ask("delete-token", "bills");
  await ask("delete-token", "nothing");
  await link.send({ body: 1n });
  await ask("delete-token", "orders");
  await link.closed;
  assertEquals((link.error as AmqpError).condition, condition.unauthorizedAccess);
  await ask("put-token", "orders");
  await client.sender("orders").send({ body: 2n });
});

test("CBS-6, ATK-18: the tokens of a connection have one timer, which looks again at one that lasts for longer than a timer", async () => {
  const time = new VirtualTime();
  // A runtime's timers last 24 days at most.
  const minute = 60_000;
  const environment: Environment = {
    now: time.now,
    random: (bytes) => time.random(bytes),
    clearTimer: (timer) => time.clearTimer(timer),
    setTimer: (call, ms) => time.setTimer(call, Math.min(ms, 10 * minute)),
    endOfTurn: () => false,
  };
  let lasts = 15 * minute;
  await using broker = new Broker({ environment, idleTimeOut: 0, verifyToken: () => new Date(Date.now() + lasts) });
  const client = await time.wait(broker.connect());
  const node = client.sender("$cbs");
  const put = (operation: string, name: string) =>
    time.wait(node.send({ applicationProperties: { operation, type: "jwt", name }, body: "t" }));
  await put("put-token", "orders");
  const before = time.pending;
  for (let i = 0; i < 50; i++) await put("put-token", "orders");
  assertEquals(time.pending, before);
  const link = client.sender("orders");
  await time.wait(link.ready());
  await time.pass(14 * minute);
  assertEquals(link.open, true);
  // A renewal with less time, or a deletion, leaves the other token's time.
  lasts = 3 * minute;
  await put("put-token", "b");
  lasts = 2 * minute;
  await put("put-token", "orders");
  await put("delete-token", "b");
  await time.pass(2 * minute - 1_000);
  assertEquals(link.open, true);
  await time.pass(2_000);
  assertEquals((link.error as AmqpError).condition, condition.unauthorizedAccess);
  await time.wait(client.close());
});

test("CBS-3, ATK-18: a connection has so many tokens looked at together, settled or not, and so many links to put them", async () => {
  const verified: (() => void)[] = [];
  await using broker = new Broker({
    log: null,
    verifyToken: () => new Promise((resolve) => verified.push(() => resolve(true))),
  });
  const connection = await broker.connect();
  const links = Array.from({ length: 8 }, () => connection.sender("$cbs"));
  await Promise.all(links.map((link) => link.ready()));
  const extra = connection.sender("$cbs");
  assertEquals((await assertRejects(() => extra.ready(), AmqpError)).condition, condition.resourceLimitExceeded);
  const put = { applicationProperties: { operation: "put-token", type: "jwt", name: "orders" }, body: "t" };
  const sends = links.flatMap((link, i) =>
    Array.from({ length: 30 }, () => link.send(put, i % 2 === 0 ? { settled: true } : {}))
  );
  await until(() => verified.length === 160);
  await turn();
  assertEquals(verified.length, 160);
  // Each finished token makes room for another.
  for (let done = 0; done < sends.length; done++) {
    await until(() => verified.length > done);
    verified[done]!();
  }
  await Promise.all(sends);
  await links[0]!.close();
  await connection.sender("$cbs").ready();
});

test("CBS-3, ATK-18: a link that gives no credit for its answers ends with a thousand that wait, and puts go on", async () => {
  await using broker = new Broker({ log: null, verifyToken: () => true });
  const connection = await broker.connect();
  const answers = connection.receiver({ address: "$cbs", credit: "manual", target: { address: "me" } });
  await answers.ready();
  const puts = Array.from({ length: 1_500 }, () => ({
    properties: { replyTo: "me" },
    applicationProperties: { operation: "put-token", type: "jwt", name: "orders" },
    body: "t",
  }));
  await connection.sender("$cbs").sendAll(puts);
  await answers.closed;
  assertEquals((answers.error as AmqpError).condition, condition.resourceLimitExceeded);
  await connection.sender("orders").ready();
});
