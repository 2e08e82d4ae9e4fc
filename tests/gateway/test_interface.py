"""wg(8) and ip(8) as we drive them, on a real interface with real clients."""

import subprocess
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from deploy.demo.client import Client
from deploy.demo.netns import Namespace, end
from peers.wireguard import keys, link, wg
from peers.wireguard.config import ClientConfig
from peers.wireguard.state import PeerSettings, diff, networks

PRESHARED_KEY = keys.generate_preshared_key()


def new_key() -> str:
    return keys.public_key_of(keys.generate_private_key())


def made_up_keys(count: int) -> list[str]:
    """Return many valid public keys fast: small u-coordinates, beyond those of low order."""
    return [keys._encoded((number + 2).to_bytes(32, "little")) for number in range(count)]


def settings(gateway: Namespace) -> dict[str, PeerSettings]:
    return {key: peer.settings for key, peer in gateway.call(wg.show, "wg0").peers.items()}


def config(gateway: Namespace, private_key: str, address: str, **changes: object) -> str:
    whole = ClientConfig(
        private_key=private_key,
        addresses=(ip_interface(address),),
        mtu=1420,
        server_public_key=gateway.call(wg.show, "wg0").public_key,
        client_allowed_ips=(ip_network("10.0.0.0/24"), ip_network("fd00::/64")),
        endpoint="192.0.2.1:51820",
    )
    return replace(whole, **changes).text()


@pytest.fixture
def connect(gateway):
    """Give a function that makes a client whose peer stands on wg0, and returns it with its public key."""
    clients = []

    def connected(address: str, **changes: object) -> tuple[Client, str]:
        private_key = keys.generate_private_key()
        key = keys.public_key_of(private_key)
        preshared_key = changes.get("preshared_key") or keys.ZERO_KEY
        gateway.call(wg.add, "wg0", {key: PeerSettings(networks(address), preshared_key)})
        clients.append(Client(config(gateway, private_key, address, **changes), gateway))
        return clients[-1], key

    yield connected
    for client in clients:
        client.close()


def test_public_key_of_agrees_with_wg_pubkey(real_interfaces):
    for _ in range(20):
        private = keys.generate_private_key()
        printed = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True)
        assert printed.stdout.strip() == keys.public_key_of(private)


def test_what_was_added_is_read_back(gateway):
    desired = {
        new_key(): PeerSettings(networks("10.0.0.2/32,fd00::2/128"), PRESHARED_KEY, 25),
        new_key(): PeerSettings(networks("10.0.0.3/32")),
        new_key(): PeerSettings(frozenset()),
    }
    gateway.call(wg.add, "wg0", desired)
    assert settings(gateway) == desired
    assert not diff(desired, gateway.call(wg.show, "wg0").peers)


def test_a_peer_that_never_came_has_no_endpoint_handshake_or_bytes(gateway):
    key = new_key()
    gateway.call(wg.add, "wg0", {key: PeerSettings(networks("10.0.0.2/32"))})
    peer = gateway.call(wg.show, "wg0").peers[key]
    assert (peer.endpoint, peer.latest_handshake, peer.rx_bytes, peer.tx_bytes) == (None, None, 0, 0)


def test_the_interface_itself_is_read_without_its_private_key(gateway, tmp_path):
    private_key = (tmp_path / "wg0.key").read_text()
    found = gateway.call(wg.show, "wg0")
    assert (found.public_key, found.listen_port) == (keys.public_key_of(private_key), 51820)
    assert private_key not in repr(found)


@pytest.mark.parametrize(
    "first",
    [
        PeerSettings(networks("10.0.0.2/32"), preshared_key=PRESHARED_KEY),
        PeerSettings(networks("10.0.0.2/32"), persistent_keepalive=25),
        PeerSettings(networks("10.0.0.9/32,fd00::9/128")),
    ],
    ids=["preshared_key", "persistent_keepalive", "allowed_ips"],
)
@pytest.mark.parametrize("second", ["10.0.0.2/32", "(none)"])
def test_what_is_no_longer_wanted_of_a_peer_is_cleared(gateway, first, second):
    key = new_key()
    gateway.call(wg.add, "wg0", {key: first})
    gateway.call(wg.add, "wg0", {key: PeerSettings(networks(second))})
    assert settings(gateway) == {key: PeerSettings(networks(second))}


