import { assert, assertEquals } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import type { IncomingDelivery } from "../../src/engine/deliveries.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import {
  DeliveryStreams,
  type HeldTransfers,
  type PayloadSink,
  STREAM_WINDOW,
} from "../../src/engine/transfer_streams.ts";
import { Pair, type PairOptions, payload, scenario, type Settings, tag } from "./pair.ts";
import { sendOn } from "./endpoint.ts";

class Sink implements PayloadSink {
  readonly parts: Uint8Array[] = [];
  ended = false;
  aborted = false;
  readonly delivery: IncomingDelivery;
  readonly held: HeldTransfers;
  constructor(delivery: IncomingDelivery, held: HeldTransfers) {
    this.delivery = delivery;
    this.held = held;
  }
  write(part: Uint8Array): void {
    this.parts.push(part);
  }
  end(): void {
    this.ended = true;
  }
  abort(): void {
    this.aborted = true;
  }
  release(): number {
    const parts = this.parts.splice(0);
    for (const { length } of parts) this.held.release(1, length);
    return parts.reduce((sum, { length }) => sum + length, 0);
  }
}

const SMALL = { maxFrameSize: 512 };

function streaming(settings: Settings, options: PairOptions = {}) {
  const pair = Pair.opened(settings, { client: SMALL, server: { ...SMALL, ...options.server } });
  const session = pair.begin();
  const [sender, receiver] = pair.sender(session);
  const sinks: Sink[] = [];
  stream(receiver, sinks);
  receiver.flow({ linkCredit: 10 });
  pair.run();
  return { pair, session, sender, receiver, sinks };
}

function stream(receiver: ReceiverEndpoint, sinks: Sink[]): void {
  receiver.streams = new DeliveryStreams(receiver, (delivery, held) => {
    const sink = new Sink(delivery, held);
    sinks.push(sink);
    return sink;
  });
}

scenario("FLW-1: what is not read of a streamed delivery keeps the window of its session shut", (settings) => {
  const { pair, session, sender, sinks } = streaming(settings);
  const whole = payload(40_000);
  sendOn(sender, tag(1), whole);
  pair.run();
  const [sink] = sinks;
  assert(sink !== undefined);
  assertEquals(pair.server.one("delivery").delivery, sink.delivery);
  assertEquals([sink.parts.length, session.remoteIncomingWindow], [STREAM_WINDOW, 0]);
  let read = 0;
  for (let rounds = 0; !sink.ended || sink.parts.length > 0; rounds++) {
    assert(rounds < 100 && sink.parts.length <= STREAM_WINDOW);
    read += sink.release();
    pair.run();
  }
  assertEquals([read, sink.aborted], [whole.length, false]);
  assertEquals(session.remoteIncomingWindow > STREAM_WINDOW / 2, true);
});

scenario(
  "TRF-7: a streamed delivery can be settled before it is whole, and what still comes is no other delivery",
  (settings) => {
    const { pair, sender, receiver, sinks } = streaming(settings);
    sendOn(sender, tag(1), payload(30_000));
    sendOn(sender, tag(2), payload(10));
    pair.run();
    const sink = sinks[0]!;
    sink.delivery.update({ kind: "accepted" });
    pair.run();
    assertEquals([pair.client.one("disposition").state, receiver.unsettled.size], [{ kind: "accepted" }, 0]);
    while (!sink.ended) {
      sink.release();
      pair.run();
    }
    sink.release();
    pair.run();
    assertEquals(sinks[1]?.parts, [payload(10)]);
    assertEquals(pair.server.take("delivery").length, 2);
  },
);

scenario("TRF-5: a streamed delivery that its sender gives up is settled on both sides", (settings) => {
  const { pair, sender, receiver, sinks } = streaming(settings);
  const delivery = sendOn(sender, tag(1), payload(30_000));
  pair.run();
  delivery.abort();
  sinks[0]!.release();
  pair.run();
  assertEquals([sinks[0]!.aborted, sinks[0]!.ended, sinks[0]!.delivery.remoteSettled], [true, false, true]);
  assertEquals([receiver.unsettled.size, pair.server.take("aborted").length], [0, 1]);
});

scenario(
  "ATK-7: a streamed delivery is held to the largest message, and what is held to the limit of the connection",
  (settings) => {
    const large = Pair.opened(settings, { client: SMALL, server: SMALL });
    const [receiver, sender] = large.receiver(large.begin(), { maxMessageSize: 5_000n });
    stream(receiver, []);
    receiver.flow({ linkCredit: 1 });
    large.run();
    // The size of the delivery is not known in advance.
    sender.outgoing.push({ ended: false, read: (max) => payload(Math.min(max, 440)) });
    large.run();
    assertEquals(large.client.one("detached").error?.condition, condition.messageSizeExceeded);
    const kept = streaming(settings, { server: { maxUnfinishedBytes: 4_000 } });
    sendOn(kept.sender, tag(1), payload(6_000));
    kept.pair.run();
    assertEquals(kept.pair.server.one("detached").error?.condition, condition.resourceLimitExceeded);
    assertEquals(kept.receiver.session.unfinished.used, 0);
  },
);

scenario("FLW-1: what a link holds of streamed deliveries is free when the link ends", (settings) => {
  const { pair, session, sender, receiver, sinks } = streaming(settings);
  sendOn(sender, tag(1), payload(30_000));
  pair.run();
  assert(receiver.session.unfinished.used > 0);
  receiver.detach({ closed: true });
  pair.run();
  assertEquals(receiver.session.unfinished.used, 0);
  sinks[0]!.release();
  assertEquals(receiver.session.unfinished.used, 0);
  const [again, other] = pair.sender(session, { name: "other" });
  other.flow({ linkCredit: 1 });
  pair.run();
  sendOn(again, tag(1), payload(30_000));
  pair.run();
  assertEquals(pair.server.take("delivery").at(-1)?.delivery.payload.length, 30_000);
});
