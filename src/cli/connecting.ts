/**
 * Connecting by the flags that all connecting commands have in common.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { AmqpError, anonymous, connect, type Connection, type ConnectOptions, external, plain } from "../../mod.ts";
import type { SaslMechanism, TlsOptions } from "../../mod.ts";
import { bearer, credentials, oauthbearer, scram, xoauth2 } from "../sasl/mod.ts";
import { urlLabel } from "../transport/url.ts";
import { type Context, fileMistake, type Flags } from "./context.ts";
import { traceFile } from "./trace_file.ts";
import { UsageError } from "./terminal.ts";

/** A connection with the trace of its frames. */
export interface Opened extends AsyncDisposable {
  readonly connection: Connection;
}

/** Connects; disposal closes the connection and then the trace. */
export async function open(context: Context, url: string): Promise<Opened> {
  const options = await connectOptions(context.flags, url);
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
    if (isClearOnly(error) && !context.flags.on("cleartext")) (error as Error).message += `; ${CLEAR_ONLY}`;
    throw error;
  }
}

/** The remedy where a server takes passwords only in clear, without TLS. */
export const CLEAR_ONLY = "it takes the password only in clear: use wss: or amqps:, or --cleartext";

/** Whether an error means that. */
export function isClearOnly(error: unknown): boolean {
  return error instanceof AmqpError &&
    /allowCleartext|^Cannot authenticate with SCRAM.* offers "(?!.*SCRAM)[^"]*\bPLAIN\b/.test(error.message);
}

/** A URL for output: without password and query. */
export function commandLabel(url: string): string {
  try {
    return urlLabel(new URL(url));
  } catch {
    return "(no URL)";
  }
}

/** The options of `connect` from flags; `url` may hold the user name and password. */
export async function connectOptions(flags: Flags, url: string | undefined): Promise<ConnectOptions> {
  const headers = flags.pairs("header", ":").map(([name, value]) => [name, value.trim()] as const);
  const subprotocols = flags.texts("subprotocol");
  const tls = await tlsOptions(flags);
  const proxy = proxyOption(flags);
  const containerId = flags.text("container"), hostname = flags.text("hostname");
  const auth = mechanism(flags, url);
  return {
    // A calling script learns from the exit code that the broker is gone.
    ...(!flags.on("reconnect") && { reconnect: false }),
    // Sockets report why they cannot connect, which Bun's own WebSocket does not.
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

export function proxyOption(flags: Flags): NonNullable<ConnectOptions["proxy"]> | undefined {
  const url = flags.text("proxy");
  return url === undefined || !flags.on("proxy-basic") ? url : { url, schemes: ["digest", "basic"] };
}

type Mechanisms = SaslMechanism | SaslMechanism[] | null;

function mechanism(flags: Flags, url: string | undefined): Mechanisms | undefined {
  const name = flags.text("mechanism")?.toLowerCase();
  const allowCleartext = flags.on("cleartext");
  const user = flags.text("user") ?? userInfo(url, "username");
  const given = flags.text("password") ?? userInfo(url, "password");
  // Read only by mechanisms that need them, in the order in which a user would look for missing ones.
  const username = (): string => user ?? missing("user name", "--user or WEBAMQP_USER");
  const password = (): string =>
    given ?? missing(user === undefined ? "password" : `password of "${user}"`, "--password or WEBAMQP_PASSWORD");
  if (name === undefined) {
    if (user !== undefined) return credentials(user, password(), { allowCleartext });
    if (flags.text("password") !== undefined) username();
    return undefined;
  }
  const scramBy = (hash: "SHA-1" | "SHA-256" | "SHA-512") => () => scram(username(), password(), { hash });
  const makers: Readonly<Record<string, () => Mechanisms>> = {
    anonymous,
    external: () => external(user),
    none: () => null,
    plain: () => plain(username(), password(), { allowCleartext }),
    "scram-sha-1": scramBy("SHA-1"),
    "scram-sha-256": scramBy("SHA-256"),
    "scram-sha-512": scramBy("SHA-512"),
    bearer: () => bearer(password()),
    oauthbearer: () => oauthbearer(password()),
    xoauth2: () => xoauth2(password()),
  };
  if (Object.hasOwn(makers, name)) return makers[name]!();
  throw new UsageError(`--mechanism "${name}" is none of ${Object.keys(makers).join(", ")}`);
}

function missing(what: string, where: string): never {
  throw new UsageError(`${what} is missing: in the URL, ${where}`);
}

function userInfo(url: string | undefined, part: "username" | "password"): string | undefined {
  try {
    return decodeURIComponent(new URL(url!)[part]) || undefined;
  } catch {
    // `connect` reports an invalid URL.
    return undefined;
  }
}

/** The TLS options from flags; undefined without any. */
async function tlsOptions(flags: Flags): Promise<TlsOptions | undefined> {
  const [ca, cert, key] = await Promise.all(["ca", "cert", "key"].map((name) => contentOf(flags, name)));
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  return { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}

export async function contentOf(flags: Flags, name: string): Promise<string | undefined> {
  const bytes = await fileBytes(flags, name);
  return bytes && new TextDecoder().decode(bytes);
}

export async function fileBytes(flags: Flags, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const path = flags.text(name);
  if (path === undefined) return undefined;
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw fileMistake(name, path, error, "read");
  }
}
