"""What the gateway's tests do to a peer and to its database, and what they ask of a peer."""

from django.db import connection
from django.utils import timezone

from peers import services
from peers.models import GatewayStatus, Peer
from peers.states import State, standing
from tests.conftest import Database


def key_of(peer: Peer) -> str:
    return peer.keys.get(retired_at=None).public_key


def revoke(peer: Peer) -> None:
    services.revoke(actor=services.Actor(user=peer.owner), peer=peer, at=timezone.now())


def state(peer: Peer) -> State:
    return standing(peer, timezone.now()).state


def database_away(database: Database) -> None:
    database.cluster.sql(
        f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )
    connection.close()  # the test's own was ended too


def database_back(database: Database) -> None:
    database.cluster.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


def ended(running):
    """End the time of the only device that there is, and wait until it is off the interface."""
    peer = Peer.objects.get()
    Peer.objects.update(expires_at=timezone.now())
    running.eventually(lambda: state(peer) == State.EXPIRED)


def counts(gateway: str = "gateway") -> dict[str, int]:
    """Return what became of the handshakes that came to a gateway, as last written down; nothing for what is 0."""
    row = GatewayStatus.objects.get(gateway=gateway)
    names = ("admitted", "refused", "invalid", "dropped")
    return {name: count for name in names if (count := getattr(row, f"handshakes_{name}"))}
