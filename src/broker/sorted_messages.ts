/**
 * Messages in the order of delivery.
 *
 * @module
 */

/** An item of the list; ranks in one list are unique. */
export interface Ranked {
  /** Items with a lower rank are delivered first. */
  readonly rank: number;
}

// Items that an insertion or removal moves; with more, moving costs more than finding the chunk.
const CHUNK = 256;

interface Chunk<M> {
  items: (M | undefined)[];
  // The index of the first item left: taking from the front moves nothing.
  start: number;
}

/** A sorted list that appends, takes from the front, and takes returned items back at any place, all without walks. */
export class SortedMessages<M extends Ranked> {
  // No chunk is empty.
  #chunks: Chunk<M>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The first item, which stays in the list. */
  get first(): M | undefined {
    const chunk = this.#chunks[0];
    return chunk?.items[chunk.start];
  }

  /** Inserts an item at its place; does nothing if it is there already. */
  insert(message: M): void {
    const chunks = this.#chunks;
    const last = chunks[chunks.length - 1];
    if (last === undefined || last.items[last.items.length - 1]!.rank < message.rank) {
      if (last === undefined || last.items.length >= CHUNK) chunks.push({ items: [message], start: 0 });
      else last.items.push(message);
      this.#size++;
      return;
    }
    const index = this.#chunkOf(message.rank);
    const chunk = chunks[index]!;
    const at = indexIn(chunk, message.rank);
    if (chunk.items[at] === message) return;
    this.#size++;
    // In front of the chunk, where removals have left room.
    if (at === chunk.start && at > 0) chunk.items[--chunk.start] = message;
    else chunk.items.splice(at, 0, message);
    if (chunk.items.length > 2 * CHUNK) this.#split(index);
  }

  shift(): M | undefined {
    const chunk = this.#chunks[0];
    if (chunk === undefined) return undefined;
    const message = chunk.items[chunk.start]!;
    chunk.items[chunk.start++] = undefined;
    if (chunk.start === chunk.items.length) this.#chunks.shift();
    this.#size--;
    return message;
  }

  delete(message: M): boolean {
    if (message === this.first) return this.shift() !== undefined;
    const index = this.#chunkOf(message.rank);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return false;
    const at = indexIn(chunk, message.rank);
    if (chunk.items[at] !== message) return false;
    chunk.items.splice(at, 1);
    if (chunk.start === chunk.items.length) this.#chunks.splice(index, 1);
    this.#size--;
    return true;
  }

  /** The first item whose rank is higher than `rank`; it stays in the list. */
  after(rank: number): M | undefined {
    const chunks = this.#chunks;
    for (let index = this.#chunkOf(rank); index < chunks.length; index++) {
      const chunk = chunks[index]!;
      let at = indexIn(chunk, rank);
      if (chunk.items[at]?.rank === rank) at++;
      if (at < chunk.items.length) return chunk.items[at];
    }
    return undefined;
  }

  /** Removes the items that `which` picks, and returns them in order. */
  extract(which: (message: M) => boolean): M[] {
    const picked: M[] = [];
    const chunks = this.#chunks;
    this.#chunks = [];
    for (const { items, start } of chunks) {
      const left = items.slice(start).filter((message) => {
        if (!which(message!)) return true;
        picked.push(message!);
        return false;
      });
      if (left.length > 0) this.#chunks.push({ items: left, start: 0 });
    }
    this.#size -= picked.length;
    return picked;
  }

  // The index of the last chunk that begins at or before `rank`, or else 0.
  #chunkOf(rank: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      const { items, start } = chunks[middle]!;
      if (items[start]!.rank <= rank) low = middle;
      else high = middle;
    }
    return low;
  }

  #split(index: number): void {
    const { items, start } = this.#chunks[index]!;
    const middle = (start + items.length) >>> 1;
    this.#chunks.splice(
      index,
      1,
      { items: items.slice(start, middle), start: 0 },
      { items: items.slice(middle), start: 0 },
    );
  }
}

// The index of the first item of that rank or a higher one, or where it would be inserted.
function indexIn<M extends Ranked>({ items, start }: Chunk<M>, rank: number): number {
  let low = start;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (items[middle]!.rank < rank) low = middle + 1;
    else high = middle;
  }
  return low;
}
