// Derive the public key that belongs to a private one. Both are base64, as in a configuration.

// RFC 8410: what stands before the 32 bytes of an X25519 private key in PKCS #8.
const HEAD = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];

const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

async function byWebCrypto(privateBytes) {
  const wrapped = new Uint8Array([...HEAD, ...privateBytes]);
  try {
    const key = await crypto.subtle.importKey("pkcs8", wrapped, { name: "X25519" }, true, ["deriveBits"]);
    const { x } = await crypto.subtle.exportKey("jwk", key);
    return fromBase64(x.replaceAll("-", "+").replaceAll("_", "/"));
  } finally {
    wrapped.fill(0);
  }
}

async function byModule(privateBytes) {
  const { x25519 } = await import("../vendor/noble-curves/x25519.js");
  return x25519.getPublicKey(privateBytes);
}

/** Return the public key of `privateKey`, 44 characters that decode to 32 bytes. */
export async function publicKeyOf(privateKey) {
  const privateBytes = fromBase64(privateKey);
  try {
    return toBase64(await byWebCrypto(privateBytes).catch(() => byModule(privateBytes)));
  } finally {
    privateBytes.fill(0);
  }
}
