/**
 * A world of two endpoints that do at random what their commands allow, with the rules that always hold.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { DeliveryState, ReceiverSettleMode, SenderSettleMode } from "../../src/codec/types.ts";
import type { IncomingDelivery } from "../../src/engine/deliveries.ts";
import type { OutgoingDelivery } from "../../src/engine/outgoing.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import type { LinkEndpoint } from "../../src/engine/link.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import type { SessionEndpoint } from "../../src/engine/session.ts";
import type { Random } from "../harness.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, linksOf, sendOn, unsettledOf } from "./endpoint.ts";
import { Pair, payload, type Side, tag } from "./pair.ts";

// Few, so that names meet, are stolen and cross.
const NAMES = ["a", "b", "c", "d"] as const;
const MAX_SESSIONS = 3;

/** The world's record of one delivery. */
interface Told {
  readonly number: number;
  readonly link: SenderEndpoint;
  readonly outgoing: OutgoingDelivery;
  readonly size: number;
  incoming?: IncomingDelivery;
  /** The receiver's states, in order. */
  readonly given: DeliveryState[];
  /** The number of them that the sender has received. */
  heard: number;
  settled: boolean;
}

type Link = SenderEndpoint | ReceiverEndpoint;

/** Two endpoints, with a record of everything between them. */
export class World {
  readonly pair: Pair;
  /** The number of deliveries that arrived complete. */
  delivered = 0;
  /** The number of outcomes that reached their sender. */
  settled = 0;

  readonly #random: Random;
  readonly #deliveries: Told[] = [];
  readonly #byOutgoing = new Map<OutgoingDelivery, Told>();
  readonly #byIncoming = new Map<IncomingDelivery, Told>();
  readonly #links: Link[] = [];
  readonly #requested: Link[] = [];
  readonly #lastOn = new Map<ReceiverEndpoint, number>();
  readonly #ended = new Set<LinkEndpoint | SessionEndpoint>();

