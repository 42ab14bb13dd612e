/**
 * Serial number arithmetic on 32 bits [rfc1982], for transfer ids, delivery ids and delivery counts.
 *
 * @module
 */

/** The serial `n` after `a`; `n` may be negative. */
export function add(a: number, n: number): number {
  return (a + n) >>> 0;
}

/**
 * How far `a` lies after `b`: negative when `a` comes first.
 *
 * At a distance of 2^31 the order is undefined [rfc1982 3.2]; the answer there is -2^31 both ways round, so a caller that
 * asks for "not negative" refuses it.
 */
export function difference(a: number, b: number): number {
  return (a - b) | 0;
}
