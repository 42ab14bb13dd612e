/**
 * Requirements tested from outside: a server's answer to bytes that are valid in an unusual way, or invalid.
 *
 * @module
 */

import { type PeerKind, ScriptedPeer } from "../../src/testing/mod.ts";
import type { Channel } from "../../src/transport/channel.ts";

/** A name and password for SASL PLAIN; without one, ANONYMOUS. */
export type Login = readonly [user: string, password: string] | undefined;

/** One question to a server. */
export interface Probe {
  /** The requirement's id. */
  readonly id: string;
  /** The bytes sent, and the answer that must come. */
  readonly name: string;
  /** The state of the connection before the question. */
  readonly after: "nothing" | "headers" | "open" | "begin" | "attach";
  /** Sends the question, and expects the answer. */
  readonly ask: (peer: ScriptedPeer) => void;
}

// Frames that a server may send in between, unasked.
const CHATTER: readonly PeerKind[] = ["empty", "flow"];

/** Asks one question; rejects with a `ScriptError` for another answer. */
export async function put({ after, ask }: Probe, channel: Channel, login: Login, timeoutMs: number): Promise<void> {
  const peer = new ScriptedPeer({ over: channel, ignore: CHATTER });
  if (after !== "nothing") {
    logIn(peer, login);
    peer.send("header", { id: 0 });
    if (after !== "headers") {
      peer.send("open", { containerId: "probe", hostname: "localhost", maxFrameSize: 65_536, channelMax: 10 });
    }
    peer.expect("header", { id: 0 });
    if (after !== "headers") peer.expect("open");
  }
  if (after === "begin" || after === "attach") {
    peer.send("begin", { handleMax: 10 });
    peer.expect("begin", { remoteChannel: 0 });
  }
  if (after === "attach") {
    peer.send("attach", ATTACH);
    peer.expect("attach", { name: "probe" });
  }
  ask(peer);
  try {
    await peer.done({ timeoutMs });
  } finally {
    channel.close();
  }
}

const ATTACH = {
  name: "probe",
  handle: 0,
  role: "sender",
  source: { kind: "source" },
  target: { kind: "target", address: "probe" },
} as const;

function logIn(peer: ScriptedPeer, login: Login): void {
  peer.send("header", { id: 3 });
  peer.expect("header", { id: 3 });
  peer.expect("saslMechanisms");
  const initialResponse = login && new TextEncoder().encode(`\0${login.join("\0")}`);
  peer.send("saslInit", { mechanism: login === undefined ? "ANONYMOUS" : "PLAIN", initialResponse });
  peer.expect("saslOutcome", { code: "ok" });
}

function closes(peer: ScriptedPeer, condition: string): void {
  peer.expect("close", { error: { condition } });
}

function ends(peer: ScriptedPeer, condition: string): void {
  peer.expect("end", { error: { condition } });
}

function closesForSome(peer: ScriptedPeer): void {
  peer.expect("close", { error: (error) => error !== undefined });
}

// The server goes on as if nothing had happened.
function goesOn(peer: ScriptedPeer, channel = 1): void {
  peer.send("begin", {}, { channel });
  peer.expect("begin", { remoteChannel: channel });
  peer.send("close");
  peer.expect("close", { error: undefined });
}

const FRAMING = "amqp:connection:framing-error", DECODE = "amqp:decode-error";