  /** Opens a connection under random settings. */
  constructor(random: Random) {
    this.#random = random;
    const { int, pick } = random;
    const side = () => ({
      maxFrameSize: pick([512, 513, 700, 4_096, 65_536]),
      idleTimeOut: pick([0, 100, 1_000, 60_000]),
      session: { incomingWindow: pick([1, 2, 3, 10, 2_048]), initialOutgoingId: this.#firstId() },
    });
    this.pair = Pair.opened({ cut: pick([1, 3, "whole", random, random]), firstId: this.#firstId() }, {
      client: side(),
      server: side(),
      latencyMs: int(20),
      flushBytes: pick([1, 100, 5_000, 65_536]),
    });
    for (const one of this.#sides()) one.onevent = (event) => this.#handle(one, event);
  }

  /** Does one step at random. */
  step(): void {
    const { int } = this.#random;
    const side = this.#random.pick(this.#sides());
    switch (int(24)) {
      case 0:
        return this.#begin(side);
      case 1:
      case 2:
        return this.#attach(side);
      case 3:
      case 4:
      case 5:
        return this.#answer();
      case 6:
      case 7:
      case 8:
        return this.#flow();
      case 9:
      case 10:
      case 11:
      case 12:
        return this.#send();
      case 13:
      case 14:
      case 15:
        return this.#update();
      case 16:
        return this.#settle();
      case 17:
        return this.#abort();
      case 18:
        return int(4) === 0 ? this.#detach() : undefined;
      case 19:
        return int(20) === 0 ? this.#end() : undefined;
      default:
        return this.#move();
    }
  }

  /** Checks the rules that always hold. */
  check(): void {
    for (const { endpoint } of this.#sides()) {
      assert(endpoint.state === "opened", `state is ${endpoint.state}`);
      assertLessOrEqual(endpoint.sessionCount, 2 * MAX_SESSIONS);
      for (const session of endpoint.sessions()) {
        assertGreaterOrEqual(session.incomingWindow, 0);
        assertGreaterOrEqual(session.remoteIncomingWindow, 0);
        // Each name as a sender and a receiver, both again while the old ones detach.
        assertLessOrEqual(session.linkCount, 64);
        for (const link of linksOf(session)) {
          assertGreaterOrEqual(link.linkCredit, 0);
          if (link.role === "sender") assertGreaterOrEqual(link.sendable, 0);
        }
      }
    }
  }

  /** Completes all deliveries and closes; checks that nothing was lost and nothing is left. */
  finish(): void {
    for (let round = 0; round < 3; round++) {
      this.pair.run();
      while (this.#requested.length > 0) this.#answer();
      this.pair.run();
      for (const link of this.#live()) if (link.role === "receiver") link.flow({ linkCredit: 1_000 });
      this.pair.run();
      for (const { incoming, given } of this.#deliveries) {
        if (incoming !== undefined && !incoming.settled && given.length === 0) {
          this.#tell(incoming, { kind: "accepted" });
        }
      }
      this.pair.run();
      for (const { outgoing } of this.#deliveries) if (outgoing.sent) outgoing.settle();
      this.pair.run();
    }
    this.check();
    this.#checkDelivered();
    this.#checkCounts();
    this.#sides()[this.#random.int(2)]!.endpoint.close();
    if (this.#random.int(2) === 0) this.pair.client.endpoint.close();
    this.pair.run();
    for (const side of this.#sides()) {
      assertEquals(side.one("closed").error, undefined);
      assert(side.endpoint.finished);
      assertEquals([side.endpoint.sessionCount, side.endpoint.buffered, side.endpoint.nextTimeout()], [
        0,
        0,
        undefined,
      ]);
    }
    for (const link of this.#links) {
      assertEquals([link.state, link.session.state, link.session.linkCount], ["detached", "ended", 0]);
      assertEquals(link.session.unsettledCount, 0);
    }
  }

  /** Cuts the connection at any point; checks that it ends once on both sides and leaves nothing. */
  lose(): void {
    const cause = new Error("the transport has ended");
    for (const side of this.#sides()) side.onevent = () => {};
    this.pair.lose(cause);
    for (const side of this.#sides()) {
      assertEquals(side.one("closed").error, cause);
      assertEquals([side.endpoint.sessionCount, side.endpoint.nextTimeout()], [0, undefined]);
      side.events = [];
    }
    for (const link of this.#links) {
      assertEquals([link.state, link.session.state, link.session.unsettledCount], ["detached", "ended", 0]);
    }
    // Calls on objects that are still held are refused or ignored.
    for (let steps = 0; steps < 20; steps++) {
      this.#update();
      this.#settle();
      this.#abort();
      this.#flow();
      this.#detach();
    }
    this.pair.run();
    assertEquals(this.#sides().flatMap(({ events }) => events.map(({ kind }) => kind)), []);
  }

  #checkDelivered(): void {
    for (const told of this.#deliveries) {
      const { link, outgoing, incoming, number } = told;
      // Deliveries in flight when their link ended may be lost.
      if (link.state !== "attached") continue;
      if (outgoing.aborted) {
        assertEquals(incoming, undefined);
        continue;
      }
      assert(outgoing.sent, `delivery ${number} was not sent`);
      assert(incoming !== undefined, `delivery ${number} did not arrive`);
      assert(outgoing.settled, `delivery ${number} is not settled at its sender`);
      assert(incoming.settled || incoming.remoteSettled, `delivery ${number} is not settled at its receiver`);
    }
  }

  #checkCounts(): void {
    const sessions = [...this.pair.client.endpoint.sessions()];
    assertEquals(this.pair.server.endpoint.sessionCount, sessions.length);
    for (const session of sessions) {
      const [other] = [...this.pair.server.endpoint.sessions()].filter(({ channel }) =>
        channel === session.remoteChannel
      );
      assertEquals(other?.remoteChannel, session.channel);
      assertEquals(session.linkCount, other?.linkCount);
      for (const link of linksOf(session)) {
        const [peer] = linksOf(other!).filter(({ handle }) => handle === link.remoteHandle);
        assertEquals([peer?.remoteHandle, peer?.name, peer?.state], [link.handle, link.name, link.state]);
        assertEquals([unsettledOf(link), peer && unsettledOf(peer)], [0, 0]);
        assertEquals([link.linkCredit, link.deliveryCount], [peer?.linkCredit, peer?.deliveryCount]);
        const sender = link.role === "sender" ? link : peer as SenderEndpoint;
        assertEquals(sender.queued, 0);
      }
    }
  }

  #begin(side: Side): void {
    const { pick } = this.#random;
    if (side.endpoint.sessionCount >= MAX_SESSIONS) return;
    side.endpoint.begin({ incomingWindow: pick([1, 2, 5, 2_048]), initialOutgoingId: this.#firstId() });
  }

  #attach(side: Side): void {
    const { int, pick } = this.#random;
    const sessions = [...side.endpoint.sessions()];
    if (sessions.length === 0) return this.#begin(side);
    const session = pick(sessions);
    const name = pick(NAMES);
    const role = pick(["sender", "receiver"] as const);
    // Mostly an unused name: a link that is stolen again and again does not get far.
    if (int(8) > 0 && this.#live().some((link) => link.name === name && link.role === role)) return;
    const options = {
      name,
      source: { kind: "source" } as const,
      target: { kind: "target" } as const,
      sndSettleMode: pick<SenderSettleMode | undefined>([undefined, "mixed", "settled", "unsettled"]),
      rcvSettleMode: pick<ReceiverSettleMode | undefined>([undefined, "first", "second"]),
      initialDeliveryCount: this.#firstId(),
      properties: int(8) === 0 ? { text: "x".repeat(int(600)) } : undefined,
    };
    this.#attempt(() => {
      const link = role === "sender"
        ? attachLink(session, { ...options, role: "sender" })
        : attachLink(session, { ...options, role: "receiver" });
      this.#links.push(link);
      if (link.role === "receiver" && int(2) === 0) link.flow({ linkCredit: int(20) });
    });
  }

  #answer(): void {
    const { int, pick } = this.#random;
    if (this.#requested.length === 0) return;
    const link = this.#requested.splice(int(this.#requested.length), 1)[0]!;
    this.#attempt(() => {
      if (int(6) === 0) {
        link.refuse(new AmqpError(condition.notFound, "Cannot attach link: refused at random", { scope: "link" }));
      } else {
        this.#links.push(link);
        accept(link, {
          sndSettleMode: pick<SenderSettleMode | undefined>([undefined, "mixed", "settled", "unsettled"]),
          rcvSettleMode: pick<ReceiverSettleMode | undefined>([undefined, "first", "second"]),
          initialDeliveryCount: this.#firstId(),
        });
      }
    });
  }

  #flow(): void {
    const { int } = this.#random;
    const link = this.#pickLink("receiver");
    if (link?.role !== "receiver") return;
    this.#attempt(() => {
      link.flow({
        linkCredit: int(4) === 0 ? undefined : int(15),
        drain: int(5) === 0,
        echo: int(5) === 0,
      });
    });
  }

