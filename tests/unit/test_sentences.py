"""What scripts say stands in the templates, where it is translated: no sentence is missing, and none is left over."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = "\n".join(path.read_text() for path in sorted((ROOT / "static" / "js").glob("*.js")))
TEMPLATES = "\n".join(path.read_text() for path in sorted((ROOT / "templates").rglob("*.html")))
WRITTEN = set(re.findall(r'<template data-sentence="([\w-]+)"', TEMPLATES))


def test_every_sentence_that_a_script_asks_for_is_in_a_template():
    asked = set(re.findall(r'\bsentence\(\s*"([\w-]+)"', SCRIPTS))
    assert asked
    assert asked - WRITTEN == set()


def test_every_sentence_in_a_template_is_asked_for():
    begun = tuple(re.findall(r"`([\w-]+-)\$\{", SCRIPTS))  # names that end in a value
    assert {name for name in WRITTEN if f'"{name}"' not in SCRIPTS and not name.startswith(begun)} == set()


def test_no_script_holds_a_sentence():
    """A sentence begins with a capital and has three words or more; scripts quote words and selectors only."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", SCRIPTS, flags=re.DOTALL)
    assert re.findall(r'["`][A-Z]\w* \w+ \w+[^"`\n]*["`]', code) == []
