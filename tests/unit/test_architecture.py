"""The rules of the code's shape: who imports whom, who writes what, and what there is none of."""

import ast
import re
import sys
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("peers", "portal", "deploy")


@cache
def tree(path):
    return ast.parse(path.read_text())


def files(*folders):
    """Return the Python files below ``folders``, without migrations."""
    found = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders)
    return sorted(path for path in found if "migrations" not in path.parts)


def name_of(path):
    """Return the dotted name of a module of ours."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in files(*OURS)}


def imports(path):
    """Return the dotted names that ``path`` imports; a name from a package of ours counts as the module it is."""
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(
                [*package[: len(package) - node.level + 1], node.module or ""]
                if node.level
                else [node.module]
            )
            base = base.rstrip(".")
            for alias in node.names:
                module = f"{base}.{alias.name}"
                yield module if module in MODULES else base


def own_imports(path):
    return {name for name in imports(path) if name.split(".")[0] in OURS}


# --- Imports run one way ---

# Each module of peers with the modules of ours that it may import. A new module needs a line here.
FACTS = {"peers.models", "peers.fields", "portal.models"}
RULES = {"peers.services"}
RULES_MAY = {
    "peers.allocation",
    "peers.audit",
    "peers.configuration",
    "peers.inserts",
    "peers.letters",
    "peers.models",
    "peers.services",
    "peers.signals",
    "peers.tokens",
    "peers.wireguard.keys",
    "portal.access.changes",
    "portal.encryption",
    "portal.models",
    "portal.sessions",
}
SEEN = {"peers.states", "peers.presentation", "peers.receipt_words", "peers.receipts"}
MAY_IMPORT = {
    "peers": set(),
    "peers.fields": set(),
    "peers.allocation": {"peers.inserts", "peers.models", "peers.signals"},
    "peers.audit": {"peers.models", "portal.models"},
    "peers.signals": {"peers.models", "portal.models"},
    "peers.states": {"peers.models"},
    "peers.letters": {"peers.models", "portal.mail", "portal.models"},
    "peers.configuration": {"peers.models", "peers.wireguard.config"},
    "peers.diagnosis": {"peers.facts", "peers.handshakes", "peers.models"},
    "peers.handshakes": {"peers.configuration", "peers.facts", "peers.models"},
    "peers.facts": {"peers.models"},
    "peers.state_queries": {"peers.models", "peers.states", "portal.models"},
    "peers.presentation": {"peers.models", "peers.states"},
    "peers.notices": {"peers.models", "peers.presentation", "peers.states"},
    "peers.receipt_words": {"peers.models", "peers.receipts"},
    "peers.qr": set(),
    "peers.sentences": set(),
    "peers.tokens": set(),
    "peers.inserts": {"portal.database.prepared"},
    "peers.rows": {"portal.database.prepared"},
    "peers.limits": {"peers.models", "portal.counters", "portal.models"},
    "peers.address_history": {"peers.models", "peers.receipts", "portal.models"},
    "peers.receipts": {"peers.models"},
    "peers.seals": {"peers.models"},
    "peers.chain": {"peers.models", "peers.seals"},
    "peers.stale": {"peers.configuration", "peers.models"},
    "peers.templatetags": set(),
    "peers.templatetags.stale": {"peers.stale"},
    "peers.context": {"peers.models"},
    "peers.plots": set(),
    "peers.traffic": {"peers.models"},
    "peers.apps": {"peers.signals"},
    "peers.forms": FACTS | RULES | {"peers.sentences", "peers.wireguard.keys"},
    "peers.durations": set(),
    "peers.token_forms": FACTS | RULES | {"peers.forms"},
    "peers.urls": {"peers.api.application", "peers.api.register", "peers.api.script", "peers.views"},
}  # fmt: skip
MODELS = {
    "peers.fields",
    "peers.models",
    "peers.sentences",
    "peers.wireguard.config",
    "peers.wireguard.keys",
    "portal.encryption",
    "portal.models",
}
API = FACTS | RULES | SEEN | {
    "peers", "peers.api", "peers.forms", "peers.limits", "peers.rows", "peers.sentences", "peers.signals", "peers.state_queries",
    "peers.tokens", "peers.wireguard.keys", "portal.counters", "portal.source",
}  # fmt: skip
VIEWS = FACTS | RULES | SEEN | {
    "peers.forms", "peers.configuration", "peers.limits", "peers.notices", "peers.plots", "peers.qr", "peers.stale", "peers.token_forms", "peers.traffic", "peers.views", "peers.wireguard.config",
    "portal.counters", "portal.source", "portal.errors", "portal.http", "portal.confirmation", "portal.oidc_config",
}  # fmt: skip
ADMIN = FACTS | RULES | SEEN | {
    "peers.address_history", "peers.admin", "peers.audit", "peers.diagnosis", "peers.facts", "peers.forms", "peers.plots", "peers.durations", "peers.seals", "peers.state_queries", "peers.token_forms", "peers.tokens", "portal.source", "portal.access",
    "portal.confirmation",
}  # fmt: skip
COMMANDS = (
    FACTS
    | RULES
    | {
        "peers.chain",
        "peers.durations",
        "peers.forms",
        "peers.gateway",
        "peers.management",
        "peers.seals",
        "peers.states",
        "peers.tokens",
        "peers.wireguard",
        "portal.rounds",
    }
)
GATEWAY = {
    "peers",
    "peers.models",
    "peers.fields",
    "peers.audit",
    "peers.signals",
    "peers.wireguard",
    "peers.gateway",
    "portal.database.prepared",
    "portal.encryption",
}


def allowed(module):
    """Return what ``module`` may import; a package stands for all below it."""
    for package, wanted in (
        ("peers.wireguard", {"peers.wireguard"}),
        ("peers.gateway", GATEWAY),
        ("peers.models", MODELS),
        ("peers.services", RULES_MAY),
        ("peers.views", VIEWS),
        ("peers.admin", ADMIN),
        ("peers.api", API),
        ("peers.management", COMMANDS),
    ):
        if module == package or module.startswith(f"{package}."):
            return wanted
    return MAY_IMPORT[module]


def within(name, wanted):
    packages = {
        "peers.models",
        "peers.services",
        "peers.views",
        "peers.admin",
        "peers.wireguard",
        "peers.gateway",
        "peers.api",
        "peers.management",
        "portal.access",
    } & wanted
    return name in wanted or any(name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] == "peers"])
def test_imports_run_one_way(module):
    wanted = allowed(module)
    assert [name for name in own_imports(MODULES[module]) if not within(name, wanted)] == []


def test_wireguard_knows_the_standard_library_and_cryptography_alone():
    for path in files("peers/wireguard"):
        tops = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
        assert tops <= {"cryptography", "peers"}, path


def test_the_gateway_and_the_web_know_nothing_of_each_other():
    for path in files("peers", "portal"):
        module = name_of(path)
        if module.startswith(("peers.gateway", "peers.wireguard", "peers.management")):
            continue
        assert not [
            name
            for name in imports(path)
            if name.startswith(("peers.gateway", "peers.wireguard.wg", "peers.wireguard.link"))
        ], path


def test_portal_knows_of_peers_no_more_than_its_audit_and_its_rows():
    for path in files("portal"):
        assert {name for name in own_imports(path) if name.startswith("peers")} <= {
            "peers.audit",
            "peers.models",
        }, path


def test_nobody_needs_the_pages_of_the_sign_in_but_their_addresses():
    importing = {
        name_of(path)
        for path in files("peers", "portal")
        if any(name.startswith("portal.oidc.views") for name in own_imports(path))
    }
    assert importing == {"portal.oidc.urls"}


def test_the_product_knows_nothing_of_the_demo_or_the_tests():
    for path in files("peers", "portal"):
        assert not [name for name in imports(path) if name.split(".")[0] in ("deploy", "tests")], path


# --- Who starts processes ---


def calls(path, *, of):
    """Return the calls in ``path`` of functions whose dotted name begins with one of ``of``."""
    found = (ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return [name for name in found if name.startswith(of)]


STARTS = (
    "subprocess.",
    "os.system",
    "os.popen",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "os.fork",
    "pty.",
    "asyncio.create_subprocess",
)


def test_only_two_files_start_processes():
    starting = {
        path.relative_to(ROOT).as_posix() for path in files("peers", "portal") if calls(path, of=STARTS)
    }
    assert starting == {"peers/wireguard/wg.py", "peers/wireguard/link.py"}
    for path in files("peers", "portal"):
        names = {alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.module in ("subprocess", "os")
                 for alias in node.names}  # fmt: skip
        assert not names & {"run", "Popen", "call", "check_call", "check_output", "system", "popen"}, path


def test_only_one_file_starts_wg():
    named = {
        path.relative_to(ROOT).as_posix()
        for path in files("peers", "portal")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.List | ast.Tuple | ast.Call)
        for first in (node.elts if not isinstance(node, ast.Call) else node.args)[:1]
        if isinstance(first, ast.Constant) and str(first.value).split("/")[-1].split(" ")[0] == "wg"
    }
    assert named == {"peers/wireguard/wg.py"}


def test_nothing_starts_a_shell():
    for path in files(*OURS):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path
        assert not calls(path, of=("os.system", "os.popen")), path


# --- Who writes what ---

WRITES = {
    "save", "create", "update", "delete", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "raw",
    "acreate", "aupdate", "adelete", "asave",
}  # fmt: skip
ROWS = {"Peer", "PeerKey"}
STATUSES = {"PeerStatus", "GatewayStatus", "HandshakeTimestamp"}
SQL = r"(INSERT INTO|UPDATE|DELETE FROM) +peers_{}\b"


def writes(path):
    """Return the models that ``path`` writes, as far as names tell; "?" for a ``save`` of something unnamed."""
    held = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for model in models_in(node.value):
                held.update(
                    {
                        name.id: model
                        for target in targets
                        for name in ast.walk(target)
                        if isinstance(name, ast.Name)
                    }
                )
        if isinstance(node, ast.arg) and node.annotation is not None:
            held[node.arg] = next(iter(models_in(node.annotation)), None)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            named = models_in(node.func.value) or {
                held[name] for name in names_in(node.func.value) if name in held
            }
            yield from named or ({"?"} if node.func.attr in ("save", "asave") else set())
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (
                model for model in ROWS | STATUSES if re.search(SQL.format(model.lower()), node.value)
            )


def names_in(node):
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def models_in(node):
    return names_in(node) & (ROWS | STATUSES)


def writers(models):
    return {
        path.relative_to(ROOT).as_posix() for path in files("peers", "portal") if models & set(writes(path))
    }


def test_only_services_and_allocation_change_a_peer():
    assert all(path.startswith("peers/services/") for path in writers(ROWS) - {"peers/allocation.py"})


def test_nothing_outside_services_and_the_gateway_saves_a_row_of_peers():
    saving = {path for path in writers({"?"}) if path.startswith("peers/")}
    assert all(path.startswith("peers/services/") for path in saving - {"peers/gateway/record.py"})


def test_only_the_gateway_writes_status():
    found = writers(STATUSES)
    assert found
    assert all(path.startswith("peers/gateway/") for path in found)


# --- What there is none of ---

LONGEST = 300
EMPTY_NAMES = ("util", "helper", "common", "manager", "misc")


def test_no_file_is_longer_than_it_should_be():
    own = [*files("peers", "portal", "deploy"), *(ROOT / "static" / "js").glob("*.js")]
    for path in own:
        name = path.relative_to(ROOT).as_posix()
        assert len(path.read_text().splitlines()) <= LONGEST, name


def test_no_file_has_a_name_that_says_nothing():
    for path in files(*OURS, "tests"):
        assert not [word for word in EMPTY_NAMES if word in path.stem], path


def test_no_migration_is_named_by_a_machine():
    found = [path for app in ("peers", "portal") for path in (ROOT / app / "migrations").glob("0*.py")]
    assert found
    for path in found:
        assert "auto" not in path.stem, path


def test_no_migration_is_missing(database):
    done = database.manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_migration_can_be_undone_and_made_again(database):
    before = tables(database)
    for app in ("peers", "portal"):
        done = database.manage("migrate", app, "zero", "-v0")
        assert done.returncode == 0, done.stderr
    assert tables(database) == ""
    assert database.sql("SELECT proname FROM pg_proc WHERE proname ~ '^latchkey_'") == ""
    done = database.manage("migrate", "-v0")
    assert done.returncode == 0, done.stderr
    assert tables(database) == before


def tables(database):
    return database.sql(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^(peers|portal)_' ORDER BY 1"
    )
