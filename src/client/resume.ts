/**
 * The option `recovery: resume()` of links, whose implementation is loaded by the first such link, before it is attached.
 *
 * @module
 */

import { checkFunction, checkOptions } from "../base/options.ts";
import { part } from "../base/wait.ts";
import { checkLink, type Recovery, type ResumeOptions } from "./recovery.ts";

/**
 * The option `recovery` of links that resume unsettled deliveries: when the connection is lost both sides keep the state of
 * each, exchange it when the link is attached again, and go on from there. A message then has exactly one outcome, and
 * arrives once, if
 * - the link has a `name` and the connection a `containerId` of the program's choice, by which the peer recognises the link;
 * - the peer keeps its side, as the broker of `./broker` does; with one that does not, messages are sent again as by
 *   `"resend"`, and `events()` and the log report it;
 * - the peer settles in two steps, which the link requests (`rcvSettleMode: "second"`), together with a terminus that expires
 *   by its time-out only (`expiryPolicy: "never"`).
 *
 * With a `store` this also holds across processes: a message without an outcome is sent by the next process under the same
 * container and name, and an outcome that a receiver sent is kept until the sender has settled.
 *
 * @throws {TypeError} If an option does not exist or is of the wrong kind. Attaching throws one for a link without a name of
 * its own, on a connection without a container-id of its own, or to a dynamic node.
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
  const { store } = options;
  for (const name of ["load", "put", "delete"] as const) {
    if (store !== undefined) checkFunction("resume", `"${name}" of the store`, store[name]);
  }
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
