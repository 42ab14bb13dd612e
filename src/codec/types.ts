/**
 * Everything that has a type in AMQP: values, and the composites of the specification.
 *
 * @module
 */

import type { Composites } from "./frame_types.ts";

export * from "./values.ts";
export * from "./message_types.ts";
export * from "./frame_types.ts";

/** The key of a composite in the table of definitions, such as `"open"`. */
export type Kind = keyof Composites;

/** The object type of a kind. */
export type CompositeOf<K extends Kind> = Composites[K];

/** Any composite that tells its kind. */
export type Composite = Extract<Composites[Kind], { kind: Kind }>;
