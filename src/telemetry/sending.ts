/**
 * Measuring senders.
 *
 * @module
 */

import { ignore } from "../base/wait.ts";
import { failure, lost, outcomeOf, PromisedOutcome, type SendListener, type SendOptions } from "../client/outcome.ts";
import type { Sender } from "../client/sender.ts";
import type { StreamedMessage } from "../client/stream.ts";
import type { Message } from "../codec/message.ts";
import type { Instruments, Measured, Place } from "./instruments.ts";

type OutgoingDelivery = ReturnType<Sender["push"]>;

/** Makes a sender measure each message, however it is sent. */
export function measureSender(sender: Sender, instruments: Instruments, temporary: boolean): Sender {
  const place = (): Place => ({ address: sender.address, temporary });
  measureCredit(sender, instruments, place);
  measurePromises(sender, instruments, place);
  measureFlights(sender, instruments, place);
  return sender;
}

// `send` and `stream`: the end of the promise is the end of the span.
function measurePromises(sender: Sender, instruments: Instruments, place: () => Place): void {
  const send = sender.send.bind(sender), stream = sender.stream.bind(sender);
  const measuredSend = (message: Message | Uint8Array, options?: SendOptions) =>
    measured(instruments, place(), message, (carried) => send(carried, options));
  sender.send = measuredSend as Sender["send"];
  const measuredStream: Sender["stream"] = (message: StreamedMessage, options) =>
    measured(instruments, place(), message, (carried) => stream(carried, options));
  sender.stream = measuredStream;
}

/** Measures a message sent by `send`, whose failure, as without telemetry, nobody need await. */
export function measured<M, T>(
  instruments: Instruments,
  place: Place,
  message: M,
  send: (message: M) => Promise<T>,
): Promise<T> {
  const measuring = measure(instruments, place, message, send);
  measuring.catch(ignore);
  return measuring;
}

async function measure<M, T>(
  instruments: Instruments,
  place: Place,
  message: M,
  send: (message: M) => Promise<T>,
): Promise<T> {
  const measuring = instruments.sending(place, message);
  try {
    const outcome = await send(instruments.carrying(message, measuring.context));
    measuring.end(undefined, outcome === undefined ? "settled" : undefined);
    return outcome;
  } catch (error) {
    measuring.end(error ?? new Error("unknown"));
    throw error;
  }
}

// `sendAll` and `writable`: the messages of a call share one listener.
function measureFlights(sender: Sender, instruments: Instruments, place: () => Place): void {
  const push = sender.push.bind(sender), abandon = sender.abandon.bind(sender);
  const listening = new WeakSet<SendListener>();
  const sending = new Map<OutgoingDelivery, Measured>();
  const end = (delivery: OutgoingDelivery | undefined, error?: unknown, outcome?: string): void => {
    const measuring = delivery && sending.get(delivery);
    if (measuring === undefined) return;
    sending.delete(delivery!);
    measuring.end(error, outcome);
  };
  const measuredPush: Sender["push"] = (message, options, listener) => {
    if (listener instanceof PromisedOutcome || "read" in Object(message)) return push(message, options, listener);
    if (!listening.has(listener)) {
      listening.add(listener);
      listen(sender, listener, end);
    }
    const measuring = instruments.sending(place(), message);
    try {
      const delivery = push(instruments.carrying(message, measuring.context), options, listener);
      sending.set(delivery, measuring);
      return delivery;
    } catch (error) {
      measuring.end(error);
      throw error;
    }
  };
  const measuredAbandon: Sender["abandon"] = (listener) => {
    const given = [...sending.keys()].filter(({ context }) => context === listener);
    abandon(listener);
    for (const delivery of given) end(delivery, new DOMException("sending was aborted", "AbortError"));
  };
  Object.assign(sender, { push: measuredPush, abandon: measuredAbandon });
}

function listen(
  sender: Sender,
  listener: SendListener,
  end: (delivery: OutgoingDelivery | undefined, error?: unknown, outcome?: string) => void,
): void {
  const { onoutcome, onsent, onlost } = listener;
  const measured: Pick<SendListener, "onoutcome" | "onsent" | "onlost"> = {
    onoutcome: (state, delivery) => {
      const outcome = outcomeOf(state, sender.remote?.source?.defaultOutcome);
      end(delivery, outcome?.kind === "accepted" ? undefined : failure(outcome, sender.whereOf(delivery)));
      onoutcome.call(listener, state, delivery);
    },
    onsent: (delivery) => {
      end(delivery, undefined, "settled");
      onsent.call(listener, delivery);
    },
    onlost: (error, left, delivery) => {
      end(delivery, left ? lost(error, sender.whereOf(delivery)) : error);
      onlost.call(listener, error, left, delivery);
    },
  };
  Object.assign(listener, measured);
}

// Measures the time from the first message without credit to the next credit.
function measureCredit(sender: Sender, instruments: Instruments, place: () => Place): void {
  const { creditWaits, creditWaitTimes } = instruments;
  const push = sender.push.bind(sender), handleCredit = sender.handleCredit.bind(sender);
  const attributes = () => ({
    ...instruments.common,
    ...(!place().temporary && place().address && { "messaging.destination.name": place().address! }),
  });
  let since: number | undefined;
  const measured: Pick<Sender, "push" | "handleCredit"> = {
    push: (...settings) => {
      if (sender.credit === 0) {
        since ??= performance.now();
        creditWaits.add(1, attributes());
      }
      return push(...settings);
    },
    handleCredit: () => {
      if (since !== undefined) creditWaitTimes.record((performance.now() - since) / 1_000, attributes());
      since = undefined;
      handleCredit();
    },
  };
  Object.assign(sender, measured);
}
