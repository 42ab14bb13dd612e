/** The registered name of AMQP 1.0 over WebSocket [wsb 2.1]. */
const DEFAULT_SUBPROTOCOL = "amqp";

/**
 * The names to offer or accept, in order of preference, when the caller gave these.
 *
 * @throws {TypeError} If a name is not a token, comes twice, or there is none: a WebSocket without subprotocol is not AMQP.
 */
export function checkSubprotocols(names: readonly string[] = [DEFAULT_SUBPROTOCOL]): readonly string[] {
  if (names.length === 0) throw new TypeError("Cannot use subprotocols: list is empty");
  for (const [index, name] of names.entries()) {
    if (!isToken(name)) throw new TypeError(`Cannot use subprotocol ${JSON.stringify(name)}: it is not a token`);
    if (names.indexOf(name) < index) throw new TypeError(`Cannot use subprotocol "${name}": it is listed twice`);
  }
  return names;
}

/**
 * The tokens of a header such as `Sec-WebSocket-Protocol` or `Upgrade`, or undefined if anything in it is not one.
 *
 * One pass, no expression: a header is the first thing that a stranger sends [rfc9110 5.6.1].
 */
export function tokensOf(header: string): string[] | undefined {
  const tokens: string[] = [];
  for (let start = 0; start <= header.length;) {
    let end = header.indexOf(",", start);
    if (end < 0) end = header.length;
    let from = start;
    let to = end;
    while (from < to && isBlank(header.charCodeAt(from))) from++;
    while (to > from && isBlank(header.charCodeAt(to - 1))) to--;
    // Empty elements are allowed and mean nothing [rfc9110 5.6.1.2].
    if (from < to) {
      const token = header.slice(from, to);
      if (!isToken(token)) return undefined;
      tokens.push(token);
    }
    start = end + 1;
  }
  return tokens;
}

/** Whether the text is a token, the only form that a subprotocol or header name may have [rfc9110 5.6.2]. */
export function isToken(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index);
    if (char <= 0x20 || char >= 0x7F || '"(),/:;<=>?@[\\]{}'.includes(text[index])) return false;
  }
  return text.length > 0;
}

function isBlank(char: number): boolean {
  return char === 0x20 || char === 0x09;
}
