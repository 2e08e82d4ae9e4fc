"""The documentation names every setting, command and flag that there is, and none that there is not."""

import re
from argparse import ArgumentParser

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from portal import oidc_config
from tests.conftest import ROOT

SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
MACHINES = (ROOT / "docs" / "machines.md").read_text()
SCRIPT = (ROOT / "peers" / "api" / "enrol.sh").read_text()
OURS = sorted(name for name, app in get_commands().items() if app in {"peers", "portal"})
READ = re.compile(r"""(?:environment\.\w+|oidc_config\.providers)\(\s*"([A-Z][A-Z_]+)\"""")


def variables() -> set[str]:
    files = [ROOT / "portal" / "settings.py", ROOT / "deploy" / "gunicorn.conf.py"]
    return {name for file in files for name in READ.findall(file.read_text())}


def test_every_setting_is_documented_and_every_documented_one_exists():
    documented = set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", SETTINGS, re.MULTILINE))
    assert documented == variables()


def test_every_key_of_a_provider_is_documented():
    section = SETTINGS.partition("## LATCHKEY_OIDC_PROVIDERS")[2]
    assert {key for key in oidc_config._KEYS if f"`{key}`" not in section} == set()


def test_every_rate_is_documented_with_its_default():
    section = SETTINGS.partition("## LATCHKEY_RATE_LIMITS\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", section, re.MULTILINE)
    assert {name: int(rate) for name, rate in documented} == settings.LATCHKEY_RATE_LIMITS


def test_every_command_is_documented_and_every_documented_one_exists():
    headings = set(re.findall(r"^## ([a-z_]+)$", COMMANDS, re.MULTILINE))
    assert headings == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_every_flag_of_a_command_is_documented(name):
    parser = ArgumentParser()
    command = load_command_class(get_commands()[name], name)
    command.add_arguments(parser)
    flags = {
        flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")
    } - {"--help"}
    section = COMMANDS.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert {flag for flag in flags if flag not in section} == set()


def test_every_option_and_exit_code_of_the_script_is_documented_and_every_documented_one_exists():
    usage, _, exits = SCRIPT.partition("cat <<'END'\n")[2].partition("\nEND\n")[0].partition("\n\nExit: ")
    options = re.findall(r"^  (--[a-z-]+(?: [A-Z]+)?)", usage, re.MULTILINE)
    assert re.findall(r"^\| `(--[^`]+)` \|", MACHINES, re.MULTILINE) == options
    codes = re.findall(r"[A-Z_]+=(\d)", re.search("^USAGE=.*", SCRIPT, re.MULTILINE)[0])
    assert re.findall(r"^\| (\d) \|", MACHINES, re.MULTILINE) == ["0", *codes]
    assert re.findall(r"\b(\d) [a-z]", exits) == ["0", *codes]


def test_every_word_that_the_script_itself_has_for_an_error_is_documented():
    own = set(re.findall(r"\bfail \$[A-Z_]+ ([a-z_]+)", SCRIPT))
    assert {word for word in own if f"`{word}`" not in MACHINES} == set()
