/**
 * The fuzz targets: each runs one random case and throws when the code, not the case, is at fault.
 *
 * @module
 */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { FrameDecoder, protocolHeader } from "../../src/codec/frame.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import { Reader } from "../../src/codec/reader.ts";
import { Writer } from "../../src/codec/writer.ts";
import { print } from "../../src/codec/composite.ts";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import type { IncomingDelivery } from "../../src/engine/deliveries.ts";
import type { OutgoingDelivery } from "../../src/engine/outgoing.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import { agree } from "../codec/fast_path.ts";
import { randomValue } from "../codec/random_values.ts";
import { sample } from "../codec/samples.ts";
import { pieces } from "../engine/pair.ts";
import { attach, begin, flow, frame } from "../engine/script.ts";
import { World } from "../engine/world.ts";
import type { Random } from "../harness.ts";
import { Frames, mutated } from "./generate.ts";
import { accept } from "../../src/engine/accept.ts";
import {
  attachLink,
  endpointOf,
  type EndpointOptions,
  linksOf,
  saslChallenge,
  saslInit,
  saslOutcome,
  saslResponse,
  sendOn,
} from "../engine/endpoint.ts";
import { fuzzMessages } from "./message_target.ts";
import { fuzzCancelled } from "./cancelled.ts";
import { fuzzAcceptor, fuzzBroker, fuzzClient } from "./whole_targets.ts";
import { fuzzChallenge, fuzzHead, fuzzWebSocket } from "./transport_targets.ts";

export type Target = (random: Random) => void | Promise<void>;

/** All targets by name. */
export const targets: Readonly<Record<string, Target>> = {
  decoder: fuzzDecoder,
  fastPath: fuzzFastPath,
  message: fuzzMessage,
  engine: fuzzEngine,
  splits: fuzzSplits,
  world: fuzzWorld,
  webSocket: fuzzWebSocket,
  head: fuzzHead,
  challenge: fuzzChallenge,
  client: fuzzClient,
  broker: fuzzBroker,
  messages: fuzzMessages,
  acceptor: fuzzAcceptor,
  cancelled: fuzzCancelled,
};

/** Corrupted frames in pieces are frames or AMQP errors, and never more is buffered than one frame may have. */
function fuzzDecoder(random: Random): void {
  const maxFrameSize = random.pick([512, 4_096]);
  const decoder = new FrameDecoder({ maxFrameSize });
  const frames = new Frames(random);
  for (let round = 0; round < 4; round++) {
    const bytes = mutated(random, frames.some(random.pick(["sasl", "amqp"] as const)));
    for (const piece of pieces(bytes, random)) {
      decoder.push(piece);
      for (;;) {
        const before = decoder.buffered;
        const found = attempt(() => decoder.frame());
        if (found?.body !== undefined) print(found.body);
        if (found === undefined && decoder.buffered === before) break;
      }
      // A frame refused for its size stays, and nothing after it is read.
      if (decoder.buffered > maxFrameSize) return;
    }
  }
  const value = random.bytes(1 + random.int(40));
  attempt(() => new Reader(value).value());
}

/** The fast path decodes a body as the table does. */
function fuzzFastPath(random: Random): void {
  const bytes = new Frames(random).some("amqp");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at + 8 < bytes.length; at += Math.max(8, view.getUint32(at))) {
    const body = bytes.subarray(at + 8, at + view.getUint32(at));
    agree(body);
    agree(mutated(random, body));
  }
}

