/**
 * What takes up deliveries that were not settled, for the links of a client, which load it.
 *
 * @module
 */

import type { OutgoingLink } from "../engine/outgoing.ts";
import {
  checkLink,
  type ReceiverRecovery,
  type RecoveringLink,
  type RecoveringSender,
  type ResumeOptions,
  type SenderRecovery,
} from "./recovery.ts";
import { ReceiverResumption } from "./resume_receiver.ts";
import { SenderResumption } from "./resume_sender.ts";

/**
 * For a sender.
 *
 * @throws {TypeError} If the peer could not know it again.
 */
export function forSender(
  sender: RecoveringSender,
  outgoing: OutgoingLink,
  options: ResumeOptions = {},
): SenderRecovery {
  checkLink("sender", sender);
  return new SenderResumption(sender, outgoing, options);
}

/**
 * For a receiver.
 *
 * @throws {TypeError} If the peer could not know it again.
 */
export function forReceiver(receiver: RecoveringLink, options: ResumeOptions = {}): ReceiverRecovery {
  checkLink("receiver", receiver);
  return new ReceiverResumption(receiver, options);
}
