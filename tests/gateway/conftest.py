"""What the tests on a real interface share: namespaces, an interface, and the reason when there can be none."""

import os
import shutil
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from deploy.demo.client import Client
from deploy.demo.netns import Namespace, end
from peers.wireguard import keys, link, wg

INSIDE = "10.77.0.1"  # the interface's own address in the tunnel
OUTSIDE = ip_address("198.51.100.77")  # the gateway's as a stranger sees it; clients see another
PORT = 51820
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
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


def _rows():
    """Return ``tests.rows``: it needs Django's models, which are not ready yet when this file is read."""
    from tests import rows

    return rows


def _running():
    """Return ``tests.gateway.running``, for the same reason."""
    from tests.gateway import running

    return running


@pytest.fixture
def wg0(database):
    return _rows().interface(
        public_key=None, ipv4_pool="10.77.0.0/16", ipv6_pool="fd00:77::/64", device_limit=100_000
    )


@pytest.fixture
def alice(database):
    return _rows().person("alice")


@pytest.fixture
def run(namespace, database, tmp_path, wg0):
    """Give a function that starts the gateway on wg0 and waits for its first pass."""
    started = []

    def running(*flags, **environment):
        made = _running().RunningGateway(namespace, database, tmp_path, *flags, **environment)
        started.append(made)
        made.eventually(lambda: made.database.sql("SELECT public_key FROM peers_interface"))
        wg0.refresh_from_db()
        return made

    yield running
    for made in started:
        made.stop()


@pytest.fixture
def running(run):
    return run("--create")


@pytest.fixture
def on_demand(wg0):
    """Give the interface, on demand; its clients send nothing by themselves."""
    wg0.mode, wg0.persistent_keepalive = "on_demand", 0
    wg0.save(update_fields=["mode", "persistent_keepalive"])
    return wg0


@pytest.fixture
def started(on_demand, run):
    """Give a function that starts the gateway, and waits until it listens for handshakes."""

    def watching(*flags, **environment):
        made = run(*flags, **environment)
        made.eventually(lambda: made.said("watching"))
        return made

    return watching


@pytest.fixture
def second_host(running, database, tmp_path):
    """Give a function that starts a gateway with another name, for the same interface, in a namespace of its own."""
    home = tmp_path / "second"
    home.mkdir()
    with Namespace() as elsewhere:
        started = []

        def start():
            (home / "wg0.key").write_text((tmp_path / "wg0.key").read_text())
            (home / "wg0.key").chmod(0o600)
            environment = {"LATCHKEY_GATEWAY_NAME": "other"}
            started.append(_running().RunningGateway(elsewhere, database, home, "--create", **environment))
            return started[-1]

        yield start
        for made in started:
            made.stop()


@pytest.fixture
def stranger(namespace):
    """Give a function that sends a packet to the interface's port from a namespace of its own."""
    with Namespace() as elsewhere:
        elsewhere.link(namespace, theirs=OUTSIDE)

        def send(packet: bytes) -> None:
            with elsewhere.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(packet, (str(OUTSIDE), PORT))

        yield send


@pytest.fixture
def enrol(alice, wg0, namespace):
    """Give a function that enrols a device and brings it up as a real client; it returns the peer and the client."""
    clients = []

    def enrolled(owner=alice, **columns):
        private_key = keys.generate_private_key()
        peer = _rows().peer(owner, wg0, public_key=keys.public_key_of(private_key), **columns)
        clients.append(Client(_running().configuration_of(peer, private_key), namespace))
        return peer, clients[-1]

    yield enrolled
    for client in clients:
        client.close()


@pytest.fixture
def pinging(tmp_path):
    """Give a function that lets a client ping until the test's end."""
    started = []

    def start(client):
        started.append(_running().Replies(client, INSIDE, tmp_path / f"ping-{len(started)}.log"))
        return started[-1]

    yield start
    for replies in started:
        replies.close()


@pytest.fixture
def uncollected(settings):
    """Have the portal's pages do without static files that were collected."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.WHITENOISE_AUTOREFRESH = True
