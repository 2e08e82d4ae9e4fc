"""The script in two shells, and a portal that says what the test wants."""

import shutil

import pytest

from tests.gateway.conftest import require
from tests.gateway.machine import OURS, bare
from tests.gateway.script.calling import Script


@pytest.fixture
def portal():
    from tests.gateway.portal_double import PortalDouble

    with PortalDouble() as made:
        yield made


@pytest.fixture(params=["dash", pytest.param("busybox", marks=pytest.mark.long)])
def tools(request, tmp_path):
    for tool in (*OURS, request.param):
        require(shutil.which(tool), f"needs {tool}: see deploy/demo/packages.py")
    return bare(tmp_path / "bin", busybox=request.param == "busybox")


@pytest.fixture
def script(portal, tools, tmp_path):
    return Script(portal.url, tools, tmp_path)
