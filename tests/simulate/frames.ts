/**
 * Rules that hold for the frames of a connection, whatever happens to it.
 *
 * @module
 */

import type { FrameTrace } from "../../src/engine/events.ts";

// Errors that a broker may send to programs that ask for missing nodes, or to dead or late peers; all others are faults.
const ALLOWED: readonly string[] = [
  "amqp:link:detach-forced",
  // To a killed process or a lost connection whose link is attached again on another.
  "amqp:link:stolen",
  "amqp:unauthorized-access",
  "amqp:not-found",
  "amqp:resource-deleted",
  "amqp:resource-limit-exceeded",
  "amqp:connection:forced",
  "amqp:transaction:unknown-id",
  "amqp:transaction:timeout",
];

/** Checks frames one by one. */
export class Frames {
  readonly #rule: (holds: boolean, broken: string) => void;
  // The attached links of our side: names by channel and handle.
  readonly #links = new Map<string, string>();

  /** Reports broken rules to `rule`. */
  constructor(rule: (holds: boolean, broken: string) => void) {
    this.#rule = rule;
  }

  check({ direction, channel, body }: FrameTrace): void {
    if (body === undefined) return;
    if ("error" in body && body.error !== undefined) {
      const { condition, description } = body.error as { condition: string; description?: string };
      this.#rule(ALLOWED.includes(condition), `${body.kind} with ${condition}: ${description}`);
    }
    if (direction === "in") return;
    switch (body.kind) {
      case "open":
        return this.#links.clear();
      case "attach": {
        const link = `${body.role} ${body.name}`;
        const twice = [...this.#links.values()].includes(link);
        this.#rule(!twice, `${link} is attached twice`);
        this.#links.set(`${channel} ${body.handle}`, link);
        return;
      }
      case "detach":
        return void this.#links.delete(`${channel} ${body.handle}`);
      case "end":
        for (const key of [...this.#links.keys()]) if (key.startsWith(`${channel} `)) this.#links.delete(key);
    }
  }
}
