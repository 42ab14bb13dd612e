// A stand-in for Azure Event Hubs in memory, for tests: partitions, single events and batches by key or partition, readers from
// a position on, owners who steal from each other, answers of $management. It uses only the public API of this package.
//
//   deno run --allow-net examples/event_hubs.ts 5672
//
// Connect to it with `Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true`.
import {
  AmqpError,
  array,
  type Delivery,
  type Described,
  int,
  long,
  type Message,
  type Sender,
  timestamp,
  unbatch,
  type Value,
} from "@webamqp/amqp";
import {
  type Acceptor,
  acceptor,
  type AcceptorOptions,
  type ReceiverRequest,
  type SenderRequest,
} from "@webamqp/amqp/server";
import { listen } from "@webamqp/amqp/node";
import { AzureClients, nameOf, RECEIVE_LIMITS, type Verify } from "./azure_clients.ts";
import { withAllFields } from "./full_frames.ts";

/** What an event hub is. */
export interface HubOptions {
  /** How many partitions it has, which are named from "0" on. Default: 2. */
  partitions?: number;
  /** The consumer groups. Default: `["$Default"]`. */
  consumerGroups?: readonly string[];
  /** Events that a partition keeps; older ones are dropped. Default: 10,000. */
  keep?: number;
}

/** What the stand-in is made with. */
export interface EventHubsOptions {
  /** The event hubs by their name. */
  hubs: Readonly<Record<string, HubOptions>>;
  /** Whether a token is good for an audience. Default: each is. */
  verify?: Verify;
}

const EPOCH = "com.microsoft:epoch";
const METRICS = "com.microsoft:enable-receiver-runtime-metric";
const POSITION = "apache.org:selector-filter:string";

interface Stored {
  readonly message: Message;
  readonly number: bigint;
  readonly offset: bigint;
  readonly enqueuedAt: Date;
}

interface Reader {
  readonly sender: Sender;
  readonly group: string;
  /** Undefined for one that shares the partition with others. */
  readonly epoch: bigint | undefined;
  /** Whether it wants to hear with each event which one is the last. */
  readonly metrics: boolean;
  /** Whether it settles what it gets. */
  readonly settles: boolean;
  /** Number of the event that it gets next. */
  next: bigint;
}

/** Events in their order, which readers do not take away. */
class Partition {
  readonly #events: Stored[] = [];
  readonly #readers = new Set<Reader>();
  readonly #keep: number;
  #nextNumber = 0n;
  #nextOffset = 0n;

  constructor(keep: number) {
    this.#keep = keep;
  }

  get first(): bigint {
    return this.#nextNumber - BigInt(this.#events.length);
  }

  get last(): Stored | undefined {
    return this.#events.at(-1);
  }

  add(message: Message, bytes: number): void {
    const stored = { message, number: this.#nextNumber++, offset: this.#nextOffset, enqueuedAt: new Date() };
    this.#nextOffset += BigInt(bytes);
    if (this.#events.push(stored) > this.#keep) this.#events.shift();
  }

  /** Number of the first event from the position on that the filter names. */
  from(filter: string | undefined): bigint {
    if (filter === undefined) return this.first;
    const [, what, than, value = ""] = /^amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time) (>=?) '(.*)'$/
      .exec(filter) ?? [];
    if (what === "offset" && value === "@latest") return this.#nextNumber;
    if (what === undefined || !/^-?\d+$/.test(value)) {
      throw new AmqpError("amqp:invalid-field", `Cannot read from "${filter}": it is no position`);
    }
    const least = BigInt(value) + (than === ">=" ? 0n : 1n);
    const found = this.#events.find(({ number, offset, enqueuedAt }) =>
      (what === "offset" ? offset : what === "sequence-number" ? number : BigInt(enqueuedAt.getTime())) >= least
    );
    return found?.number ?? this.#nextNumber;
  }

  /** Ends the readers whom one of this epoch drives away, or refuses it. */
  admit(group: string, epoch: bigint | undefined): void {
    for (const reader of this.#readers) {
      if (reader.group !== group) continue;
      if (reader.epoch !== undefined && (epoch === undefined || epoch < reader.epoch)) {
        throw stolen(`Cannot read: a reader of epoch ${reader.epoch} has the partition`);
      }
      if (epoch === undefined) continue;
      this.#readers.delete(reader);
      void reader.sender.close({ error: stolen(`A reader of epoch ${epoch} has taken the partition`) });
    }
  }