def test_peers_that_exchange_addresses_in_one_call_end_right(gateway):
    ring = made_up_keys(4)
    hosts = [networks(f"10.0.0.{host}/32,fd00::{host}/128") for host in (2, 3, 4, 5)]
    gateway.call(wg.add, "wg0", dict(zip(ring, map(PeerSettings, hosts), strict=True)))
    for turned in ([hosts[1], hosts[0], hosts[3], hosts[2]], [*hosts[1:], hosts[0]], hosts):
        desired = dict(zip(ring, map(PeerSettings, turned), strict=True))
        gateway.call(wg.add, "wg0", desired)
        assert settings(gateway) == desired


def test_a_removed_peer_is_gone_and_the_others_stay(gateway):
    one, other = new_key(), new_key()
    gateway.call(
        wg.add,
        "wg0",
        {one: PeerSettings(networks("10.0.0.2/32")), other: PeerSettings(networks("10.0.0.3/32"))},
    )
    gateway.call(wg.remove, "wg0", [one])
    assert settings(gateway) == {other: PeerSettings(networks("10.0.0.3/32"))}


def test_removing_what_is_not_there_is_no_error(gateway):
    gateway.call(wg.remove, "wg0", [new_key()])
    gateway.call(wg.remove, "wg0", [])
    assert settings(gateway) == {}


def test_a_peer_that_cannot_work_put_there_by_hand_can_be_removed(gateway):
    gateway.run("wg", "set", "wg0", "peer", keys.ZERO_KEY, "allowed-ips", "10.0.0.2/32")
    assert settings(gateway) == {keys.ZERO_KEY: PeerSettings(networks("10.0.0.2/32"))}
    gateway.call(wg.remove, "wg0", [keys.ZERO_KEY])
    assert settings(gateway) == {}


def test_more_peers_than_one_command_line_holds_are_removed(gateway):
    many = made_up_keys(26_500)  # 2 MiB hold 25,875
    gateway.call(wg.add, "wg0", dict.fromkeys(many, PeerSettings(frozenset())))
    assert len(settings(gateway)) == len(many)
    gateway.call(wg.remove, "wg0", many[1:])
    assert settings(gateway) == {many[0]: PeerSettings(frozenset())}


def test_nothing_is_added_when_one_of_many_is_invalid(gateway):
    good = {new_key(): PeerSettings(networks("10.0.0.2/32"))}
    with pytest.raises(keys.InvalidKey):
        gateway.call(wg.add, "wg0", {**good, keys.ZERO_KEY: PeerSettings(networks("10.0.0.3/32"))})
    assert settings(gateway) == {}


def test_a_missing_interface_is_told_apart_from_other_failures(namespace):
    peer = {new_key(): PeerSettings(networks("10.0.0.2/32"), PRESHARED_KEY)}
    calls = [
        (wg.show, "wg0"),
        (wg.add, "wg0", peer),
        (wg.remove, "wg0", list(peer)),
    ]
    for function, *arguments in calls:
        with pytest.raises(wg.InterfaceMissing, match="there is no interface wg0"):
            namespace.call(function, *arguments)
    with pytest.raises(wg.WgError) as caught:
        namespace.call(wg.show, "lo")
    assert not isinstance(caught.value, wg.InterfaceMissing)


def test_no_error_of_wg_holds_a_key(gateway, tmp_path):
    bad_file = tmp_path / "bad.key"
    secret = keys.generate_private_key()
    bad_file.write_text(f"{secret} {secret}")
    with pytest.raises(wg.WgError) as caught:
        gateway.call(wg.set_interface, "wg0", private_key_file=bad_file)
    assert secret not in repr(caught.value)
    with pytest.raises(wg.WgError, match="No such file"):
        gateway.call(wg.set_interface, "wg0", private_key_file=tmp_path / "absent.key")


