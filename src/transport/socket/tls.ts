import type { OptionKinds } from "../../base/options.ts";

/** The TLS settings of a client; certificates and keys are PEM. */
export interface TlsOptions {
  /** The trusted authorities. Default: those of the runtime. */
  ca?: string | readonly string[] | undefined;
  /** The client certificate, followed by the intermediate ones. */
  cert?: string | undefined;
  /** The client certificate's key. */
  key?: string | undefined;
  /** The name to ask for, which the peer's certificate must bear. Default: the host of the URL. */
  serverName?: string | undefined;
}

export const TLS_KINDS: OptionKinds<TlsOptions> = {
  ca: "string or array of string",
  cert: "string",
  key: "string",
  serverName: "string",
};

/** The TLS settings of a server; certificates and keys are PEM. */
export interface TlsServerOptions {
  /** The server's certificate, followed by the intermediate ones. */
  cert: string;
  /** The certificate's key. */
  key: string;
  /** The authorities that client certificates must come from. */
  ca?: string | readonly string[] | undefined;
  /**
   * Whether clients are asked for a certificate, which must then come from `ca`, and whether they need one. Default:
   * `"request"` with `ca`, else `"none"`.
   */
  clientCertificate?: "none" | "request" | "require" | undefined;
}

/**
 * Checks what can be checked without a connection; not every runtime reports it.
 *
 * @throws {TypeError} If a value is not PEM, or a certificate or key is alone. The error does not quote it.
 */
export function checkTls({ ca, cert, key }: TlsOptions): void {
  if ((cert === undefined) !== (key === undefined)) throw new TypeError("Cannot use tls: cert and key come together");
  for (const one of [ca ?? [], cert ?? []].flat()) {
    if (!isPem(one, "CERTIFICATE")) throw new TypeError("Cannot use tls: certificate is not PEM");
  }
  if (key !== undefined && !isPem(key, "PRIVATE KEY")) throw new TypeError("Cannot use tls: key is not PEM");
}

/**
 * Checks what can be checked of a server's TLS settings before it listens.
 *
 * @throws {TypeError} If a value is missing or is not PEM, or nobody could say where client certificates come from.
 */
export function checkServerTls({ ca, clientCertificate = "none", cert, key }: Partial<TlsServerOptions>): void {
  // Without them a server listens, and every client's handshake fails.
  if (cert === undefined || key === undefined) throw new TypeError('Cannot use tls: a server needs "cert" and "key"');
  checkTls({ ca, cert, key });
  if (clientCertificate === "none" || ca !== undefined) return;
  // The runtime's own authorities would accept anybody.
  throw new TypeError("Cannot listen: client certificates need the authority that they come from, in tls.ca");
}

function isPem(text: string, what: string): boolean {
  return text.includes("-----BEGIN ") && text.includes(`${what}-----`);
}
