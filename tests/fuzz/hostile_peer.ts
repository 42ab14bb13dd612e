/**
 * A random peer of a whole connection: it follows the protocol mostly, and breaks it in every frame that it may break.
 *
 * @module
 */

import { FrameDecoder, protocolHeader } from "../../src/codec/frame.ts";
import type { Attach, Composite, Performative, Transfer } from "../../src/codec/types.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { attach, begin, flow, frame } from "../engine/script.ts";
import { pieces } from "../engine/pair.ts";
import type { Random } from "../harness.ts";
import { Frames, mutated } from "./generate.ts";
import { FAR, HostileContent, ODD } from "./hostile_content.ts";

interface PeerLink {
  readonly name: string;
  readonly handle: number;
  readonly role: "sender" | "receiver";
  deliveryCount: number;
  credit: number;
  /** The delivery of which more is to come. */
  unfinished: Transfer | undefined;
}

interface PeerSession {
  readonly channel: number;
  readonly links: Map<number, PeerLink>;
  /** The names of the other side's links by their handles. */
  readonly handles: Map<number, PeerLink>;
  nextOutgoingId: number;
  nextIncomingId: number;
  /** Ids of what has arrived, and of what was sent. */
  readonly arrived: number[];
  readonly sent: number[];
}

const FRAMES = ["flow", "transfer", "disposition", "detach", "attach"] as const;
const MAX_MEMORY = 200;

/** How often, out of a thousand, a frame of the peer is wrong. */
export interface Malice {
  readonly altered: number;
  readonly mutated: number;
  readonly dropped: number;
}

/** A peer that draws all it does from one source of randomness. */
export class HostilePeer {
  /** Whether the other side has ended the connection. */
  over = false;
  readonly #random: Random;
  readonly #frames: Frames;
  readonly #content: HostileContent;
  readonly #channel: Channel;
  readonly #malice: Malice;
  readonly #decoder = new FrameDecoder({ maxFrameSize: 0xffff_ffff });
  // By the other side's channel.
  readonly #sessions = new Map<number, PeerSession>();
  readonly #role: "client" | "server";
  #header = false;
  #nextChannel = 0;
  #tags = 0;
  #quiet = false;

