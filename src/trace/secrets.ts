/**
 * Hides the values in a trace that look like secrets, by their name or by their content.
 *
 * @module
 */

import type { Json } from "./json.ts";

// Names whose values are hidden everywhere.
const SECRET_NAME =
  /password|passwd|passphrase|pwd$|secret|token|credential|signature|api[-_]?key|access[-_]?key|authorization|cookie/i;
// Texts that are hidden under any name: header fields of HTTP, tokens of Azure, JSON Web Tokens, private keys.
const SECRET_TEXT =
  /^(Bearer|Basic|Digest|SharedAccessSignature)\s|(?:^|[^\w-])eyJ[\w-]{8,}\.[\w-]+\.|-----BEGIN [A-Z ]*PRIVATE KEY/;
// Parts of URLs and connection strings.
const SECRET_PART =
  /\b((?:sig|signature|password|pwd|token|access_token|code|SharedAccessKey|client_secret)=)[^&;\s"']+/gi;

const HIDDEN = "(hidden)";

/** A value of a frame without secrets; for a SASL frame also without binaries, which are credentials and proofs. */
export function withoutSecrets(json: Json, sasl: boolean): Json {
  if (typeof json === "string") return withoutSecretText(json);
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map((item) => withoutSecrets(item, sasl));
  const entries = Object.entries(json).map(([key, value]): [string, Json] => {
    if (key === "$map" && Array.isArray(value)) return [key, value.map((entry) => withoutSecretEntry(entry, sasl))];
    if (isSecret(key, value)) return [key, HIDDEN];
    if (sasl && key === "$binary") return [key, ""];
    return [key, withoutSecrets(value, sasl)];
  });
  return Object.fromEntries(entries);
}

/** A text with its secrets hidden. */
export function withoutSecretText(text: string): string {
  if (SECRET_TEXT.test(text)) return HIDDEN;
  const shown = text.replace(SECRET_PART, `$1${HIDDEN}`);
  return shown.includes("://") ? shown.replace(/\S+/g, withoutUserInfo) : shown;
}

// People write passwords into URLs unescaped, with "/", "?", "#" and "@" in them: any text before the last "@" may be one, even
// where it was only a path.
function withoutUserInfo(word: string): string {
  const begin = word.indexOf("://") + 3;
  const at = word.lastIndexOf("@");
  return begin < 3 || at < begin ? word : word.slice(0, begin) + HIDDEN + word.slice(at);
}

// A map whose keys are not plain texts is written as a list of pairs.
function withoutSecretEntry(entry: Json, sasl: boolean): Json {
  if (!Array.isArray(entry)) return withoutSecrets(entry, sasl);
  const [key = null, value = null] = entry;
  const name = typeof key === "string" ? key : JSON.stringify(key);
  return [withoutSecrets(key, sasl), isSecret(name, value) ? HIDDEN : withoutSecrets(value, sasl)];
}

// A flag with such a name, as in "token-expires: true", reveals nothing.
function isSecret(name: string, value: Json): boolean {
  return SECRET_NAME.test(name) && typeof value !== "boolean" && value !== null;
}
