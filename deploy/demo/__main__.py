"""The demo: a whole Latchkey on this machine, for a first look. Run it by `make demo`."""

import argparse
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import FrameType

from deploy.demo import ping
from deploy.demo.console import Sorry, say
from deploy.demo.folder import Folder
from deploy.demo.netns import Joined
from deploy.demo.provider import DemoProvider
from deploy.demo.provider.people import PEOPLE
from deploy.demo.stack import INTERFACE, MODES, ON_DEMAND, PUSH, Stack, near, provider_port

HIGHEST_PORT = 65534  # the identity provider takes the next one
STATES = ("active", "disabled")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody wants this to stop."""


def main() -> int:
    options = _parser().parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # an ordinary user's path leaves out where ip(8) may lie
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        options.run(Folder(options.folder), options)
    except Sorry as sorry:
        say(f"\n{sorry}")
        return 1
    except Interrupted:
        return 130
    return 0


def start(folder: Folder, options: argparse.Namespace) -> None:
    began = monotonic()
    if options.mode not in MODES:
        raise Sorry(f"MODE is {' or '.join(MODES)}, not {options.mode!r}.")
    say(f"Latchkey's demo, in {folder.path}")
    # For a demo, to be stopped is the way to end.
    with suppress(Interrupted), folder.held(), Stack(folder, options.port, options.mode) as stack:
        say(f"Ready after {monotonic() - began:.1f} s.\n\n{_welcome(stack)}")
        stack.wait()


def show(folder: Folder, _options: argparse.Namespace) -> None:
    """Print what wg(8) shows of the demo's interface; it leaves out private keys by itself."""
    shown = Joined(folder.running().need_namespace()).run("wg", "show", INTERFACE, check=False)
    if shown.returncode:
        raise Sorry(shown.stderr.strip())
    say(shown.stdout, end="")


def person(folder: Folder, options: argparse.Namespace) -> None:
    """Change a person at the provider of the demo that runs."""
    for what, given, known in (("NAME", options.name, PEOPLE), ("STATE", options.state, STATES)):
        if given not in known:
            raise Sorry(f"{what} is {' or '.join(known)}, not {given!r}.")
    url = folder.running().url
    provider = DemoProvider(folder.provider, provider_port(url), url)
    provider.set_person(options.name, active=options.state == "active", groups=tuple(options.groups) or None)
    groups = f", and in {', '.join(options.groups)} alone" if options.groups else ""
    say(f"{options.name} is {options.state} at the demo's identity provider{groups}.")


def reset(folder: Folder, _options: argparse.Namespace) -> None:
    say(f"{folder.path} is deleted." if folder.delete() else f"There is no {folder.path}: nothing to delete.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where everything is kept")
    commands = parser.add_subparsers(required=True)
    starting = commands.add_parser("start", help="start everything and wait until Ctrl-C")
    starting.add_argument(
        "--port", type=_port, default=8000, help="the portal's; the next one is the provider's"
    )
    starting.add_argument("--mode", default=PUSH, help=f"wg0's: {' or '.join(MODES)}")
    starting.set_defaults(run=start)
    changing = commands.add_parser("person", help="change a person at the running demo's identity provider")
    changing.add_argument("name")
    changing.add_argument("state", help=" or ".join(STATES))
    changing.add_argument("groups", nargs="*", help="left out: the groups stay as they are")
    changing.set_defaults(run=person)
    for name, run in {"wg": show, "ping": ping.ping, "reset": reset}.items():
        commands.add_parser(name).set_defaults(run=run)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {HIGHEST_PORT}")
    return int(text)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    raise Interrupted


def _welcome(stack: Stack) -> str:
    people = "\n".join(
        f"    {name:<6} password {name}-demo   ({', '.join(groups)})" for name, groups in PEOPLE.items()
    )
    mail = near(stack.folder.log("mail"))
    return WELCOME.format(url=stack.url, people=people, wg0=_of_wg0(stack), mail=mail)


def _of_wg0(stack: Stack) -> str:
    if stack.without:
        return NO_WG0.format(stack.without, stack.mode)
    return f"{WG0_ON_DEMAND if stack.mode == ON_DEMAND else WG0}\n\n{OF_ITS_OWN}"


WELCOME = """\
  Open {url} and sign in as

{people}

{wg0}

  When somebody leaves, their access ends: sign in as bob, add a device, and within fifteen seconds of one of these
  it is off wg0 and he is signed out. In the second terminal:

    make demo-person NAME=bob STATE=disabled                    disables bob at the identity provider
    make demo-person NAME=bob STATE=active GROUPS=contractors   or takes him out of the group that lets him in

  Letters to people are printed to {mail}: add a device, and read what its owner is told.

  Ctrl-C stops everything. What you did is kept for the next start; `make demo-reset` deletes it.
"""
WG0 = """\
  wg0 is in mode push: it holds every device that may connect. Add one in the browser and watch it become live. Then, in a
  second terminal:

    make demo-wg     what wg(8) shows of wg0
    make demo-ping   enrols a device, connects a real WireGuard client, revokes it, and measures both

  `make demo MODE=on_demand` shows the other mode: wg0 then holds only the devices in use."""
WG0_ON_DEMAND = """\
  wg0 is in mode on_demand: it holds only the devices in use. Add one in the browser: it is ready, and wg0 stays empty. In a
  second terminal:

    make demo-wg     what wg(8) shows of wg0: no peer until a device connects
    make demo-ping   enrols a device, connects a real WireGuard client, whose first packet puts it on wg0, revokes it, and
                     measures both

  A device goes off wg0 again after 15 minutes without a packet, or as long as an administrator says. `make demo` alone
  shows the other mode, push."""
OF_ITS_OWN = """\
  wg0 is real, but in a network namespace of its own: this machine's network stays as it is, and a real phone
  cannot reach it."""
NO_WG0 = """\
  No interface is attached: {}; it would be in mode {}.
  So no device becomes live, and a real phone cannot reach this demo. Everything else works: add a device in the
  browser, and gateway.log says which change its gateway would make."""

if __name__ == "__main__":
    sys.exit(main())
