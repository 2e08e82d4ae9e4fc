// Make a WireGuard key pair in this page. Nothing here knows of the server.

export class Unsupported extends Error {}

const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

// RFC 7748 section 5, as `wg genkey` does: the apps show a key that is not clamped differently from the one they were given.
function clamp(bytes) {
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
  return bytes;
}

async function generate() {
  if (!globalThis.crypto?.subtle) throw new Unsupported();
  try {
    return await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
  } catch {
    throw new Unsupported();
  }
}

/** Return {privateKey, publicKey}, both base64; throw Unsupported where the browser has no X25519. */
export async function generateKeyPair() {
  const pair = await generate();
  const publicKey = toBase64(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const privateKey = toBase64(clamp(pkcs8.slice(-32))); // RFC 8410: the key is the last 32 bytes
  pkcs8.fill(0);
  return { privateKey, publicKey };
}
