/**
 * Explanations of invalid URLs, with the URL to write instead. Loaded only for an invalid URL.
 *
 * @module
 */

const SCHEMES = '"wss:", "ws:", "amqps:" or "amqp:"';

// The schemes of other libraries and tools, with the scheme here.
const MEANT: Readonly<Record<string, string>> = {
  "http:": "ws:",
  "https:": "wss:",
  "tcp:": "amqp:",
  "ssl:": "amqps:",
  "tls:": "amqps:",
  "amqp+ssl:": "amqps:",
  "amqpws:": "ws:",
  "amqpwss:": "wss:",
};

/** The error for an invalid URL; undefined if the URL seems valid. It does not quote the URL. */
export function explain(input: unknown): TypeError | undefined {
  const state = stateOf(input);
  return state === undefined ? undefined : new TypeError(`Cannot connect: ${state}`);
}

function stateOf(input: unknown): string | undefined {
  if (input instanceof URL) return stateOfText(input.href);
  if (typeof input === "string") return stateOfText(input.trim());
  const given = Object(input) as object;
  const name = given.constructor?.name ?? "Object";
  const isInstance = typeof input === "object" && input !== null && name !== "Object" && !Array.isArray(input);
  const kind = input === null ? "null" : Array.isArray(input) ? "an array" : typeof input;
  const what = isInstance ? `an object of class ${name.slice(0, 64)}` : kind;
  if ("channel" in given) return `URL is ${what}; give its "channel"`;
  if ("onmessage" in given) return `URL is ${what}; give the URL instead, or a channel`;
  const hint = "host" in given || "hostname" in given
    ? ', such as "amqps://host:port" for a host and a port'
    : ', such as "wss://host/path"';
  return `URL is ${what} and not a string${hint}`;
}

function stateOfText(text: string): string | undefined {
  if (text === "") return 'URL is empty; write one such as "wss://host/path"';
  if (/^["']/.test(text)) return "URL is in quotation marks; take them off";
  if (/^endpoint=|;sharedaccesskey/i.test(text)) {
    return 'this is a connection string and not a URL; give it to "azure" of @webamqp/amqp/azure';
  }
  if (/^failover:|,(\w+:\/\/)?[^/@]+:\d+(?=[,/)]|$)/i.test(text)) {
    return "URL names several servers; give connect an array of URLs";
  }
  const scheme = /^([a-z][a-z\d+.-]*:)\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return `URL has no scheme; write ${SCHEMES} and "//" before its host`;
  if (scheme === "sb:") return 'URL scheme is "sb:"; give the connection string to "azure" of @webamqp/amqp/azure';
  if (!["ws:", "wss:", "amqp:", "amqps:"].includes(scheme)) {
    const meant = MEANT[scheme];
    return `URL scheme "${scheme.slice(0, 20)}" is not ${SCHEMES}${meant === undefined ? "" : `; write "${meant}"`}`;
  }
  const rest = text.slice(scheme.length + 2);
  const end = rest.search(/[/?#]/);
  const [authority, behind] = end < 0 ? [rest, ""] : [rest.slice(0, end), rest.slice(end)];
  if (!authority.includes("@") && behind.includes("@") && authority.includes(":")) {
    return 'URL has "/", "?" or "#" in its user name or password; write them as "%2F", "%3F" and "%23", an "@" of a path as "%40"';
  }
  if (behind.includes("#")) return 'URL has a fragment; write "#" as "%23"';
  const place = authority.slice(authority.lastIndexOf("@") + 1);
  if (place === "") return "URL has no host";
  if (/\s/.test(text)) return "URL holds a blank";
  if (/^[\da-f]*:[\da-f:]*:/i.test(place)) return 'URL has an IPv6 address without brackets; write "[::1]:5672"';
  if (/^\[[^\]]*%/.test(place)) {
    return "URL has a zone in its IPv6 address, which no URL holds; write a name of the host";
  }
  const port = /:([^:\]]+)$/.exec(place)?.[1];
  if (port === undefined || /^\d+$/.test(port) && Number(port) <= 65_535) return undefined;
  return "port of the URL is not a number from 0 to 65535";
}
