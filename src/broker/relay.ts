/**
 * The anonymous relay: each message names the node that it goes to [anonterm].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { deliveryError, type EncodedMessage } from "./encoded_message.ts";
import type { Nodes, NodeType } from "./nodes.ts";
import { type Arrival, type Producer, type Reservation, reserveAll, type Sink } from "./producer.ts";

/** The sink of links without a fixed target. */
export class Relay implements Sink {
  readonly #nodes: Nodes;

  constructor(nodes: Nodes) {
    this.#nodes = nodes;
  }

  /** Hands a message to the node that it names; that the producer may send there was checked before. */
  publish(arrival: Arrival): void {
    let sink: Sink | undefined;
    try {
      const sinks = new Set(arrival.messages.map((encoded) => this.#find(encoded)));
      if (sinks.size === 1) [sink] = sinks;
      // A batch cannot wait for room in several nodes at once: it is taken now, or refused.
      else for (const reservation of reserveAll(this, arrival.messages)) reservation.commit();
    } catch (error) {
      if (!(error instanceof AmqpError)) throw error;
      return arrival.refuse(deliveryError(error.condition, error.message, arrival.tag));
    }
    if (sink === undefined) arrival.accept();
    else sink.publish(arrival);
  }

  reserve(encoded: EncodedMessage): Reservation | undefined {
    return this.#find(encoded).reserve(encoded);
  }

  allow(_producer: Producer, wanted: number): number {
    return wanted;
  }

  addProducer(): void {}

  removeProducer(): void {}

  #find(encoded: EncodedMessage): Sink {
    const address = encoded.properties.to ?? "";
    return this.#nodes.get(address) ?? this.#nodes.find(address, typeNamed(encoded));
  }
}

/** The address that a message on a link without a fixed target names. */
export function destination(to: string | undefined): string {
  if (to !== undefined && to !== "") return to;
  throw new AmqpError(condition.notFound, 'Cannot route message: its property "to" names no address', {
    scope: "delivery",
  });
}

// The type that JMS clients give for a destination that may not exist yet: 0 and 2 are queues, 1 and 3 topics.
function typeNamed(encoded: EncodedMessage): NodeType | undefined {
  if (!encoded.annotationsMention("x-opt-jms-dest")) return undefined;
  const type = encoded.messageAnnotations()["x-opt-jms-dest"];
  const number = Number((type as { value?: unknown } | undefined)?.value ?? type);
  return number === 1 || number === 3 ? "topic" : number === 0 || number === 2 ? "queue" : undefined;
}
