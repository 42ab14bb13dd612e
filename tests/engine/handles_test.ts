import { assertEquals, assertThrows } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import type { Role } from "../../src/codec/types.ts";
import { Handles } from "../../src/engine/handles.ts";
import type { LinkEndpoint } from "../../src/engine/link.ts";
import { random, seed, test } from "../harness.ts";

test("LNK-1: the lowest handle is free, and links are found by name and role, whatever comes and goes", () => {
  const { int } = random(seed());
  const handles = new Handles();
  let links: LinkEndpoint[] = [];
  for (let step = 0; step < 3_000; step++) {
    if (links.length === 0 || int(5) > 1) {
      let lowest = 0;
      while (links.some(({ handle }) => handle === lowest)) lowest++;
      const handle = handles.free("x", 1e6);
      assertEquals(handle, lowest);
      // Now and then the attach cannot be written, and the link is not added.
      if (int(10) === 0) continue;
      const role: Role = int(2) ? "sender" : "receiver";
      const link = { handle, role, name: `link ${int(20)}`, remoteHandle: undefined } as LinkEndpoint;
      handles.add(link);
      links.push(link);
    } else {
      const gone = links[int(links.length)]!;
      handles.delete(gone);
      links = links.filter((link) => link !== gone);
    }
    const name = `link ${step % 20}`;
    for (const role of ["sender", "receiver"] as const) {
      assertEquals(
        handles.named(name, role).map(({ handle }) => handle),
        links.filter((link) => link.name === name && link.role === role).map(({ handle }) => handle),
      );
    }
    if (links.length > 60) {
      for (const link of links) handles.delete(link);
      links = [];
    }
  }
  assertThrows(() => handles.free("x", handles.free("x", 1e6) - 1), AmqpError);
  handles.clear();
  assertEquals([handles.free("x", 0), handles.named("link 1", "sender").length], [0, 0]);
});
