// Make a WireGuard key pair in this page. Nothing here knows of the server.

export class Unsupported extends Error {}
export class WeakRandomness extends Error {}

const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
const equal = (one, other) => one.every((byte, at) => byte === other[at]);

// RFC 7748 section 5, as `wg genkey` does: the apps show a key that is not clamped differently from the one they were given.
function clamp(bytes) {
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
  return bytes;
}

const ZERO = clamp(new Uint8Array(32)); // compared once clamped: Chromium itself sets bits that clamping clears

async function drawByWebCrypto() {
  const pair = await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
  const publicBytes = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const privateBytes = clamp(pkcs8.subarray(-32)); // RFC 8410: the key is the last 32 bytes
  return { privateBytes, publicBytes: () => publicBytes };
}

async function drawByModule() {
  const { x25519 } = await import("../vendor/noble-curves/x25519.js");
  const privateBytes = clamp(crypto.getRandomValues(new Uint8Array(32)));
  return { privateBytes, publicBytes: () => x25519.getPublicKey(privateBytes) };
}

async function draw() {
  if (!globalThis.isSecureContext || !globalThis.crypto?.getRandomValues) throw new Unsupported();
  try {
    return await drawByWebCrypto();
  } catch {
    return drawByModule(); // X25519 came to Safari in 2023, to Firefox in 2024, to Chromium in 2025
  }
}

/**
 * Return {privateKey, publicKey}, both base64.
 *
 * Throw Unsupported outside a secure context, and WeakRandomness where one of two draws is zero or both are the same: such a
 * key is one that others have too, and nothing later would tell.
 */
export async function generateKeyPair() {
  const drawn = [];
  try {
    while (drawn.length < 2) drawn.push(await draw());
    const [first, second] = drawn.map(({ privateBytes }) => privateBytes);
    if (equal(first, second) || equal(first, ZERO) || equal(second, ZERO)) throw new WeakRandomness();
    return { privateKey: toBase64(first), publicKey: toBase64(drawn[0].publicBytes()) };
  } finally {
    for (const { privateBytes } of drawn) privateBytes.fill(0);
  }
}
