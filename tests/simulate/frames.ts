/**
 * What must hold of the frames of a connection, whatever happens to it.
 *
 * @module
 */

import type { FrameTrace } from "../../src/engine/events.ts";

// What a broker may say to programs that ask for what is not there, or to peers that are dead or late; all else is a fault.
const ALLOWED: readonly string[] = [
  "amqp:link:detach-forced",
  // To a process that is killed, or a connection that is given up: it has come back on another.
  "amqp:link:stolen",
  "amqp:unauthorized-access",
  "amqp:not-found",
  "amqp:resource-deleted",
  "amqp:resource-limit-exceeded",
  "amqp:connection:forced",
  "amqp:transaction:unknown-id",
  "amqp:transaction:timeout",
];

/** Checks frame by frame. */
export class Frames {
  readonly #rule: (holds: boolean, broken: string) => void;
  // The links that are attached on our side: by channel and handle, their names.
  readonly #links = new Map<string, string>();

  /** Tells `rule` what does not hold. */
  constructor(rule: (holds: boolean, broken: string) => void) {
    this.#rule = rule;
  }

  /** Takes the next frame. */
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
