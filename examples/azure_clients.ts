// What the stand-ins for Azure Service Bus and Event Hubs share: the tokens that clients put to $cbs, and the answers to what
// they ask of $management.
import { AmqpError, type Body, type Connection, type Delivery, int, type Message, type Sender } from "@webamqp/amqp";
import type { ReceiverRequest, SenderRequest } from "@webamqp/amqp/server";

/** Whether a token is good for an audience. */
export type Verify = (token: string, audience: string) => boolean;

/** What a link takes: that much at a time, that large. */
export const RECEIVE_LIMITS: Readonly<{ credit: number; maxMessageSize: bigint }> = {
  credit: 100,
  maxMessageSize: 262_144n,
};

/** The tokens of clients, and where their answers go. */
export class AzureClients {
  readonly #verify: Verify;
  // Both by connection.
  readonly #granted = new WeakMap<object, Set<string>>();
  readonly #replies = new WeakMap<object, Map<string, Sender>>();

  constructor(verify: Verify) {
    this.#verify = verify;
  }

  /** Throws unless the client has put a token for the entity, or for what it is a part of. */
  check(connection: Connection, entity: string): void {
    for (const audience of this.#granted.get(connection) ?? []) {
      const path = nameOf(audience);
      if (path === "" || entity === path || entity.startsWith(`${path}/`)) return;
    }
    throw new AmqpError("amqp:unauthorized-access", `Cannot use "${entity}": no token was put for it`);
  }

  /** Accepts a link on which the client wants its answers. */
  acceptReplies(request: SenderRequest): void {
    const { connection, attach, address = "" } = request;
    const known = this.#replies.get(connection) ?? new Map<string, Sender>();
    this.#replies.set(connection, known);
    const to = attach.target?.kind === "target" ? attach.target.address : undefined;
    // Some clients have answers sent to the link's target, some to the link by its name, some say nothing. Some never settle
    // them, pyamqp although it asks for unsettled ones. Those of Go end the link if it is not "settled" as they ask.
    const sender = request.accept({ sndSettleMode: attach.sndSettleMode === "settled" ? "settled" : "mixed" });
    for (const name of [to, attach.name, address]) if (name !== undefined) known.set(name, sender);
  }

  /** Accepts the link on which the client puts its tokens. */
  async acceptTokens(request: ReceiverRequest): Promise<void> {
    await request.accept(RECEIVE_LIMITS).serve((delivery) => this.#putToken(request.connection, delivery));
  }

  /** Answers a request. */
  async answer(
    { message, receiver }: Delivery,
    status: number,
    body: Body = null,
    errorCondition?: string,
  ): Promise<void> {
    const sender = this.#replies.get(receiver.connection)?.get(message.properties?.replyTo ?? receiver.address ?? "");
    const description = status < 300 ? "OK" : `status-code: ${status}`;
    const answer: Message = {
      properties: { correlationId: message.properties?.messageId },
      applicationProperties: {
        statusCode: int(status),
        "status-code": int(status),
        statusDescription: description,
        "status-description": description,
        ...errorCondition === undefined ? {} : { errorCondition },
      },
      body,
    };
    await sender?.send(answer, { settled: true });
  }

  async #putToken(connection: Connection, delivery: Delivery): Promise<void> {
    const { applicationProperties, body } = delivery.message;
    const audience = String(applicationProperties?.name);
    if (!this.#verify(String(body), audience)) return await this.answer(delivery, 401);
    const audiences = this.#granted.get(connection) ?? new Set<string>();
    this.#granted.set(connection, audiences.add(audience));
    await this.answer(delivery, 202);
  }
}

/** The entity of an address, which some clients give as a whole URL. */
export function nameOf(address: string): string {
  return address.toLowerCase().replace(/^\w+:\/\/[^/]+\/?/, "").replace(/\/?\$management$/, "");
}
