/**
 * Links that the peer attaches.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Attach } from "../codec/types.ts";
import type { LinkOptions } from "./link.ts";
import { ReceiverEndpoint } from "./receiver.ts";
import { SenderEndpoint } from "./sender.ts";
import type { SessionEndpoint } from "./session.ts";

/** Makes our end of a link that the peer attaches; the caller then accepts or refuses it. */
export function takeLink(session: SessionEndpoint, attach: Attach, handle: number): SenderEndpoint | ReceiverEndpoint {
  steal(session, attach);
  return attach.role === "sender"
    ? new ReceiverEndpoint(session, attach.name, handle)
    : new SenderEndpoint(session, attach.name, handle);
}

/**
 * Accepts the peer's attach. A source, target or settle mode that `options` leaves out is as the peer asked.
 *
 * @throws {AmqpError} With `amqp:illegal-state` if the link awaits no answer, `amqp:frame-size-too-small` if the answer is too
 * large.
 */
export function accept(link: SenderEndpoint | ReceiverEndpoint, options: LinkOptions = {}): void {
  const remote = link.awaitsAnswer("accept");
  link.sendAttach({
    ...options,
    source: options.source === undefined ? remote.source : options.source,
    target: options.target === undefined ? remote.target : options.target,
    sndSettleMode: options.sndSettleMode ?? remote.sndSettleMode,
    rcvSettleMode: options.rcvSettleMode ?? remote.rcvSettleMode,
  });
  link.accepted();
}

// A link belongs to whoever attached it last [transport 2.6.1].
function steal({ connection }: SessionEndpoint, { name, role }: Attach): void {
  const ours = role === "sender" ? "receiver" : "sender";
  for (const session of connection.sessions()) {
    for (const link of [...session.linksNamed(name, ours)]) {
      if (link.state !== "attached" && link.state !== "attachReceived") continue;
      link.fail(
        new AmqpError(condition.stolen, `Cannot keep link ${quote(name)}: it was attached again`, { scope: "link" }),
      );
    }
  }
}
