"""Keys as text: what is refused, with which words, and what is made."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import assume, example, given
from hypothesis import strategies as st

from peers.wireguard import keys

P = 2**255 - 19


def as_text(number: int) -> str:
    return base64.b64encode(number.to_bytes(32, "little")).decode()


GOOD = as_text(9)

# Every encoding of a low-order point (https://cr.yp.to/ecdh.html#validate): X25519 masks bit 255 and reduces the rest.
ORDER_EIGHT = (
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)
MASKED = (0, 1, *ORDER_EIGHT, P - 1, P, P + 1)
LOW_ORDER = [*MASKED, *(number + 2**255 for number in MASKED)]

NOT_THE_SHAPE = {
    "empty": "",
    "space before": " " + GOOD,
    "space after": GOOD + " ",
    "new line after": GOOD + "\n",
    "43 characters": GOOD[1:],
    "45 characters": "A" + GOOD,
    "no padding": GOOD[:-1] + "A",
    "padding twice": GOOD[:-2] + "==",
    "URL alphabet": "-_" + GOOD[2:],
    "full-width letter": "\uff21" + GOOD[1:],
    "Arabic digit": "\u0663" + GOOD[1:],
    "zero byte": "\0" + GOOD[1:],
    "hexadecimal": "09" + "00" * 31,
    "unused bits set": GOOD[:-2] + "B=",
}


def agrees_with_x25519(number: int) -> bool:
    """Return whether an exchange with the point gives anything but zeros."""
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(number.to_bytes(32, "little")))
    except ValueError:
        return False
    return True


def is_public_key(text: str) -> bool:
    """Decide the slow and obvious way."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return False
    number = int.from_bytes(raw, "little")
    return (
        len(raw) == 32
        and base64.b64encode(raw).decode() == text
        and number < P
        and agrees_with_x25519(number)
    )


def accepted(text: str) -> bool:
    try:
        return keys.public_key(text) == text
    except keys.InvalidKey:
        return False


near_the_edge = st.sampled_from([0, 1, P, 2**255, *LOW_ORDER]).flatmap(
    lambda number: st.integers(-3, 3).map(lambda step: as_text((number + step) % 2**256))
)
any_32_bytes = st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode())
close_to_base64 = st.text("ABCDEFwxyz0189+/=_- \n", min_size=42, max_size=46)


@given(near_the_edge | any_32_bytes | close_to_base64 | st.text())
@example(GOOD)
@example(keys.ZERO_KEY)
def test_public_key_agrees_with_the_slow_and_obvious_rule(text):
    assert accepted(text) == is_public_key(text)


@pytest.mark.parametrize("text", NOT_THE_SHAPE.values(), ids=NOT_THE_SHAPE)
def test_what_is_not_44_characters_of_base64_is_refused(text):
    for check in (keys.public_key, keys.preshared_key, keys.private_key):
        with pytest.raises(keys.InvalidKey, match="44 characters"):
            check(text)


@pytest.mark.parametrize("number", LOW_ORDER)
def test_a_low_order_point_is_refused_in_every_encoding(number):
    assert not agrees_with_x25519(number)
    with pytest.raises(keys.InvalidKey, match="cannot work"):
        keys.public_key(as_text(number))


@pytest.mark.parametrize("number", [P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_a_second_spelling_of_a_point_is_refused(number):
    with pytest.raises(keys.InvalidKey, match="cannot work"):
        keys.public_key(as_text(number))


@pytest.mark.parametrize(
    "text",
    [
        f"[Interface]\nPrivateKey = {GOOD}\nAddress = 10.0.0.2/32",
        f"PrivateKey={GOOD}",
        f"privatekey = {GOOD}",
        f"[Peer]\nPublicKey = {GOOD}",
        f"[ interface ]\r\nListenPort = 1\r\nkey = {GOOD}",
    ],
)
def test_a_whole_configuration_has_its_own_sentence(text):
    with pytest.raises(keys.InvalidKey, match="whole configuration"):
        keys.public_key(text)


@given(any_32_bytes | close_to_base64 | st.text(min_size=8))
def test_a_refused_value_is_never_part_of_the_message(text):
    assume(not accepted(text))
    for hidden in (text, f"PrivateKey = {text}"):
        with pytest.raises(keys.InvalidKey) as caught:
            keys.public_key(hidden)
        assert text not in f"{caught.value!r} {caught.value.__context__!r}"


def test_the_zero_key_is_a_preshared_key():
    assert keys.preshared_key(keys.ZERO_KEY) == keys.ZERO_KEY
    assert base64.b64decode(keys.ZERO_KEY) == bytes(32)


def test_a_generated_private_key_is_clamped():
    raw = base64.b64decode(keys.generate_private_key())
    assert (raw[0] & 7, raw[31] >> 6) == (0, 1)


def test_generated_keys_are_valid_and_differ():
    private = {keys.generate_private_key() for _ in range(20)}
    preshared = {keys.generate_preshared_key() for _ in range(20)}
    assert len(private | preshared) == 40
    assert all(keys.private_key(key) for key in private)
    assert all(keys.preshared_key(key) for key in preshared)


def test_public_key_of_agrees_with_wg_pubkey_on_one_key_of_its_own():
    made_by_wg = "GHwefMzbHZv00gaR1L7san5OLzC401kWJZdyPRSh2XU="
    assert keys.public_key_of(made_by_wg) == "As3yHd5aUgSv9fJLtd1P1JalwW8mQKrajiB7bUtaVww="


def test_public_key_of_refuses_what_is_no_key():
    with pytest.raises(keys.InvalidKey, match="private key"):
        keys.public_key_of("short")
