/**
 * Numbers of several bytes, most significant byte first.
 *
 * @module
 */

let nothing: Uint8Array<ArrayBuffer> | undefined;
let scratch: DataView | undefined;

/** No bytes; one for all, since an array of none takes 200 bytes in V8. */
export function noBytes(): Uint8Array<ArrayBuffer> {
  return nothing ??= new Uint8Array(0);
}

/** The unsigned number of four bytes that stands there. */
export function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
}

/**
 * Eight bytes to put the parts of a number into, or the number to take its parts from; another call may change them.
 *
 * There is one for all: a view over each message for the one double in it costs five times the copy.
 */
export function scratchView(): DataView {
  return scratch ??= new DataView(new ArrayBuffer(8));
}

/** The bytes that stand there as a view; valid until the next call. */
export function loaded(bytes: Uint8Array, at: number, width: 4 | 8): DataView {
  const view = scratchView();
  for (let i = 0; i < width; i++) view.setUint8(i, bytes[at + i]);
  return view;
}
