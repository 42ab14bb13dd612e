/**
 * Data that outlives a killed process: the unsettled messages of its links.
 *
 * @module
 */

import type { UnsettledDelivery, UnsettledStore } from "../../src/client/recovery.ts";
import { DecodedMessage } from "../../src/codec/message.ts";
import type { Random } from "../harness.ts";
import type { SimulatedTime } from "./world.ts";

/** Most milliseconds to keep or erase a message. */
export const MAX_DISK_MS = 20;

/** The disk of a machine. */
export class Disk {
  readonly #links = new Map<string, Map<string, UnsettledDelivery>>();
  readonly #written = new Set<string>();

  /** The kept messages of a link, in the order of the tags. */
  of(link: string): UnsettledDelivery[] {
    return [...this.#links.get(link) ?? []].toSorted(([a], [b]) => a < b ? -1 : 1).map(([, delivery]) => delivery);
  }

  write(link: string, { tag, payload, messageFormat, state }: UnsettledDelivery): void {
    const deliveries = this.#links.get(link) ?? new Map();
    this.#links.set(link, deliveries);
    deliveries.set(keyOf(tag), { tag: tag.slice(), payload: payload.slice(), messageFormat, state: state.slice() });
    this.#written.add(`${link} ${textOf(payload)}`);
  }

  erase(link: string, tag: Uint8Array): void {
    this.#links.get(link)?.delete(keyOf(tag));
  }

  /** Whether a link's message is kept, or was once. */
  has(link: string, body: string): "kept" | "erased" | undefined {
    if (this.of(link).some(({ payload }) => textOf(payload) === body)) return "kept";
    return this.#written.has(`${link} ${body}`) ? "erased" : undefined;
  }
}

/** One process's view of a disk; once it is dead nothing more is written. */
export class ProcessStore implements UnsettledStore {
  dead = false;
  readonly #disk: Disk;
  readonly #time: SimulatedTime;
  readonly #random: Random;

  /** Reads and writes `disk` with delays. */
  constructor(disk: Disk, time: SimulatedTime, random: Random) {
    this.#disk = disk;
    this.#time = time;
    this.#random = random;
  }

  async load(link: string): Promise<UnsettledDelivery[]> {
    await this.#turn();
    return this.#disk.of(link);
  }

  async put(link: string, delivery: UnsettledDelivery): Promise<void> {
    await this.#turn();
    this.#disk.write(link, delivery);
  }

  async delete(link: string, tag: Uint8Array): Promise<void> {
    await this.#turn();
    this.#disk.erase(link, tag);
  }

  async #turn(): Promise<void> {
    await this.#time.sleep(this.#random.int(MAX_DISK_MS));
    if (this.dead) await new Promise(() => {});
  }
}

/** The body of an encoded message, without its padding. */
export function textOf(payload: Uint8Array): string {
  return withoutPadding(new DecodedMessage(payload).text());
}

/** A body without its padding; with a corrupted padding, it is the body of no message. */
export function withoutPadding(text: string): string {
  const end = text.indexOf("|");
  if (end < 0) return text;
  return /^\|x*$/.test(text.slice(end)) ? text.slice(0, end) : "a message that has changed on its way";
}

function keyOf(tag: Uint8Array): string {
  return String.fromCharCode(...tag);
}
