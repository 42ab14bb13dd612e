/**
 * The ways to connect other than by the runtime's own WebSocket, in one file that loads where one of them is needed.
 *
 * @module
 */

export { hasOwnDispatcher } from "./runtime/dispatcher.ts";
export { dialByFetch } from "./websocket/fetch_dial.ts";
export { dialSocket, hasSockets } from "./socket/dial.ts";
