/**
 * The anonymous relay: each message names the node that it goes to [anonterm].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { deliveryError } from "./encoded_message.ts";
import type { Arrival, Producer, Sink } from "./producer.ts";

/** Where messages go whose link has no fixed target. */
export class Relay implements Sink {
  readonly #find: (address: string) => Sink;

  /** Looks nodes up with `find`, which throws an AmqpError for those that are not there. */
  constructor(find: (address: string) => Sink) {
    this.#find = find;
  }

  /** Hands a message to the node that it names; that it may go there was checked before. */
  publish(arrival: Arrival): void {
    let sink: Sink;
    try {
      sink = this.#find(arrival.encoded.properties.to ?? "");
    } catch (error) {
      if (!(error instanceof AmqpError)) throw error;
      return arrival.refuse(deliveryError(error.condition, error.message, arrival.tag));
    }
    sink.publish(arrival);
  }

  /** {@inheritDoc Sink.allow} */
  allow(_producer: Producer, wanted: number): number {
    return wanted;
  }

  /** {@inheritDoc Sink.addProducer} */
  addProducer(): void {}

  /** {@inheritDoc Sink.removeProducer} */
  removeProducer(): void {}
}

/** The address that a message on such a link names. */
export function destination(to: string | undefined): string {
  if (to !== undefined && to !== "") return to;
  throw new AmqpError(condition.notFound, 'Cannot route message: its property "to" names no address', {
    scope: "delivery",
  });
}