  #send(): void {
    const { int, pick } = this.#random;
    const ready = this.#links.filter((link): link is SenderEndpoint => link.role === "sender" && link.sendable > 0);
    if (ready.length === 0) return;
    const link = pick(ready);
    for (let count = 1 + int(4); count > 0 && link.sendable > 0; count--) this.#sendOne(link);
  }

  #sendOne(link: SenderEndpoint): void {
    const { int, pick } = this.#random;
    const number = this.#deliveries.length;
    const size = 4 + pick([0, 1, int(50), int(600), int(600), int(5_000)]);
    const bytes = payload(size, number);
    bytes.set(tag(number));
    this.#attempt(() => {
      const settled = link.sndSettleMode !== "unsettled" && int(3) === 0;
      const outgoing = sendOn(link, tag(number), bytes, { settled });
      const told: Told = { number, link, outgoing, size, given: [], heard: 0, settled: false };
      this.#deliveries.push(told);
      this.#byOutgoing.set(outgoing, told);
    });
  }

  #update(): void {
    const { int, pick } = this.#random;
    const open = this.#deliveries.filter(({ incoming, given }) =>
      incoming !== undefined && !incoming.settled && (given.length === 0 || given.at(-1)!.kind === "received")
    );
    if (open.length === 0) return;
    for (let count = int(6); count > 0; count--) {
      const { incoming, given } = pick(open);
      if (incoming!.settled || (given.length > 0 && given.at(-1)!.kind !== "received")) continue;
      this.#tell(incoming!, this.#outcome());
    }
  }

  #tell(incoming: IncomingDelivery, state: DeliveryState): void {
    const told = this.#byIncoming.get(incoming)!;
    this.#attempt(() => {
      incoming.update(state);
      told.given.push(state);
    });
  }

  #settle(): void {
    const { int, pick } = this.#random;
    const open = this.#deliveries.filter(({ outgoing }) => !outgoing.settled);
    if (open.length === 0) return;
    const { outgoing } = pick(open);
    const { remoteState } = outgoing;
    // Mostly as the answer to an outcome, now and then without waiting for one.
    if (remoteState === undefined ? int(10) > 0 : remoteState.kind === "received") return;
    outgoing.settle(int(2) === 0 || remoteState?.kind === "received" ? undefined : remoteState);
  }

  #abort(): void {
    const open = this.#deliveries.filter(({ link, outgoing }) => !outgoing.sent && link.state === "attached");
    // Preferably one that the peer has partly received.
    const begun = open.find(({ outgoing }) => outgoing.id !== undefined);
    if (open.length > 0) (begun ?? this.#random.pick(open)).outgoing.abort();
  }

  #detach(): void {
    const { int, pick } = this.#random;
    const live = this.#live();
    if (live.length === 0) return;
    const link = pick(live);
    const error = int(3) === 0 ? new AmqpError(condition.detachForced, "Cannot keep link: at random") : undefined;
    if (int(5) === 0) link.fail(error ?? new AmqpError(condition.internalError, "Cannot keep link: failed at random"));
    else link.detach({ closed: int(2) === 0, error });
  }

  #end(): void {
    const { int, pick } = this.#random;
    const sessions = this.#sides().flatMap(({ endpoint }) => [...endpoint.sessions()]);
    if (sessions.length === 0) return;
    const session = pick(sessions);
    const error = new AmqpError(condition.resourceDeleted, "Cannot keep session: at random", { scope: "session" });
    if (int(3) === 0 && session.state === "mapped") session.fail(error);
    else session.end(int(2) === 0 ? error : undefined);
  }

  #move(): void {
    const { int } = this.#random;
    if (int(4) === 0) this.pair.run();
    else this.pair.advance(int(30));
  }

  #handle(side: Side, event: EngineEvent): void {
    side.events.pop();
    switch (event.kind) {
      case "closed":
        side.events.push(event);
        assertEquals(event.error, undefined);
        return;
      case "begun":
      case "attached":
        return;
      case "ended":
        this.#once(event.session);
        return this.#expected(event.error, [condition.resourceDeleted]);
      case "attachRequested":
        this.#requested.push(event.link);
        return;
      case "detached":
        this.#once(event.link);
        return this.#expected(event.error, [
          condition.notFound,
          condition.detachForced,
          condition.internalError,
          condition.stolen,
          // An attach that waited for the peer's open, which then took smaller frames.
          condition.frameSizeTooSmall,
        ]);
      case "credit":
      case "sent":
      case "drained":
      case "aborted":
        return;
      case "delivery":
        return this.#arrived(event.link, event.delivery);
      case "disposition":
        return this.#heard(event);
      default:
        throw new Error(`unexpected event ${event.kind}`);
    }
  }

  #arrived(link: ReceiverEndpoint, incoming: IncomingDelivery): void {
    const [a, b, c, d] = incoming.payload;
    const number = (a! << 24 | b! << 16 | c! << 8 | d!) >>> 0;
    const told = this.#deliveries[number]!;
    const expected = payload(told.size, number);
    expected.set(tag(number));
    assertEquals(incoming.payload, expected);
    assertEquals(incoming.tag, tag(number));
    assertEquals(told.incoming, undefined, "a delivery arrived twice");
    assertEquals([incoming.id, incoming.remoteSettled], [told.outgoing.id, told.outgoing.sentSettled]);
    assertLessOrEqual(this.#lastOn.get(link) ?? -1, number, "deliveries of a link changed their order");
    this.#lastOn.set(link, number);
    told.incoming = incoming;
    this.#byIncoming.set(incoming, told);
    this.delivered++;
  }

  #heard(event: Extract<EngineEvent, { kind: "disposition" }>): void {
    const told = this.#byOutgoing.get(event.delivery as OutgoingDelivery);
    // The states that the sender told its receiver.
    if (told === undefined) return;
    assert(told.given.length > told.heard, "an outcome that nobody gave");
    assertEquals(event.state, told.given[told.heard++]);
    if (!event.settled) return;
    assertEquals(told.outgoing.remoteState, event.state);
    assert(!told.settled, "an outcome settled a delivery twice");
    told.settled = true;
    this.settled++;
    assert(told.outgoing.settled);
  }

  #once(ended: LinkEndpoint | SessionEndpoint): void {
    assert(!this.#ended.has(ended), "the end was reported twice");
    this.#ended.add(ended);
  }

  #expected(error: AmqpError | undefined, conditions: string[]): void {
    if (error !== undefined) assert(conditions.includes(error.condition), `${error}`);
  }

  // A call that comes too early or too late throws the error for that, and no other.
  #attempt(call: () => void): void {
    try {
      call();
    } catch (error) {
      assert(error instanceof AmqpError, `${error}`);
      const { illegalState, transferLimitExceeded, resourceLimitExceeded, frameSizeTooSmall } = condition;
      assert(
        [illegalState, transferLimitExceeded, resourceLimitExceeded, frameSizeTooSmall]
          .some((expected) => expected === error.condition),
        `${error}`,
      );
    }
  }

  #outcome(): DeliveryState {
    const { int, pick } = this.#random;
    return pick<DeliveryState>([
      { kind: "accepted" },
      { kind: "accepted" },
      { kind: "accepted" },
      { kind: "released" },
      { kind: "rejected", error: { condition: "x:bad", description: "y".repeat(int(30)) } },
      { kind: "modified", deliveryFailed: true },
      { kind: "received", sectionNumber: int(3), sectionOffset: BigInt(int(1_000)) },
      { kind: "transactionalState", txnId: Uint8Array.of(int(256)), outcome: { kind: "accepted" } },
    ]);
  }

  // Mostly an attached link, now and then any that ever was.
  #pickLink(role: "sender" | "receiver"): Link | undefined {
    const { int, pick } = this.#random;
    const links = (int(10) === 0 ? this.#links : this.#live()).filter((link) => link.role === role);
    return links.length === 0 ? undefined : pick(links);
  }

  #live(): Link[] {
    return this.#links.filter(({ state }) => state === "attached");
  }

  // Half of them just below 2^32.
  #firstId(): number {
    const { int } = this.#random;
    return int(2) === 0 ? int(5) : 0xffffffff - int(5);
  }

  #sides(): [Side, Side] {
    return [this.pair.client, this.pair.server];
  }
}