/** Corrupted messages are messages that can be encoded again, or AMQP errors. */
function fuzzMessage(random: Random): void {
  const writer = new Writer();
  writeMessage({
    header: random.int(2) === 0 ? sample("header") : undefined,
    messageAnnotations: { a: randomValue(random, 1).given },
    properties: random.int(2) === 0 ? sample("properties") : undefined,
    applicationProperties: { a: 1, b: "text", c: null },
    body: random.int(3) === 0 ? random.bytes(random.int(50)) : randomValue(random, 3).given,
  }, writer);
  const bytes = writer.take();
  const decoded = attempt(() => decodeMessage(mutated(random, bytes)));
  if (decoded === undefined) return;
  // Decoding accepts values there that encoding refuses [messaging 3.2.5].
  decoded.applicationProperties = undefined;
  writeMessage(decoded, writer);
  decodeMessage(writer.take());
}

/** In any phase, any bytes end in events and bytes that make sense, and memory stays bounded. */
function fuzzEngine(random: Random): void {
  const tested = new Tested(random);
  tested.reachPhase();
  for (let rounds = 1 + random.int(8); rounds > 0 && !tested.endpoint.finished; rounds--) tested.round();
  tested.finish();
}

/** The same bytes cut differently have the same effect. */
function fuzzSplits(random: Random): void {
  const role = random.pick(["client", "server"] as const);
  const frames = new Frames(random);
  const bytes = [protocolHeader(0), frame({ kind: "open", containerId: "peer" }), frame(begin())];
  for (let count = random.int(6); count > 0; count--) bytes.push(frames.some("amqp"));
  const outcomes = ["whole", 1, random].map((cut) => {
    const endpoint = endpointOf({ role, containerId: "tested" });
    if (role === "client") endpoint.open();
    const kinds: string[] = [];
    for (const part of bytes) {
      for (const piece of pieces(part, cut as 1)) {
        for (const event of endpoint.receive(piece, 0)) kinds.push(`${event.kind} ${errorOf(event)}`);
      }
    }
    const written: number[] = [];
    for (let out = endpoint.transmit(0); out !== undefined; out = endpoint.transmit(0)) written.push(...out);
    return { kinds, written, state: endpoint.state };
  });
  assertEquals(outcomes[1], outcomes[0]);
  assertEquals(outcomes[2], outcomes[0]);
}

/** Two endpoints that do at random what their commands allow. */
function fuzzWorld(random: Random): void {
  const world = new World(random);
  for (let steps = 20 + random.int(200); steps > 0; steps--) {
    world.step();
    world.check();
  }
  if (random.int(5) === 0) world.lose();
  else world.finish();
}

/** One endpoint with a caller that answers at random, and a peer that sends anything. */
class Tested {
  readonly endpoint: ConnectionEndpoint;
  readonly #random: Random;
  readonly #frames: Frames;
  readonly #role: "client" | "server";
  readonly #incoming: IncomingDelivery[] = [];
  readonly #outgoing: OutgoingDelivery[] = [];
  #now = 0;
  #transfers = 0;
  #closed = 0;
  #limit = 512;
  #sasl = false;

  constructor(random: Random) {
    this.#random = random;
    this.#frames = new Frames(random);
    this.#role = random.pick(["client", "server"] as const);
    this.#sasl = random.int(4) === 0;
    const options: EndpointOptions = {
      role: this.#role,
      containerId: "tested",
      maxFrameSize: random.pick([512, 4_096]),
      channelMax: random.pick([0, 3]),
      session: { incomingWindow: random.pick([1, 10, 100]), handleMax: 3 },
      idleTimeOut: 1_000,
    };
    if (this.#sasl) {
      options.sasl = this.#role === "client"
        ? random.pick([true, "pipelined"] as const)
        : { mechanisms: ["PLAIN"], required: random.int(2) === 0 };
    }
    this.endpoint = endpointOf(options);
  }

