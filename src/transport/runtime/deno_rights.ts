/**
 * The right to listen, which Deno gives by flags of the command line or by asking the user.
 *
 * A file of its own beside the adapter, which is an entry: this is for listening over sockets alone.
 *
 * @module
 */

interface DenoGlobal {
  readonly permissions: {
    request(wanted: { readonly name: "net"; readonly host: string }): Promise<{ readonly state: string }>;
  };
}

/**
 * Asks for the right to listen on an address, all of them if there is none; outside Deno there is nothing to ask for.
 *
 * Deno's `node:net` would ask in a turn of its own, where nobody can take the refusal and the process ends.
 *
 * @throws {Error} Named `NotCapable`, as Deno's own, if the right is not given.
 */
export async function allowListening(address: string | undefined, port: number): Promise<void> {
  const { Deno } = globalThis as { Deno?: DenoGlobal };
  if (Deno === undefined) return;
  const name = address === undefined ? "[::]" : address.includes(":") ? `[${address}]` : address;
  const host = `${name}:${port}`;
  const { state } = await Deno.permissions.request({ name: "net", host });
  if (state === "granted") return;
  throw Object.assign(new Error(`Requires net access to "${host}"`), { name: "NotCapable" });
}
