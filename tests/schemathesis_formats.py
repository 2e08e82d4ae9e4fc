"""What schemathesis cannot make up by itself: a public key, and a cursor. It imports this when it starts."""

import schemathesis
from hypothesis import strategies as st

from peers.wireguard import keys

# As an answer would have named it: any moment will do.
CURSOR = "MjAyNi0xMS0yNlQwNzowMDowMCswMDowMCA1ZjJmMGE0Yy02ZDFlLTRiNTItOWUwZS0xYjhiNWQwYzZhM2Y"


def public_key(secret: bytes) -> str:
    return keys.public_key_of(keys._encoded(secret))


schemathesis.openapi.format("wireguard-public-key", st.binary(min_size=32, max_size=32).map(public_key))
schemathesis.openapi.format("cursor", st.just(CURSOR))
