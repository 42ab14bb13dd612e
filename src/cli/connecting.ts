/**
 * Connecting by the flags that all commands which connect have in common.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { anonymous, connect, type Connection, type ConnectOptions, external, plain } from "../../mod.ts";
import type { SaslMechanism, TlsOptions } from "../../mod.ts";
import type { Context, Flags } from "./context.ts";
import { traceFile } from "./trace_file.ts";
import { UsageError } from "./terminal.ts";

/** A connection with the trace that is written of it. */
export interface Opened extends AsyncDisposable {
  /** The connection. */
  readonly connection: Connection;
}

/** Connects; disposing of it closes the connection and then what is traced. */
export async function open(context: Context, url: string): Promise<Opened> {
  const options = await connectOptions(context.flags);
  const trace = await traceFile(context, `${commandLabel(url)}`, "client");
  const writer = trace?.writer;
  try {
    const connection = await connect(url, {
      ...options,
      signal: context.signal,
      ...(writer !== undefined && { trace: writer }),
    });
    return {
      connection,
      async [Symbol.asyncDispose]() {
        await connection.close();
        await trace?.finish();
      },
    };
  } catch (error) {
    await trace?.finish();
    throw error;
  }
}

/** A URL as it may be shown: without password and query. */
export function commandLabel(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return "(no URL)";
  }
}

/** The options of `connect` that flags ask for. */
export async function connectOptions(flags: Flags): Promise<ConnectOptions> {
  const headers = flags.pairs("header", ":").map(([name, value]) => [name, value.trim()] as const);
  const subprotocols = flags.texts("subprotocol");
  const tls = await tlsOptions(flags);
  const proxy = proxyOption(flags);
  const containerId = flags.text("container"), hostname = flags.text("hostname");
  const auth = mechanism(flags);
  return {
    // A program that calls this one learns by the exit code that the broker has gone.
    ...(!flags.on("reconnect") && { reconnect: false }),
    // Which tell why they cannot connect, as Bun's own WebSocket does not.
    transport: "socket",
    ...(auth !== undefined && { auth }),
    ...(containerId !== undefined && { containerId }),
    ...(hostname !== undefined && { hostname }),
    ...(subprotocols.length > 0 && { subprotocols: [...subprotocols] }),
    ...(headers.length > 0 && { headers }),
    ...(tls !== undefined && { tls }),
    ...(proxy !== undefined && { proxy }),
  };
}

/** The option `proxy` that flags ask for. */
export function proxyOption(flags: Flags): NonNullable<ConnectOptions["proxy"]> | undefined {
  const url = flags.text("proxy");
  return url === undefined || !flags.on("proxy-basic") ? url : { url, schemes: ["digest", "basic"] };
}

function mechanism(flags: Flags): SaslMechanism | null | undefined {
  const user = flags.text("user"), password = flags.text("password");
  switch (flags.text("mechanism")?.toLowerCase()) {
    case undefined:
      return user === undefined ? undefined : plain(user, password ?? "");
    case "anonymous":
      return anonymous();
    case "external":
      return external(user);
    case "none":
      return null;
    case "plain":
      // Without a user name, the user info of the URL is taken.
      return user === undefined ? undefined : plain(user, password ?? "");
    default:
      throw new UsageError(`--mechanism "${flags.text("mechanism")}" is not anonymous, plain, external or none`);
  }
}

/** What the flags say of TLS; undefined if nothing. */
export async function tlsOptions(flags: Flags): Promise<TlsOptions | undefined> {
  const [ca, cert, key] = await Promise.all(["ca", "cert", "key"].map((name) => contentOf(flags, name)));
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  return { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}

/** The text of the file that a flag names. */
export async function contentOf(flags: Flags, name: string): Promise<string | undefined> {
  const path = flags.text(name);
  if (path === undefined) return undefined;
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`--${name} "${path}" cannot be read: ${(error as { code?: string }).code ?? error}`);
  }
}
