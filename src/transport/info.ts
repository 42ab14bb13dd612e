/**
 * What a carrier knows of the peer at its other end.
 *
 * @module
 */

/** A client's certificate whose authority was trusted. */
export interface PeerCertificate {
  /** Whom it was given to, such as `{ O: "Example", CN: "alice" }`; an attribute that repeats is joined by newlines. */
  readonly subject: Readonly<Record<string, string>>;
  /** Its further names, such as `DNS:a.example, email:b@c.example`. */
  readonly subjectAltName: string | undefined;
  /** Its SHA-256 digest, as hex with colons. */
  readonly fingerprint: string;
}

/** What is known of a peer below AMQP; what a carrier cannot tell is absent. */
export interface PeerInfo {
  /** The WebSocket subprotocol that was agreed; absent where there is no WebSocket. */
  readonly protocol?: string | undefined;
  /** Whether TLS ends here. */
  readonly secure?: boolean | undefined;
  /** The address that the connection comes from, which may be that of a front end. */
  readonly remoteAddress?: string | undefined;
  /** The certificate that the client has proved to hold the key of. */
  readonly certificate?: PeerCertificate | undefined;
}
