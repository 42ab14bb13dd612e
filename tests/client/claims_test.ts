import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { faulty } from "../../src/broker/faulty_channel.ts";
import { ANSWER_MS, type ClaimsOptions, type ClaimsToken } from "../../src/client/claims.ts";
import { connect, publish } from "../../src/client/connect.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { uuid } from "../../src/codec/wrappers.ts";
import { test } from "../harness.ts";
import { type Answer, type CbsPeer, cbsPeer } from "./cbs_peer.ts";
import { turn, VirtualNetwork, VirtualTime } from "./virtual.ts";

const later = (ms: number): Date => new Date(Date.now() + ms);

/** A connection with tokens, to a peer that answers them with `answer`. */
async function world(claims: Partial<ClaimsOptions> = {}, options: { answer?: Answer; offer?: boolean } = {}) {
  const logged: string[] = [];
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const peer: CbsPeer = cbsPeer({ ...options, environment: time });
  network.up("a", (channel) => peer.accept(channel));
  let asked = 0;
  const connection = await time.wait(connect("ws://a/", {
    environment: time,
    dial: network.dial,
    log: ({ code, message }) => logged.push(`${code}: ${message}`),
    claims: {
      token: (audience) => ({ token: `t${++asked}:${audience}`, type: "jwt", expiresAt: later(100_000) }),
      ...claims,
    },
  }));
  const end = async (): Promise<void> => {
    await time.wait(connection.close());
    await time.wait(peer.close());
    await time.pass(0);
    assertEquals(time.pending, 0);
  };
  return { time, network, peer, connection, logged, end };
}

test("CBS-1, CBS-3, CBS-8: a token is put before the first link to its audience, and once for all of them", async () => {
  const { time, peer, connection, end } = await world({ audience: (address) => `sb://a/${address}` });
  const sender = connection.sender("orders");
  const receiver = connection.receiver("orders");
  const other = connection.sender("bills");
  await time.wait(Promise.all([sender.ready(), receiver.ready(), other.ready()]));
  const orders = ["token t1:sb://a/orders for sb://a/orders", "attach orders", "attach orders"];
  assertEquals(peer.heard.filter((said) => said.includes("orders")), orders);
  const bills = ["token t2:sb://a/bills for sb://a/bills", "attach bills"];
  assertEquals(peer.heard.filter((said) => said.includes("bills")), bills);
  assertEquals([peer.last?.type, peer.last?.expiration instanceof Date], ["jwt", true]);
  await time.wait(sender.send({ body: 1 }));
  assertEquals(peer.heard.length, 5);
  await end();
});

test("CBS-7, CBS-8: a peer that offers the OASIS variant gets the token by a message whose outcome is the answer", async () => {
  const { time, peer, connection, end } = await world({}, { offer: true });
  await time.wait(connection.sender("orders").ready());
  assertEquals(peer.heard, ["token t1:orders for set-token", "attach orders"]);
  assertEquals(peer.last?.type, "jwt");
  await end();
  const refused = await world({}, {
    offer: true,
    answer: () => ({ status: 401, condition: "amqp:unauthorized-access" }),
  });
  const link = refused.connection.sender("orders");
  const error = await assertRejects(() => refused.time.wait(link.ready()), AmqpError, 'Cannot set token for "orders"');
  assertEquals([error.condition, error.scope, refused.peer.heard.length], ["amqp:unauthorized-access", "link", 1]);
  await refused.end();
});

test("CBS-3: what the peer answers decides, in both spellings, and a refusal is asked again by the next link", async () => {
  let status = 401;
  const { time, peer, connection, end } = await world({}, {
    answer: () => ({ status, ...status === 404 ? { condition: "amqp:not-found", camel: true } : {} }),
  });
  const failed = async (): Promise<AmqpError> => {
    const link = connection.sender("orders");
    return await assertRejects(() => time.wait(link.ready()), AmqpError, 'Cannot put token for "orders"');
  };
  const first = await failed();
  assertEquals([first.condition, first.remote, first.retryable], ["amqp:unauthorized-access", true, false]);
  assertStringIncludes(first.message, "status is 401, so it is");
  status = 404;
  assertEquals((await failed()).condition, "amqp:not-found");
  status = 503;
  const passing = await failed();
  assertEquals([passing.condition, passing.retryable], ["amqp:internal-error", true]);
  status = 200;
  await time.wait(connection.sender("orders").ready());
  assertEquals(peer.heard.length, 5);
  await end();
});

