"""How wg(8) is driven, without an interface: what it is given, and what is never passed on."""

import os
from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.wireguard import keys, wg
from peers.wireguard.state import ALLOWED_IPS, PeerSettings, networks

KEY = keys.public_key_of(keys.generate_private_key())
OTHER_KEY = keys.public_key_of(keys.generate_private_key())
PRESHARED_KEY = keys.generate_preshared_key()
PEER = {KEY: PeerSettings(networks("10.0.0.2/32"))}

PRESENT = "lo"  # an interface that is there, though not WireGuard's


@pytest.fixture
def fake_wg(tmp_path, monkeypatch):
    """Give a function that puts a shell script in the place of wg(8)."""

    def put(script: str) -> None:
        (tmp_path / "wg").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "wg").chmod(0o755)
        monkeypatch.setattr(wg, "PATH", str(tmp_path))

    return put


@pytest.fixture
def no_process(monkeypatch):
    """Fail the test if a process is started."""
    monkeypatch.setattr(wg.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))


def test_every_owned_setting_is_written():
    peers = {KEY: PeerSettings(networks("fd00::2/128,10.0.0.2/32"), PRESHARED_KEY, 25), OTHER_KEY: PEER[KEY]}
    assert wg.add_config(peers) == (
        "[Peer]\n"
        f"PublicKey = {KEY}\n"
        f"PresharedKey = {PRESHARED_KEY}\n"
        "AllowedIPs = 10.0.0.2/32,fd00::2/128\n"
        "PersistentKeepalive = 25\n"
        "[Peer]\n"
        f"PublicKey = {OTHER_KEY}\n"
        "PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "AllowedIPs = 10.0.0.2/32\n"
        "PersistentKeepalive = 0\n"
    )


def test_no_allowed_ips_are_a_section_without_the_line():
    assert "AllowedIPs" not in wg.add_config({KEY: PeerSettings(frozenset())})


HOSTILE = {
    "a key of low order": {keys.ZERO_KEY: PeerSettings(frozenset())},
    "a key with a line": {f"{KEY}\nEndpoint = 192.0.2.1:1": PeerSettings(frozenset())},
    "an option for a key": {"--help": PeerSettings(frozenset())},
    "a preshared key with a line": {
        KEY: PeerSettings(frozenset(), f"{PRESHARED_KEY}\nEndpoint = 192.0.2.1:1")
    },
    "no preshared key at all": {KEY: PeerSettings(frozenset(), "")},
    "a network with a zone": {KEY: PeerSettings(frozenset({IPv6Network("fd00::2%x\nEndpoint = a:1/128")}))},
    "a keepalive too large": {KEY: PeerSettings(frozenset(), persistent_keepalive=65536)},
    "a keepalive below 0": {KEY: PeerSettings(frozenset(), persistent_keepalive=-1)},
    "a keepalive as text": {KEY: PeerSettings(frozenset(), persistent_keepalive="25\nEndpoint = a:1")},
}


@pytest.mark.parametrize("peers", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_peer_is_refused_before_a_process_is_started(peers, no_process):
    with pytest.raises(ValueError, match=r"\w"):
        wg.add(PRESENT, {**PEER, **peers})


@given(
    st.dictionaries(
        st.sampled_from([KEY, OTHER_KEY, keys.ZERO_KEY]) | st.text(max_size=45),
        st.builds(
            PeerSettings,
            st.frozensets(st.ip_addresses().map(ip_network), max_size=3),
            st.sampled_from([keys.ZERO_KEY, PRESHARED_KEY]) | st.text(max_size=45),
            st.integers(-1, 65536),
        ),
        max_size=3,
    )
)
def test_what_is_written_follows_the_grammar_line_by_line(peers):
    try:
        lines = wg.add_config(peers).splitlines()
    except ValueError:
        return
    for line in lines:
        name, _, value = line.partition(" = ")
        if name == "AllowedIPs":
            assert ALLOWED_IPS.fullmatch(value)
        elif name == "PersistentKeepalive":
            assert 0 <= int(value) <= 65535
        elif line != "[Peer]":
            assert name in {"PublicKey", "PresharedKey"}
            assert keys.KEY.fullmatch(value)


@pytest.mark.parametrize("name", ["wg0", "a", "wg-office_1", "=+.-", "...", "x" * 15])
def test_an_interface_name(name):
    assert wg.interface_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-wg0",
        "--help",
        "x" * 16,
        "wg 0",
        "wg0\n",
        "wg/0",
        "../wg0",
        "w\u00fcg0",
        "wg0;reboot",
        "wg\0",
    ],
)
def test_what_is_no_interface_name_is_refused_before_a_process_is_started(name, no_process):
    for call in (
        lambda: wg.show(name),
        lambda: wg.add(name, PEER),
        lambda: wg.remove(name, [KEY]),
        lambda: wg.set_interface(name, listen_port=51820),
    ):
        with pytest.raises(ValueError, match="an interface's name"):
            call()


