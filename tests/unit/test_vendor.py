"""What others wrote and we ship: listed, unchanged, with its licence; and what we wrote ourselves keeps its size."""

import hashlib
import json
from pathlib import Path

STATIC = Path(__file__).parents[2] / "static"
VENDOR = STATIC / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())


def digests():
    return {name: digest for package in MANIFEST for name, digest in package["sha256"].items()}


def test_every_vendored_file_is_listed_and_unchanged():
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == digests()


def test_every_vendored_package_says_its_version_and_carries_its_licence():
    for package in MANIFEST:
        assert package["name"]
        assert package["version"]
        assert package["licence"] in {"MIT", "BSD-3-Clause", "ISC", "Apache-2.0"}
        assert package["licence_file"] in package["sha256"]


def test_every_bundle_says_with_which_versions_it_can_be_made_again():
    for package in MANIFEST:
        if "build" in package:
            assert f"{package['name']}@{package['version']} " in package["build"]
            for name, source in package["bundled"].items():
                version = source.removesuffix(".tgz").rpartition("-")[2]
                assert f"{name}@{version} " in package["build"]


def test_our_modules_stay_short_and_write_no_markup():
    modules = list((STATIC / "js").glob("*.js"))
    assert modules
    for module in modules:
        text = module.read_text()
        assert len(text.splitlines()) < 150, module.name
        for unwanted in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "localStorage",
                         "sessionStorage", "indexedDB", "document.cookie", ".style", "eval("):  # fmt: skip
            assert unwanted not in text, f"{unwanted} in {module.name}"