test("CBS-6: a token is renewed before it expires, while links need it, and links stay", async () => {
  const { time, peer, connection, end } = await world();
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  await time.pass(74_000);
  assertEquals(peer.heard.length, 2);
  await time.pass(12_000);
  assertEquals(peer.heard[2], "token t2:orders for orders");
  await time.pass(86_000);
  assertEquals(peer.heard[3], "token t3:orders for orders");
  assert(sender.open);
  await time.wait(sender.close());
  await time.pass(400_000);
  assertEquals(peer.heard.length, 4);
  await end();
});

test("CBS-6: a renewal that fails is told and tried again, at growing intervals", async () => {
  let broken = false;
  const errors: string[] = [];
  const { time, peer, connection, end } = await world({
    token: () => {
      if (broken) throw new Error("directory is down");
      return { token: "t", type: "jwt", expiresAt: later(100_000) };
    },
    onerror: (error, audience) => errors.push(`${audience}: ${(error as Error).message}`),
  });
  await time.wait(connection.sender("orders").ready());
  broken = true;
  await time.pass(100_000);
  assert(errors.length >= 3 && errors.length < 12, String(errors.length));
  assertEquals(errors[0], "orders: directory is down");
  broken = false;
  await time.pass(31_000);
  assertEquals(peer.heard.filter((said) => said.startsWith("token")).length, 2);
  await end();
});

test("CBS-6: a renewal goes on whatever the callback does that is told of its failure, and the log says so", async () => {
  const fails = new Error("not mine");
  for (
    const onerror of [() => Promise.reject(fails), () => {
      throw fails;
    }]
  ) {
    let broken = false;
    const { time, peer, connection, logged, end } = await world({
      token: () => {
        if (broken) throw new Error("directory is down");
        return { token: "t", type: "jwt", expiresAt: later(100_000) };
      },
      onerror,
    });
    await time.wait(connection.sender("orders").ready());
    broken = true;
    await time.pass(100_000);
    assertEquals(logged, ['callback-failed: Cannot call "onerror" of claims for "orders": it threw; mend it']);
    broken = false;
    await time.pass(31_000);
    assertEquals(peer.heard.filter((said) => said.startsWith("token")).length, 2);
    await end();
  }
});

test("CBS-6: after a reconnect tokens are put again before links attach again", async () => {
  const { time, network, peer, connection, end } = await world();
  const sender = connection.sender("orders");
  await time.wait(sender.ready());
  assertEquals(peer.heard, ["token t1:orders for orders", "attach orders"]);
  network.cut("a");
  await turn();
  await time.wait(sender.send({ body: 1 }));
  assertEquals(peer.heard, [
    "token t1:orders for orders",
    "attach orders",
    "token t2:orders for orders",
    "attach orders",
  ]);
  // The old renewal is cancelled, the new one comes in time.
  await time.pass(86_000);
  assertEquals(peer.heard.length, 5);
  await end();
});

test("CBS-6, ATK-13: hostile times of tokens neither spin nor pass", async () => {
  const short = await world({ token: () => ({ token: "t", type: "jwt", expiresAt: later(50) }) });
  await short.time.wait(short.connection.sender("orders").ready());
  await short.time.pass(10_000);
  const puts = short.peer.heard.filter((said) => said.startsWith("token")).length;
  assert(puts >= 9 && puts <= 11, String(puts));
  await short.end();
  for (const expiresAt of [later(-1), new Date(NaN)]) {
    const { time, connection, peer, end } = await world({ token: () => ({ token: "t", type: "jwt", expiresAt }) });
    await assertRejects(() => time.wait(connection.sender("orders").ready()), AmqpError, "it has expired already");
    assertEquals(peer.heard, []);
    await end();
  }
  const long = await world({ token: () => ({ token: "t", type: "jwt" }) });
  await long.time.wait(long.connection.sender("orders").ready());
  await long.time.pass(1e6);
  assertEquals(long.peer.heard.filter((said) => said.startsWith("token")).length, 1);
  await long.end();
});

test("CBS-1, CBS-3: an answer to no request of ours, of another type of id, or a second one, changes nothing", async () => {
  const instead = ["another", "", 5n, uuid("12345678-1234-1234-1234-123456789abc"), Uint8Array.of(1), undefined];
  const { time, peer, connection, end } = await world({}, { answer: () => ({ status: 202, instead }) });
  await time.wait(Promise.all([connection.sender("orders").ready(), connection.receiver("bills").ready()]));
  await time.wait(connection.sender("orders").send({ body: 1 }));
  assertEquals(peer.heard.filter((said) => said.startsWith("token")).length, 2);
  await end();
});

