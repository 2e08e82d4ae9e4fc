// Read an old configuration file (wg-quick(8)) for its one private key. Nothing here knows of the server.

import { publicKeyOf } from "./public_key_of.js";

const LONGEST = 64 * 1024; // bytes
const SECTION = /^\[\s*(\w+)\s*\]$/;
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** Return {privateKey}, the one whose public half is `publicKey`, or {refusal}: the name of a sentence. */
export async function privateKeyOf(file, publicKey) {
  if (file.size > LONGEST) return { refusal: "too-big" };
  const text = await file.arrayBuffer().then(decode, () => null);
  if (text === null) return { refusal: "unreadable" };
  const found = privateKeyIn(text);
  if (found.refusal) return found;
  return (await publicKeyOf(found.privateKey)) === publicKey ? found : { refusal: "other" };
}

function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The same for a text, whoever's key is in it. */
export function privateKeyIn(text) {
  const lines = text.split(/\r\n|\n|\r/).map((line) => line.replace(/#.*/, "").trim()).filter(Boolean);
  let section = "";
  const keys = [];
  for (const line of lines) {
    const named = line.match(SECTION)?.[1].toLowerCase();
    const [, name, value] = line.match(/^(\w+)\s*=\s*(.*)$/) ?? [];
    if (named) section = named;
    else if (!name || !section) return { refusal: "unreadable" };
    else if (name.toLowerCase() === "privatekey") keys.push(section === "interface" ? value : "");
  }
  if (!section) return { refusal: "unreadable" };
  if (keys.length > 1) return { refusal: "two-keys" };
  return KEY.test(keys[0] ?? "") ? { privateKey: keys[0] } : { refusal: "no-key" };
}
