"""Hold the interface itself: make it or take it, give it its private key, publish its public key."""

import os
import stat
import subprocess
from pathlib import Path

from peers.models import Interface
from peers.wireguard import keys, link, wg
from peers.wireguard.state import Observed

NOTHING = Observed(None, 0, {})


class Stop(Exception):
    """The gateway must not go on; the message says why and what to do."""


class Attachment:
    """The live interface of ``name``; ``create`` makes it where it is missing: the kernel's, else wireguard-go's.

    ``trouble`` is why it could not be set up as wanted: its peers are looked after all the same.
    """

    live = True
    trouble: wg.WgError | link.LinkError | None = None

    def __init__(self, name: str, key_file: Path, *, create: bool) -> None:
        self.name = wg.interface_name(name)
        self.key_file = key_file
        self.create = create
        self._daemon: subprocess.Popen[bytes] | None = None
        self._configured: tuple[object, ...] | None = None

    def observe(self, interface: Interface) -> Observed:
        """Return what the interface holds, made and set up first where it is not; raise wg.WgError or Stop."""
        try:
            observed = wg.show(self.name)
        except wg.InterfaceMissing:
            self._make()
            observed = wg.show(self.name)
        self.trouble = None
        if self._is_set_up(interface, observed):
            return observed
        try:
            self._set_up(interface, observed)
        except (wg.WgError, link.LinkError) as error:
            self.trouble = error
        return wg.show(self.name)

    def look_again(self) -> None:
        """Have the next ``observe`` check addresses, MTU and link state too."""
        self._configured = None

    def close(self) -> None:
        """End the wireguard-go that this process started, and with it the interface."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(10)
            self._daemon = None

    def _make(self) -> None:
        self.close()
        if not self.create:
            raise wg.InterfaceMissing(f"there is no interface {self.name}; --create makes it")
        self._daemon = link.create(self.name)
        self._configured = None

    def _is_set_up(self, interface: Interface, observed: Observed) -> bool:
        return (
            observed.public_key == interface.public_key
            and observed.listen_port == interface.listen_port
            and self._configured == (interface.own_addresses, interface.mtu)
        )

    def _set_up(self, interface: Interface, observed: Observed) -> None:
        """Write what differs and nothing else: a port that is sent again makes the socket new."""
        public_key = _public_key(interface, self.key_file, observed)
        publish(interface, public_key)
        port = interface.listen_port if observed.listen_port != interface.listen_port else None
        key_file = self.key_file if observed.public_key != public_key else None
        wg.set_interface(self.name, private_key_file=key_file, listen_port=port)
        link.configure(self.name, interface.own_addresses, interface.mtu)
        self._configured = (interface.own_addresses, interface.mtu)


class NoInterface:
    """In the place of an interface: nothing is touched.

    With a ``key_file``, the public key that belongs to it is published all the same, so that people can enrol.
    """

    live = False
    trouble = None

    def __init__(self, key_file: Path | None) -> None:
        self.key_file = key_file

    def observe(self, interface: Interface) -> Observed:
        """Return that there is nothing."""
        if self.key_file:
            publish(interface, _public_key(interface, self.key_file, NOTHING))
        return NOTHING

    def look_again(self) -> None:
        """Do nothing: there is nothing to look at."""

    def close(self) -> None:
        """Do nothing: nothing was started."""


def _public_key(interface: Interface, key_file: Path, observed: Observed) -> str:
    if _exists(key_file):
        return keys.public_key_of(_read_private_key(key_file))
    if observed.public_key is not None:
        return observed.public_key
    if interface.public_key is not None:
        raise Stop(
            f"{interface} has published {interface.public_key}, but its private key is not in {key_file}: "
            "with another key every client would fail. Put the file back."
        )
    return keys.public_key_of(_new_private_key(key_file))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise Stop(f"{path} cannot be looked for: {error.strerror}.") from None


def publish(interface: Interface, public_key: str) -> None:
    """Write the public key while there is none; raise Stop if another one was published.

    Nothing is asked of the database when it is the one that was read from there: it may be away.
    """
    if interface.public_key == public_key:
        return
    Interface.objects.filter(pk=interface.pk, public_key=None).update(public_key=public_key)
    interface.refresh_from_db(fields=["public_key"])
    if interface.public_key != public_key:
        raise Stop(
            f"The private key on this host belongs to {public_key}, but {interface} has published "
            f"{interface.public_key}: every client would fail. Put the right key file in place."
        )


def _read_private_key(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Stop(f"{path} can be read by others: chmod 600 it.")
        return keys.private_key(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        raise Stop(f"{path} does not hold a private key that can be read.") from None


def _new_private_key(path: Path) -> str:
    """Make a private key and its file, whole or not at all, and never in the place of another."""
    key, draft = keys.generate_private_key(), path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        draft.unlink()
    except OSError as error:
        raise Stop(f"The private key cannot be written to {path}: {error.strerror}.") from None
    return key
