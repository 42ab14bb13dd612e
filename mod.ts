/**
 * AMQP 1.0 over WebSocket for every JavaScript runtime.
 *
 * @module
 */

export * from "./src/errors.ts";
