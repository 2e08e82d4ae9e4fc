// Find a device's own public key in what was pasted or dropped, and refuse everything that may hold a private key.
//
// Taken: one bare key, or one line `PublicKey = …` that stands in no section. Refused:
// - any mention of a private key: nothing is derived from it and nothing of it is sent;
// - a file whose name says private (wg(8) suggests `privatekey`): a bare private key looks exactly like a public one;
// - any [Interface] or [Peer] section: the PublicKey under [Peer] is the other end's, never this device's own.

const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
const LINE = /^(?:public\s*key\s*[=:]\s*)?(\S+)$/i;
const LONGEST = 64 * 1024;

/** Return {publicKey} or {refusal}, a sentence's name. An empty text is neither: {}. */
export function publicKeyIn(text, fileName = "") {
  if (/private/i.test(fileName) || /private\s*key/i.test(text)) return { refusal: "holds-private-key" };
  if (/\[\s*(interface|peer)\s*\]/i.test(text)) return { refusal: "whole-configuration" };
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const telling = lines.filter((line) => line && !line.startsWith("#"));
  if (!telling.length && !fileName) return {};
  const key = telling.length === 1 && telling[0].match(LINE)?.[1];
  return key && KEY.test(key) ? { publicKey: key } : { refusal: "no-public-key" };
}

/** The same for a file, which is read here and not sent. */
export async function publicKeyInFile(file) {
  if (file.size > LONGEST) return { refusal: "no-public-key" };
  return publicKeyIn(await file.text(), file.name);
}
