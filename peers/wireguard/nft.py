"""Limit by nft(8) how many handshakes may be begun at an interface's port, by one source and by all; the rest is dropped.

WireGuard answers a flood of initiations whose mac1 is right by asking everybody for a second one, which every client sends
only five seconds later; and wireguard-go has no time for packets of its tunnels, or for wg(8), meanwhile.
"""

import re

from .handshake import LENGTH
from .link import LinkError, run
from .wg import interface_name

RATE = 20  # initiations a second of one address, or of one /64
BURST = 100
ALL = 500  # of everybody
ALL_BURST = 100  # wireguard-go is under load from 128 at once

# What is sent again comes by the loopback, with the address that it came from first. A full set drops nothing.
TABLE = """
table inet {name} {{
    set ipv4 {{ type ipv4_addr; size 65535; flags dynamic, timeout; timeout 1m; }}
    set ipv6 {{ type ipv6_addr; size 65535; flags dynamic, timeout; timeout 1m; }}
    chain input {{
        type filter hook input priority raw; policy accept;
        iifname "lo" accept
        udp dport {port} udp length {length} @th,64,32 0x01000000 jump initiations
    }}
    chain initiations {{
        update @ipv4 {{ ip saddr limit rate over {rate}/second burst {burst} packets }} drop
        update @ipv6 {{ ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over {rate}/second burst {burst} packets }} drop
        limit rate over {all}/second burst {all_burst} packets drop
    }}
}}
"""


def limit_initiations(interface: str, port: int) -> None:
    """Put the limits of an interface in the place of those that there are already, in one transaction; raise LinkError."""
    name = _table(interface)
    table = TABLE.format(
        name=name, port=int(port), length=8 + LENGTH, rate=RATE, burst=BURST, all=ALL, all_burst=ALL_BURST
    )
    _nft(f"table inet {name}\ndelete table inet {name}\n{table}")


def lift_limits(interface: str) -> None:
    """Take the limits of an interface away; raise LinkError."""
    name = _table(interface)
    _nft(f"table inet {name}\ndelete table inet {name}\n")


def _table(interface: str) -> str:
    """Return the name of the interface's table; what nft takes in no name is written as its number."""
    return "latchkey_" + re.sub(
        r"[^a-zA-Z0-9]", lambda found: f"_{ord(found[0]):x}", interface_name(interface)
    )


def _nft(rules: str) -> None:
    done = run("nft", "-f", "-", given=rules)
    if done.returncode:
        named = [line for line in done.stderr.splitlines() if "Error" in line]
        raise LinkError(f"nft: {named[0] if named else done.stderr.strip()}")
