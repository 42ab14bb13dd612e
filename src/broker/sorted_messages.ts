/**
 * Messages in the order in which they are to be delivered.
 *
 * @module
 */

/** What stands in the order; no two of one list have the same rank. */
export interface Ranked {
  /** Its place: what has the lower rank is delivered first. */
  readonly rank: number;
}

// What is moved when a message is put in between or taken out; with more, moving costs more than finding the chunk.
const CHUNK = 256;

interface Chunk<M> {
  items: (M | undefined)[];
  // Where the first that is left stands: taking from the front moves nothing.
  start: number;
}

/** A sorted list that grows at the end, is taken from the front, and takes what comes back to anywhere, all without walks. */
export class SortedMessages<M extends Ranked> {
  // No chunk is empty.
  #chunks: Chunk<M>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The first, which stays. */
  get first(): M | undefined {
    const chunk = this.#chunks[0];
    return chunk?.items[chunk.start];
  }

  /** Puts a message at its place; does nothing if it is there already. */
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
    // In front of all: where one was taken there is room.
    if (at === chunk.start && at > 0) chunk.items[--chunk.start] = message;
    else chunk.items.splice(at, 0, message);
    if (chunk.items.length > 2 * CHUNK) this.#split(index);
  }

  /** Takes out the first. */
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

  /** The first whose rank is higher than `rank`, which stays. */
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

  /** Takes out all that `which` picks, in order. */
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

  // The last chunk that begins at or before `rank`, or else the first.
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

// Where in a chunk the first message of that rank or a higher one stands, or would stand.
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