  /** Brings the endpoint into one of its phases, by valid frames of a peer. */
  reachPhase(): void {
    const { int } = this.#random;
    if (this.#role === "client") this.endpoint.open();
    // Mostly with links attached, where there is most to break.
    const depth = int(2) === 0 ? 5 : int(7);
    if (depth > 0) this.receive(protocolHeader(this.#sasl ? 3 : 0));
    if (depth > 1 && this.#sasl) {
      if (this.#role === "client") {
        this.receive(frame({ kind: "saslMechanisms", saslServerMechanisms: ["PLAIN"] }));
        this.receive(frame({ kind: "saslOutcome", code: "ok" }));
      } else this.receive(frame({ kind: "saslInit", mechanism: "PLAIN" }));
      this.receive(protocolHeader(0));
    }
    if (depth > 2) this.receive(frame({ kind: "open", containerId: "peer", maxFrameSize: 512 }));
    if (depth > 3) this.receive(frame(begin()));
    if (depth > 4) {
      this.receive(frame(attach({ role: "sender", name: "in", handle: 0 })));
      this.receive(frame(attach({ role: "receiver", name: "out", handle: 1 })));
      this.receive(frame(flow({ handle: 1, linkCredit: 10, deliveryCount: 0 })));
    }
    // Credit counts once it was transmitted.
    this.#transmit();
    if (depth > 5) this.#act(() => int(2) === 0 ? this.endpoint.close() : this.endpoint.fail(anError()));
  }

  /** Receives something, acts as the caller, and advances time. */
  round(): void {
    const { int } = this.#random;
    this.receive(this.#frames.some(this.#sasl && int(3) === 0 ? "sasl" : "amqp"));
    if (int(2) === 0) this.#command();
    if (int(3) > 0) this.#transmit();
    if (int(5) === 0) {
      this.#now += int(3_000);
      this.#handle(this.endpoint.tick(this.#now));
    }
    this.#check();
  }

  /** Cuts the connection, after which nothing may be left. */
  finish(): void {
    this.#transmit();
    this.#handle(this.endpoint.disconnect(new Error("the transport has ended")));
    this.#transmit();
    assertEquals([this.#closed, this.endpoint.finished, this.endpoint.sessionCount], [1, true, 0]);
    assertEquals([this.endpoint.nextTimeout(), this.endpoint.events()], [undefined, []]);
    assertEquals(this.endpoint.receive(this.#random.bytes(8), this.#now), []);
  }

  /** Takes bytes in pieces. */
  receive(bytes: Uint8Array): void {
    for (const piece of pieces(bytes, this.#random.pick([1, "whole", this.#random] as const))) {
      this.#handle(this.endpoint.receive(piece, this.#now));
    }
  }

  #handle(events: EngineEvent[]): void {
    for (; events.length > 0; events = this.endpoint.events()) for (const event of events) this.#handleOne(event);
  }

  #handleOne(event: EngineEvent): void {
    const { int } = this.#random;
    const error = "error" in event ? event.error : undefined;
    // An error is an AMQP error with a cause on the wire, or of time; the code itself never failed.
    const cause = error?.cause;
    const isInTime = cause === undefined || cause instanceof TransportError;
    if (error instanceof AmqpError) assert(isInTime, `${error.message}: ${String(cause)}`);
    else assert(error === undefined || error.message === "the transport has ended", `${error}`);
    switch (event.kind) {
      case "closed":
        this.#closed++;
        return;
      case "saslMechanisms":
        return this.#act(() => saslInit(this.endpoint, "PLAIN", undefined));
      case "saslInit":
      case "saslResponse":
        return this.#act(() => int(3) > 0 ? saslOutcome(this.endpoint, "ok") : saslChallenge(this.endpoint, tag()));
      case "saslChallenge":
        return this.#act(() => saslResponse(this.endpoint, tag()));
      case "attachRequested":
        if (int(8) === 0) return;
        return this.#act(() => {
          if (int(6) === 0) return event.link.refuse(anError());
          accept(event.link, { maxMessageSize: int(2) === 0 ? 1_000n : undefined });
          if (event.link.role === "receiver") event.link.flow({ linkCredit: 1 + int(20) });
        });
      case "credit":
        return this.#act(() => {
          if (event.link.sendable === 0) return;
          this.#outgoing.push(sendOn(event.link, this.#random.bytes(4), this.#random.bytes(int(1_500))));
        });
      case "delivery":
        this.#transfers++;
        this.#incoming.push(event.delivery);
        return;
    }
  }

  #command(): void {
    const { int, pick } = this.#random;
    this.#act(() => {
      switch (int(8)) {
        case 0:
          return void this.endpoint.begin();
        case 1:
          for (const session of this.endpoint.sessions()) {
            attachLink(session, { name: pick(["in", "out", "mine"]), role: pick(["sender", "receiver"]) as "sender" });
          }
          return;
        case 2:
          for (const delivery of this.#incoming.splice(0)) {
            if (!delivery.settled) delivery.update({ kind: pick(["accepted", "released"]) });
          }
          return;
        case 3:
          return this.#outgoing.forEach((delivery) => delivery.settle());
        case 4:
          return this.#outgoing.forEach((delivery) => void delivery.abort());
        case 5:
          for (const session of this.endpoint.sessions()) {
            for (const link of linksOf(session)) link.detach({ closed: int(2) === 0 });
          }
          return;
        case 6:
          for (const session of this.endpoint.sessions()) {
            for (const link of linksOf(session)) {
              if (link.role === "receiver") link.flow({ linkCredit: int(9), drain: int(2) === 0 });
            }
          }
          return;
        default:
          if (int(20) === 0) this.endpoint.close();
      }
    });
  }

