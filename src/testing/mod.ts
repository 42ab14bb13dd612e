/**
 * Tools for tests: a scripted AMQP peer, a virtual clock, and faulty channels.
 *
 * @example A client whose message is rejected
 * ```ts
 * import { connect, OutcomeError } from "@webamqp/amqp";
 * import { ScriptedPeer } from "@webamqp/amqp/testing";
 *
 * const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
 * peer.expectOpening();
 * peer.expect("begin").respond();
 * peer.expect("attach", { role: "sender", target: { address: "orders" } }).respond();
 * peer.send("flow", { handle: 0, linkCredit: 1, deliveryCount: 0 });
 * peer.expect("transfer").settle({ kind: "rejected" });
 * peer.expect("detach").respond();
 * peer.expectClosing();
 *
 * const connection = await connect(peer.channel);
 * const error = await connection.sender("orders").send({ body: "one coffee" }).catch((error) => error);
 * console.assert(error instanceof OutcomeError && error.outcome === "rejected");
 * await connection.close();
 * await peer.done();
 * ```
 *
 * @module
 */

export {
  type Expectation,
  type Expected,
  type FrameFields,
  type PeerFrame,
  type PeerKind,
  ScriptedPeer,
  type ScriptedPeerOptions,
  ScriptError,
  type SendFrameOptions,
} from "./peer.ts";
export type { Pattern } from "./match.ts";
export { VirtualTime } from "./virtual_time.ts";
export { type Faults, faulty } from "../broker/faulty_channel.ts";
export { channelPair, type ChannelPairOptions } from "../transport/pair.ts";
export type { Channel, ChannelClose } from "../transport/channel.ts";
export type { Environment } from "../base/environment.ts";