  /** Speaks over `channel`; a client begins at once. */
  constructor(channel: Channel, role: "client" | "server", random: Random, malice: Malice) {
    this.#channel = channel;
    this.#random = random;
    this.#malice = malice;
    this.#frames = new Frames(random);
    this.#content = new HostileContent(random, this.#frames);
    this.#role = role;
    channel.onbytes = (bytes) => this.#receive(bytes);
    channel.onclose = () => this.over = true;
    if (role === "client") {
      this.#raw(protocolHeader(0));
      this.#send({
        kind: "open",
        containerId: random.pick(["hostile", "hostile", "client"]),
        idleTimeOut: random.pick([undefined, undefined, 1_000, 60_000]),
        maxFrameSize: random.pick([undefined, 512, 4_096]),
      });
      this.#begin();
    }
  }

  /** Cuts the connection. */
  cut(): void {
    this.#channel.close(1006);
    this.over = true;
  }

  /** Does one thing on its own account. */
  act(): void {
    if (this.over || this.#quiet) return;
    const { int, pick } = this.#random;
    const session = this.#anySession();
    if (session === undefined || int(60) === 0) return this.#begin();
    const link = this.#anyLink(session);
    const table: readonly (readonly [weight: number, act: () => void])[] = [
      [20, () => this.#attach(session)],
      [70, () => link !== undefined && (link.credit > 0 || int(40) === 0) && this.#transfer(session, link)],
      [30, () => link !== undefined && this.#more(session, link)],
      [50, () => this.#settle(session)],
      [40, () => this.#flow(session, link)],
      [10, () => link !== undefined && this.#detach(session, link)],
      [2, () => this.#end(session)],
      [10, () => this.#send(undefined)],
      [2, () => this.#raw(this.#frames.some(pick(["amqp", "amqp", "amqp", "sasl"])))],
      [1, () => int(3) === 0 && this.#send({ kind: "close", error: this.#content.error(2) })],
      [1, () => int(6) === 0 && this.cut()],
      [1, () => this.#quiet = int(10) === 0],
      [1, () => this.#raw(pick(ODD))],
      // Something valid by itself that fits nothing.
      [3, () => this.#send(this.#frames.composite(pick(FRAMES)) as Performative, session)],
      [60, () => {}],
    ];
    let choice = int(table.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, act] of table) if ((choice -= weight) < 0) return act();
  }

  #detach(session: PeerSession, { handle }: PeerLink): void {
    this.#send({ kind: "detach", handle, closed: this.#random.int(2) === 0, error: this.#content.error(3) }, session);
    session.links.delete(handle);
  }

  #end(session: PeerSession): void {
    this.#send({ kind: "end", error: this.#content.error(2) }, session);
    for (const [key, one] of this.#sessions) if (one === session) this.#sessions.delete(key);
  }

  #anySession(): PeerSession | undefined {
    return this.#sessions.size === 0 ? undefined : this.#random.pick([...this.#sessions.values()]);
  }

  #anyLink(session: PeerSession): PeerLink | undefined {
    return session.links.size === 0 ? undefined : this.#random.pick([...session.links.values()]);
  }

  #begin(): void {
    if (this.#nextChannel > 20) return;
    const session = newSession(this.#nextChannel++, this.#random.pick([0, 0, 0xffff_fff0, 0x7fff_ffff]));
    this.#sessions.set(-1 - session.channel, session);
    this.#send(begin({ nextOutgoingId: session.nextOutgoingId, incomingWindow: this.#content.window() }), session);
  }

  #attach(session: PeerSession): void {
    const { int, pick } = this.#random;
    const role = pick(["sender", "receiver"] as const);
    const handle = int(10);
    if (session.links.has(handle) && int(10) > 0) return;
    const { source, target } = this.#content.termini();
    const isCoordinator = role === "sender" && int(8) === 0;
    const link: PeerLink = {
      name: pick(["a", "b", "c", "d", `${handle}`]),
      handle,
      role,
      deliveryCount: pick(FAR),
      credit: 0,
      unfinished: undefined,
    };
    session.links.set(handle, link);
    const fields: Partial<Attach> & { role: "sender" | "receiver" } = {
      role,
      name: link.name,
      handle,
      sndSettleMode: pick(["mixed", "unsettled", "settled"] as const),
      rcvSettleMode: pick(["first", "first", "second"] as const),
      source,
      target: isCoordinator ? { kind: "coordinator" } : target,
      initialDeliveryCount: role === "sender" ? link.deliveryCount : undefined,
      unsettled: int(6) > 0 ? undefined : this.#content.unsettled(),
      incompleteUnsettled: int(20) === 0,
      maxMessageSize: pick([undefined, undefined, 0n, 1n, 2n ** 64n - 1n]),
    };
    this.#send(attach(fields), session);
    if (role === "receiver") this.#flow(session, link);
  }

  #transfer(session: PeerSession, link: PeerLink): void {
    if (link.role !== "sender") return;
    const { int, pick, bytes } = this.#random;
    const id = session.nextOutgoingId;
    const more = int(4) === 0;
    const body: Transfer = {
      kind: "transfer",
      handle: link.handle,
      deliveryId: int(50) === 0 ? pick([id + 1, (id - 1) >>> 0, ...FAR]) >>> 0 : id,
      deliveryTag: int(30) === 0 ? bytes(pick([0, 32, 33])) : Uint8Array.of(this.#tags >> 8, this.#tags++),
      messageFormat: int(30) === 0 ? pick(FAR) : int(10) === 0 ? undefined : 0,
      settled: pick([undefined, false, true]),
      more,
      aborted: int(30) === 0,
      state: int(15) === 0 ? this.#content.state() : undefined,
      rcvSettleMode: int(20) === 0 ? pick(["first", "second"]) : undefined,
      resume: int(30) === 0,
      batchable: int(5) === 0,
    };
    session.nextOutgoingId = (id + 1) >>> 0;
    session.sent.push(id);
    if (session.sent.length > MAX_MEMORY) session.sent.shift();
    link.credit--;
    link.deliveryCount = (link.deliveryCount + 1) >>> 0;
    link.unfinished = more ? body : undefined;
    let payload = this.#content.message();
    if (more) payload = payload.subarray(0, int(payload.length + 1));
    this.#send(body, session, payload);
  }

  #more(session: PeerSession, link: PeerLink): void {
    const { int, bytes, pick } = this.#random;
    const { unfinished } = link;
    if (unfinished === undefined) return;
    const more = int(3) > 0;
    link.unfinished = more ? unfinished : undefined;
    session.nextOutgoingId = (session.nextOutgoingId + 1) >>> 0;
    this.#send(
      {
        kind: "transfer",
        handle: link.handle,
        deliveryId: int(5) === 0 ? unfinished.deliveryId : undefined,
        deliveryTag: int(8) === 0 ? unfinished.deliveryTag : undefined,
        settled: pick([undefined, undefined, undefined, true, false]),
        more,
        aborted: int(12) === 0,
      } as Transfer,
      session,
      bytes(pick([0, 1, 10, 300])),
    );
  }

  #settle(session: PeerSession): void {
    const { int, pick } = this.#random;
    const role = int(3) > 0 ? "receiver" : "sender";
    const ids = role === "receiver" ? session.arrived : session.sent;
    const first = ids.length === 0 || int(30) === 0 ? pick(FAR) : pick(ids.slice(-8));
    const last = int(3) > 0 ? undefined : int(15) === 0 ? pick(FAR) : (first + int(20)) >>> 0;
    const state = int(6) === 0 ? undefined : this.#content.state();
    this.#send({ kind: "disposition", role, first, last, settled: int(4) > 0, state }, session);
  }

  #flow(session: PeerSession, link: PeerLink | undefined): void {
    const { int, pick } = this.#random;
    const ofLink = link !== undefined && int(5) > 0;
    const isOdd = int(25) === 0;
    this.#send(
      flow({
        nextIncomingId: isOdd ? pick(FAR) : session.nextIncomingId,
        incomingWindow: this.#content.window(),
        nextOutgoingId: int(40) === 0 ? pick(FAR) : session.nextOutgoingId,
        outgoingWindow: this.#content.window(),
        handle: ofLink ? link.handle : undefined,
        deliveryCount: ofLink && (link.role === "sender" || int(2) === 0)
          ? int(20) === 0 ? pick(FAR) : link.deliveryCount
          : undefined,
        linkCredit: ofLink ? pick([0, 1, 5, 100, 100, 100, 0xffff_ffff]) : undefined,
        available: pick([undefined, 0, 0xffff_ffff]),
        drain: ofLink && int(6) === 0,
        echo: int(8) === 0,
      }),
      session,
    );
  }

  #receive(bytes: Uint8Array): void {
    if (this.over) return;
    this.#decoder.push(bytes);
    if (!this.#header) {
      if (this.#decoder.header() === undefined) return;
      this.#header = true;
      if (this.#role === "server" && this.#random.int(200) > 0) this.#raw(protocolHeader(0));
    }
    for (let one = this.#decoder.frame(); one !== undefined; one = this.#decoder.frame()) {
      if (one.payload !== undefined) this.#content.learn(one.payload);
      if (one.body !== undefined && !this.#quiet) this.#answer(one.body as Composite, one.channel);
    }
  }

  #answer(body: Composite, channel: number): void {
    const { int, pick } = this.#random;
    const session = this.#sessions.get(channel);
    switch (body.kind) {
      case "open":
        if (this.#role === "server") {
          this.#send({
            kind: "open",
            containerId: "hostile",
            channelMax: pick([undefined, undefined, undefined, 0, 1]),
            idleTimeOut: pick([undefined, undefined, 60_000]),
            maxFrameSize: pick([undefined, 512, 4_096]),
          });
        }
        return;
      case "begin": {
        if (body.remoteChannel !== undefined) {
          const own = this.#sessions.get(-1 - body.remoteChannel);
          if (own === undefined) return;
          this.#sessions.delete(-1 - body.remoteChannel);
          this.#sessions.set(channel, own);
          own.nextIncomingId = body.nextOutgoingId;
          return;
        }
        const answer = newSession(this.#nextChannel++ & 0xff, pick([0, 0, 0xffff_fff0, 0x7fff_ffff]));
        answer.nextIncomingId = body.nextOutgoingId;
        this.#sessions.set(channel, answer);
        return this.#send(
          begin({
            remoteChannel: channel,
            nextOutgoingId: answer.nextOutgoingId,
            incomingWindow: this.#content.window(),
            handleMax: pick([undefined, undefined, undefined, 0, 3]),
          }),
          answer,
        );
      }
      case "attach": {
        if (session === undefined) return;
        const own = [...session.links.values()].find(({ name, role }) => name === body.name && role !== body.role);
        if (own !== undefined) return void session.handles.set(body.handle, own);
        // A client's answers to answers would go on without end.
        if (this.#role === "client") return;
        const role = body.role === "sender" ? "receiver" : "sender";
        let handle = 0;
        while (session.links.has(handle)) handle++;
        const link: PeerLink = {
          name: body.name,
          handle,
          role,
          deliveryCount: role === "sender" ? pick([0, 0, ...FAR]) : body.initialDeliveryCount ?? 0,
          credit: 0,
          unfinished: undefined,
        };
        session.links.set(handle, link);
        session.handles.set(body.handle, link);
        const isRefused = int(25) === 0;
        this.#send(
          attach({
            role,
            name: body.name,
            handle,
            source: isRefused && role === "sender" ? undefined : body.source,
            target: isRefused && role === "receiver" ? undefined : body.target as never,
            initialDeliveryCount: role === "sender" ? link.deliveryCount : undefined,
            unsettled: int(4) === 0
              ? this.#content.unsettled()
              : body.unsettled !== undefined && int(2) === 0
              ? body.unsettled as never
              : undefined,
            incompleteUnsettled: int(30) === 0,
            sndSettleMode: body.sndSettleMode,
            rcvSettleMode: body.rcvSettleMode,
            maxMessageSize: pick([undefined, undefined, undefined, 0n, 100n]),
          }),
          session,
        );
        if (isRefused) this.#send({ kind: "detach", handle, closed: true, error: this.#content.error(1) }, session);
        else if (role === "receiver") this.#flow(session, link);
        return;
      }
      case "flow": {
        if (session === undefined) return;
        const link = body.handle === undefined ? undefined : session.handles.get(body.handle);
        if (link?.role === "sender") link.credit = body.linkCredit ?? 0;
        if (link?.role === "sender" && body.drain && int(3) > 0) {
          link.deliveryCount = (link.deliveryCount + link.credit) >>> 0;
          link.credit = 0;
          this.#send(
            flow({
              handle: link.handle,
              linkCredit: 0,
              deliveryCount: link.deliveryCount,
              drain: true,
              nextIncomingId: session.nextIncomingId,
              nextOutgoingId: session.nextOutgoingId,
            }),
            session,
          );
        } else if (body.echo) this.#flow(session, link);
        return;
      }
      case "transfer": {
        if (session === undefined) return;
        session.nextIncomingId = (session.nextIncomingId + 1) >>> 0;
        const link = session.handles.get(body.handle);
        if (body.deliveryId !== undefined) {
          session.arrived.push(body.deliveryId);
          if (session.arrived.length > MAX_MEMORY) session.arrived.shift();
          if (link !== undefined) link.deliveryCount = (link.deliveryCount + 1) >>> 0;
        }
        if (int(2) === 0) this.#settle(session);
        if (int(4) === 0) this.#flow(session, link);
        return;
      }
      case "detach": {
        const link = session?.handles.get(body.handle);
        if (link === undefined) return;
        session!.handles.delete(body.handle);
        if (session!.links.get(link.handle) !== link) return;
        session!.links.delete(link.handle);
        return this.#send({ kind: "detach", handle: link.handle, closed: body.closed }, session);
      }
      case "end":
        if (session === undefined) return;
        this.#sessions.delete(channel);
        return this.#send({ kind: "end" }, session);
      case "close":
        return this.#send({ kind: "close" });
    }
  }

  #send(body: Performative | undefined, session?: PeerSession, payload?: Uint8Array): void {
    const { int, pick } = this.#random;
    const { altered, mutated: changed, dropped } = this.#malice;
    if (int(1_000) < dropped) return;
    const channel = int(1_000) < altered ? pick([0, 1, 7, 255, 65_535]) : session?.channel ?? 0;
    let bytes: Uint8Array;
    try {
      const sent = body !== undefined && int(1_000) < altered ? this.#frames.altered(body) : body;
      bytes = frame(sent, payload === undefined ? { channel } : { channel, payload });
    } catch {
      bytes = frame(body, { channel });
    }
    if (int(1_000) < changed) {
      // The size stays true mostly: what follows is read then.
      const broken = mutated(this.#random, bytes);
      if (int(4) > 0 && broken.length >= 8) new DataView(broken.buffer, broken.byteOffset).setUint32(0, broken.length);
      bytes = broken;
    }
    this.#raw(bytes);
    if (int(300) < altered / 30) this.#raw(bytes);
  }

  #raw(bytes: Uint8Array): void {
    if (this.over) return;
    const cut = this.#random.int(10) === 0 ? this.#random : "whole";
    for (const piece of pieces(bytes, cut)) this.#channel.send(new Uint8Array(piece));
  }
}

function newSession(channel: number, nextOutgoingId: number): PeerSession {
  return { channel, links: new Map(), handles: new Map(), nextOutgoingId, nextIncomingId: 0, arrived: [], sent: [] };
}
