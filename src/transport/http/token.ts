/** Whether the text is a token: what a method, a field name and a subprotocol are made of [rfc9110 5.6.2]. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}
