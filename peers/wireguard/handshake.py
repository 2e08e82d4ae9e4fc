"""Read a WireGuard handshake initiation as its responder does, up to who sent it and when.

The WireGuard paper, section 5.4.2: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s. Nothing is answered, and no session is made.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import keys

LENGTH = 148  # bytes
TYPE = b"\x01\0\0\0"  # an initiation, and three reserved bytes
EPHEMERAL, STATIC, TIMESTAMP, MAC1 = slice(8, 40), slice(40, 88), slice(88, 116), slice(116, 132)
NONCE = bytes(12)  # each key of a handshake encrypts one message


def _hash(*parts: bytes) -> bytes:
    return blake2s(b"".join(parts)).digest()


CHAIN = _hash(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
HASH = _hash(CHAIN, b"WireGuard v1 zx2c4 Jason@zx2c4.com")


@dataclass(frozen=True, slots=True)
class Initiation:
    """Who began a handshake, and its timestamp: TAI64N, 12 bytes, greater the later by the sender's clock."""

    public_key: str
    timestamp: bytes


class Responder:
    """The holder of an interface's private key, which is kept in memory alone; ``public_key`` is the other half."""

    def __init__(self, private_key: str) -> None:
        """Take the key as base64 text; raise InvalidKey for anything else."""
        self.public_key = keys.public_key_of(private_key)
        own = base64.b64decode(self.public_key)
        self._private_key = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
        self._hash = _hash(HASH, own)
        self._mac1 = blake2s(key=_hash(b"mac1----", own), digest_size=16)

    def is_addressed(self, packet: bytes) -> bool:
        """Return whether it is an initiation whose mac1 was made for this key: anyone can who knows the public one."""
        if len(packet) != LENGTH or not packet.startswith(TYPE):
            return False
        mac1 = self._mac1.copy()
        mac1.update(packet[: MAC1.start])
        return hmac.compare_digest(mac1.digest(), packet[MAC1])

    def read(self, packet: bytes, seen: Mapping[str, bytes]) -> Initiation | None:
        """Return the initiation, or None for whatever is none: malformed, for others, forged, or there before.

        ``seen`` has the greatest timestamp of each public key so far. That the timestamp could be decrypted proves the
        sender, who alone can make the key for it; that the public key could be, proves nothing.
        """
        if not self.is_addressed(packet):
            return None
        try:
            found = self._decrypted(packet)
        except (InvalidTag, ValueError):  # ValueError: a key of low order
            return None
        return found if found.timestamp > seen.get(found.public_key, b"") else None

    def _decrypted(self, packet: bytes) -> Initiation:
        chain, state = _next(CHAIN, packet[EPHEMERAL])[0], _hash(self._hash, packet[EPHEMERAL])
        chain, key = _next(chain, self._exchange(packet[EPHEMERAL]))
        static = ChaCha20Poly1305(key).decrypt(NONCE, packet[STATIC], state)
        state = _hash(state, packet[STATIC])
        _, key = _next(chain, self._exchange(static))
        timestamp = ChaCha20Poly1305(key).decrypt(NONCE, packet[TIMESTAMP], state)
        return Initiation(base64.b64encode(static).decode("ascii"), timestamp)

    def _exchange(self, public_key: bytes) -> bytes:
        return self._private_key.exchange(X25519PublicKey.from_public_bytes(public_key))


def _next(chain: bytes, given: bytes) -> tuple[bytes, bytes]:
    """Return the next chaining key and a key to decrypt with: the paper's KDF, of which the first is the same for any n."""
    secret = hmac.digest(chain, given, "blake2s")
    first = hmac.digest(secret, b"\x01", "blake2s")
    return first, hmac.digest(secret, first + b"\x02", "blake2s")
