/**
 * A scripted peer of one connection endpoint, which may send right and wrong frames.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { encodeComposite } from "../../src/codec/composite.ts";
import { beginFrame, endFrame, FrameDecoder, protocolHeader, type ProtocolId } from "../../src/codec/frame.ts";
import type { Attach, Begin, Composite, Flow, Performative, SaslFrameBody, Transfer } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { AmqpError, type ErrorScope } from "../../src/base/errors.ts";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import { endpointOf, type EndpointOptions } from "./endpoint.ts";
import { acceptLinks, type Cut, pieces } from "./pair.ts";

/** A protocol header or frame that the endpoint wrote. */
export type Item =
  | { readonly kind: "header"; readonly id: number }
  | { readonly kind: "empty"; readonly channel: number }
  | (Performative | SaslFrameBody) & { channel: number; payload: Uint8Array | undefined; size: number };

type ItemOf<K extends Item["kind"]> = Extract<Item, { kind: K }>;

/** The bytes of a frame. */
export function frame(
  body: Composite | undefined,
  options: { channel?: number; payload?: Uint8Array; type?: 0 | 1 } = {},
): Uint8Array {
  const writer = new Writer();
  const sasl = body?.kind.startsWith("sasl") ?? false;
  const start = beginFrame(writer, options.type ?? (sasl ? 1 : 0), options.channel ?? 0);
  if (body !== undefined) encodeComposite(writer, body);
  if (options.payload !== undefined) writer.append(options.payload);
  endFrame(writer, start);
  return new Uint8Array(writer.take());
}

/** A begin with its mandatory fields. */
export function begin(fields: Partial<Begin> = {}): Begin {
  return { kind: "begin", nextOutgoingId: 0, incomingWindow: 1_000, outgoingWindow: 1_000, ...fields };
}

/** An attach with its mandatory fields. */
export function attach(fields: Partial<Attach> & { role: "sender" | "receiver" }): Attach {
  return {
    kind: "attach",
    name: "link",
    handle: 0,
    source: { kind: "source" },
    target: { kind: "target" },
    initialDeliveryCount: fields.role === "sender" ? 0 : undefined,
    ...fields,
  };
}

/** A flow with its mandatory fields. */
export function flow(fields: Partial<Flow> = {}): Flow {
  return {
    kind: "flow",
    nextIncomingId: 0,
    incomingWindow: 1_000,
    nextOutgoingId: 0,
    outgoingWindow: 1_000,
    ...fields,
  };
}

/** The first transfer of a delivery. */
export function transfer(id: number, fields: Partial<Transfer> = {}): Transfer {
  return {
    kind: "transfer",
    handle: 0,
    deliveryId: id,
    deliveryTag: Uint8Array.of(id >>> 24, id >>> 16, id >>> 8, id),
    messageFormat: 0,
    ...fields,
  };
}

let made = 0;

export class Script {
  readonly endpoint: ConnectionEndpoint;
  /** The events not taken yet. */
  events: EngineEvent[] = [];
  /** Called with every event as it happens. */
  onevent: (event: EngineEvent) => void = acceptLinks;
  /** Virtual time in milliseconds. */
  now = 0;
  /** The size of pieces: each by turns, so that all tests together cover them all. */
  cut: Cut = (["whole", 1, 3] as const)[made++ % 3]!;

  readonly #items: Item[] = [];
  #rest: Uint8Array = new Uint8Array(0);

  /** Makes an endpoint; nothing is sent yet. */
  constructor(options: EndpointOptions) {
    this.endpoint = endpointOf(options);
  }

  /** An endpoint that has exchanged headers and opens. */
  static opened(options: EndpointOptions, open: object = {}): Script {
    const script = new Script(options);
    if (options.role === "client") script.endpoint.open();
    script.header(0);
    script.send({ kind: "open", containerId: "script", ...open });
    assertEquals(script.expect("header").id, 0);
    script.expect("open");
    script.one("opened");
    return script;
  }

  /** A server with a session that the script has begun on its channel 0. */
  static begun(options: Partial<EndpointOptions> = {}, fields: Partial<Begin> = {}): Script {
    const script = Script.opened({ ...options, role: "server" });
    script.send(begin(fields));
    script.expect("begin");
    script.one("begun");
    return script;
  }

  header(id: ProtocolId): void {
    this.raw(protocolHeader(id));
  }

  send(body: Composite | undefined, options: { channel?: number; payload?: Uint8Array; type?: 0 | 1 } = {}): void {
    this.raw(frame(body, options));
  }

  raw(bytes: Uint8Array): void {
    for (const piece of pieces(bytes, this.cut)) this.dispatch(this.endpoint.receive(piece, this.now));
  }

  /** Advances time to `now`. */
  tick(now: number): void {
    this.now = now;
    this.dispatch(this.endpoint.tick(now));
  }

  dispatch(events: EngineEvent[]): void {
    for (; events.length > 0; events = this.endpoint.events()) {
      for (const event of events) {
        this.events.push(event);
        this.onevent(event);
      }
    }
  }

