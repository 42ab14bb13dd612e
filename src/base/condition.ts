/**
 * Error conditions of the specification, in the order of the scopes in which they are used: any, connection,
 * session, link, transaction [transport 2.8.14–2.8.18].
 *
 * Constants and not a table, so that a bundle has only those that its code uses.
 *
 * @module
 */

/** Something broke down inside the one that reports it. */
export const internalError = "amqp:internal-error";
/** There is no node of that address, or no such thing. */
export const notFound = "amqp:not-found";
/** Credentials were refused, or do not allow what was asked for. */
export const unauthorizedAccess = "amqp:unauthorized-access";
/** Bytes are not what they have to be. */
export const decodeError = "amqp:decode-error";
/** More was asked for than is given. */
export const resourceLimitExceeded = "amqp:resource-limit-exceeded";
/** What was done is forbidden at this place. */
export const notAllowed = "amqp:not-allowed";
/** A field holds a value that it must not have. */
export const invalidField = "amqp:invalid-field";
/** What was asked for is not offered. */
export const notImplemented = "amqp:not-implemented";
/** Somebody else holds what was asked for. */
export const resourceLocked = "amqp:resource-locked";
/** What was asked for needs something that does not hold. */
export const preconditionFailed = "amqp:precondition-failed";
/** The node was deleted while it was in use. */
export const resourceDeleted = "amqp:resource-deleted";
/** It is not the time for what was done. */
export const illegalState = "amqp:illegal-state";
/** The peer takes no frame as large as what was to be sent. */
export const frameSizeTooSmall = "amqp:frame-size-too-small";
/** An operator, or the peer's own end, closed the connection. */
export const connectionForced = "amqp:connection:forced";
/** What arrived is no frame, so there is nothing to go on from. */
export const framingError = "amqp:connection:framing-error";
/** The connection is to be opened elsewhere; `info` says where. */
export const connectionRedirect = "amqp:connection:redirect";
/** More transfers were sent than the session's window takes. */
export const windowViolation = "amqp:session:window-violation";
/** Something came for a link that has ended with an error. */
export const errantLink = "amqp:session:errant-link";
/** An attach came with the handle of another link. */
export const handleInUse = "amqp:session:handle-in-use";
/** A frame came with a handle that no link has. */
export const unattachedHandle = "amqp:session:unattached-handle";
/** An operator detached the link. */
export const detachForced = "amqp:link:detach-forced";
/** More was sent than the link's credit allows. */
export const transferLimitExceeded = "amqp:link:transfer-limit-exceeded";
/** A message is larger than the receiver takes. */
export const messageSizeExceeded = "amqp:link:message-size-exceeded";
/** The link is to be attached elsewhere; `info` says where. */
export const linkRedirect = "amqp:link:redirect";
/** The link was attached again under its name. */
export const stolen = "amqp:link:stolen";
/** There is no such transaction. */
export const transactionUnknownId = "amqp:transaction:unknown-id";
/** The transaction was rolled back. */
export const transactionRollback = "amqp:transaction:rollback";
/** The transaction took too long. */
export const transactionTimeout = "amqp:transaction:timeout";
