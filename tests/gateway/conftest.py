"""What the tests on a real interface share: namespaces, an interface, and the reason when there can be none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.demo.netns import Namespace, end
from peers.wireguard import keys, link, wg

TOOLS = {
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}


def require(condition: object, reason: str) -> None:
    """Go on if ``condition`` holds; otherwise skip the test, or fail it where CI must have everything."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_interfaces():
    """Ask for what a real interface needs: root, the tools and a way to make a TUN device."""
    require(os.geteuid() == 0, "needs root: network namespaces and interfaces")
    for tool, package in TOOLS.items():
        require(shutil.which(tool), f"needs {tool}: Debian's package {package}")
    require(Path("/dev/net/tun").exists(), "needs /dev/net/tun: the kernel's tun module")
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], check=False)
    require(probe.returncode == 0, "needs the right to make network namespaces")


@pytest.fixture
def namespace(real_interfaces):
    """Give one namespace."""
    with Namespace() as made:
        yield made


@pytest.fixture
def create(namespace):
    """Give ``link.create`` in the namespace; what it starts is ended."""
    started = []

    def created(name: str) -> "subprocess.Popen[bytes] | None":
        started.append(namespace.call(link.create, name))
        return started[-1]

    yield created
    for process in filter(None, started):
        end(process)


@pytest.fixture
def gateway(namespace, create, tmp_path):
    """Give a namespace with an interface wg0: up, 10.0.0.1/24 and fd00::1/64, port 51820, a private key."""
    create("wg0")
    key_file = tmp_path / "wg0.key"
    key_file.write_text(keys.generate_private_key())
    namespace.call(wg.set_interface, "wg0", private_key_file=key_file, listen_port=51820)
    namespace.run("ip", "address", "add", "10.0.0.1/24", "dev", "wg0")
    namespace.run("ip", "address", "add", "fd00::1/64", "dev", "wg0")
    namespace.run("ip", "link", "set", "wg0", "up")
    return namespace
