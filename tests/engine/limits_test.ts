import { assertEquals } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import type { Composite } from "../../src/codec/types.ts";
import { test } from "../harness.ts";
import { attach, begin, flow, Script, transfer } from "./script.ts";

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
  // With a name that would take a link over, to see that nothing is taken for one that is refused.
  peer(attach({ role: "sender", name: "0", handle: 1 }), 7);
  assertEquals(script.expect("attach").target, undefined);
  const detach = script.expect2("detach", condition.resourceLimitExceeded, "2 links are attached");
  assertEquals([detach.handle, detach.closed, detach.channel], [1, true, 1]);
  assertEquals(script.events, []);
  // What it sent before it knew is dropped.
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
