/**
 * The links of a session by handle.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Role } from "../codec/types.ts";
import type { LinkEndpoint } from "./link.ts";

/** The links of one session: by our handle, by the peer's, and by name while the peer's answer is awaited. */
export class Handles {
  readonly #local = new Map<number, LinkEndpoint>();
  readonly #remote = new Map<number, LinkEndpoint>();
  readonly #awaiting = new Map<string, LinkEndpoint>();
  // The links of a name and role: more than one while former ones end.
  readonly #named = new Map<string, readonly LinkEndpoint[]>();
  // No handle of ours below it is free.
  #lowest = 0;
  // The peer's handles whose link ended with an error: later frames are an errant link's. Bounded by handle-max.
  readonly #errant = new Set<number>();
  /** The peer's handles that it has used again before it answered our detach. Bounded by handle-max. */
  readonly overtaken: Set<number> = new Set();

  get size(): number {
    return this.#local.size;
  }

  links(): IterableIterator<LinkEndpoint> {
    return this.#local.values();
  }

  /**
   * The lowest handle of ours that is free, for the link `name`.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if that is above `most`.
   */
  free(name: string, most: number): number {
    let handle = this.#lowest;
    while (this.#local.has(handle)) handle++;
    this.#lowest = handle;
    if (handle <= most) return handle;
    throw tooManyLinks(name, handle);
  }

  /** Adds a link under our handle. */
  add(link: LinkEndpoint): void {
    this.#local.set(link.handle, link);
    this.#named.set(keyOf(link.name, link.role), [...this.named(link.name, link.role), link]);
  }

  /** The links of that name and role. */
  named(name: string, role: Role): readonly LinkEndpoint[] {
    return this.#named.get(keyOf(name, role)) ?? [];
  }

  /** Expects the peer's attach for a link. */
  expect(link: LinkEndpoint): void {
    this.#awaiting.set(keyOf(link.name, link.role), link);
  }

  /** Removes and returns the awaited link that an attach of the peer answers. */
  answered(name: string, role: Role): LinkEndpoint | undefined {
    const key = keyOf(name, role);
    const link = this.#awaiting.get(key);
    this.#awaiting.delete(key);
    return link;
  }

  bind(handle: number, link: LinkEndpoint): void {
    this.#remote.set(handle, link);
    this.#errant.delete(handle);
  }

  /** The link of the peer's handle. */
  get(handle: number): LinkEndpoint | undefined {
    return this.#remote.get(handle);
  }

  /** The link of ours that a detach without an attach refuses: it has no handle of the peer's, who can only mean ours. */
  refused(handle: number): LinkEndpoint | undefined {
    const link = this.#local.get(handle);
    return link?.state === "attachSent" || link?.state === "detachPipe" ? link : undefined;
  }

  /** Frees the peer's handle of a link that attaches again. */
  unbind(link: LinkEndpoint): void {
    if (link.remoteHandle !== undefined) this.#remote.delete(link.remoteHandle);
    link.remoteHandle = undefined;
  }

  /** Notes that a link ends with an error. */
  blame(link: LinkEndpoint): void {
    if (link.remoteHandle !== undefined) this.#errant.add(link.remoteHandle);
  }

  /** Whether the last link of the peer's handle ended with an error. */
  isErrant(handle: number): boolean {
    return this.#errant.has(handle);
  }

  delete(link: LinkEndpoint): void {
    this.#local.delete(link.handle);
    this.#lowest = Math.min(this.#lowest, link.handle);
    const key = keyOf(link.name, link.role);
    if (this.#awaiting.get(key) === link) this.#awaiting.delete(key);
    const named = this.named(link.name, link.role).filter((other) => other !== link);
    if (named.length > 0) this.#named.set(key, named);
    else this.#named.delete(key);
    if (link.remoteHandle !== undefined) this.#remote.delete(link.remoteHandle);
  }

  clear(): void {
    this.#local.clear();
    this.#remote.clear();
    this.#awaiting.clear();
    this.#named.clear();
    this.#lowest = 0;
    this.#errant.clear();
    this.overtaken.clear();
  }
}

/** The error for a link that would be one too many on its session. */
export function tooManyLinks(name: string, count: number): AmqpError {
  return new AmqpError(
    condition.resourceLimitExceeded,
    `Cannot attach link ${quote(name)}: ${count} links are attached, begin another session`,
    { scope: "link" },
  );
}

// One container may have a sender and a receiver of the same name.
function keyOf(name: string, role: Role): string {
  return `${role}:${name}`;
}
