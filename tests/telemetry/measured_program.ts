/**
 * Sends a message and handles it, measured by the runtime's OpenTelemetry.
 *
 * @module
 */

import * as api from "@opentelemetry/api";
import { connect } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { opentelemetry } from "../../src/telemetry/opentelemetry.ts";
import { channelPair } from "../../src/transport/pair.ts";

const broker = new Broker();
const [client, server] = channelPair();
broker.accept(server);
const connection = await connect(client, { telemetry: opentelemetry(api) });
await connection.send("orders", { body: "one coffee" });
const stop = new AbortController();
await connection.receiver("orders").serve((delivery) => {
  delivery.accept();
  stop.abort();
}, { signal: stop.signal });
await connection.close();
await broker.close();
