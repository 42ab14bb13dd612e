/**
 * Every legal transition of a connection, session and link endpoint, in one table each.
 *
 * The tables do not know which role we play: "send" and "receive" are seen from the side that holds the table, so two engines
 * joined back to back obey the same rules. The `…Pipe` states are those of a pipelined opening: a frame was sent before the
 * peer's answer to the step before it arrived [transport 2.4.6].
 *
 * @module
 */

/** State of a connection [transport 2.4.6]. */
export type ConnectionEndpointState =
  | "start"
  | "headerReceived"
  | "headerSent"
  | "headerExchanged"
  | "openPipe"
  | "openClosePipe"
  | "openReceived"
  | "openSent"
  | "closePipe"
  | "opened"
  | "closeReceived"
  | "closeSent"
  | "discarding"
  | "end";

export type ConnectionStep =
  | "sendHeader"
  | "receiveHeader"
  | "sendOpen"
  | "receiveOpen"
  | "sendClose"
  | "receiveClose"
  | "fail";

/** State of a session [transport 2.5.5]; `endPipe` is ours: begin and end sent, no begin seen yet. */
export type SessionEndpointState =
  | "unmapped"
  | "beginSent"
  | "beginReceived"
  | "mapped"
  | "endPipe"
  | "endSent"
  | "endReceived"
  | "discarding"
  | "ended";

export type SessionStep = "sendBegin" | "receiveBegin" | "sendEnd" | "receiveEnd" | "fail";

/** State of a link [transport 2.6.3, 2.6.6]; `detachPipe` is attach and detach sent, no attach seen yet. */
export type LinkState =
  | "unattached"
  | "attachSent"
  | "attachReceived"
  | "attached"
  | "detachPipe"
  | "detachSent"
  | "detachReceived"
  | "detached";

export type LinkStep = "sendAttach" | "receiveAttach" | "sendDetach" | "receiveDetach";

/** State of the SASL exchange [security 5.3]; `initPipe` is init sent before the mechanisms were seen. */
export type SaslState = "start" | "initPipe" | "mechanisms" | "init" | "challenge" | "done";

/** Steps of a SASL exchange: the frames, whichever side sends them. */
export type SaslStep = "saslMechanisms" | "saslInit" | "saslChallenge" | "saslResponse" | "saslOutcome";

type Transitions<State extends string, Step extends string> = {
  readonly [S in State]: { readonly [T in Step]?: State };
};

export const connectionTransitions: Transitions<ConnectionEndpointState, ConnectionStep> = {
  start: { sendHeader: "headerSent", receiveHeader: "headerReceived" },
  headerReceived: { sendHeader: "headerExchanged" },
  headerSent: { receiveHeader: "headerExchanged", sendOpen: "openPipe" },
  headerExchanged: { sendOpen: "openSent", receiveOpen: "openReceived" },
  openPipe: { receiveHeader: "openSent", sendClose: "openClosePipe" },
  openClosePipe: { receiveHeader: "closePipe" },
  openReceived: { sendOpen: "opened" },
  // A close instead of an open has no place in the specification, but says why the peer refuses the connection.
  openSent: { receiveOpen: "opened", sendClose: "closePipe", receiveClose: "closeReceived", fail: "discarding" },
  closePipe: { receiveOpen: "closeSent", receiveClose: "end", fail: "discarding" },
  opened: { sendClose: "closeSent", receiveClose: "closeReceived", fail: "discarding" },
  closeReceived: { sendClose: "end" },
  closeSent: { receiveClose: "end", fail: "discarding" },
  discarding: { receiveClose: "end", fail: "discarding" },
  end: {},
};

export const sessionTransitions: Transitions<SessionEndpointState, SessionStep> = {
  unmapped: { sendBegin: "beginSent", receiveBegin: "beginReceived" },
  beginSent: { receiveBegin: "mapped", sendEnd: "endPipe", fail: "endPipe" },
  beginReceived: { sendBegin: "mapped" },
  mapped: { sendEnd: "endSent", receiveEnd: "endReceived", fail: "discarding" },
  endPipe: { receiveBegin: "endSent" },
  endSent: { receiveEnd: "ended" },
  endReceived: { sendEnd: "ended" },
  discarding: { receiveEnd: "ended", fail: "discarding" },
  ended: {},
};

/** Transitions of a link. A suspended link is attached again as a new endpoint of the same name. */
export const linkTransitions: Transitions<LinkState, LinkStep> = {
  unattached: { sendAttach: "attachSent", receiveAttach: "attachReceived" },
  // A detach instead of an attach has no place in the specification either, and says why the peer refuses the link.
  attachSent: { receiveAttach: "attached", sendDetach: "detachPipe", receiveDetach: "detachReceived" },
  attachReceived: { sendAttach: "attached" },
  attached: { sendDetach: "detachSent", receiveDetach: "detachReceived" },
  detachPipe: { receiveAttach: "detachSent", receiveDetach: "detached" },
  detachSent: { receiveDetach: "detached" },
  detachReceived: { sendDetach: "detached" },
  detached: {},
};

export const saslTransitions: Transitions<SaslState, SaslStep> = {
  start: { saslMechanisms: "mechanisms", saslInit: "initPipe" },
  initPipe: { saslMechanisms: "init" },
  mechanisms: { saslInit: "init" },
  init: { saslChallenge: "challenge", saslOutcome: "done" },
  challenge: { saslResponse: "init" },
  done: {},
};

/** A step in words, for errors. */
export function inWords(step: ConnectionStep | SessionStep): string {
  return step.replace(/[A-Z]/, (capital) => ` ${capital.toLowerCase()}`);
}
