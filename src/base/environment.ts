/**
 * What a program takes from where it runs: here, randomness.
 *
 * @module
 */

/** 128 random bits in hex: nobody can guess or meet it. */
export function randomName(): string {
  // A random UUID would have only 122.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