def test_set_interface_writes_only_what_is_given(gateway, tmp_path):
    before = gateway.call(wg.show, "wg0")
    gateway.call(wg.set_interface, "wg0")
    gateway.call(wg.set_interface, "wg0", listen_port=51999)
    assert gateway.call(wg.show, "wg0") == replace(before, listen_port=51999)
    private_key = keys.generate_private_key()
    (tmp_path / "other.key").write_text(private_key)
    gateway.call(wg.set_interface, "wg0", private_key_file=tmp_path / "other.key")
    after = gateway.call(wg.show, "wg0")
    assert (after.public_key, after.listen_port) == (keys.public_key_of(private_key), 51999)


def test_a_real_client_pings_through_and_is_seen(gateway, connect):
    client, key = connect("10.0.0.2/32", preshared_key=PRESHARED_KEY)
    result = client.ping("10.0.0.1", count=3)
    assert (result.sent, result.received) == (3, 3)
    assert result.first_reply_seconds < 2
    peer = gateway.call(wg.show, "wg0").peers[key]
    assert peer.latest_handshake is not None
    assert peer.endpoint is not None
    assert peer.rx_bytes > 0 < peer.tx_bytes


def test_a_real_client_reaches_an_ipv6_endpoint_and_address(connect):
    client, _ = connect("fd00::2/128", endpoint="[2001:db8::1]:51820")
    assert client.ping("fd00::1", count=2).received == 2


def test_a_client_with_another_preshared_key_does_not_get_through(gateway, connect):
    client, key = connect("10.0.0.2/32", preshared_key=PRESHARED_KEY)
    gateway.call(wg.add, "wg0", {key: PeerSettings(networks("10.0.0.2/32"))})
    assert client.ping("10.0.0.1", timeout=0.5).received == 0


def test_a_removed_client_is_cut_off_and_comes_back_when_added_again(gateway, connect):
    client, key = connect("10.0.0.2/32")
    assert client.ping("10.0.0.1").received == 1
    gateway.call(wg.remove, "wg0", [key])
    assert client.ping("10.0.0.1", timeout=0.5).received == 0
    gateway.call(wg.add, "wg0", {key: PeerSettings(networks("10.0.0.2/32"))})
    gateway.run("wg", "set", "wg0", "peer", key, "endpoint", endpoint_of(client))
    gateway.run(
        "ping", "-n", "-c", "1", "-W", "2", "10.0.0.2"
    )  # the gateway speaks first: no wait for the client's retry
    assert client.ping("10.0.0.1").received == 1


def endpoint_of(client: Client) -> str:
    port = client.namespace.run("wg", "show", "wg0", "listen-port").stdout.strip()
    local = client.namespace.run("ip", "-brief", "address", "show", "type", "veth").stdout.split()[2]
    return f"{ip_interface(local).ip}:{port}"


def test_changes_to_others_lose_no_packet_of_a_session(gateway, connect):
    client, _ = connect("10.0.0.2/32")
    assert client.ping("10.0.0.1").received == 1
    many = made_up_keys(500)
    ping = client.namespace.popen(
        "ping", "-n", "-c", "100", "-i", "0.01", "-W", "2", "10.0.0.1", stdout=subprocess.PIPE, text=True
    )
    while ping.poll() is None:
        gateway.call(wg.add, "wg0", dict.fromkeys(many, PeerSettings(frozenset(), PRESHARED_KEY)))
        gateway.call(wg.remove, "wg0", many)
    assert "100 packets transmitted, 100 received" in ping.communicate()[0]


def state_of(namespace: Namespace) -> str:
    return namespace.run("ip", "-json", "address", "show", "dev", "wg0").stdout


