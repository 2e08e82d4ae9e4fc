"""Tell the gateways to look again; PostgreSQL delivers at commit and drops it on rollback."""

from typing import Any

from django.db import connection
from django.db.models.signals import post_save
from django.dispatch import receiver

from peers.models import Interface, Peer, PeerKey, ServiceAccount
from portal.models import User

CHANNEL = "latchkey"
READ_BACK = "latchkey_read_back"  # by which gateways tell those who wait for a peer


def notify(kind: str, pk: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{kind}:{pk}"])


@receiver(post_save, sender=Peer)
def peer_saved(instance: Peer, **_: Any) -> None:
    notify("peer", instance.pk)


@receiver(post_save, sender=PeerKey)
def key_saved(instance: PeerKey, **_: Any) -> None:
    notify("peer", instance.peer_id)


@receiver(post_save, sender=Interface)
def interface_saved(instance: Interface, **_: Any) -> None:
    notify("interface", instance.pk)


@receiver(post_save, sender=ServiceAccount)
def account_saved(instance: ServiceAccount, **_: Any) -> None:
    notify("account", instance.pk)


@receiver(post_save, sender=User)
def user_saved(instance: User, update_fields: frozenset[str] | None, **_: Any) -> None:
    if update_fields != frozenset({"last_login"}):
        notify("owner", instance.pk)
