/** Which web pages may connect, by their `Origin`: any, a list such as `["https://app.example"]`, or a test. */
export type OriginPolicy = "any" | readonly string[] | ((origin: string) => boolean);

/**
 * Whether a page of this origin may connect. By default none may: any page that a browser visits could otherwise reach a
 * service on its user's network, with the user's cookies and client certificate.
 */
export function isAllowedOrigin(origin: string, origins: OriginPolicy = []): boolean {
  if (typeof origins === "function") return origins(origin);
  return origins === "any" || origins.includes(origin);
}
