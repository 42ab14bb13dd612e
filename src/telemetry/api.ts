/**
 * What is used of `@opentelemetry/api`, by its shape: the package is the program's, not ours.
 *
 * @module
 */

/** What attributes may hold. */
export type AttributeValue = string | number | boolean;
/** Attributes of spans and measurements. */
export type Attributes = { [name: string]: AttributeValue };

/** A span of the API, as far as it is used. */
export interface Span {
  /** Identifies it. */
  spanContext(): { traceId: string; spanId: string; traceFlags: number };
  /** Adds an attribute. */
  setAttribute(name: string, value: AttributeValue): unknown;
  /** Tells whether it succeeded; 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Adds an exception. */
  recordException(error: Error): void;
  /** Adds a link to another span; absent in older versions of the API. */
  addLink?(link: { context: unknown }): unknown;
  /** Ends it. */
  end(): void;
}

/** A counter of the API. */
export interface Counter {
  /** Adds to it. */
  add(value: number, attributes?: Attributes): void;
}

/** A histogram of the API. */
export interface Histogram {
  /** Records a value. */
  record(value: number, attributes?: Attributes): void;
}

/** The object that `import * as api from "@opentelemetry/api"` gives, as far as it is used. */
export interface OpenTelemetryApi {
  /** Makes tracers, and spans active. */
  readonly trace: {
    getTracer(name: string, version?: string): {
      startSpan(name: string, options?: unknown, context?: unknown): Span;
    };
    setSpan(context: unknown, span: Span): unknown;
    /** The span that a context holds. */
    getSpanContext(context: unknown): unknown;
  };
  /** The contexts. */
  readonly context: {
    active(): unknown;
    /** Runs a function in a context. */
    with<T>(context: unknown, call: () => T): T;
  };
  /** Puts contexts into messages. */
  readonly propagation: {
    inject(context: unknown, carrier: unknown): void;
    extract(context: unknown, carrier: unknown): unknown;
  };
  /** Makes meters. */
  readonly metrics: {
    /** The meter of this package. */
    getMeter(name: string, version?: string): {
      createCounter(name: string, options?: { unit?: string; description?: string }): Counter;
      createUpDownCounter(name: string, options?: { unit?: string; description?: string }): Counter;
      createHistogram(
        name: string,
        options?: { unit?: string; description?: string; advice?: { explicitBucketBoundaries?: number[] } },
      ): Histogram;
    };
  };
}
