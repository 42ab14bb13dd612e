import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { condition } from "../../src/base/errors.ts";
import type { Composite, Performative } from "../../src/codec/types.ts";
import { Budget, DEFAULT_MAX_IDLE_WORK } from "../../src/engine/budgets.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import { test } from "../harness.ts";
import { acceptLinks, payload } from "./pair.ts";
import { attach, begin, checkError, flow, frame, Script, transfer } from "./script.ts";

function links({ endpoint }: Script): number {
  return [...endpoint.sessions()].reduce((sum, { linkCount }) => sum + linkCount, 0);
}

test("ATK-8: links on all sessions together are bounded: the next are refused, and leave room when they are gone", () => {
  const script = Script.begun({ maxLinks: 2 });
  const peer = (body: Composite, channel: number): void => script.send(body, { channel });
  peer(begin(), 7);
  script.expect("begin");
  for (const channel of [0, 7]) peer(attach({ role: "sender", name: `${channel}` }), channel);
  assertEquals(links(script), 2);
  script.rest();
  script.events = [];
  // The name would steal a link: nothing must be stolen for an attach that is refused.
  peer(attach({ role: "sender", name: "0", handle: 1 }), 7);
  assertEquals(script.expect("attach").target, undefined);
  const detach = script.expect2("detach", condition.resourceLimitExceeded, "2 links are attached");
  assertEquals([detach.handle, detach.closed, detach.channel], [1, true, 1]);
  assertEquals(script.events, []);
  // Frames sent before the peer saw the refusal are dropped.
  peer(flow({ handle: 1, deliveryCount: 0 }), 7);
  peer(transfer(0, { handle: 1 }), 7);
  peer({ kind: "detach", handle: 1, closed: true }, 7);
  script.quiet();
  peer({ kind: "detach", handle: 0, closed: true }, 0);
  script.expect("detach");
  peer(attach({ role: "sender", name: "next" }), 0);
  assertEquals(script.expect("attach").target?.kind, "target");
  assertEquals(links(script), 2);
});

test("ATK-8: a peer that goes on attaching and takes no note of refusals is closed", () => {
  const script = Script.begun({ maxLinks: 3 });
  for (let handle = 0; handle < 6; handle++) script.send(attach({ role: "receiver", name: `${handle}`, handle }));
  assertEquals(script.rest().map(({ kind }) => kind).join(" "), "attach attach attach" + " attach detach".repeat(3));
  assertEquals(links(script), 6);
  script.send(attach({ role: "receiver", name: "6", handle: 6 }));
  script.closedWith(condition.resourceLimitExceeded, "6 links are attached");
  assertEquals(links(script), 0);
});

test("ATK-7: deliveries that have arrived in part share one limit on a connection, and one on several", () => {
  const unfinished = new Budget(30_000);
  const scripts = [1, 2].map(() => {
    const script = Script.begun({ maxUnfinishedBytes: 20_000, unfinished });
    for (const handle of [0, 1, 2]) {
      script.send(attach({ role: "sender", name: `link ${handle}`, handle }));
      (script.one("attachRequested").link as ReceiverEndpoint).flow({ linkCredit: 5 });
    }
    script.rest();
    return script;
  });
  const [one, two] = scripts as [Script, Script];
  const part = (script: Script, handle: number, more = true) =>
    script.send(transfer(handle, { handle, more }), { payload: payload(9_000) });
  for (const handle of [0, 1]) part(one, handle);
  assertEquals(unfinished.used, 18_000);
  part(one, 2);
  assertEquals(one.expect("detach").error?.condition, condition.resourceLimitExceeded);
  one.one("detached");
  one.alive();
  part(two, 0);
  assertEquals(unfinished.used, 27_000);
  part(two, 1);
  assertEquals(two.expect("detach").error?.condition, condition.resourceLimitExceeded);
  two.one("detached");
  // A delivery that is complete, or whose link is gone, frees its place.
  one.send({ kind: "transfer", handle: 0 }, { payload: payload(1) });
  one.one("delivery");
  assertEquals(unfinished.used, 18_000);
  one.send({ kind: "end" });
  assertEquals(unfinished.used, 9_000);
  two.endpoint.disconnect(new Error("gone"));
  assertEquals(unfinished.used, 0);
});

