/**
 * What the engine reports, in the order in which the peer caused it.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import type { DeliveryState, Open, Performative, SaslFrameBody } from "../codec/types.ts";
import type { IncomingDelivery, OutgoingDelivery } from "./deliveries.ts";
import type { LinkEndpoint } from "./link.ts";
import type { ReceiverEndpoint } from "./receiver.ts";
import type { SenderEndpoint } from "./sender.ts";
import type { SessionEndpoint } from "./session.ts";

/** One thing that happened, reported by `receive`, `tick` or `disconnect` of a connection endpoint. */
export type EngineEvent =
  /**
   * A frame of SASL: the server's mechanisms and challenges, the client's init and responses are each to be answered; an
   * outcome comes only in success, and the caller may still refuse by closing.
   */
  | SaslFrameBody
  /** The peer's open arrived and ours has been sent. */
  | { readonly kind: "opened"; readonly open: Open }
  /**
   * The connection, its sessions and links are of no more use; comes once, and nothing comes after it. `error` is absent
   * after an orderly close.
   */
  | { readonly kind: "closed"; readonly error: Error | undefined }
  /** A session is usable in both directions; `remote` when the peer began it. */
  | { readonly kind: "begun"; readonly session: SessionEndpoint; readonly remote: boolean }
  /** The session and its links, of which nothing more is reported, are of no more use; comes once. */
  | { readonly kind: "ended"; readonly session: SessionEndpoint; readonly error: AmqpError | undefined }
  /** The peer wants to attach a link: answer with `accept` or `refuse`, now or later. */
  | { readonly kind: "attachRequested"; readonly link: SenderEndpoint | ReceiverEndpoint }
  /** The peer answered our attach, and accepted it. */
  | { readonly kind: "attached"; readonly link: LinkEndpoint }
  /** The link is of no more use; comes once. `closed` false means suspended: the terminus lives on. */
  | {
    readonly kind: "detached";
    readonly link: LinkEndpoint;
    readonly closed: boolean;
    readonly error: AmqpError | undefined;
  }
  /**
   * The receiver granted, withdrew or wants drained: look at `sendable` and `draining`. When it drains, credit that is not
   * used by the next `transmit` is handed back.
   */
  | { readonly kind: "credit"; readonly link: SenderEndpoint }
  /** The last frame of a delivery that went out settled has been written. */
  | { readonly kind: "sent"; readonly delivery: OutgoingDelivery }
  /** The sender has used up or handed back all credit after a drain. */
  | { readonly kind: "drained"; readonly link: ReceiverEndpoint }
  /** A whole delivery arrived. */
  | { readonly kind: "delivery"; readonly link: ReceiverEndpoint; readonly delivery: IncomingDelivery }
  /**
   * A delivery came to nothing, but used up one credit: it was aborted by its sender, or resumed although we do not hold
   * it.
   */
  | { readonly kind: "aborted"; readonly link: ReceiverEndpoint }
  /** The peer told the state of a delivery, settled it, or both. */
  | {
    readonly kind: "disposition";
    readonly delivery: OutgoingDelivery | IncomingDelivery;
    readonly state: DeliveryState | undefined;
    readonly settled: boolean;
  };

/** One frame on the wire, as given to the `trace` option. */
export interface FrameTrace {
  /** `"in"` from the peer, `"out"` to it. */
  readonly direction: "in" | "out";
  /** The channel of the frame; 0 for SASL. */
  readonly channel: number;
  /** The performative, absent in an empty (keep-alive) frame; secrets of SASL are left out. */
  readonly body: Performative | SaslFrameBody | undefined;
  /** Bytes of payload after the performative; only a transfer has any. */
  readonly payloadBytes: number;
}
