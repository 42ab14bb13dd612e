/**
 * The option `recovery` of links that take up what was not settled when they were lost. What does so is loaded by the first link
 * that asks for it, before it is attached.
 *
 * @module
 */

import { checkOptions } from "../base/options.ts";
import { part } from "../base/wait.ts";
import { checkLink, type Recovery, type ResumeOptions } from "./recovery.ts";

/**
 * The option `recovery` of links that take up what was not settled: both sides keep what they know of each delivery when the
 * connection is lost, compare it when the link is attached again, and go on from there. A message then has exactly one outcome,
 * and arrives once, provided that
 * - the link has a `name` and the connection a `containerId`, both the program's own, for they are what the peer knows it by;
 * - the peer keeps its side, as the broker of `./broker` does; where one cannot, messages are sent again as by `"resend"`, and
 *   `events()` and the log say so;
 * - it settles in two steps, which a link with this option asks for (`rcvSettleMode: "second"`), as well as for a terminus
 *   that never expires (`expiryPolicy: "never"`) but by a time-out.
 *
 * With a `store` it holds for the process, too: what was sent and has no outcome is there for the next process, which sends it on
 * under the same container and name, and an outcome that a receiver has told is not forgotten before the sender has heard it.
 *
 * @throws {TypeError} If an option does not exist or is of the wrong kind. A link throws one that has no name, whose connection
 * has no container of its own, or whose node is dynamic.
 *
 * @example
 * ```ts
 * import { connect, resume } from "@webamqp/amqp";
 *
 * async function order() {
 *   await using connection = await connect("wss://broker.example/amqp", { containerId: "shop-1" });
 *   const orders = connection.sender({ address: "orders", name: "shop-1-orders", recovery: resume() });
 *   await orders.send({ body: "one coffee" });
 * }
 * ```
 */
export function resume(options: ResumeOptions = {}): Recovery {
  checkOptions("resume", options, { store: "object", timeout: "number", onrecovered: "function" });
  return {
    forSender: (sender, outgoing) => {
      checkLink("sender", sender);
      return part("resumeLinks", () => import("./resume_links.ts")).then(({ forSender }) =>
        forSender(sender, outgoing, options)
      );
    },
    forReceiver: (receiver) => {
      checkLink("receiver", receiver);
      return part("resumeLinks", () => import("./resume_links.ts")).then(({ forReceiver }) =>
        forReceiver(receiver, options)
      );
    },
  };
}
