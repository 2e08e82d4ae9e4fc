"""A machine beside a real gateway, with the portal's script in it and a token for it; Django's models are not ready yet."""

import shutil
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.gateway.machine import OUTSIDE, Machine, Portal, bare
from tests.gateway.tunnel.looking import link_of


@pytest.fixture
def portal(running, wg0, tmp_path):
    wg0.endpoint = f"{OUTSIDE}:51820"
    wg0.save(update_fields=["endpoint"])
    made = Portal(running.namespace, running.database, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def account(wg0):
    from peers import services
    from peers.models import ServiceAccount

    made = ServiceAccount(name="build", team="Platform")
    return services.save_account(actor=services.Actor(), account=made, interfaces=[wg0])


@pytest.fixture
def token(account, tmp_path):
    """Give the path of a file with a token for all that a machine does."""
    from peers import services
    from peers.models import Scope

    at = timezone.now()
    _, text = services.make_token(
        actor=services.Actor(), holder=account, name="test", scopes=Scope.values, at=at,
        expires_at=at + timedelta(hours=1),
    )  # fmt: skip
    file = tmp_path / "token"
    file.write_text(f"{text}\n")
    return file


@pytest.fixture
def tools(request, tmp_path):
    return bare(tmp_path / "bin", busybox=getattr(request, "param", "") == "busybox")


@pytest.fixture
def instead(tools):
    """Give a function that has a tool do more: lines of shell before it is itself, and lines after."""

    def replaced(tool, before="", after=""):
        real, path = shutil.which(tool), tools / tool
        path.unlink()
        path.write_text(f'#!/bin/sh\n{before}\n{real} "$@"; code=$?\n{after}\nexit $code\n')
        path.chmod(0o755)
        return lambda: (path.unlink(), path.symlink_to(real))

    return replaced


@pytest.fixture
def machine(running, tools):
    with Machine(running.namespace, tools) as made:
        yield made


@pytest.fixture
def script(machine, portal, token, tmp_path):
    return machine.fetch(tmp_path / "enrol.sh")


@pytest.fixture
def everything(wg0, machine):
    """Have everything go through the tunnel; give the link that it goes through otherwise."""
    wg0.client_allowed_ips = ["0.0.0.0/0", "::/0"]
    wg0.save(update_fields=["client_allowed_ips"])
    link = link_of(machine)
    machine.run("ip", "route", "replace", "default", "via", OUTSIDE, "dev", link, "onlink")
    machine.run("ip", "route", "delete", OUTSIDE)
    return link