/** All questions. */
export const probes: readonly Probe[] = [
  {
    id: "FRM-3",
    name: "the header of AMQP 0-9-1 is answered with one that is supported, and the connection ends",
    after: "nothing",
    ask(peer) {
      peer.sendBytes("414d515000000901");
      peer.expect("header");
      peer.expectEnd();
    },
  },
  {
    id: "FRM-6",
    name: "a frame whose size is below 8 closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("00000007 02000000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-6",
    name: "a frame whose size is 0 closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("00000000 02000000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-6",
    name: "a data offset below 2 closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("00000008 01000000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-6",
    name: "a data offset beyond the frame closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("00000008 03000000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-6",
    name: "an extended header is skipped",
    after: "open",
    ask(peer) {
      // A begin, behind four bytes that mean nothing.
      peer.sendBytes("00000018 03000000 eeeeeeee 005311c0 070440 43 5264 5264");
      peer.expect("begin");
    },
  },
  {
    id: "FRM-7",
    name: "a frame that is announced as larger than max-frame-size closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("7fffffff 02000000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-8",
    name: "a frame of an unknown type closes with framing-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("00000008 02070000");
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-8",
    name: "a frame of SASL after SASL closes with framing-error",
    after: "open",
    ask(peer) {
      peer.send("saslInit", { mechanism: "PLAIN" });
      closes(peer, FRAMING);
    },
  },
  {
    id: "FRM-9",
    name: "a performative that cannot be decoded closes with decode-error",
    after: "open",
    ask(peer) {
      peer.sendBytes("0000000c 02000000 00531199");
      closes(peer, DECODE);
    },
  },
  {
    id: "FRM-9",
    name: "a performative without a field that it must have closes with decode-error",
    after: "begin",
    ask(peer) {
      // An attach without a name.
      peer.sendBytes("0000000c 02000000 00531245");
      closes(peer, DECODE);
    },
  },
  {
    id: "FRM-10",
    name: "an empty frame means nothing",
    after: "open",
    ask(peer) {
      peer.send("empty");
      goesOn(peer);
    },
  },
  {
    id: "CON-1",
    name: "a second open closes the connection",
    after: "open",
    ask(peer) {
      peer.send("open", { containerId: "probe" });
      closesForSome(peer);
    },
  },
  ...(["begin", "attach", "flow", "close"] as const).map((kind): Probe => ({
    id: "CON-1",
    name: `a first frame that is no open but ${kind} closes the connection, with an open before the close`,
    after: "headers",
    ask(peer) {
      peer.send(kind, kind === "attach" ? ATTACH : {});
      peer.expect("open");
      closesForSome(peer);
    },
  })),
  {
    id: "CON-1",
    name: "an open on another channel than 0 closes the connection",
    after: "headers",
    ask(peer) {
      peer.send("open", { containerId: "probe" }, { channel: 1 });
      peer.expect("open");
      closesForSome(peer);
    },
  },
  {
    id: "CON-5",
    name: "an open without container-id closes with decode-error",
    after: "headers",
    ask(peer) {
      // Its only field is null.
      peer.sendBytes("0000000f 02000000 005310c0 020140");
      peer.expect("open");
      closes(peer, DECODE);
    },
  },
  {
    id: "CON-9",
    name: "a frame of something that is no performative closes with decode-error",
    after: "open",
    ask(peer) {
      // An outcome: accepted.
      peer.sendBytes("0000000c 02000000 00532445");
      closes(peer, DECODE);
    },
  },
  {
    id: "SES-1",
    name: "a begin on a channel that is in use closes the connection",
    after: "begin",
    ask(peer) {
      peer.send("begin");
      closesForSome(peer);
    },
  },
  ...(["attach", "flow", "detach", "end"] as const).map((kind): Probe => ({
    id: "SES-3",
    name: `${
      kind === "flow" || kind === "detach" ? "a" : "an"
    } ${kind} on a channel without a session closes the connection`,
    after: "open",
    ask(peer) {
      peer.send(kind, kind === "attach" ? ATTACH : kind === "detach" ? { handle: 0 } : {}, { channel: 3 });
      closesForSome(peer);
    },
  })),
  {
    id: "SES-5",
    name: "a second end closes the connection",
    after: "begin",
    ask(peer) {
      peer.send("end");
      peer.expect("end", { error: undefined });
      peer.send("end");
      closesForSome(peer);
    },
  },
  {
    id: "LNK-5",
    name: "a receiver's initial-delivery-count means nothing",
    after: "begin",
    ask(peer) {
      const source = { kind: "source", address: "probe" } as const;
      peer.send("attach", { role: "receiver", source, initialDeliveryCount: 99 });
      peer.expect("attach", { role: "sender", initialDeliveryCount: 0 });
    },
  },
  {
    id: "LNK-5",
    name: "a sender's attach without initial-delivery-count is taken, and counts from 0",
    after: "begin",
    ask(peer) {
      peer.send("attach", { ...ATTACH, initialDeliveryCount: undefined });
      peer.expect("attach", { role: "receiver" });
    },
  },
  {
    id: "SES-4",
    name: "a handle above handle-max closes with framing-error",
    after: "begin",
    ask(peer) {
      peer.send("attach", { ...ATTACH, handle: 0xffff_ffff });
      closes(peer, FRAMING);
    },
  },
  {
    id: "SES-5",
    name: "an end is answered with an end, and the connection goes on",
    after: "begin",
    ask(peer) {
      peer.send("end");
      peer.expect("end", { error: undefined });
      goesOn(peer, 2);
    },
  },
  {
    id: "LNK-10",
    name: "a transfer for a handle that is not attached ends the session with unattached-handle",
    after: "begin",
    ask(peer) {
      peer.send("transfer", { handle: 5, deliveryId: 0 }, { payload: { body: "x" } });
      ends(peer, "amqp:session:unattached-handle");
    },
  },
  {
    id: "LNK-10",
    name: "a flow for a handle that is not attached ends the session with unattached-handle",
    after: "begin",
    ask(peer) {
      peer.send("flow", { handle: 5, linkCredit: 1, deliveryCount: 0 });
      ends(peer, "amqp:session:unattached-handle");
    },
  },
  {
    id: "LNK-10",
    name: "a detach for a handle that is not attached ends the session with unattached-handle",
    after: "begin",
    ask(peer) {
      peer.send("detach", { handle: 5 });
      ends(peer, "amqp:session:unattached-handle");
    },
  },
  {
    id: "LNK-12",
    name: "a detach is answered with a detach, and the session goes on",
    after: "attach",
    ask(peer) {
      peer.send("detach", { handle: 0, closed: true });
      peer.expect("detach", { closed: true, error: undefined });
      peer.send("attach", { ...ATTACH, name: "probe again" });
      peer.expect("attach", { name: "probe again" });
    },
  },
  {
    id: "LNK-2",
    name: "a handle that is in use closes with handle-in-use",
    after: "attach",
    ask(peer) {
      peer.send("attach", { ...ATTACH, name: "another" });
      closes(peer, "amqp:session:handle-in-use");
    },
  },
  {
    id: "DSP-1",
    name: "a disposition for deliveries that nobody knows means nothing",
    after: "attach",
    ask(peer) {
      peer.send("disposition", { role: "sender", first: 100, last: 200, settled: true });
      goesOn(peer);
    },
  },
  {
    id: "CON-10",
    name: "a close is answered with a close",
    after: "open",
    ask(peer) {
      peer.send("close");
      peer.expect("close", { error: undefined });
    },
  },
];
