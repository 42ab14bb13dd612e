/**
 * Deno's permission to listen, given by command-line flags or by the user.
 *
 * Apart from the adapter, which is an entry: only listening over sockets needs it.
 *
 * @module
 */

import { joinAuthority } from "../url.ts";

interface DenoGlobal {
  readonly permissions: {
    request(wanted: { readonly name: "net"; readonly host: string }): Promise<{ readonly state: string }>;
  };
}

/**
 * Asks for permission to listen on an address, undefined for all; does nothing outside Deno.
 *
 * Deno's `node:net` would ask in a turn of its own, where nobody can catch the refusal and the process ends.
 *
 * @throws {Error} Named `NotCapable`, as Deno's own, if permission is denied.
 */
export async function allowListening(address: string | undefined, port: number): Promise<void> {
  const { Deno } = globalThis as { Deno?: DenoGlobal };
  if (Deno === undefined) return;
  const host = joinAuthority(address ?? "::", port);
  const { state } = await Deno.permissions.request({ name: "net", host });
  if (state === "granted") return;
  throw Object.assign(new Error(`Requires net access to "${host}"`), { name: "NotCapable" });
}
