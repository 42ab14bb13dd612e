/**
 * Which rows the sequence diagram has: the events that the filter lets through, runs of like ones folded into one.
 *
 * @module
 */

import type { Item, Model } from "./model.ts";

/** What is shown. */
export interface Filter {
  /** Only this connection. */
  connection: number | undefined;
  /** Only this session of it. */
  session: number | undefined;
  /** Only this link, by its place. */
  link: number | undefined;
  /** Kinds that are left out. */
  readonly hidden: Set<string>;
  /** Only what contains this text. */
  text: string;
  /** Whether runs are folded. */
  fold: boolean;
}

/** One row: an event, or a run of them from `first` on. */
export interface Row {
  /** The first event. */
  readonly item: Item;
  /** The last one. */
  readonly last: Item;
  /** How many. */
  readonly count: number;
  /** Bytes of payload of all. */
  readonly payload: number;
}

const FOLDED: readonly string[] = ["transfer", "disposition", "flow", "empty"];
// A run of two takes no more place than what folding would say of it.
const LEAST = 3;

/** A filter that lets everything through. */
export function noFilter(): Filter {
  return { connection: undefined, session: undefined, link: undefined, hidden: new Set(), text: "", fold: true };
}

/** Whether the filter lets an event through. */
export function passes(item: Item, filter: Filter): boolean {
  if (filter.connection !== undefined && item.connection !== filter.connection) return false;
  if (filter.session !== undefined && item.session !== filter.session) return false;
  if (filter.link !== undefined && item.link?.index !== filter.link) return false;
  if (filter.hidden.has(kindGroup(item.kind))) return false;
  return filter.text === "" || item.text.includes(filter.text);
}

/** The rows of a trace; runs that begin with an event in `unfolded` are not folded. */
export function rowsOf(model: Model, filter: Filter, unfolded: ReadonlySet<number>): Row[] {
  const rows: Row[] = [];
  let run: Item[] = [];
  const flush = (): void => {
    const [item] = run;
    if (item === undefined) return;
    if (run.length >= LEAST && !unfolded.has(item.index)) {
      rows.push({
        item,
        last: run.at(-1)!,
        count: run.length,
        payload: run.reduce((sum, { payload }) => sum + payload, 0),
      });
    } else for (const one of run) rows.push({ item: one, last: one, count: 1, payload: one.payload });
    run = [];
  };
  for (const item of model.items) {
    if (!passes(item, filter)) continue;
    if (run.length > 0 && !follows(run[0]!, item, filter.fold)) flush();
    run.push(item);
  }
  flush();
  return rows;
}

function follows(first: Item, next: Item, fold: boolean): boolean {
  return fold && FOLDED.includes(next.kind) && next.kind === first.kind && next.way === first.way &&
    next.connection === first.connection && next.link === first.link && next.faults.length === 0 &&
    first.faults.length === 0;
}

/** What a kind is filtered with: all frames of SASL are one. */
export function kindGroup(kind: string): string {
  return kind.startsWith("sasl") ? "sasl" : kind;
}
