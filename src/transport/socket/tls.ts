/** What TLS is set up with; certificates and keys are PEM. */
export interface TlsOptions {
  /** The authorities that are trusted, instead of the runtime's own. */
  ca?: string | readonly string[] | undefined;
  /** Our certificate, with those that lead to its authority behind it. */
  cert?: string | undefined;
  /** The key of our certificate. */
  key?: string | undefined;
  /** The name that is asked for and that the peer's certificate must bear. Default: the host of the URL. */
  serverName?: string | undefined;
}

/** What TLS is accepted with. */
export interface TlsServerOptions {
  /** Our certificate, with those that lead to its authority behind it; PEM. */
  cert: string;
  /** The key of our certificate; PEM. */
  key: string;
  /** The authorities whose client certificates are trusted; PEM. */
  ca?: string | readonly string[] | undefined;
  /**
   * Whether clients are asked for a certificate, which must then come from `ca`, and whether they can do without.
   * Default: `"request"` with `ca`, else `"none"`.
   */
  clientCertificate?: "none" | "request" | "require" | undefined;
}

/**
 * Checks what can be checked before there is a connection; not every runtime complains.
 *
 * @throws {TypeError} If something is not PEM, or a certificate or key is alone. What it is stays out of the error.
 */
export function checkTls({ ca, cert, key }: TlsOptions): void {
  if ((cert === undefined) !== (key === undefined)) throw new TypeError("Cannot use tls: cert and key come together");
  for (const one of [ca ?? [], cert ?? []].flat()) {
    if (!isPem(one, "CERTIFICATE")) throw new TypeError("Cannot use tls: certificate is not PEM");
  }
  if (key !== undefined && !isPem(key, "PRIVATE KEY")) throw new TypeError("Cannot use tls: key is not PEM");
}

function isPem(text: string, what: string): boolean {
  return text.includes("-----BEGIN ") && text.includes(`${what}-----`);
}
