import type { ChannelClose } from "./channel.ts";

/**
 * The receiving half that every {@linkcode Channel} of this module shares: it keeps what comes before `onbytes` is set,
 * and tells the end once, after the last byte, in a turn of its own.
 */
export abstract class Inbound {
  #onbytes: ((bytes: Uint8Array) => void) | undefined;
  #onclose: ((close: ChannelClose) => void) | undefined;
  #held: Uint8Array[] = [];
  #close: ChannelClose | undefined;
  #muted = false;
  #told = false;
  #scheduled = false;

  /** Takes the bytes that arrive, in order, and owns them. */
  get onbytes(): ((bytes: Uint8Array) => void) | undefined {
    return this.#onbytes;
  }
  set onbytes(listener: ((bytes: Uint8Array) => void) | undefined) {
    this.#onbytes = listener;
    this.#schedule();
  }

  /** Told once that the channel has ended, whoever ended it. */
  get onclose(): ((close: ChannelClose) => void) | undefined {
    return this.#onclose;
  }
  set onclose(listener: ((close: ChannelClose) => void) | undefined) {
    this.#onclose = listener;
    this.#schedule();
  }

  /** Hands bytes to `onbytes`, or keeps them for it. */
  protected deliver(bytes: Uint8Array): void {
    if (this.#muted || this.#close !== undefined || bytes.length === 0) return;
    // What was kept goes first, so nothing overtakes it while its turn is still to come.
    if (this.#onbytes === undefined || this.#held.length > 0) this.#held.push(bytes);
    else this.#onbytes(bytes);
  }

  /** Delivers nothing that comes from now on. */
  protected mute(): void {
    this.#muted = true;
  }

  /** Forgets what was kept. */
  protected discard(): void {
    this.#held = [];
  }

  /** Records how the channel ended; the first call counts. */
  protected end(close: ChannelClose): void {
    if (this.#close !== undefined) return;
    this.#close = close;
    this.#schedule();
  }

  // Never at once: a runtime may report the end from inside our own call of `close` or `send`, and a listener should
  // not be called from inside the assignment that sets it.
  #schedule(): void {
    if (this.#scheduled || !(this.#hasBytesToHand() || this.#hasEndToTell())) return;
    this.#scheduled = true;
    Promise.resolve().then(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    try {
      while (this.#hasBytesToHand()) this.#onbytes!(this.#held.shift()!);
      if (!this.#hasEndToTell()) return;
      this.#told = true;
      this.#onclose!(this.#close!);
    } finally {
      // A listener that throws does not lose what follows.
      this.#schedule();
    }
  }

  #hasBytesToHand(): boolean {
    return this.#onbytes !== undefined && this.#held.length > 0;
  }

  #hasEndToTell(): boolean {
    return this.#close !== undefined && this.#onclose !== undefined && !this.#told && this.#held.length === 0;
  }
}
