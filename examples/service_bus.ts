// A stand-in for Azure Service Bus in memory, for tests: send, batches, receive, complete, abandon, dead-letter, defer, sessions,
// locks, scheduling. It uses only the public API of this package.
//
//   deno run --allow-net examples/service_bus.ts 5672
//
// Connect to it with `Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true`.
import {
  AmqpError,
  array,
  batch,
  type Body,
  type Connection,
  DecodedMessage,
  type Delivery,
  Described,
  described,
  int,
  long,
  type Message,
  OutcomeError,
  type Sender,
  timestamp,
  unbatch,
  uuid,
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

/** How a queue works. */
export interface QueueOptions {
  /** Whether its messages belong to sessions, each of which one receiver locks at a time. Default: false. */
  sessions?: boolean;
  /** Milliseconds until a message that nobody settles is handed out again. Default: 60,000. */
  lockMs?: number;
}

/** What the stand-in is made with. */
export interface ServiceBusOptions {
  /** The queues by their name. */
  queues: Readonly<Record<string, QueueOptions>>;
  /** Whether a token is good for an audience. Default: each is. */
  verify?: Verify;
}

interface Stored {
  readonly message: Message;
  readonly number: bigint;
  readonly enqueuedAt: Date;
  state: "active" | "locked" | "deferred" | "scheduled";
  deliveryCount: number;
  lock: string;
  lockedUntil: Date;
  timer: ReturnType<typeof setTimeout> | undefined;
}

interface Consumer {
  readonly sender: Sender;
  readonly session: string | undefined;
  readonly settled: boolean;
}

/** A queue, with its messages in their order. */
class Queue {
  readonly messages: Stored[] = [];
  readonly consumers = new Set<Consumer>();
  readonly lockedSessions = new Set<string>();
  readonly sessionStates = new Map<string, Uint8Array | null>();
  readonly deadLetters: Queue | undefined;
  readonly sessions: boolean;
  readonly lockMs: number;
  #last = 0n;

  constructor({ sessions = false, lockMs = 60_000 }: QueueOptions, deadLetters?: Queue) {
    this.sessions = sessions;
    this.lockMs = lockMs;
    this.deadLetters = deadLetters;
  }

  add(message: Message, dueAt?: Date): bigint {
    const number = ++this.#last;
    const { properties } = message;
    const stored: Stored = {
      // Clients find their locks by the message's id.
      message: { ...message, properties: { ...properties, messageId: properties?.messageId ?? crypto.randomUUID() } },
      number,
      enqueuedAt: new Date(),
      state: dueAt === undefined ? "active" : "scheduled",
      deliveryCount: 0,
      lock: "",
      lockedUntil: new Date(0),
      timer: undefined,
    };
    this.messages.push(stored);
    if (dueAt !== undefined) {
      stored.timer = setTimeout(() => this.activate(stored), Math.max(0, dueAt.getTime() - Date.now()));
    }
    this.pump();
    return number;
  }

  remove(stored: Stored): void {
    clearTimeout(stored.timer);
    const at = this.messages.indexOf(stored);
    if (at >= 0) this.messages.splice(at, 1);
  }

  activate(stored: Stored): void {
    clearTimeout(stored.timer);
    stored.state = "active";
    stored.lock = "";
    this.pump();
  }

  /** Locks a message, and gives the tag that stands for the lock. */
  lock(stored: Stored): Uint8Array {
    stored.state = "locked";
    stored.lock = crypto.randomUUID();
    this.renew(stored);
    return tagOf(stored.lock);
  }

  renew(stored: Stored): Date {
    clearTimeout(stored.timer);
    stored.lockedUntil = new Date(Date.now() + this.lockMs);
    stored.timer = setTimeout(() => this.settle(stored, "abandon"), this.lockMs);
    return stored.lockedUntil;
  }

  byLock(lock: unknown): Stored | undefined {
    return this.messages.find((stored) => stored.lock === String(lock) && stored.state === "locked");
  }

  settle(
    stored: Stored,
    how: "complete" | "abandon" | "defer" | "deadLetter",
    reasons: Record<string, string> = {},
  ): void {
    clearTimeout(stored.timer);
    if (how === "complete") return this.remove(stored);
    if (how === "defer") return void (stored.state = "deferred");
    if (how === "abandon") {
      stored.deliveryCount++;
      return this.activate(stored);
    }
    this.remove(stored);
    const { applicationProperties } = stored.message;
    this.deadLetters?.add({ ...stored.message, applicationProperties: { ...applicationProperties, ...reasons } });
  }

  pump(): void {
    for (const consumer of this.consumers) {
      while (consumer.sender.open && consumer.sender.credit > 0) {
        const next = this.messages.find((stored) =>
          stored.state === "active" && (!this.sessions || stored.message.properties?.groupId === consumer.session)
        );
        if (next === undefined) break;
        this.#deliver(consumer, next);
      }
    }
  }

  #deliver({ sender, settled }: Consumer, stored: Stored): void {
    if (settled) {
      this.remove(stored);
      sender.send(outgoing(stored), { settled: true }).catch(() => {});
      return;
    }
    const tag = this.lock(stored);
    const { lock } = stored;
    const done = (how: "complete" | "abandon" | "defer" | "deadLetter", reasons?: Record<string, string>): void => {
      // The lock may have run out meanwhile.
      if (stored.lock === lock && stored.state === "locked") this.settle(stored, how, reasons);
    };
    sender.send(outgoing(stored), { tag }).then(() => done("complete"), (error) => {
      if (!(error instanceof OutcomeError) || error.outcome === "lost") return done("abandon");
      if (error.outcome === "rejected") return done("deadLetter", reasonsOf(error.info ?? {}));
      // What is not to come again to this receiver is put aside.
      done(error.outcome === "modified" && !error.retryable ? "defer" : "abandon");
    });
  }
}

