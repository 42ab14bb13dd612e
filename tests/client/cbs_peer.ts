/**
 * A peer that needs a token before links attach, in either of the two ways.
 *
 * @module
 */

import { AmqpError } from "../../src/base/errors.ts";
import type { Environment } from "../../src/base/environment.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { MessageId } from "../../src/codec/types.ts";
import { int } from "../../src/codec/wrappers.ts";
import { type Acceptor, acceptor } from "../../src/server/acceptor.ts";

/** A token that the peer received. */
export interface PutToken {
  readonly audience: unknown;
  readonly type: unknown;
  readonly token: unknown;
  readonly expiration?: unknown;
}

/** The peer with its record. */
export interface CbsPeer extends Acceptor {
  /** Tokens as `token TOKEN for AUDIENCE`, and links as `attach ADDRESS`, in order. */
  readonly heard: string[];
  /** The last token. */
  last: PutToken | undefined;
}

/**
 * The peer's answer to a token: a status and its condition; undefined for no answer. Answers of status 401 to other
 * messages come before it, and another to the right one after it.
 */
export type Answer = (
  put: PutToken,
) => { status: number; condition?: string; camel?: boolean; instead?: (MessageId | undefined)[] } | undefined;

export function cbsPeer(
  { answer = () => ({ status: 202 }), offer = false, environment }: {
    answer?: Answer;
    offer?: boolean;
    environment?: Environment;
  } = {},
): CbsPeer {
  const heard: string[] = [];
  const replies = new WeakMap<Connection, Map<string, Sender>>();
  const peer: CbsPeer = Object.assign(
    acceptor({
      environment,
      // Answers fail when a connection is lost.
      log: null,
      ...offer ? { offeredCapabilities: ["AMQP_CBS_V1_0"], properties: { "cbs-node": "$tokens" } } : {},
      onSender: (request) => {
        const sender = request.accept();
        if (request.address !== "$cbs") return void heard.push(`attach ${request.address}`);
        const { target } = request.attach;
        const known = replies.get(request.connection) ?? new Map<string, Sender>();
        replies.set(request.connection, known.set(target?.kind === "target" ? target.address! : "", sender));
      },
      onReceiver: (request) => {
        const node = request.address === "$cbs" || request.address === "$tokens";
        if (!node) heard.push(`attach ${request.address}`);
        const handle = (delivery: Delivery): Promise<void> | void => {
          if (request.address === "$cbs") return putToken(request.connection, delivery);
          if (request.address === "$tokens") return setToken(delivery);
        };
        const settle = request.address === "$tokens" ? "manual" : "auto";
        void request.accept({ credit: 10, settle }).serve(handle).catch(() => {});
      },
    }),
    { heard, last: undefined },
  );

  function hear(put: PutToken): ReturnType<Answer> {
    peer.last = put;
    heard.push(`token ${put.token} for ${put.audience}`);
    return answer(put);
  }

  async function putToken(connection: Connection, { message }: Delivery): Promise<void> {
    const { name, type, expiration, operation } = message.applicationProperties!;
    if (operation !== "put-token") throw new Error(`operation is ${operation}`);
    const answered = hear({ audience: name, type, token: message.body, expiration });
    if (answered === undefined) return;
    const [code, text] = answered.camel ? ["statusCode", "errorCondition"] : ["status-code", "error-condition"];
    const link = replies.get(connection)!.get(message.properties!.replyTo!)!;
    const send = async (correlationId: MessageId | undefined, status: number): Promise<void> => {
      await link.send({
        properties: { correlationId },
        applicationProperties: {
          // NaN leaves the status out.
          ...Number.isNaN(status) ? {} : { [code]: int(status) },
          "status-description": "so it is",
          ...answered.condition === undefined ? {} : { [text]: answered.condition },
        },
      });
    };
    const { messageId } = message.properties!;
    for (const id of answered.instead ?? []) await send(id, 401);
    await send(messageId, answered.status);
    if (answered.instead !== undefined) await send(messageId, 401);
  }

  function setToken(delivery: Delivery): void {
    const { properties, applicationProperties, body } = delivery.message;
    const answered = hear({ audience: properties?.subject, type: applicationProperties?.["token-type"], token: body });
    if (answered === undefined) return;
    if (answered.status < 300) delivery.accept();
    else delivery.reject(new AmqpError(answered.condition!, "no"));
  }

  return peer;
}
