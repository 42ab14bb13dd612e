/**
 * The part of `@opentelemetry/api` in use, by its shape: the package is the program's dependency, not this one's.
 *
 * @module
 */

/** A value of an attribute. */
export type AttributeValue = string | number | boolean;
/** Attributes of spans and measurements. */
export type Attributes = { [name: string]: AttributeValue };

/** A span of the API, as far as it is used. */
export interface Span {
  /** The identifiers of the span. */
  spanContext(): { traceId: string; spanId: string; traceFlags: number };
  /** Adds an attribute. */
  setAttribute(name: string, value: AttributeValue): unknown;
  /** Sets the status; code 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Adds an exception. */
  recordException(error: Error): void;
  /** Adds a link to another span; absent in older versions of the API. */
  addLink?(link: { context: unknown }): unknown;
  /** Ends the span. */
  end(): void;
}

/** A counter of the API. */
export interface Counter {
  /** Adds `value`, which may be negative for an up-down counter. */
  add(value: number, attributes?: Attributes): void;
}

/** A histogram of the API. */
export interface Histogram {
  /** Records a value. */
  record(value: number, attributes?: Attributes): void;
}

/** The namespace object of `@opentelemetry/api`, as far as it is used. */
export interface OpenTelemetryApi {
  /** Makes tracers, and contexts with a span. */
  readonly trace: {
    getTracer(name: string, version?: string): {
      startSpan(name: string, options?: unknown, context?: unknown): Span;
    };
    setSpan(context: unknown, span: Span): unknown;
    /** The span context in `context`. */
    getSpanContext(context: unknown): { spanId: string } | undefined;
  };
  /** The active context. */
  readonly context: {
    active(): unknown;
    /** Calls a function in a context. */
    with<T>(context: unknown, call: () => T): T;
  };
  /** Writes contexts into messages and reads them. */
  readonly propagation: {
    inject(context: unknown, carrier: unknown): void;
    extract(context: unknown, carrier: unknown, getter?: unknown): unknown;
  };
  /** Makes meters. */
  readonly metrics: {
    /** The meter of a package. */
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