  /** The next item that the endpoint wrote, which must be of this kind. */
  expect<K extends Item["kind"]>(kind: K): ItemOf<K> {
    this.#read();
    const item = this.#items.shift();
    assertEquals(item?.kind, kind);
    return item as ItemOf<K>;
  }

  /** All unexpected items that the endpoint wrote. */
  rest(): Item[] {
    this.#read();
    return this.#items.splice(0);
  }

  /** Checks that the endpoint wrote nothing more. */
  quiet(): void {
    assertEquals(this.rest(), []);
  }

  /** Removes and returns the events of one kind so far. */
  take<K extends EngineEvent["kind"]>(kind: K): Extract<EngineEvent, { kind: K }>[] {
    const taken = this.events.filter((event): event is Extract<EngineEvent, { kind: K }> => event.kind === kind);
    this.events = this.events.filter((event) => event.kind !== kind);
    return taken;
  }

  /** Removes and returns the only event of a kind. */
  one<K extends EngineEvent["kind"]>(kind: K): Extract<EngineEvent, { kind: K }> {
    const taken = this.take(kind);
    assertEquals(taken.length, 1, `events "${kind}"`);
    return taken[0]!;
  }

  /** Checks that the endpoint closed the connection with an error, and drops everything after it. */
  closedWith(condition: string, text = ""): void {
    this.expect2("close", condition, text);
    checkError(this.one("closed").error, { condition, scope: "connection", text });
    assertEquals(this.endpoint.sessionCount, 0);
  }

  /** Checks that the endpoint ended the session on its channel 0 with an error, and the connection goes on. */
  endedWith(condition: string, text = ""): void {
    this.expect2("end", condition, text);
    checkError(this.one("ended").error, { condition, scope: "session", text });
    assertEquals(this.endpoint.state, "opened");
    // Frames of the session are dropped until the peer's end [transport 2.5.4].
    this.send(transfer(77));
    this.send(flow({ handle: 99 }));
    this.quiet();
    this.send({ kind: "end" });
    this.quiet();
    assertEquals(this.endpoint.sessionCount, 0);
    this.alive();
  }

  /** Checks that the endpoint detached a link with an error, and the session goes on. */
  detachedWith(condition: string, text = "", handle = 0): void {
    const detach = this.expect2("detach", condition, text);
    assertEquals(detach.closed, true);
    const event = this.one("detached");
    assert(event.closed);
    checkError(event.error, { condition, scope: "link", text });
    // Frames of the link are dropped until the peer's detach.
    this.send(flow({ handle, linkCredit: 9, deliveryCount: 0 }));
    this.quiet();
    const [session] = this.endpoint.sessions();
    const links = session!.linkCount;
    this.send({ kind: "detach", handle, closed: true });
    this.quiet();
    assertEquals(session!.linkCount, links - 1);
    this.send(flow({ echo: true }));
    this.expect("flow");
  }

  /** Checks that the connection still works. */
  alive(): void {
    this.take("begun");
    this.take("ended");
    this.send(begin(), { channel: 200 });
    this.expect("begin");
    this.one("begun");
    this.send({ kind: "end" }, { channel: 200 });
    this.expect("end");
    this.one("ended");
  }

  /** The next frame, which closes, ends or detaches with this condition. */
  expect2<K extends "close" | "end" | "detach">(kind: K, condition: string, text: string): ItemOf<K> {
    const item = this.expect(kind);
    const { error } = item as { error?: { condition: string; description?: string } };
    assertEquals(error?.condition, condition);
    assert(error?.description?.includes(text), `"${error?.description}" does not tell "${text}"`);
    return item;
  }

  #read(): void {
    for (let bytes = this.endpoint.transmit(this.now); bytes; bytes = this.endpoint.transmit(this.now)) {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      this.#rest = joined;
    }
    this.dispatch(this.endpoint.events());
    while (this.#rest.length > 0) {
      const [a, b, c, d] = this.#rest;
      if (a === 0x41) {
        this.#items.push({ kind: "header", id: this.#rest[4]! });
        this.#rest = this.#rest.subarray(8);
        continue;
      }
      const size = (a! << 24 | b! << 16 | c! << 8 | d!) >>> 0;
      const decoder = new FrameDecoder({ maxFrameSize: 0xffffffff });
      decoder.push(this.#rest.subarray(0, size));
      const frame = decoder.frame()!;
      this.#rest = this.#rest.subarray(size);
      this.#items.push(
        frame.body === undefined
          ? { kind: "empty", channel: frame.channel }
          : { ...frame.body, channel: frame.channel, payload: frame.payload, size },
      );
    }
  }
}

/** Checks an error that the endpoint reported. */
export function checkError(
  error: Error | undefined,
  expected: { condition: string; scope: ErrorScope; text?: string; remote?: boolean },
): void {
  assert(error instanceof AmqpError, `not an AmqpError: ${error}`);
  assertEquals(
    { condition: error.condition, scope: error.scope, remote: error.remote },
    { condition: expected.condition, scope: expected.scope, remote: expected.remote ?? false },
  );
  assert(error.message.includes(expected.text ?? ""), `"${error.message}" does not tell "${expected.text}"`);
}