  read(reader: Reader): void {
    this.#readers.add(reader);
    reader.sender.oncredit = () => this.#feed(reader);
    void reader.sender.closed.then(() => this.#readers.delete(reader));
  }

  feed(): void {
    for (const reader of this.#readers) this.#feed(reader);
  }

  #feed(reader: Reader): void {
    const { sender, settles } = reader;
    const { first } = this;
    if (reader.next < first) reader.next = first;
    while (sender.open && sender.credit > 0 && reader.next < this.#nextNumber) {
      const event = this.#events[Number(reader.next++ - first)];
      // Its place is what the reader remembers; outcomes change nothing.
      sender.send(this.#outgoing(event, reader.metrics), { settled: !settles }).catch(() => {});
    }
  }

  #outgoing({ message, number, offset, enqueuedAt }: Stored, metrics: boolean): Message {
    const last = this.last!;
    return {
      ...message,
      deliveryAnnotations: metrics
        ? {
          last_enqueued_sequence_number: long(last.number),
          last_enqueued_offset: String(last.offset),
          last_enqueued_time_utc: timestamp(last.enqueuedAt),
          runtime_info_retrieval_time_utc: timestamp(new Date()),
        }
        : undefined,
      messageAnnotations: {
        ...message.messageAnnotations,
        "x-opt-sequence-number": long(number),
        "x-opt-offset": String(offset),
        "x-opt-enqueued-time": timestamp(enqueuedAt),
      },
    };
  }
}

class Hub {
  readonly name: string;
  readonly groups: readonly string[];
  readonly partitions: readonly Partition[];
  readonly createdAt: Date = new Date();
  #turn = 0;

  constructor(name: string, { partitions = 2, consumerGroups = ["$Default"], keep = 10_000 }: HubOptions) {
    this.name = name;
    this.groups = consumerGroups.map((group) => group.toLowerCase());
    this.partitions = Array.from({ length: partitions }, () => new Partition(keep));
  }

