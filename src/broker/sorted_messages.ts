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
// Places of the last chunk that are kept when it has become empty, as many queues are empty again and again.
const MAX_SPARE = 64;

/** How a list keeps items that are many: as two values each, of which it makes them again. */
export interface Parts<M, P> {
  /** The first value. */
  part(item: M): P;
  /** The second value. */
  place(item: M): number;
  /** The item, made of its values. */
  item(part: P, place: number, rank: number): M;
}

interface Chunk<P> {
  readonly ranks: number[];
  readonly parts: (P | undefined)[];
  // Empty in a list that keeps its items as they are.
  readonly places: number[];
  // The index of the first item left: taking from the front moves nothing.
  start: number;
}

/** A sorted list that appends, takes from the front, and takes returned items back at any place, all without walks. */
export class SortedMessages<M extends Ranked, P = M> {
  readonly #how: Parts<M, P> | undefined;
  // No chunk is empty, except one that has no other beside it.
  #chunks: Chunk<P>[] = [];
  // The only item of the list, as it is: many lists have no more at a time.
  #only: M | undefined;
  #size = 0;

  /** Keeps items as they are, unless `how` is given. */
  constructor(how?: Parts<M, P>) {
    this.#how = how;
  }

  get size(): number {
    return this.#size;
  }

  /** The first item, which stays in the list. */
  get first(): M | undefined {
    return this.#only ?? (this.#size === 0 ? undefined : this.#itemAt(this.#chunks[0]!, this.#chunks[0]!.start));
  }

  /** Inserts an item at its place; does nothing if there is one of its rank already. */
  insert(item: M): void {
    if (this.#size === 0) {
      this.#only = item;
      this.#size = 1;
      return;
    }
    this.#spread();
    this.#put(item);
  }

  shift(): M | undefined {
    const item = this.first;
    if (item === undefined) return undefined;
    this.#size--;
    if (this.#only !== undefined) {
      this.#only = undefined;
      return item;
    }
    const chunk = this.#chunks[0]!;
    chunk.parts[chunk.start++] = undefined;
    this.#dropEmpty(0);
    return item;
  }

