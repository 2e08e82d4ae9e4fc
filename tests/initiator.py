"""The other side of a handshake: initiations as a client makes them, and as somebody forges them. Does not know pytest."""

import base64
import secrets
import struct
import time
from hashlib import blake2s

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peers.wireguard.handshake import CHAIN, HASH, NONCE, TYPE, _hash, _next

TAI64 = 0x400000000000000A  # of 1970-01-01, as WireGuard counts it


def tai64n(seconds: float | None = None) -> bytes:
    """Return the timestamp of a time since the epoch; now, when none is given."""
    at = time.time() if seconds is None else seconds
    return struct.pack("!QI", TAI64 + int(at), int(at % 1 * 1e9))


def initiation(private_key: str, responder: str, timestamp: bytes) -> bytes:
    """Return what the holder of ``private_key`` sends to begin a handshake; all keys are base64 text."""
    own, other = _private(private_key), base64.b64decode(responder)
    return _made(own.public_key().public_bytes_raw(), lambda: own.exchange(_public(other)), other, timestamp)


def forged(public_key: str, responder: str, timestamp: bytes) -> bytes:
    """Return what anybody can make who knows both public keys: all but the timestamp's key."""
    return _made(
        base64.b64decode(public_key), lambda: secrets.token_bytes(32), base64.b64decode(responder), timestamp
    )


def bogus(responder: str) -> bytes:
    """Return noise of the right length with a mac1 that is right: the public key is all that takes."""
    return with_mac1(TYPE + secrets.token_bytes(112), base64.b64decode(responder))


def with_mac1(start: bytes, responder: bytes) -> bytes:
    """Return the packet that begins so, with its mac1, and no mac2."""
    return start + blake2s(start, key=_hash(b"mac1----", responder), digest_size=16).digest() + bytes(16)


def _made(static, shared_secret, other, timestamp):
    ephemeral = X25519PrivateKey.generate()
    sent = ephemeral.public_key().public_bytes_raw()
    chain, state = _next(CHAIN, sent)[0], _hash(_hash(HASH, other), sent)
    chain, key = _next(chain, ephemeral.exchange(_public(other)))
    hidden = ChaCha20Poly1305(key).encrypt(NONCE, static, state)
    _, key = _next(chain, shared_secret())
    stamp = ChaCha20Poly1305(key).encrypt(NONCE, timestamp, _hash(state, hidden))
    return with_mac1(TYPE + secrets.token_bytes(4) + sent + hidden + stamp, other)


def _private(key: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(base64.b64decode(key))


def _public(key: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(key)
