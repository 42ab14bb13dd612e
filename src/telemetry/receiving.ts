/**
 * Measuring receivers.
 *
 * @module
 */

import type { Delivery } from "../client/delivery.ts";
import type { Receiver } from "../client/receiver.ts";
import type { ServeOptions } from "../client/receive_options.ts";
import type { DeliveryState } from "../codec/types.ts";
import type { Attributes, Span } from "./api.ts";
import { fail, type Instruments, kindOf, measuredBy, messageOf, type Place } from "./instruments.ts";

/** Makes a receiver measure each message, however it is received. */
export function measureReceiver(receiver: Receiver, instruments: Instruments, temporary: boolean): Receiver {
  const measure = new Measure(receiver, instruments, temporary);
  const receive = receiver.receive.bind(receiver), receiveBatch = receiver.receiveBatch.bind(receiver);
  const serve = receiver.serve.bind(receiver), values = receiver.values.bind(receiver);
  const measured: Partial<Receiver> = {
    receive: async (options) => (await measure.receiving(async () => [await receive(options)]))[0]!,
    receiveBatch: (max, options) => measure.receiving(() => receiveBatch(max, options), true),
    serve: (handler: (delivery: Delivery) => unknown, options?: ServeOptions) =>
      // An invalid handler is left for `serve` to refuse.
      serve(typeof handler === "function" ? (delivery) => measure.process(delivery, handler) : handler, options),
    values: (options) => measure.iterate(values(options)),
    [Symbol.asyncIterator]: () => measure.iterate(values()),
  };
  Object.assign(receiver, measured);
  const readable = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(receiver), "readable")!;
  Object.defineProperty(receiver, "readable", { get: () => measure.stream(readable.get!.call(receiver)) });
  return receiver;
}

class Measure {
  readonly #receiver: Receiver;
  readonly #instruments: Instruments;
  readonly #temporary: boolean;

  constructor(receiver: Receiver, instruments: Instruments, temporary: boolean) {
    this.#receiver = receiver;
    this.#instruments = instruments;
    this.#temporary = temporary;
  }

  // A span for the wait, linked to the sending spans of the messages, which are not its parents.
  async receiving(receive: () => Promise<Delivery[]>, batch = false): Promise<Delivery[]> {
    const { operations } = this.#instruments;
    const startTime = Date.now(), start = performance.now();
    const attributes = this.#instruments.attributes("receive", this.#place);
    try {
      const deliveries = await receive();
      this.#received(deliveries, batch, attributes, startTime);
      return deliveries;
    } catch (error) {
      const span = this.#instruments.span(kindOf.client, attributes, { startTime });
      attributes["error.type"] = fail(span, error);
      span.end();
      throw error;
    } finally {
      operations.record((performance.now() - start) / 1_000, measuredBy(attributes));
    }
  }

  #received(deliveries: readonly Delivery[], batch: boolean, attributes: Attributes, startTime: number): void {
    const { consumed } = this.#instruments;
    const [only] = deliveries;
    const described = batch || only === undefined
      ? { ...attributes, "messaging.batch.message_count": deliveries.length }
      : this.#attributes("receive", only);
    const links = this.#instruments.linksTo(deliveries);
    this.#instruments.span(kindOf.client, described, { links, startTime }).end();
    if (deliveries.length > 0) consumed.add(deliveries.length, measuredBy(attributes));
    for (const delivery of deliveries) this.#settling(delivery);
  }

  async process(delivery: Delivery, handler: (delivery: Delivery) => unknown): Promise<unknown> {
    const { api } = this.#instruments;
    const { context, end } = this.#processing(delivery);
    try {
      const result = await api.context.with(context, () => handler(delivery));
      end();
      return result;
    } catch (error) {
      end(error ?? new Error("unknown"));
      throw error;
    }
  }

  // Leaving is told to the deliveries first: it ends their wait for a message, for which a generator would wait.
  iterate(deliveries: AsyncGenerator<Delivery, void, void>): AsyncGenerator<Delivery, void, void> {
    const steps = this.#steps(deliveries);
    const finish = steps.return.bind(steps);
    return Object.assign(steps, {
      return: (value: void | PromiseLike<void>) => deliveries.return(value).finally(finish),
      throw: (error: unknown) => deliveries.throw(error).finally(finish),
    });
  }

  async *#steps(deliveries: AsyncGenerator<Delivery, void, void>): AsyncGenerator<Delivery, void, void> {
    for await (const delivery of deliveries) {
      const { end } = this.#processing(delivery);
      try {
        yield delivery;
      } finally {
        end();
      }
    }
  }

  stream(deliveries: ReadableStream<Delivery>): ReadableStream<Delivery> {
    const reader = deliveries.getReader();
    return new ReadableStream<Delivery>({
      pull: async (controller) => {
        const startTime = Date.now();
        const { done, value } = await reader.read();
        if (done) return controller.close();
        this.#received([value], false, this.#instruments.attributes("receive", this.#place), startTime);
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    }, { highWaterMark: 0 });
  }

  // The span of processing is the child of the sending span.
  #processing(delivery: Delivery): { context: unknown; end(error?: unknown): void } {
    const { api, consumed, processing } = this.#instruments;
    const attributes = this.#attributes("process", delivery);
    const parent = this.#instruments.contextOf(delivery);
    const links = this.#instruments.linksTo([delivery]);
    const span = this.#instruments.span(kindOf.consumer, attributes, { links }, parent);
    const context = api.trace.setSpan(parent, span);
    consumed.add(1, measuredBy(attributes));
    this.#settling(delivery, context);
    const start = performance.now();
    return {
      context,
      end: (error) => {
        if (error !== undefined) attributes["error.type"] = fail(span, error);
        processing.record((performance.now() - start) / 1_000, measuredBy(attributes));
        span.end();
      },
    };
  }

  // A span for each outcome, be it given by the program, by the end of its handler, or within a transaction.
  #settling(delivery: Delivery, context?: unknown): void {
    for (const name of ["accept", "reject", "release", "modify", "update"] as const) {
      const settle = delivery[name].bind(delivery) as (...args: unknown[]) => void;
      const measured = (...args: unknown[]): void => {
        const outcome = name === "update" ? outcomeOf(args[0] as DeliveryState) : OUTCOMES[name];
        if (outcome === undefined) return settle(...args);
        const attributes = { ...this.#attributes("settle", delivery), "webamqp.outcome": outcome };
        const links = this.#instruments.linksTo([delivery]);
        const span: Span = this.#instruments.span(kindOf.client, attributes, { links }, context);
        try {
          settle(...args);
        } catch (error) {
          fail(span, error);
          throw error;
        } finally {
          span.end();
        }
      };
      delivery[name] = measured;
    }
  }

  get #place(): Place {
    return { address: this.#receiver.address, temporary: this.#temporary };
  }

  #attributes(operation: string, delivery: Delivery): Attributes {
    return this.#instruments.attributes(operation, this.#place, messageOf(delivery));
  }
}

// A state that is sent on the way, such as how much was received, is no outcome.
function outcomeOf(state: DeliveryState): string | undefined {
  const outcome = state?.kind === "transactionalState" ? state.outcome : state;
  return outcome === undefined || outcome.kind === "received" ? undefined : outcome.kind;
}

const OUTCOMES = { accept: "accepted", reject: "rejected", release: "released", modify: "modified" } as const;