@pytest.mark.parametrize(
    "key", ["", "--help", KEY[1:], f"{KEY}\n", f"{KEY} remove"], ids=["none", "flag", "short", "line", "verb"]
)
def test_what_is_not_the_shape_of_a_key_is_not_removed(key, no_process):
    with pytest.raises(ValueError, match="shape of a key"):
        wg.remove(PRESENT, [KEY, key])


@pytest.mark.parametrize("port", [-1, 65536, "51820", True])
def test_a_listen_port_out_of_range_is_refused(port, no_process):
    with pytest.raises(ValueError, match="listen_port"):
        wg.set_interface(PRESENT, listen_port=port)


def test_nothing_to_do_starts_no_process(no_process):
    wg.add(PRESENT, {})
    wg.remove(PRESENT, [])
    wg.set_interface(PRESENT)


def test_a_port_that_is_not_given_is_not_written(fake_wg, tmp_path):
    fake_wg(f'echo "$@" >> {tmp_path}/argv')
    wg.set_interface(PRESENT, private_key_file=tmp_path / "key")
    wg.set_interface(PRESENT, listen_port=51820)
    assert (tmp_path / "argv").read_text().splitlines() == [
        f"set lo private-key {tmp_path}/key",
        "set lo listen-port 51820",
    ]


def test_many_peers_are_removed_a_command_line_at_a_time(fake_wg, tmp_path, monkeypatch):
    monkeypatch.setattr(wg, "REMOVED_AT_ONCE", 2)
    fake_wg(f'echo "$@" >> {tmp_path}/argv')
    many = sorted(keys.generate_preshared_key() for _ in range(5))
    wg.remove(PRESENT, iter([*many, many[0]]))
    words = [line.split() for line in (tmp_path / "argv").read_text().splitlines()]
    assert [len(line) for line in words] == [8, 8, 5]
    assert [word for line in words for word in line[3::3]] == many


def test_a_preshared_key_is_never_on_the_command_line(fake_wg, tmp_path):
    fake_wg(f'echo "$@" >> {tmp_path}/argv; cat > {tmp_path}/stdin')
    peers = {KEY: PeerSettings(networks("10.0.0.2/32"), PRESHARED_KEY)}
    wg.add(PRESENT, peers)
    assert (tmp_path / "argv").read_text() == "addconf lo /dev/stdin\n"
    assert (tmp_path / "stdin").read_text() == wg.add_config(peers)


def test_the_environment_is_fixed(fake_wg, tmp_path, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD_LIKE", "anything")
    fake_wg(f"env > {tmp_path}/environment")
    wg.set_interface(PRESENT, listen_port=51820)
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "LC_ALL"}
    assert f"PATH={wg.ENVIRONMENT['PATH']}\n" in (tmp_path / "environment").read_text()


def test_wg_is_not_looked_for_where_the_caller_says(tmp_path, monkeypatch):
    (tmp_path / "wg").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "wg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(wg.WgError):
        wg.show(PRESENT)
    assert not (tmp_path / "ran").exists()


def test_a_wg_that_is_not_installed_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(wg, "PATH", str(tmp_path))
    with pytest.raises(wg.WgError, match="wireguard-tools"):
        wg.show(PRESENT)


def everything_in(error: BaseException) -> str:
    return f"{error!r} {error.__cause__!r} {error.__context__!r}"


def test_an_error_tells_the_last_line_of_wg_without_its_keys(fake_wg):
    fake_wg(f"echo first >&2; echo 'Key is not right: `{PRESHARED_KEY}' >&2; exit 1")
    with pytest.raises(wg.WgError, match=r"^wg show: Key is not right: `\(key\)$") as caught:
        wg.show(PRESENT)
    assert PRESHARED_KEY[:20] not in everything_in(caught.value)


def test_a_wg_that_ends_without_a_word_is_an_error(fake_wg):
    fake_wg("kill -PIPE $$")
    with pytest.raises(wg.WgError, match="status -13"):
        wg.add(PRESENT, PEER)


def test_a_wg_that_hangs_is_ended_and_what_it_printed_is_not_passed_on(fake_wg, monkeypatch):
    monkeypatch.setattr(wg, "TIMEOUT", 0.3)
    fake_wg(f"echo {PRESHARED_KEY}; exec sleep 60")
    with pytest.raises(wg.WgError, match="did not end within") as caught:
        wg.show(PRESENT)
    assert PRESHARED_KEY not in everything_in(caught.value)


def test_a_dump_that_cannot_be_read_is_not_passed_on(fake_wg):
    fake_wg(f"echo {PRESHARED_KEY}")
    with pytest.raises(wg.WgError, match="could not be read") as caught:
        wg.show(PRESENT)
    assert PRESHARED_KEY not in everything_in(caught.value)


def test_a_missing_interface_is_told_by_its_absence(fake_wg):
    fake_wg("echo 'Unable to access interface: Protocol not supported' >&2; exit 1")
    with pytest.raises(wg.InterfaceMissing, match="there is no interface lk-absent"):
        wg.show("lk-absent")
    with pytest.raises(wg.WgError) as caught:
        wg.show(PRESENT)
    assert type(caught.value) is wg.WgError
