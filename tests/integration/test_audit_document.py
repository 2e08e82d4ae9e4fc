"""docs/audit.md names every action that the code records and every column of an export."""

import ast
import re
from itertools import chain

from peers.admin.audit.export import NAMES
from peers.admin.audit.words import ACTIONS
from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "audit.md").read_text()


def constants(node):
    return {
        found.value
        for found in ast.walk(node)
        if isinstance(found, ast.Constant) and isinstance(found.value, str)
    }


def actions_in(path):
    """Return every action that a file records: the first argument of ``record`` and the like, or ``action=``."""
    tree = ast.parse(path.read_text())
    held = {
        target.id: constants(node.value)
        for node in ast.walk(tree) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in ("record", "event", "_audit") and call.args:
            first = call.args[0]
            yield from held.get(first.id, ()) if isinstance(first, ast.Name) else branches(first)
        if name == "AuditEvent":
            yield from chain(*(constants(word.value) for word in call.keywords if word.arg == "action"))


def branches(node):
    return branches(node.body) | branches(node.orelse) if isinstance(node, ast.IfExp) else constants(node)


def recorded():
    files = chain((ROOT / "peers").rglob("*.py"), (ROOT / "portal").rglob("*.py"))
    return set(chain(*(actions_in(path) for path in files if "migrations" not in path.parts)))


def documented(heading):
    section = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_action_that_is_recorded_has_its_words_and_its_line_in_the_document():
    found = recorded()
    assert {
        "enrol",
        "removed",
        "sign_in",
        "sign_in_refused",
        "create_interface",
        "export_audit",
        "drift_repaired",
    } <= found
    assert sorted(found) == sorted(ACTIONS)
    assert sorted(found) == sorted(documented("Actions"))


def test_every_column_of_an_export_has_its_line_in_the_document_in_order():
    assert documented("Columns of an export") == list(NAMES)
