/**
 * This module with telemetry and traces.
 *
 * @module
 */

import * as api from "@opentelemetry/api";
import { AggregationTemporality, MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, type SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { connect, type ConnectOptions } from "../../mod.ts";
import { opentelemetry } from "../../src/telemetry/opentelemetry.ts";
import { jsonLines } from "../../src/trace/writer.ts";
import { type Contender, SMALL, WINDOW } from "./bench.ts";
import { sending } from "./ours.ts";

/** Drops spans and measurements. */
const nowhere: SpanProcessor = {
  onStart() {},
  onEnd() {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

class Unread extends MetricReader {
  constructor() {
    super({ aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE });
  }
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

function observed(by: string): ConnectOptions {
  let seen = 0;
  switch (by) {
    case "SDK":
      api.trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [nowhere] }));
      api.metrics.setGlobalMeterProvider(new MeterProvider({ readers: [new Unread()] }));
      return { telemetry: opentelemetry(api) };
    case "no SDK":
      return { telemetry: opentelemetry(api) };
    case "frames":
      return { trace: ({ payloadBytes }) => void (seen += payloadBytes) };
    case "lines":
      return { trace: jsonLines((line) => void (seen += line.length)) };
    default:
      return {};
  }
}

/** The contenders, by the name of the observer. */
export const contender: Contender = {
  works: {
    send: async (url, by) => await sending([(await connect(url, observed(by))).sender("sink")], SMALL, WINDOW),
  },
};
