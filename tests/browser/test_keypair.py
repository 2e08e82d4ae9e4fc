"""The key pair made in the page: also where WebCrypto has no X25519, never of numbers that cannot be random."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from peers.models import PeerKey
from peers.wireguard import keys
from tests.browser.person import enrol, open_form
from tests.browser.recorder import Recorder
from tests.browser.test_page import private_key_in, shown_text
from tests.stack import Stack

MODULE = "/static/vendor/noble-curves/x25519.js"
MANY = """async () => {
    const { generateKeyPair } = await import("/static/js/keypair.js");
    return Promise.all(Array.from({ length: 50 }, generateKeyPair));
}"""
TOLD = """async () => {
    const { generateKeyPair, WeakRandomness } = await import("/static/js/keypair.js");
    return generateKeyPair().then(() => "a key", (error) => (error instanceof WeakRandomness ? "weak" : String(error)));
}"""

WITHOUT_X25519 = """
SubtleCrypto.prototype.generateKey = async () => { throw new DOMException("X25519", "NotSupportedError"); };
"""
# Only the draws of 32 bytes are keys; draw(n, bytes) decides over the n-th of them.
DRAWING = """
const random = Crypto.prototype.getRandomValues;
let draws = 0;
Crypto.prototype.getRandomValues = function (bytes) {
    random.call(this, bytes);
    if (bytes.length === 32) draw(++draws, bytes);
    return bytes;
};
"""
# give(n, real) returns the n-th pair; keyOf(bytes) is a private key of these bytes, which RFC 8410 wraps as below.
PAIRING = """
const make = SubtleCrypto.prototype.generateKey;
const real = () => make.call(crypto.subtle, { name: "X25519" }, true, ["deriveBits"]);
const keyOf = (bytes) => {
    const head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];
    return crypto.subtle.importKey("pkcs8", new Uint8Array([...head, ...bytes]), { name: "X25519" }, true, ["deriveBits"]);
};
let pairs = 0;
SubtleCrypto.prototype.generateKey = () => give(++pairs);
"""
SAME_PAIR = PAIRING + "const pair = real(); const give = () => pair;"
CONSTANT = WITHOUT_X25519 + DRAWING + "const draw = (n, bytes) => bytes.fill(7);"

SEEN_DRAWN = WITHOUT_X25519 + DRAWING + "window.seen = []; const draw = (n, bytes) => seen.push(bytes);"
SEEN_EXPORTED = """
window.seen = [];
const exported = SubtleCrypto.prototype.exportKey;
SubtleCrypto.prototype.exportKey = async function (format, key) {
    const bytes = await exported.call(this, format, key);
    if (format === "pkcs8") seen.push(new Uint8Array(bytes));
    return bytes;
};
"""


def zero_draw(nth: int) -> str:
    return WITHOUT_X25519 + DRAWING + f"const draw = (n, bytes) => n === {nth} && bytes.fill(0);"


def pair_of(nth: int, first: int, last: int) -> str:
    """Have the ``nth`` private key be of zeros, but for its first and last byte."""
    given = f"keyOf([{first}, ...Array(30).fill(0), {last}])"
    return (
        PAIRING
        + f"const give = async (n) => n === {nth} ? {{ ...await real(), privateKey: await {given} }} : real();"
    )


def pairs_from(page: Page) -> Iterator[tuple[str, str]]:
    open_form(page)
    for pair in page.evaluate(MANY):
        yield pair["privateKey"], pair["publicKey"]


def test_a_browser_without_x25519_enrols_with_the_vendored_module(
    alice: Page, recorder: Recorder, stack: Stack
):
    alice.add_init_script(WITHOUT_X25519)
    enrol(alice, "Without X25519")
    public_key = keys.public_key_of(private_key_in(shown_text(alice)))
    assert PeerKey.objects.get(public_key=public_key).peer.name == "Without X25519"
    assert any(MODULE.encode() in request for request in recorder.requests)
    assert recorder.said_by(stack.url) == []


def test_a_browser_with_x25519_never_loads_the_module(alice: Page, recorder: Recorder):
    enrol(alice, "With X25519")
    assert not any(MODULE.encode() in request for request in recorder.requests)


@pytest.mark.parametrize("script", ["", WITHOUT_X25519], ids=["webcrypto", "module"])
def test_every_pair_belongs_together_and_is_clamped(alice: Page, script: str):
    alice.add_init_script(script)
    made = list(pairs_from(alice))
    assert len({private_key for private_key, _ in made}) == 50
    for private_key, public_key in made:
        raw = base64.b64decode(private_key)
        assert public_key == keys.public_key_of(private_key)
        assert (raw[0] & 7, raw[31] & 192) == (0, 64)


@pytest.mark.parametrize("script", [CONSTANT, SAME_PAIR], ids=["constant bytes", "the same pair"])
def test_a_generator_that_repeats_itself_is_refused_and_nothing_is_sent(
    alice: Page, recorder: Recorder, script: str
):
    alice.add_init_script(script)
    open_form(alice)
    alice.get_by_role("button", name="Enrol this device").click()
    expect(
        alice.get_by_text("This browser's random numbers cannot be trusted, so no key was made")
    ).to_be_visible()
    assert recorder.posts == []


@pytest.mark.parametrize(
    "script",
    [zero_draw(1), zero_draw(2), pair_of(1, 0, 0), pair_of(2, 0, 0), pair_of(1, 7, 128)],
    ids=["first draw", "second draw", "first pair", "second pair", "zeros as Chromium would give them"],
)
def test_a_generator_that_gives_zeros_even_once_is_refused(alice: Page, script: str):
    alice.add_init_script(script)
    open_form(alice)
    assert alice.evaluate(TOLD) == "weak"


@pytest.mark.parametrize("script", [SEEN_EXPORTED, SEEN_DRAWN], ids=["webcrypto", "module"])
def test_the_bytes_of_both_private_keys_are_overwritten(alice: Page, script: str):
    alice.add_init_script(script)
    open_form(alice)
    assert alice.evaluate(TOLD) == "a key"
    assert alice.evaluate("seen.map((bytes) => bytes.slice(-32).every((byte) => byte === 0))") == [True, True]