test("ATK-8, ATK-36: frames that change nothing have a ceiling, which time and deliveries lift", () => {
  const frames: [string, Performative | undefined][] = [
    ["empty frames", undefined],
    ["echoes", flow({ echo: true })],
    ["dispositions of nothing", { kind: "disposition", role: "sender", first: 0, last: 99 }],
    ["detaches of a link that has ended with an error", { kind: "detach", handle: 0 }],
  ];
  for (const [what, body] of frames) {
    const script = Script.begun();
    // Millions of pieces of one byte would prove nothing more.
    script.cut = "whole";
    script.send(attach({ role: "sender" }));
    script.send({ kind: "detach", handle: 0, closed: true, error: { condition: "x:y" } });
    script.rest();
    const thousand = concat(Array.from({ length: 1_000 }, () => frame(body)));
    const thousands = (count: number) => {
      for (let i = 0; i < count; i++) script.raw(thousand);
      return script.rest();
    };
    thousands(DEFAULT_MAX_IDLE_WORK / 1_000 - 1);
    assertEquals(script.endpoint.state, "opened", what);
    script.now += 10_000;
    thousands(10);
    assertEquals(script.endpoint.state, "opened", what);
    assertEquals(thousands(2).at(-1)?.kind, "close");
    checkError(script.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
  }
});

test("ATK-8: how much of such frames, and of what is kept, a peer may cost is for each connection to say", () => {
  const idle = Script.begun({ maxIdleWork: 10 });
  for (let i = 0; i < 12 && idle.endpoint.state === "opened"; i++) idle.send(flow({ echo: true }));
  checkError(idle.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
  const kept = Script.begun({ maxKeptBytes: 2_000 });
  for (let i = 0; i < 50 && kept.endpoint.state === "opened"; i++) {
    kept.send(attach({ name: `link ${i}`, handle: i, role: "sender" }));
  }
  kept.rest();
  checkError(kept.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
});

test("ATK-36: states that are no outcome, told over and over, cost no event each time and have a ceiling", () => {
  const script = Script.begun();
  script.send(attach({ role: "receiver" }));
  const sender = script.one("attachRequested").link as SenderEndpoint;
  script.send(flow({ handle: 0, linkCredit: 1_000, nextIncomingId: 0, incomingWindow: 5_000 }));
  for (let i = 0; i < 1_000; i++) sender.outgoing.push(payload(1));
  script.rest();
  script.take("credit");
  const told = { kind: "disposition", role: "receiver", first: 0, last: 999 } as const;
  for (let i = 0; i < 50; i++) script.send({ ...told, state: { kind: "accepted" } });
  assertEquals(script.take("disposition").length, 1_000);
  for (let i = 0; i < 100; i++) {
    script.send({ ...told, state: { kind: "received", sectionNumber: 0, sectionOffset: BigInt(i) } });
  }
  assert(script.take("disposition").length <= DEFAULT_MAX_IDLE_WORK);
  script.rest();
  checkError(script.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
});

test("ATK-36: a disposition for each of very many deliveries has no ceiling", () => {
  const maxIdleWork = 5_000;
  const script = Script.begun({ maxIdleWork });
  script.send(attach({ role: "receiver" }));
  const sender = script.one("attachRequested").link as SenderEndpoint;
  const [rounds, count] = [3, 2_000];
  for (let i = 0; i < rounds; i++) {
    const sent = count * i;
    script.send(
      flow({ handle: 0, linkCredit: count, nextIncomingId: sent, deliveryCount: sent, incomingWindow: 5_000 }),
    );
    for (let n = 0; n < count; n++) sender.outgoing.push(payload(1));
    script.rest();
    const told = Array.from({ length: count }, (_, n) => {
      const accepted = { kind: "disposition", role: "receiver", first: sent + n, state: { kind: "accepted" } } as const;
      return concat([frame(accepted), frame({ ...accepted, settled: true })]);
    });
    script.raw(concat(told));
    script.take("disposition");
  }
  assert(2 * rounds * count > maxIdleWork);
  assertEquals([script.endpoint.state, sender.outgoing.size], ["opened", 0]);
});

test("ATK-8: what is kept of begins and attaches is counted, and free again with them", () => {
  const script = Script.begun();
  script.cut = "whole";
  const properties = { text: "x".repeat(100_000) };
  for (let round = 0; round < 8; round++) {
    for (let handle = 0; handle < 40; handle++) {
      script.send(attach({ role: "sender", name: `link ${handle}`, handle, properties }));
    }
    for (let handle = 0; handle < 40; handle++) script.send({ kind: "detach", handle, closed: true });
    script.rest();
    script.events.length = 0;
  }
  assertEquals(script.endpoint.state, "opened");
  for (let handle = 0; handle < 200; handle++) {
    script.send(attach({ role: "sender", name: `link ${handle}`, handle, properties }));
  }
  script.rest();
  checkError(script.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
});

test("ATK-35: the peer's open is kept as well, and counts against what its begins and attaches may take", () => {
  const properties = { text: "x".repeat(120_000) };
  const attachesOf = (openProperties: object): number => {
    const script = Script.opened({ role: "server" }, openProperties);
    script.cut = "whole";
    script.send(begin());
    let count = 0;
    for (; script.endpoint.state === "opened"; count++) {
      script.send(attach({ role: "sender", name: `link ${count}`, handle: count, properties }));
    }
    checkError(script.one("closed").error, { condition: condition.resourceLimitExceeded, scope: "connection" });
    return count;
  };
  assertEquals(attachesOf({}) - attachesOf({ properties }), 1);
});

test("ATK-8: clients that send each message over a session and a link of its own have no ceiling", () => {
  const maxIdleWork = 20_000;
  const script = Script.opened({ role: "server", maxIdleWork });
  const rounds = maxIdleWork / 5;
  const incoming = { nextIncomingId: 0, incomingWindow: 1_000 };
  const first = concat([frame(begin()), frame(attach({ role: "sender" }))]);
  const second = concat([
    frame(flow({ ...incoming, echo: true })),
    frame(transfer(0), { payload: payload(1) }),
    frame({ kind: "disposition", role: "sender", first: 0, settled: true }),
    frame({ kind: "detach", handle: 0, closed: true }),
    frame({ kind: "end" }),
  ]);
  script.cut = "whole";
  script.onevent = (event) => {
    acceptLinks(event);
    if (event.kind === "attachRequested") (event.link as ReceiverEndpoint).flow({ linkCredit: 1 });
  };
  for (let i = 0; i < rounds; i++) {
    script.raw(first);
    while (script.endpoint.transmit(0) !== undefined);
    script.raw(second);
    while (script.endpoint.transmit(0) !== undefined);
    script.events.length = 0;
  }
  assertEquals(script.endpoint.state, "opened");
});

test("ATK-8: deliveries that are given up, or come for a link that is gone, make up for nothing", () => {
  const script = Script.begun();
  script.cut = "whole";
  script.onevent = (event) => {
    acceptLinks(event);
    if (event.kind === "attachRequested") (event.link as ReceiverEndpoint).flow({ linkCredit: 100 });
    if (event.kind === "aborted") (event.link as ReceiverEndpoint).flow({ linkCredit: 100 });
  };
  script.send(attach({ role: "sender" }));
  let id = 0;
  for (; script.endpoint.state === "opened" && id <= DEFAULT_MAX_IDLE_WORK; id++) {
    script.dispatch(script.endpoint.receive(frame(transfer(id, { aborted: true })), 0));
    if (id % 10 === 0) script.rest();
    script.events.length = 0;
  }
  assertEquals(id, DEFAULT_MAX_IDLE_WORK + 1 - 5 - 5);
});
