/**
 * The recovery of client links, which load it at first use.
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
 * Makes the recovery of a sender.
 *
 * @throws {TypeError} If the peer could not recognise the link again.
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
 * Makes the recovery of a receiver.
 *
 * @throws {TypeError} If the peer could not recognise the link again.
 */
export function forReceiver(receiver: RecoveringLink, options: ResumeOptions = {}): ReceiverRecovery {
  checkLink("receiver", receiver);
  return new ReceiverResumption(receiver, options);
}
