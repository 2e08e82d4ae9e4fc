"""Every text can be translated, and German has all of them."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest
from django.utils import translation

from peers.sentences import SENTENCES, in_words
from peers.wireguard import keys
from peers.wireguard.config import endpoint
from tests import catalogue
from tests.conftest import ROOT

GERMAN = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po"
TRANSLATED = catalogue.of_source(GERMAN)
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*") if path.is_file())
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))
COLLECT = ["makemessages", "--all", "--no-location", "--no-wrap", "--no-obsolete"]

# --- What a template may say without a translation ---

NAMES = {"Latchkey", "WireGuard", "UTC", "Google Play", "App Store", "wireguard.com/install"}
SPOKEN = ("alt", "title", "aria-label", "aria-description", "placeholder")
CODE = ("code", "pre", "style")
# Blocks of Django's admin that hold a class, which is no text.
CLASSES = ("coltype", "bodyclass")
NOT_TEXT = [
    r"{%\s*comment.*?endcomment\s*%}",
    r"{%\s*blocktranslate\b.*?endblocktranslate\s*%}",
    rf"{{%\s*block ({'|'.join(CLASSES)})\s*%}}.*?endblock\s*%}}",
    r"{#.*?#}",
    r"{%.*?%}",
    r"{{.*?}}",
]


class Words(HTMLParser):
    """Collects what a reader would see or hear of a template whose tags were taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_code = 0

    def handle_starttag(self, tag: str, attrs) -> None:
        self.in_code += tag in CODE
        said = dict(attrs)
        names = [*SPOKEN, *(["value"] if said.get("type") == "submit" else [])]
        self.found += [said[name] for name in names if said.get(name)]

    def handle_endtag(self, tag: str) -> None:
        self.in_code -= tag in CODE

    def handle_data(self, data: str) -> None:
        if not self.in_code:
            self.found.append(data)


def untranslated(template: str) -> list[str]:
    for pattern in NOT_TEXT:
        template = re.sub(pattern, "", template, flags=re.DOTALL)
    words = Words()
    words.feed(template)
    words.close()
    parts = (part.strip(" \n.()") for text in words.found for part in text.split("·"))
    return [part for part in parts if re.search(r"[^\W\d_]{2}", part) and part not in NAMES]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_says_nothing_that_cannot_be_translated(path):
    assert untranslated(path.read_text()) == []


@pytest.mark.parametrize(
    "template",
    [
        "<p>Hello</p>",
        '{% translate "Hello" %} there',
        '<a title="Hello">{{ name }}</a>',
        '<img alt="A key">',
        '<input type="submit" value="Send">',
        "Hello {{ name }}",
        "{% block title %}Hello{% endblock %}",
    ],
)
def test_text_in_a_template_is_found(template):
    assert untranslated(template) != []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_holds_no_sentence(path):
    code = re.sub(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    texts = re.findall(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`", code)
    texts = [re.sub(r"\${[^}]*}", "", text) for text in texts]
    assert [text for text in texts if re.search(r"[A-Za-z]{2,}[,.:]? [a-z]{2,}", text)] == []


# --- German ---


def test_every_text_has_its_german():
    assert [text for text, german in TRANSLATED.items() if not german.strip()] == []
    assert len(TRANSLATED) > 600


def test_the_compiled_catalogue_is_what_its_source_says():
    assert catalogue.compiled(GERMAN.with_suffix(".mo")) == TRANSLATED


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="gettext is not installed")
def test_no_text_is_missing_from_the_catalogue(tmp_path):
    for name in ("portal", "peers", "templates", "locale"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    subprocess.run([sys.executable, "manage.py", *COLLECT], cwd=tmp_path, check=True, capture_output=True)
    collected = tmp_path / GERMAN.relative_to(ROOT)
    # One that is new may come as a guess, marked fuzzy, for which the reader has no patience.
    collected.write_text(re.sub(r"^#,.*\n", "", collected.read_text(), flags=re.MULTILINE))
    assert set(catalogue.of_source(collected)) == set(TRANSLATED)


def test_german_keeps_every_gap_and_every_tag():
    pattern = re.compile(r"%\(\w+\)[sd]|%[sd%]|{\w+}|</?\w+[^>]*>")
    plural = catalogue.plurals(GERMAN)
    for key, german in TRANSLATED.items():
        text, form = key if isinstance(key, tuple) else (key, 0)
        english = plural[text] if form else text
        assert Counter(pattern.findall(german)) == Counter(pattern.findall(english)), text


def test_a_button_that_a_sentence_names_has_its_german_name_there():
    named = [
        (german, TRANSLATED[button])
        for text, german in TRANSLATED.items()
        for button in re.findall("“([A-Z].+?)”", text if isinstance(text, str) else text[0])
        if button in TRANSLATED
    ]
    assert len(named) >= 5
    assert [pair for pair in named if f"„{pair[1]}“" not in pair[0]] == []


# --- Sentences of the part that knows no language ---


@pytest.mark.parametrize(
    "check",
    [
        lambda: keys.public_key("PrivateKey = x"),
        lambda: keys.public_key("not a key"),
        lambda: keys.public_key(keys.ZERO_KEY),
        lambda: endpoint("vpn.example.com"),
        lambda: endpoint("vpn.example.com:99999"),
        lambda: endpoint("-:51820"),
    ],
)
def test_a_sentence_about_a_key_or_an_endpoint_comes_in_german(check):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - of either kind
        check()
    assert str(raised.value) in SENTENCES
    with translation.override("de"):
        assert in_words(raised.value) == TRANSLATED[str(raised.value)]