test("CBS-3: an answer without a status is no yes, and its error names what came", async () => {
  const { time, connection, end } = await world({}, {
    answer: () => ({ status: NaN, condition: "no" }),
  });
  const link = connection.sender("orders").ready();
  await assertRejects(
    () => time.wait(link),
    AmqpError,
    'the answer has no status but "status-description", "error-condition", so it is',
  );
  await end();
});

test("CBS-3: only a status from 200 to 299 is a yes", async () => {
  for (const status of [200, 299, 199, 300, 0, -1, -2_147_483_648, 2_147_483_647]) {
    const { time, connection, end } = await world({}, { answer: () => ({ status }) });
    const link = connection.sender("orders").ready();
    if (status === 200 || status === 299) await time.wait(link);
    else await assertRejects(() => time.wait(link), AmqpError, `status is ${status}`);
    await end();
  }
});

test("CBS-1: what a program gives in the place of a token is told, and never sent", async () => {
  const given: unknown[] = [
    undefined,
    null,
    "a-secret",
    { token: "a-secret" },
    { type: "jwt" },
    { token: 5, type: "jwt" },
    { token: "", type: "jwt" },
    { token: "a-secret", type: "jwt", expiresAt: Date.now() + 60_000 },
    { token: "a-secret", type: "jwt", expiresAt: null },
  ];
  for (const one of given) {
    const { time, peer, connection, end } = await world({ token: () => one as ClaimsToken });
    const error = await assertRejects(
      () => time.wait(connection.sender("orders").ready()),
      TypeError,
      "Cannot put token",
    );
    assert(!error.message.includes("a-secret"), error.message);
    assertEquals([peer.heard, connection.state], [[], "open"]);
    await end();
  }
});

test("CBS-6: whatever frame a connection is cut after, the token is put on the next one, and what was to be sent is", async () => {
  for (const way of ["cutAfterFramesIn", "cutAfterFramesOut"] as const) {
    let reached = false;
    for (let frames = 0; !reached; frames++) {
      const time = new VirtualTime();
      const network = new VirtualNetwork();
      const peer = cbsPeer({ environment: time });
      network.up("a", (channel) => peer.accept(channel));
      let dials = 0;
      const connection = await time.wait(connect("ws://a/", {
        environment: time,
        log: null,
        reconnect: { initial: true, initialDelayMs: 10 },
        dial: (url: URL) => {
          const channel = network.dial(url);
          return ++dials === 1 ? faulty(channel, { [way]: frames }, time) : channel;
        },
        claims: { token: (audience) => ({ token: `for ${audience}`, type: "jwt", expiresAt: later(100_000) }) },
      }));
      const outcome = await time.wait(connection.sender("orders").send({ body: "one" }));
      assertEquals(outcome?.kind, "accepted");
      reached = dials === 1;
      // A token went before each attach; one in flight goes again beside that of the new connection.
      const attached = peer.heard.filter((said) => said.startsWith("attach")).length;
      const put = peer.heard.filter((said) => said.startsWith("token")).length;
      assert(attached >= 1 && attached <= put && put <= dials + 1, `${way} ${frames}: ${peer.heard}`);
      await time.wait(connection.close());
      await time.wait(peer.close());
      assertEquals(time.pending, 0, `${way} ${frames}`);
    }
  }
});

test("CBS-1, CBS-7: a peer that never answers fails the link after a while; a link closed meanwhile attaches no more", async () => {
  for (const offer of [false, true]) {
    const { time, connection, peer, end } = await world({}, { answer: () => undefined, offer });
    const link = connection.sender("orders");
    const gone = connection.sender("orders");
    await time.pass(10);
    const closing = gone.close();
    const error = await assertRejects(() => time.wait(link.ready()), AmqpError, `no answer in ${ANSWER_MS} ms`);
    assertEquals(error.retryable, true);
    await time.wait(closing);
    assertEquals(peer.heard.filter((said) => said.startsWith("attach")), []);
    await end();
  }
});

test("CBS-6, CBS-7: a renewal that the peer does not answer is told and tried again, in both ways to put a token", async () => {
  for (const offer of [false, true]) {
    let silent = false;
    const errors: string[] = [];
    const { time, peer, connection, end } = await world(
      { onerror: (error, audience) => errors.push(`${audience}: ${(error as Error).message}`) },
      { answer: () => silent ? undefined : { status: 202 }, offer },
    );
    await time.wait(connection.sender("orders").ready());
    silent = true;
    await time.pass(86_000 + ANSWER_MS);
    assertEquals(errors, [`orders: Cannot put token for "orders": no answer in ${ANSWER_MS} ms`]);
    silent = false;
    await time.pass(2_000);
    assertEquals(peer.heard.filter((said) => said.startsWith("token")).length, 3);
    await end();
  }
});

