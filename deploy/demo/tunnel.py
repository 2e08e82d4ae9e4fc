"""Find out whether a gateway can hold a real interface here, and make the namespace that it lives in."""

import os
import shutil

from deploy.demo.netns import Namespace

TOOLS = {"wg": "wireguard-tools", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
PROBE = "probe0"


class NoInterface(Exception):
    """No interface can be had; the message is half a sentence that says why."""


def namespace() -> Namespace:
    """Return a namespace in which wg0 can be made, never the host's; raise NoInterface where there can be none."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            raise NoInterface(f"{tool} is not installed (Debian's package {package})")
    try:
        made = Namespace()
    except OSError:
        who = "root" if os.geteuid() == 0 else "an ordinary user"
        raise NoInterface(f"{who} may not make network namespaces on this machine") from None
    try:
        _probe(made)
    except BaseException:
        made.close()
        raise
    return made


def _probe(made: Namespace) -> None:
    if made.run("ip", "link", "add", PROBE, "type", "wireguard", check=False).returncode == 0:
        made.run("ip", "link", "delete", PROBE)
        return
    if not shutil.which("wireguard-go"):
        raise NoInterface("the kernel has no wireguard module and wireguard-go is not installed")
    # A TUN device of a namespace of one's own takes no more than leave to open this file.
    if made.run("sh", "-c", ": <>/dev/net/tun", check=False).returncode:
        raise NoInterface("the kernel has no wireguard module and wireguard-go may not open /dev/net/tun")
