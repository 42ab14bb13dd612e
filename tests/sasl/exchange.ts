/**
 * A client and a server of SASL back to back, without an engine.
 *
 * @module
 */

import type { SaslFrameBody, SaslOutcome } from "../../src/codec/types.ts";
import { SaslClient } from "../../src/sasl/client.ts";
import type { SaslAuth, SaslServerMechanism, SaslTarget } from "../../src/sasl/mechanism.ts";
import { SaslServer } from "../../src/sasl/server.ts";

/** The result of an exchange. */
export interface Exchanged {
  /** The frames in order, as `kind` and text. */
  readonly said: string[];
  /** The last frame of the server. */
  readonly outcome: SaslOutcome | undefined;
  /** The identity of the client, as the server sees it. */
  readonly identity: string | undefined;
  /** The client's error, if any. */
  readonly error: Error | undefined;
  /** The server's error, if any. */
  readonly serverError: Error | undefined;
}

/** The settings of an exchange; each has a default. */
export interface ExchangeOptions {
  /** The target of the client. Default: a secure host. */
  target?: SaslTarget;
  /** Changes a frame on its way; undefined drops it. */
  tamper?: (frame: SaslFrameBody) => SaslFrameBody | undefined;
}

/** The default target. */
export const TARGET: SaslTarget = { hostname: "broker.example", port: 5671, secure: true };

/** Runs an exchange to its end. */
export async function exchange(
  auth: SaslAuth,
  mechanisms: readonly SaslServerMechanism[],
  { target = TARGET, tamper = (frame) => frame }: ExchangeOptions = {},
): Promise<Exchanged> {
  const said: string[] = [];
  const server = new SaslServer(mechanisms, {});
  let outcome: SaslOutcome | undefined;
  let error: Error | undefined;
  try {
    const client = new SaslClient(auth, target);
    let toClient: SaslFrameBody | undefined = tamper({
      kind: "saslMechanisms",
      saslServerMechanisms: mechanisms.map(({ name }) => name),
    });
    while (toClient !== undefined) {
      said.push(textOf(toClient));
      if (toClient.kind === "saslOutcome") outcome = toClient;
      const answer = await client.handle(toClient);
      const toServer = answer && tamper(answer);
      if (toServer === undefined) break;
      said.push(textOf(toServer));
      const reply = await server.handle(toServer);
      toClient = reply && tamper(reply);
    }
  } catch (thrown) {
    error = thrown as Error;
  }
  return { said, outcome, identity: server.identity, error, serverError: server.error };
}

/** Text as bytes. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function textOf(frame: SaslFrameBody): string {
  const text = (data: Uint8Array | undefined): string => data === undefined ? "none" : new TextDecoder().decode(data);
  switch (frame.kind) {
    case "saslMechanisms":
      return `offer ${frame.saslServerMechanisms.join(" ")}`;
    case "saslInit":
      return `init ${frame.mechanism} ${text(frame.initialResponse)}`;
    case "saslChallenge":
      return `challenge ${text(frame.challenge)}`;
    case "saslResponse":
      return `response ${text(frame.response)}`;
    case "saslOutcome":
      return `outcome ${frame.code}${frame.additionalData === undefined ? "" : ` ${text(frame.additionalData)}`}`;
  }
}