/** Makes the stand-in: an acceptor for any channel or listener. */
export function serviceBus(
  { queues, verify = () => true }: ServiceBusOptions,
  options: AcceptorOptions = {},
): Acceptor {
  const nodes = new Map<string, Queue>();
  for (const [name, options] of Object.entries(queues)) {
    const deadLetters = new Queue({ ...options, sessions: false });
    nodes.set(name.toLowerCase(), new Queue(options, deadLetters));
    nodes.set(`${name.toLowerCase()}/$deadletterqueue`, deadLetters);
  }
  const clients = new AzureClients(verify);

  function find(connection: Connection, address: string): Queue {
    const name = nameOf(address);
    clients.check(connection, name);
    const queue = nodes.get(name);
    if (queue === undefined) throw new AmqpError("amqp:not-found", `Cannot use "${address}": there is no such queue`);
    return queue;
  }

  function onSender(request: SenderRequest): void {
    const { connection, attach, address = "" } = request;
    if (address === "$cbs") return clients.acceptReplies(request);
    if (address.endsWith("$management")) {
      find(connection, address);
      return clients.acceptReplies(request);
    }
    const queue = find(connection, address);
    // Some clients ask by a described value, as filters should be, and read the answer alike; some by a string or null.
    const asked = attach.source?.filter?.["com.microsoft:session-filter"];
    const isDescribed = asked instanceof Described;
    const session = queue.sessions ? lockSession(queue, isDescribed ? asked.value : asked) : undefined;
    const source = {
      ...attach.source!,
      filter: session === undefined
        ? undefined
        : { "com.microsoft:session-filter": isDescribed ? described(asked.descriptor, session) : session },
    };
    const properties = session === undefined
      ? undefined
      : { "com.microsoft:locked-until-utc": long(ticks(new Date(Date.now() + queue.lockMs))) };
    const sender = request.accept({ source, properties });
    const consumer: Consumer = { sender, session, settled: attach.sndSettleMode === "settled" };
    queue.consumers.add(consumer);
    sender.oncredit = () => queue.pump();
    sender.closed.then(() => {
      queue.consumers.delete(consumer);
      if (session !== undefined) queue.lockedSessions.delete(session);
    });
  }

  async function onReceiver(request: ReceiverRequest): Promise<void> {
    const { connection, address = "" } = request;
    if (address === "$cbs") return await clients.acceptTokens(request);
    const queue = find(connection, address);
    const receiver = request.accept(RECEIVE_LIMITS);
    if (address.endsWith("$management")) return await receiver.serve((delivery) => manage(queue, delivery));
    await receiver.serve((delivery) => {
      for (const { header, properties, applicationProperties, messageAnnotations, body } of unbatch(delivery)) {
        const due = messageAnnotations?.["x-opt-scheduled-enqueue-time"];
        const dueAt = due === undefined || due === null ? undefined : dateOf(due);
        queue.add({ header, properties, applicationProperties, messageAnnotations, body }, dueAt);
      }
    });
  }

  async function manage(queue: Queue, delivery: Delivery): Promise<void> {
    const { applicationProperties, body } = delivery.message;
    const asked = body as Map<string, Value>;
    const reply = (status: number, content?: Body): Promise<void> =>
      clients.answer(delivery, status, content, status === 410 ? "com.microsoft:message-lock-lost" : undefined);
    const session = asked.get("session-id") as string;
    switch (applicationProperties?.operation) {
      case "com.microsoft:renew-lock": {
        const locked = items(asked.get("lock-tokens")).map((lock) => queue.byLock(lock));
        if (locked.some((stored) => stored === undefined)) return await reply(410);
        return await reply(200, { expirations: array("timestamp", locked.map((stored) => queue.renew(stored!))) });
      }
      case "com.microsoft:renew-session-lock":
        return await reply(200, { expiration: timestamp(new Date(Date.now() + queue.lockMs)) });
      case "com.microsoft:set-session-state":
        queue.sessionStates.set(session, asked.get("session-state") as Uint8Array | null);
        return await reply(200);
      case "com.microsoft:get-session-state":
        return await reply(200, { "session-state": queue.sessionStates.get(session) ?? null });
      case "com.microsoft:peek-message": {
        const from = BigInt(String(asked.get("from-sequence-number")));
        const seen = queue.messages.filter(({ number, message }) =>
          number >= from && (session === undefined || message.properties?.groupId === session)
        ).slice(0, Number(asked.get("message-count")));
        if (seen.length === 0) return await reply(204);
        return await reply(200, { messages: seen.map((stored) => ({ message: encode(outgoing(stored)) })) });
      }
      case "com.microsoft:schedule-message": {
        const numbers = (asked.get("messages") as Map<string, Value>[]).map((entry) => {
          const message = new DecodedMessage(entry.get("message") as Uint8Array);
          const dueAt = dateOf(message.messageAnnotations!["x-opt-scheduled-enqueue-time"]!);
          return queue.add({ ...message }, dueAt);
        });
        return await reply(200, { "sequence-numbers": array("long", numbers) });
      }
      case "com.microsoft:cancel-scheduled-message": {
        const numbers = items(asked.get("sequence-numbers")).map(String);
        for (const stored of [...queue.messages]) if (numbers.includes(String(stored.number))) queue.remove(stored);
        return await reply(200);
      }
      case "com.microsoft:receive-by-sequence-number": {
        const numbers = items(asked.get("sequence-numbers")).map(String);
        const found = queue.messages.filter(({ number, state }) =>
          state === "deferred" && numbers.includes(String(number))
        );
        if (found.length === 0) return await reply(404);
        const messages = found.map((stored) => {
          queue.lock(stored);
          // The client of Go looks for the token in the message.
          const token = uuid(stored.lock);
          const message = encode({ ...outgoing(stored), deliveryAnnotations: { "x-opt-lock-token": token } });
          return { "lock-token": token, message };
        });
        return await reply(200, { messages });
      }
      case "com.microsoft:update-disposition": {
        const locked = items(asked.get("lock-tokens")).map((lock) => queue.byLock(lock));
        if (locked.some((stored) => stored === undefined)) return await reply(410);
        const how = { completed: "complete", abandoned: "abandon", suspended: "deadLetter", defered: "defer" } as const;
        const status = asked.get("disposition-status") as keyof typeof how;
        const reasons = reasonsOf({
          DeadLetterReason: asked.get("deadletter-reason"),
          DeadLetterErrorDescription: asked.get("deadletter-description"),
        });
        for (const stored of locked) queue.settle(stored!, how[status], reasons);
        return await reply(200);
      }
      default:
        return await reply(501);
    }
  }

  return acceptor({ ...options, onSender, onReceiver });
}

