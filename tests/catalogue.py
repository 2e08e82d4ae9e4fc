"""Read a catalogue of translations, in either of its two forms, without gettext's programs."""

import ast
import gettext
import re
from pathlib import Path

LINE = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d+)\])?) (".*")')

# A text's key as gettext has it: the msgid, with "context\4" before it, and in a pair with the form where it has several.
Catalogue = dict[str | tuple[str, int], str]


def of_source(path: Path) -> Catalogue:
    """Return what a .po file translates, without its header; raise ValueError at an entry that is marked fuzzy."""
    found: Catalogue = {}
    for block in path.read_text(encoding="utf-8").split("\n\n")[1:]:
        if re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE):
            raise ValueError(block)
        fields = _fields(block)
        key = "".join(f"{context}\4" for context in [fields.get("msgctxt")] if context) + fields["msgid"]
        if "msgid_plural" in fields:
            found |= {(key, form): fields[f"msgstr[{form}]"] for form in range(2)}
        else:
            found[key] = fields["msgstr"]
    return found


def plurals(path: Path) -> dict[str, str]:
    """Return the plural of each msgid of a .po file that has one."""
    blocks = map(_fields, path.read_text(encoding="utf-8").split("\n\n")[1:])
    return {fields["msgid"]: fields["msgid_plural"] for fields in blocks if "msgid_plural" in fields}


def compiled(path: Path) -> Catalogue:
    """Return what a .mo file translates, without its header."""
    with path.open("rb") as file:
        found = dict(gettext.GNUTranslations(file)._catalog)
    found.pop("")
    return found


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if match := LINE.fullmatch(line):
            name, text = match[1], match[3]
        elif line.startswith('"'):
            text = line
        else:
            continue
        fields[name] = fields.get(name, "") + ast.literal_eval(text)
    return fields
