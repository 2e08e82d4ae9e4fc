"""The rule for names, and that a refused key is told why without being repeated."""

import unicodedata

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from peers.forms import KeyForm, RenameForm, errors_of, peer_name
from peers.presentation import WORDS, guess
from peers.states import State
from tests.rows import public_key


@pytest.mark.parametrize(
    "name",
    [
        "Alice's laptop",
        "Ωμέγα",
        "कंप्यूटर",
        "東京 3号",
        "a",
        "x" * 64,
        "-_.'()+#& 9",
        "لابتوب",
    ],
)
def test_a_name_in_any_script_is_taken(name):
    assert peer_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "required"),
        (" \u2003\n ", "required"),
        ("x" * 65, "too_long"),
        ("a\nb", "characters"),
        ("a\tb", "characters"),
        ("a\0b", "characters"),
        ("a\u202eb", "characters"),
        ("a\u200db", "characters"),
        ("a\u2066b", "characters"),
        ("a\ud800b", "characters"),
        ("a\u00a0b", "characters"),
        ("a/b", "characters"),
        ("<script>", "characters"),
        ('a"b', "characters"),
        ("a=b", "characters"),
        ("💻", "characters"),
        ("\u3164", "characters"),
        ("½", "characters"),
    ],
)
def test_a_name_that_could_mislead_is_refused(name, code):
    with pytest.raises(ValidationError) as refused:
        peer_name(name)
    assert refused.value.code == code


def test_a_name_is_trimmed_and_composed():
    assert peer_name("  Cafe\u0301 ") == "Café"


def test_sixty_four_composed_characters_fit():
    assert len(peer_name("e\u0301" * 64)) == 64


@given(st.text(alphabet=st.characters(), max_size=80))
def test_a_name_that_is_taken_holds_only_what_is_allowed(text):
    try:
        name = peer_name(text)
    except ValidationError:
        return
    assert 1 <= len(name) <= 64
    assert name == name.strip() == unicodedata.normalize("NFC", name)
    assert all(unicodedata.category(c)[0] in "LM" or c.isdecimal() or c in " -_.'()+#&" for c in name)


def test_white_space_around_a_pasted_key_is_dropped():
    key = public_key()
    form = KeyForm({"public_key": f" {key}\n"})
    assert form.is_valid()
    assert form.cleaned_data == {"public_key": key}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        "A" * 43 + "=",
        "[Interface]\nPrivateKey = 4BRh2MJ0nOWKjJLhFyMcbhOsz3eXnMmeTWMsRcs5gWQ=",
        "x" * 100_000,
    ],
)
def test_a_key_that_cannot_work_is_refused_in_a_sentence_that_does_not_repeat_it(text):
    form = KeyForm({"public_key": text})
    assert not form.is_valid()
    ((field, _, sentence),) = errors_of(form)
    assert field == "public_key"
    assert sentence.endswith(".")
    assert not text or text not in sentence


def test_a_form_without_a_name_says_so():
    form = RenameForm({})
    assert list(errors_of(form)) == [("name", "required", "Give the device a name.")]


def test_every_state_has_words_and_no_two_share_a_label():
    assert set(WORDS) == set(State)
    assert len({words.label for words in WORDS.values()}) == len(State)


UBUNTU = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile"


@pytest.mark.parametrize(
    ("user_agent", "platform", "name"),
    [
        (UBUNTU, "linux", "Linux laptop"),
        (WINDOWS, "windows", "Windows laptop"),
        (IPHONE, "ios", "iPhone"),
        (PIXEL, "android", "Android phone"),
        ("", "other", "My device"),
        ("curl/8.0", "other", "My device"),
    ],
)
def test_the_first_guess_comes_from_the_user_agent(user_agent, platform, name):
    found = guess(user_agent, [])
    assert (found.platform, found.name) == (platform, name)
    assert peer_name(found.name) == found.name


def test_a_second_device_of_a_kind_is_numbered():
    assert guess(WINDOWS, ["Windows laptop", "Windows laptop 2"]).name == "Windows laptop 3"
