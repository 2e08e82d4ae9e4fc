"""How much went through a peer's tunnel, from the samples that gateways took of its counters."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from peers.models import SAMPLES_KEPT, Peer, PeerStatus, TrafficSample

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)  # what is read as a quarter begins went through in the one before


@dataclass(frozen=True, slots=True)
class Reading:
    """Both counters of a peer at one gateway, added up: bytes since it came on the interface there, at ``at``."""

    gateway: str
    at: datetime
    total: int


def last_day(peer: Peer, at: datetime) -> list[tuple[datetime, int]]:
    """Return the bytes that went both ways in the day before ``at``: (when they were counted, how many), oldest first."""
    taken = TrafficSample.objects.filter(peer=peer, at__gt=at - SAMPLES_KEPT).values_list(
        "gateway__gateway", "at", "rx_bytes", "tx_bytes"
    )
    samples = [Reading(gateway, when, rx + tx) for gateway, when, rx, tx in taken]
    now = PeerStatus.objects.filter(peer=peer, present=True)
    current = [
        (status.since, Reading(status.gateway, at, status.rx_bytes + status.tx_bytes)) for status in now
    ]
    begun = [Reading(reading.gateway, since, 0) for since, reading in current if since > at - SAMPLES_KEPT]
    return list(steps([*begun, *samples, *(reading for _, reading in current)], after=at - DAY))


def steps(readings: Iterable[Reading], *, after: datetime) -> Iterator[tuple[datetime, int]]:
    """Yield when (just before each reading) and what it adds to the one before it at the same gateway.

    Counters that fell had begun again. The first reading of a gateway only says where its counter stood.
    """
    ordered = sorted(readings, key=lambda reading: (reading.gateway, reading.at))
    for _, group in groupby(ordered, key=lambda reading: reading.gateway):
        for before, reading in pairwise(group):
            added = reading.total - before.total if reading.total >= before.total else reading.total
            if reading.at > after:
                yield reading.at - INSTANT, added
