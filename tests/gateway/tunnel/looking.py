"""Looking at what the script has made of a machine."""

import re

import pytest

from tests.gateway.machine import OUTSIDE

ON_BUSYBOX = pytest.mark.parametrize("tools", ["busybox"], indirect=True)


def first_reply(replies, running, since=0.0):
    running.eventually(lambda: any(at > since for at in replies.times()))
    return next(at for at in replies.times() if at > since)


def of_interface(machine, *words):
    return machine.run("ip", "-o", *words, "dev", "latchkey")


def link_of(machine):
    (link,) = {word for word in machine.run("ip", "-o", "route", "show", OUTSIDE).split() if "veth" in word}
    return link


def way_out(machine, to="203.0.113.9"):
    return re.search(r"dev (\S+)", machine.run("ip", "route", "get", to)).group(1)


def rules(machine):
    return machine.run("ip", "-4", "rule") + machine.run("ip", "-6", "rule")