def test_configure_gives_addresses_mtu_and_up_and_then_does_nothing(namespace, create, monkeypatch):
    create("wg0")
    wanted = [ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64")]
    namespace.call(link.configure, "wg0", wanted, 1380)
    text = namespace.run("ip", "-brief", "address", "show", "dev", "wg0").stdout
    assert "10.0.0.1/24" in text
    assert "fd00::1/64" in text
    assert '"mtu":1380' in state_of(namespace)
    assert '"UP"' in state_of(namespace)
    commands = []
    ip = link._ip
    monkeypatch.setattr(link, "_ip", lambda *words: commands.append(words) or ip(*words))
    namespace.call(link.configure, "wg0", wanted, 1380)
    assert commands == [("-json", "address", "show", "dev", "wg0")]


def test_configure_mends_what_was_undone_and_leaves_an_operators_address(namespace, create):
    create("wg0")
    wanted = [ip_interface("10.0.0.1/24"), ip_interface("10.0.1.1/24")]
    namespace.call(link.configure, "wg0", wanted, 1420)
    namespace.run("ip", "address", "delete", "10.0.1.1/24", "dev", "wg0")
    namespace.run("ip", "address", "add", "10.9.0.1/24", "dev", "wg0")
    namespace.run("ip", "link", "set", "wg0", "down")
    namespace.call(link.configure, "wg0", wanted, 1420)
    text = namespace.run("ip", "-brief", "address", "show", "dev", "wg0").stdout
    assert {"10.0.0.1/24", "10.0.1.1/24", "10.9.0.1/24"} <= set(text.split())
    assert '"UP"' in state_of(namespace)


def test_an_interface_is_made_deleted_and_made_again(namespace, create):
    for _ in range(2):
        assert not namespace.call(link.exists, "wg0")
        process = create("wg0")
        assert namespace.call(link.exists, "wg0")
        assert namespace.call(wg.show, "wg0").peers == {}
        namespace.call(link.delete, "wg0")
        assert process is None or process.wait(5) is not None


@pytest.fixture
def userspace(namespace):
    """Give what ``link.create`` falls back on, also where the kernel could serve the interface itself."""
    started = []

    def created(name: str) -> "subprocess.Popen[bytes]":
        started.append(namespace.call(link._userspace, name))
        return started[-1]

    yield created
    for process in started:
        end(process)


def test_an_interface_is_made_again_after_its_process_was_killed(namespace, userspace):
    first = userspace("wg0")
    first.kill()
    first.wait()
    userspace("wg0")
    assert namespace.call(wg.show, "wg0").peers == {}


def test_an_interface_ends_with_the_handle_that_create_returned(namespace, userspace):
    process = userspace("wg0")
    process.terminate()
    process.wait(5)
    assert not namespace.call(link.exists, "wg0")


def test_a_wireguard_go_that_wg_cannot_reach_is_an_error_and_does_not_stay(namespace, tmp_path, monkeypatch):
    monkeypatch.setattr(link, "SOCKETS", tmp_path)
    monkeypatch.setattr(link, "START", 0.3)
    with pytest.raises(link.LinkError, match="wireguard-go did not bring up wg0"):
        namespace.call(link._userspace, "wg0")
    assert not namespace.call(link.exists, "wg0")


@pytest.mark.parametrize("name", ["--help", "a/b", "", "x" * 16, "wg0\n"])
def test_what_is_no_interface_name_reaches_no_process(name, monkeypatch):
    monkeypatch.setattr(link.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    for function, *arguments in ((link.create,), (link.delete,), (link.configure, [], 1420), (link.exists,)):
        with pytest.raises(ValueError, match="an interface's name"):
            function(name, *arguments)


def test_what_ip_cannot_do_is_an_error_in_a_sentence(namespace, create):
    create("wg0")
    with pytest.raises(link.LinkError, match="wg0"):
        create("wg0")
    with pytest.raises(link.LinkError, match="does not exist"):
        namespace.call(link.configure, "wg1", [], 1420)
    with pytest.raises(link.LinkError, match="wg1"):
        namespace.call(link.delete, "wg1")


def test_a_closed_namespace_leaves_no_process(real_interfaces):
    with Namespace() as made:
        inside = f"net:[{Path(f'/proc/{made.pid}/ns/net').stat().st_ino}]"
        made.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 &")
        made.popen("sleep", "1000")
        assert inside in namespaces_in_use()
    assert inside not in namespaces_in_use()


def namespaces_in_use() -> set[str]:
    printed = subprocess.run(
        ["lsns", "--noheadings", "--raw", "--type", "net", "--output", "NS"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {f"net:[{number}]" for number in printed.stdout.split()}