  // A call that comes too early or too late throws an AMQP error.
  #act(call: () => void): void {
    attempt(call);
    this.#handle(this.endpoint.events());
  }

  // Transmitted bytes can be decoded, fit the peer, and come to an end.
  #transmit(): void {
    this.#limit = this.endpoint.remote?.maxFrameSize ?? (this.endpoint.remote === undefined ? 512 : 0xffffffff);
    for (let flushes = 0;; flushes++) {
      assertLessOrEqual(flushes, 10_000);
      const bytes = this.endpoint.transmit(this.#now, this.#random.pick([1, 65_536]));
      if (bytes === undefined) break;
      const decoder = new FrameDecoder({ maxFrameSize: Math.max(this.#limit, 65_536) });
      for (let at = 0; at < bytes.length;) {
        if (bytes[at] === 0x41) {
          at += 8;
          continue;
        }
        const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
        decoder.push(bytes.subarray(at, at + size));
        const written = decoder.frame();
        assert(written !== undefined && decoder.buffered === 0, "half a frame was written");
        if (written.type === 0) assertLessOrEqual(written.size, Math.max(512, this.#limit));
        at += size;
      }
    }
    this.#handle(this.endpoint.events());
  }

  #check(): void {
    assertLessOrEqual(this.endpoint.buffered, 65_536 + 8);
    assertLessOrEqual(this.#closed, 1);
    if (this.endpoint.finished) return;
    // Ours and the peer's.
    assertLessOrEqual(this.endpoint.sessionCount, 8);
    for (const session of this.endpoint.sessions()) {
      assertLessOrEqual(session.linkCount, 1_100);
      assertLessOrEqual(session.unsettledCount, this.#transfers + this.#outgoing.length);
      assert(session.incomingWindow >= 0 && session.remoteIncomingWindow >= 0);
      for (const link of linksOf(session)) {
        // A refused link has no credit.
        if (!("linkCredit" in link)) continue;
        assert(link.linkCredit >= 0);
        if (link.role === "sender") assert(link.sendable >= 0 && link.queued <= this.#outgoing.length);
      }
    }
  }
}

function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof AmqpError) return undefined;
    throw error;
  }
}

function errorOf(event: EngineEvent): string {
  return "error" in event && event.error !== undefined ? `${event.error}` : "";
}

function anError(): AmqpError {
  return new AmqpError(condition.notFound, "Cannot go on: the caller said so");
}

function tag(): Uint8Array {
  return Uint8Array.of(1);
}