  /** Events of one key stay together, the others go round. */
  choose(key: unknown): Partition {
    const { length } = this.partitions;
    if (typeof key !== "string") return this.partitions[this.#turn++ % length];
    let hash = 0;
    for (let at = 0; at < key.length; at++) hash = (hash * 31 + key.charCodeAt(at)) >>> 0;
    return this.partitions[hash % length];
  }
}

/** Makes the stand-in: an acceptor for any channel or listener. */
export function eventHubs({ hubs, verify = () => true }: EventHubsOptions, options: AcceptorOptions = {}): Acceptor {
  const known = new Map(Object.entries(hubs).map(([name, options]) => [name.toLowerCase(), new Hub(name, options)]));
  const clients = new AzureClients(verify);

  /** What an address names: `HUB`, `HUB/Partitions/0`, `HUB/ConsumerGroups/$Default/Partitions/0`. */
  function find(request: SenderRequest | ReceiverRequest): { hub: Hub; group?: string; partition?: Partition } {
    const { connection, address = "" } = request;
    const name = nameOf(address);
    clients.check(connection, name);
    const [, hubName = "", group, number] =
      /^([^/]+)(?:\/consumergroups\/([^/]+))?(?:\/partitions\/(\d+))?$/.exec(name) ??
        [];
    const hub = known.get(hubName);
    const partition = number === undefined ? undefined : hub?.partitions[Number(number)];
    if (
      hub === undefined || (group !== undefined && !hub.groups.includes(group)) ||
      (number !== undefined && partition === undefined)
    ) throw new AmqpError("amqp:not-found", `Cannot use "${address}": there is no such event hub, group or partition`);
    return { hub, group, partition };
  }

  function onSender(request: SenderRequest): void {
    const { attach, address = "" } = request;
    if (address === "$cbs" || address === "$management") return clients.acceptReplies(request);
    const { group, partition } = find(request);
    if (group === undefined || partition === undefined) {
      throw new AmqpError("amqp:not-allowed", `Cannot read "${address}": name a consumer group and a partition`);
    }
    const epoch = attach.properties?.[EPOCH];
    const asked = attach.source?.filter?.[POSITION] as Described | undefined;
    const next = partition.from(asked === undefined ? undefined : String(asked.value));
    const level = epoch === undefined || epoch === null ? undefined : BigInt(String(epoch));
    partition.admit(group, level);
    const metrics = attach.desiredCapabilities?.includes(METRICS) ?? false;
    const sender = request.accept({
      source: { ...attach.source!, filter: asked === undefined ? undefined : { [POSITION]: asked } },
      offeredCapabilities: metrics ? [METRICS] : [],
    });
    partition.read({ sender, group, epoch: level, metrics, settles: attach.sndSettleMode === "unsettled", next });
  }

  async function onReceiver(request: ReceiverRequest): Promise<void> {
    const { address = "" } = request;
    if (address === "$cbs") return await clients.acceptTokens(request);
    if (address === "$management") {
      return await request.accept(RECEIVE_LIMITS).serve((delivery) => manage(delivery, request));
    }
    const { hub, group, partition } = find(request);
    if (group !== undefined) throw new AmqpError("amqp:not-allowed", `Cannot send to "${address}": groups only read`);
    await request.accept(RECEIVE_LIMITS).serve((delivery) => {
      const events = unbatch(delivery);
      // The key stands before the whole batch, or in its event.
      const annotations = delivery.message.messageAnnotations ?? events[0].messageAnnotations;
      const chosen = partition ?? hub.choose(annotations?.["x-opt-partition-key"]);
      for (const event of events) {
        const { properties, applicationProperties, messageAnnotations, body } = event;
        const message = {
          properties,
          applicationProperties,
          messageAnnotations: { ...annotations, ...messageAnnotations },
        };
        chosen.add({ ...message, body }, event.bytes().length);
      }
      chosen.feed();
    });
  }

  async function manage(delivery: Delivery, { connection }: ReceiverRequest): Promise<void> {
    const { operation, type, name, partition: id } = delivery.message.applicationProperties ?? {};
    const hub = known.get(String(name).toLowerCase());
    if (operation !== "READ") return await clients.answer(delivery, 501);
    if (hub === undefined) return await clients.answer(delivery, 404);
    try {
      clients.check(connection, hub.name.toLowerCase());
    } catch {
      return await clients.answer(delivery, 401);
    }
    const facts: Record<string, Value> = { name: hub.name, type: String(type) };
    if (type === "com.microsoft:eventhub") {
      const ids = hub.partitions.map((_, id) => String(id));
      return await clients.answer(delivery, 200, {
        ...facts,
        created_at: timestamp(hub.createdAt),
        partition_count: int(ids.length),
        partition_ids: array("string", ids),
        georeplication_factor: int(1),
      });
    }
    const partition = hub.partitions[Number(id)];
    if (type !== "com.microsoft:partition" || partition === undefined) {
      return await clients.answer(delivery, 404);
    }
    const { last, first } = partition;
    await clients.answer(delivery, 200, {
      ...facts,
      partition: String(id),
      begin_sequence_number: long(first),
      last_enqueued_sequence_number: long(last?.number ?? -1n),
      last_enqueued_offset: String(last?.offset ?? -1n),
      last_enqueued_time_utc: timestamp(last?.enqueuedAt ?? new Date(0)),
      is_partition_empty: last === undefined,
    });
  }

  const whole = acceptor({ ...options, onSender, onReceiver });
  return {
    accept: (channel, info, trusted) => whole.accept(withAllFields(channel), info, trusted),
    connections: whole.connections,
    close: (options) => whole.close(options),
    [Symbol.asyncDispose]: () => whole[Symbol.asyncDispose](),
  };
}

function stolen(message: string): AmqpError {
  return new AmqpError("amqp:link:stolen", message);
}

if (import.meta.main) {
  const port = Number((globalThis as { Deno?: { args: string[] } }).Deno?.args[0] ?? 5672);
  const hubs = eventHubs({ hubs: { events: {} } });
  const subprotocols = ["AMQPWSB10", "amqp"];
  // Python's WebSocket sends an Origin, that of the host it dials.
  await listen({ port, host: "127.0.0.1", acceptor: hubs, subprotocols, origins: "same-host" });
  console.log(
    `Endpoint=sb://127.0.0.1:${port};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true`,
  );
}