function lockSession(queue: Queue, wanted: unknown): string {
  const names = queue.messages.map(({ message }) => message.properties?.groupId);
  const session = wanted ?? names.find((name) => name !== undefined && !queue.lockedSessions.has(name));
  if (typeof session !== "string") {
    throw new AmqpError("com.microsoft:timeout", "Cannot lock session: none has messages");
  }
  if (queue.lockedSessions.has(session)) {
    throw new AmqpError("com.microsoft:session-cannot-be-locked", `Cannot lock session "${session}": another has it`);
  }
  queue.lockedSessions.add(session);
  return session;
}

function outgoing(stored: Stored): Message {
  const { message, number, enqueuedAt, deliveryCount, lockedUntil } = stored;
  return {
    ...message,
    header: { ...message.header, deliveryCount },
    messageAnnotations: {
      ...message.messageAnnotations,
      "x-opt-sequence-number": long(number),
      "x-opt-enqueued-time": timestamp(enqueuedAt),
      "x-opt-locked-until": timestamp(lockedUntil),
      "x-opt-message-state": int(stored.state === "deferred" ? 1 : stored.state === "scheduled" ? 2 : 0),
    },
  };
}

// A data section holds the encoded message as it is.
function encode(message: Message): Uint8Array {
  return new DecodedMessage(batch([message]).payload).bytes();
}