test("CBS-1: a link without an audience, or an address, needs no token; publish has none", async () => {
  const { time, peer, connection, end } = await world({
    audience: (address) => address === "open" ? undefined : address,
  });
  await time.wait(Promise.all([connection.sender("open").ready(), connection.sender({ address: null }).ready()]));
  assertEquals(peer.heard, ["attach open", "attach undefined"]);
  const claims = { token: () => ({ token: "p", type: "jwt" }) };
  await assertRejects(() => publish("ws://a/", "orders", { body: 1 }, { claims } as never), TypeError, '"claims"');
  await end();
});

test("CBS-1, CBS-6: our broker's node for tokens takes ours, renews them, and refuses what is not theirs", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  let verified = 0;
  const broker = new Broker({
    environment: time,
    queues: { orders: {} },
    verifyToken: ({ token }) => token.startsWith("good") && ++verified > 0 && later(100_000),
  } as BrokerOptions);
  network.up("a", (channel) => broker.accept(channel));
  let token = "good";
  const claims: ClaimsOptions = { token: () => ({ token, type: "jwt", expiresAt: later(100_000) }) };
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, claims }));
  const sender = connection.sender("orders");
  await time.wait(sender.send({ body: 1 }));
  await time.pass(86_000);
  assertEquals([verified, sender.open], [2, true]);
  token = "bad";
  const other = connection.sender("bills");
  const error = await assertRejects(() => time.wait(other.ready()), AmqpError, 'Cannot put token for "bills"');
  assertEquals(error.condition, "amqp:unauthorized-access");
  await time.wait(connection.close());
  await time.wait(broker.close());
});

test("CBS-6: a token that cannot be had for a while costs no link: after a reconnect, nor when the old one expires", async () => {
  for (const how of ["reconnect", "expiry"] as const) {
    const time = new VirtualTime();
    const network = new VirtualNetwork();
    // The peer's clock is ahead of ours.
    const broker = new Broker({ environment: time, log: null, verifyToken: () => later(98_000) });
    network.up("a", (channel) => broker.accept(channel));
    let failing = false;
    let asked = 0;
    const connection = await time.wait(connect("ws://a/", {
      environment: time,
      dial: network.dial,
      log: null,
      claims: {
        token: () => {
          asked++;
          if (failing) throw new Error("no answer from the issuer");
          return { token: `t${asked}`, type: "jwt", expiresAt: later(100_000) };
        },
      },
    }));
    const sender = connection.sender("orders");
    await time.wait(sender.send({ body: 1 }));
    failing = true;
    if (how === "reconnect") network.cut("a");
    await time.pass(200_000);
    // At growing intervals, beside the one of the first token.
    assert(asked > 3 && asked < 40, `${asked} asked`);
    const sending = sender.send({ body: 2 });
    failing = false;
    await time.wait(sending);
    assertEquals([sender.open, broker.queue("orders")?.messages], [true, 2], how);
    await time.wait(connection.close());
    await time.wait(broker.close());
  }
});

test("CBS-6: a token that the peer ends before its time is asked for anew, but not for a link that it refuses at once", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const told: string[] = [];
  let asked = 0;
  let lifeMs = 10_000;
  let failing = false;
  const broker = new Broker({ environment: time, log: null, verifyToken: () => later(lifeMs) });
  network.up("a", (channel) => broker.accept(channel));
  const connection = await time.wait(connect("ws://a/", {
    environment: time,
    dial: network.dial,
    log: null,
    claims: {
      token: () => {
        asked++;
        if (failing) throw new Error("no answer from the issuer");
        return { token: `t${asked}`, type: "jwt" };
      },
      onerror: (error, audience) => told.push(`${audience}: ${(error as Error).message}`),
    },
  }));
  const links = [connection.sender("orders"), connection.receiver("orders")];
  await time.wait(Promise.all(links.map((link) => link.ready())));
  await time.pass(25_000);
  assertEquals([asked, links.map(({ open }) => open)], [3, [true, true]]);
  // What fails on the way back has nobody else to be told to.
  failing = true;
  await time.pass(8_000);
  assertEquals(told.every((text) => text === "orders: no answer from the issuer"), true);
  assert(told.length > 0 && links.every(({ open }) => open), told.join());
  failing = false;
  lifeMs = 100;
  await time.pass(60_000);
  assertEquals(links.map(({ open }) => open), [false, false]);
  assertStringIncludes(links[0]!.error!.message, "unauthorized-access");
  assert(asked < 20, `${asked} asked`);
  await time.wait(connection.close());
  await time.wait(broker.close());
});
