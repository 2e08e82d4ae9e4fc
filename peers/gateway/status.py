"""Write down what was read back from the interface: only this says that a peer is live."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from peers import audit
from peers.gateway.gather import AS_TEXT
from peers.models import CONNECTED_WITHIN, AuditEvent, Interface, Peer, PeerStatus
from peers.wireguard.state import ObservedPeer

COUNTERS_EVERY = timedelta(minutes=1)
AT_ONCE = 1000  # rows a statement
KEYS_LISTED = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What a gateway knows of one peer; the columns of PeerStatus."""

    public_key: str = ""
    present: bool = False
    since: datetime | None = None
    latest_handshake: datetime | None = None
    connected_since: datetime | None = None
    endpoint: str = ""
    rx_bytes: int = 0
    tx_bytes: int = 0
    held: bool = False
    problem: str = ""

    def says(self, key: str, seen: ObservedPeer, *, held: bool, counters: bool) -> bool:
        """Return whether it already says what was seen; ``counters``: their every byte, too.

        ``connected_since`` follows from the handshakes, so it is no news of its own.
        """
        return (
            self.present
            and self.latest_handshake == seen.latest_handshake
            and self.public_key == key
            and self.endpoint == (seen.endpoint or "")
            and self.held == held
            and not self.problem
            and not (counters and (self.rx_bytes, self.tx_bytes) != (seen.rx_bytes, seen.tx_bytes))
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """When a key's time was over, and when it was read back as gone for that; None: that is still to come."""

    due_at: datetime
    gone_at: datetime | None = None


class Statuses:
    """The PeerStatus rows of one gateway and interface, and what of them has been written.

    Of peers that are off, and whose rows are in order, nothing is kept: there may be a million.
    """

    def __init__(self, gateway: str, interface: Interface) -> None:
        self.gateway = gateway
        self._written: dict[str, Reading] = {}
        self._counted_at: datetime | None = None
        mine = PeerStatus.objects.filter(gateway=gateway, peer__interface=interface)
        self._rows = mine.values_list(AS_TEXT("peer_id"), *Reading.__dataclass_fields__)
        self._learn(Q(present=True) | ~Q(problem=""))

    def _learn(self, condition: Q) -> None:
        for peer, *values in self._rows.filter(condition).iterator():
            self._written[peer] = Reading(*values)

    def on(self) -> dict[str, str]:
        """Return the keys that were last written as on the interface."""
        return {reading.public_key: peer for peer, reading in self._written.items() if reading.present}

    def put_aside(self) -> set[str]:
        """Return the peers of whose rows it was last written that they were put aside."""
        return {peer for peer, reading in self._written.items() if reading.problem}

    def read(
        self,
        peers: Mapping[str, str],
        observed: Mapping[str, ObservedPeer],
        *,
        held: Collection[str],
        problems: Mapping[str, str],
        ended: Mapping[str, Ended],
        at: datetime,
    ) -> dict[str, Reading]:
        """Return the readings that are news; ``peers`` maps the keys looked at to their peers' ids.

        A counter alone is news once a minute. Who was read back as gone when its time was over went then, and who is on
        again is on since ``at``.
        """
        counters = self._counters_due(at)
        gone = {key: end.gone_at for key, end in ended.items() if end.gone_at}
        on: set[str] = set()
        found: dict[str, Reading] = {}
        for key, peer in peers.items():
            if (seen := observed.get(key)) is not None:
                on.add(peer)
                was = self._written.get(peer)
                if was is not None and key in gone:
                    was = _absent(was, gone[key])
                if was is None or not was.says(key, seen, held=key in held, counters=counters):
                    found[peer] = _present(was, key, seen, at, held=key in held)
        for peer in set(peers.values()) - on:
            if (was := self._written.get(peer)) is not None and (was.present or was.held or was.problem):
                found[peer] = _absent(was, gone.get(was.public_key, at))
        strangers = [peer for peer in problems if peer not in self._written]
        for first in range(0, len(strangers), AT_ONCE):
            self._learn(Q(peer__in=strangers[first : first + AT_ONCE]))
        for peer, problem in problems.items():
            was = found.get(peer) or self._written.get(peer)
            found[peer] = replace(was or Reading(since=at), problem=problem[:200])
            if found[peer] == self._written.get(peer):
                del found[peer]
        return found

    def gone(self, news: Mapping[str, Reading]) -> dict[str, str]:
        """Return the keys, with their peers, that were on the interface as last written and by ``news`` no longer are."""
        before = {peer: self._written[peer] for peer in news if peer in self._written}
        return {
            was.public_key: peer
            for peer, was in before.items()
            if was.present and not (news[peer].present and news[peer].public_key == was.public_key)
        }

    def write(self, news: Mapping[str, Reading], at: datetime, *, whole: bool) -> None:
        """Insert or update the rows of ``news``; ``whole``: every peer was looked at, counters and all."""
        rows = [PeerStatus(gateway=self.gateway, peer_id=peer, **_columns(news[peer])) for peer in news]
        columns = list(Reading.__dataclass_fields__)
        PeerStatus.objects.bulk_create(
            rows, AT_ONCE, update_conflicts=True, unique_fields=["gateway", "peer"], update_fields=columns
        )
        self._written.update(news)
        for peer, reading in news.items():
            if not (reading.present or reading.problem):
                del self._written[peer]
        if whole and self._counters_due(at):
            self._counted_at = at

    def _counters_due(self, at: datetime) -> bool:
        return self._counted_at is None or at - self._counted_at >= COUNTERS_EVERY


def _present(was: Reading | None, key: str, seen: ObservedPeer, at: datetime, *, held: bool) -> Reading:
    stayed = was if was and was.present and was.public_key == key else None
    return Reading(
        public_key=key,
        present=True,
        since=stayed.since if stayed else at,
        latest_handshake=seen.latest_handshake,
        connected_since=_connected_since(stayed, seen.latest_handshake),
        endpoint=seen.endpoint or "",
        rx_bytes=seen.rx_bytes,
        tx_bytes=seen.tx_bytes,
        held=held,
    )


def _connected_since(stayed: Reading | None, handshake: datetime | None) -> datetime | None:
    """Return the first of the handshakes that lead to ``handshake`` without a gap.

    After the host's clock was put back the next one seems to be older than the last: nothing is known of the time between.
    """
    if handshake is None or stayed is None or stayed.latest_handshake is None:
        return handshake
    if timedelta(0) <= handshake - stayed.latest_handshake < CONNECTED_WITHIN:
        return stayed.connected_since or stayed.latest_handshake
    return handshake


def _absent(was: Reading, at: datetime) -> Reading:
    return replace(was, present=False, held=False, problem="", since=at if was.present else was.since)


def _columns(reading: Reading) -> dict[str, object]:
    return {name: getattr(reading, name) for name in Reading.__dataclass_fields__}


def receipts(
    gateway: str,
    interface: Interface,
    removed: Mapping[str, str],
    *,
    ended: Mapping[str, Ended],
    read_at: datetime,
) -> None:
    """Write one audit event for each key, with its peer, that is off the interface: whose, read back as gone when, and when due.

    ``read_at`` is the moment of those that no deadline took off before. The event's own time is when it was written,
    which is later, and much later where the database was away.
    """
    actor, holders = audit.Actor(gateway=gateway).columns(), _holders(removed.values())
    AuditEvent.objects.bulk_create(
        [
            AuditEvent(
                action="removed", interface=interface, peer_id=peer, old={"public_key": key},
                new=_moments(ended.get(key), read_at), **actor, **holders.get(peer, {}),
            )
            for key, peer in removed.items()
        ],
        AT_ONCE,
    )  # fmt: skip


def _holders(peers: Iterable[str]) -> dict[str, dict[str, int | None]]:
    """Return by the peer's id whose it is; nothing for one that was pruned."""
    rows = Peer.objects.filter(pk__in=set(peers)).values_list(AS_TEXT("pk"), "owner_id", "service_account_id")
    return {peer: {"person_id": owner, "service_account_id": account} for peer, owner, account in rows}


def _moments(end: Ended | None, read_at: datetime) -> dict[str, str]:
    if end is None:
        return {"read_back_at": _text(read_at)}
    return {"read_back_at": _text(end.gone_at or read_at), "due_at": _text(end.due_at)}


def _text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def drift_event(gateway: str, interface: Interface, repaired: Mapping[str, Iterable[str]]) -> None:
    """Write one audit event for what a pass put right, by kind of change, with the first keys of each."""
    new = {kind: sorted(keys)[:KEYS_LISTED] for kind, keys in repaired.items()}
    audit.record("drift_repaired", audit.Actor(gateway=gateway), interface, new=new)