// .NET's order of bytes: the first three groups the other way round.
function tagOf(lock: string): Uint8Array {
  const bytes = Uint8Array.from(lock.replaceAll("-", "").match(/../g)!, (digits) => Number.parseInt(digits, 16));
  for (const [start, end] of [[0, 4], [4, 6], [6, 8]] as const) bytes.subarray(start, end).reverse();
  return bytes;
}

// 100 ns since the year 1.
function ticks(date: Date): bigint {
  return BigInt(date.getTime()) * 10_000n + 621_355_968_000_000_000n;
}

function dateOf(value: Value): Date {
  return value instanceof Date ? value : new Date(Number(value));
}

function items(value: Value | undefined): unknown[] {
  return [...value as Iterable<unknown>];
}

function reasonsOf(info: Readonly<Record<string, unknown>>): Record<string, string> {
  const { DeadLetterReason: reason, DeadLetterErrorDescription: description } = info;
  return {
    ...reason === undefined || reason === null ? {} : { DeadLetterReason: String(reason) },
    ...description === undefined || description === null ? {} : { DeadLetterErrorDescription: String(description) },
  };
}

if (import.meta.main) {
  const port = Number((globalThis as { Deno?: { args: string[] } }).Deno?.args[0] ?? 5672);
  const bus = serviceBus({ queues: { orders: {}, sessions: { sessions: true } } });
  const subprotocols = ["AMQPWSB10", "amqp"];
  // Python's WebSocket sends an Origin, that of the host it dials.
  await listen({ port, host: "127.0.0.1", acceptor: bus, subprotocols, origins: "same-host" });
  console.log(
    `Endpoint=sb://127.0.0.1:${port};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true`,
  );
}