  /** Removes the item of a rank; false if there is none. */
  delete(rank: number): boolean {
    if (this.#only !== undefined) return this.#only.rank === rank && this.shift() !== undefined;
    const index = this.#chunkOf(rank);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return false;
    const at = indexIn(chunk, rank);
    if (chunk.ranks[at] !== rank) return false;
    if (at === chunk.start) chunk.parts[chunk.start++] = undefined;
    else {
      chunk.ranks.splice(at, 1);
      chunk.parts.splice(at, 1);
      chunk.places.splice(at, 1);
    }
    this.#dropEmpty(index);
    this.#size--;
    return true;
  }

  /** The item of a rank, which stays in the list; undefined if there is none. */
  get(rank: number): M | undefined {
    if (this.#only !== undefined) return this.#only.rank === rank ? this.#only : undefined;
    const chunk = this.#chunks[this.#chunkOf(rank)];
    if (chunk === undefined) return undefined;
    const at = indexIn(chunk, rank);
    return chunk.ranks[at] === rank ? this.#itemAt(chunk, at) : undefined;
  }

  /** The first item whose rank is higher than `rank`; it stays in the list. */
  after(rank: number): M | undefined {
    if (this.#only !== undefined) return this.#only.rank > rank ? this.#only : undefined;
    const chunks = this.#chunks;
    for (let index = this.#chunkOf(rank); index < chunks.length; index++) {
      const chunk = chunks[index]!;
      let at = indexIn(chunk, rank);
      if (chunk.ranks[at] === rank) at++;
      if (at < chunk.parts.length) return this.#itemAt(chunk, at);
    }
    return undefined;
  }

  /** Removes the items that `which` picks by what is kept of them, and returns them in order. */
  extract(which: (part: P) => boolean): M[] {
    this.#spread();
    const picked: M[] = [];
    const chunks = this.#chunks;
    this.#chunks = [];
    for (const chunk of chunks) {
      const left: Chunk<P> = { ranks: [], parts: [], places: [], start: 0 };
      for (let at = chunk.start; at < chunk.parts.length; at++) {
        if (which(chunk.parts[at]!)) picked.push(this.#itemAt(chunk, at));
        else copyTo(left, chunk, at);
      }
      if (left.parts.length > 0) this.#chunks.push(left);
    }
    this.#size -= picked.length;
    return picked;
  }

  #dropEmpty(index: number): void {
    const chunks = this.#chunks;
    const { start, parts } = chunks[index]!;
    if (start < parts.length || (chunks.length === 1 && parts.length <= MAX_SPARE)) return;
    if (index === 0) chunks.shift();
    else chunks.splice(index, 1);
  }

  // Puts the only item into a chunk, for what looks there.
  #spread(): void {
    const only = this.#only;
    if (only === undefined) return;
    this.#only = undefined;
    this.#size = 0;
    this.#put(only);
  }

  #put(item: M): void {
    const { rank } = item;
    const chunks = this.#chunks;
    const last = chunks[chunks.length - 1];
    if (last === undefined || last.ranks[last.ranks.length - 1]! < rank) {
      let chunk = last;
      if (chunk === undefined || chunk.parts.length >= CHUNK) {
        chunk = { ranks: [], parts: [], places: [], start: 0 };
        chunks.push(chunk);
      }
      this.#insertAt(chunk, chunk.parts.length, item);
      return;
    }
    const index = this.#chunkOf(rank);
    const chunk = chunks[index]!;
    const at = indexIn(chunk, rank);
    if (chunk.ranks[at] === rank && at < chunk.parts.length) return;
    this.#insertAt(chunk, at, item);
    if (chunk.parts.length > 2 * CHUNK) this.#split(index);
  }

  #insertAt(chunk: Chunk<P>, at: number, item: M): void {
    const { ranks, parts, places } = chunk;
    const how = this.#how;
    const part = how === undefined ? item as unknown as P : how.part(item);
    this.#size++;
    if (at === parts.length) {
      ranks.push(item.rank);
      parts.push(part);
      if (how !== undefined) places.push(how.place(item));
    } else if (at === chunk.start && at > 0) {
      // In front of the chunk, where removals have left room.
      chunk.start = --at;
      ranks[at] = item.rank;
      parts[at] = part;
      if (how !== undefined) places[at] = how.place(item);
    } else {
      ranks.splice(at, 0, item.rank);
      parts.splice(at, 0, part);
      if (how !== undefined) places.splice(at, 0, how.place(item));
    }
  }

  #itemAt(chunk: Chunk<P>, at: number): M {
    const part = chunk.parts[at]!;
    return this.#how === undefined ? part as unknown as M : this.#how.item(part, chunk.places[at]!, chunk.ranks[at]!);
  }

  // The index of the last chunk that begins at or before `rank`, or else 0.
  #chunkOf(rank: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      const { ranks, start } = chunks[middle]!;
      if (ranks[start]! <= rank) low = middle;
      else high = middle;
    }
    return low;
  }

  #split(index: number): void {
    const chunk = this.#chunks[index]!;
    const middle = (chunk.start + chunk.parts.length) >>> 1;
    this.#chunks.splice(index, 1, cut(chunk, chunk.start, middle), cut(chunk, middle, chunk.parts.length));
  }
}

function cut<P>({ ranks, parts, places }: Chunk<P>, from: number, to: number): Chunk<P> {
  return { ranks: ranks.slice(from, to), parts: parts.slice(from, to), places: places.slice(from, to), start: 0 };
}

function copyTo<P>(to: Chunk<P>, from: Chunk<P>, at: number): void {
  to.ranks.push(from.ranks[at]!);
  to.parts.push(from.parts[at]);
  if (from.places.length > 0) to.places.push(from.places[at]!);
}

// The index of the first item of that rank or a higher one, or where it would be inserted.
function indexIn<P>({ ranks, start }: Chunk<P>, rank: number): number {
  let low = start;
  let high = ranks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranks[middle]! < rank) low = middle + 1;
    else high = middle;
  }
  return low;
}
