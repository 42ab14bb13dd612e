/**
 * Error conditions of the specification, in the order of the scopes in which they are used: any, connection,
 * session, link, transaction [transport 2.8.14–2.8.18].
 *
 * Constants and not a table, so that a bundle has only those that its code uses.
 *
 * @module
 */

/** The peer that reports it had an internal error. */
export const internalError = "amqp:internal-error";
/** There is no node at that address, or no such entity. */
export const notFound = "amqp:not-found";
/** The credentials are refused, or do not permit the request. */
export const unauthorizedAccess = "amqp:unauthorized-access";
/** The data cannot be decoded. */
export const decodeError = "amqp:decode-error";
/** The request exceeds a limit of the peer. */
export const resourceLimitExceeded = "amqp:resource-limit-exceeded";
/** The request is forbidden at this place. */
export const notAllowed = "amqp:not-allowed";
/** A field holds an invalid value. */
export const invalidField = "amqp:invalid-field";
/** The peer does not implement the request. */
export const notImplemented = "amqp:not-implemented";
/** Another client holds the resource. */
export const resourceLocked = "amqp:resource-locked";
/** A precondition of the request does not hold. */
export const preconditionFailed = "amqp:precondition-failed";
/** The node was deleted while in use. */
export const resourceDeleted = "amqp:resource-deleted";
/** The request does not fit the current state. */
export const illegalState = "amqp:illegal-state";
/** The frame would be larger than the peer takes. */
export const frameSizeTooSmall = "amqp:frame-size-too-small";
/** An operator, or the peer itself, closed the connection. */
export const connectionForced = "amqp:connection:forced";
/** The bytes that arrived are no frame, so the connection cannot go on. */
export const framingError = "amqp:connection:framing-error";
/** The connection is to be opened elsewhere; `info` says where. */
export const connectionRedirect = "amqp:connection:redirect";
/** The peer sent more transfers than the session's incoming window allows. */
export const windowViolation = "amqp:session:window-violation";
/** A frame arrived for a link that had ended with an error. */
export const errantLink = "amqp:session:errant-link";
/** An attach arrived with a handle that is in use. */
export const handleInUse = "amqp:session:handle-in-use";
/** A frame arrived with a handle that no link has. */
export const unattachedHandle = "amqp:session:unattached-handle";
/** An operator detached the link. */
export const detachForced = "amqp:link:detach-forced";
/** The peer sent more deliveries than the link's credit allows. */
export const transferLimitExceeded = "amqp:link:transfer-limit-exceeded";
/** The message is larger than the receiver takes. */
export const messageSizeExceeded = "amqp:link:message-size-exceeded";
/** The link is to be attached elsewhere; `info` says where. */
export const linkRedirect = "amqp:link:redirect";
/** The link was attached again under the same name. */
export const stolen = "amqp:link:stolen";
/** There is no transaction with that id. */
export const transactionUnknownId = "amqp:transaction:unknown-id";
/** The transaction was rolled back. */
export const transactionRollback = "amqp:transaction:rollback";
/** The transaction exceeded its time limit. */
export const transactionTimeout = "amqp:transaction:timeout";
