"""The newest of somebody's devices, on the page of the person or the service account that has them."""

from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest

from peers.models import Peer
from peers.presentation import Device
from peers.states import database_now, standings

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Newest:
    """The first few, and how many more there are (below zero: none); ``query`` narrows the list of devices down to all of them."""

    devices: list[Device]
    more: int
    query: str


def newest(request: HttpRequest, peers: QuerySet[Peer], query: str) -> Newest | None:
    """Return them, each with its standing, in a fixed number of queries; None for who may not see devices."""
    if not request.user.has_perm("peers.view_peer"):
        return None
    rows = peers.select_related("interface", "owner", "service_account").order_by("-enrolled_at", "pk")
    shown = list(rows[:SHOWN])
    found = standings(Peer.objects.filter(pk__in=[peer.pk for peer in shown]), database_now())
    return Newest([Device(peer, found[peer.pk]) for peer in shown], peers.count() - SHOWN, query)
