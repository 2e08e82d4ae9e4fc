"""Say what a peer's state is, from its row and from what gateways read back; never from hope."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db import connection
from django.db.models import Case, QuerySet, Value, When

from peers.models import (
    CONNECTED_WITHIN,
    GATEWAY_SILENT_AFTER,
    GatewayStatus,
    Peer,
    PeerStatus,
    held_loss,
)


class State(StrEnum):
    PENDING = "pending"
    LIVE = "live"
    CONNECTED = "connected"
    IDLE = "idle"
    REVOKING = "revoking"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    SIGNED_OUT = "signed_out"
    HELD = "held"
    INVALID = "invalid"
    UNKNOWN = "unknown"


ON = {
    State.PENDING,
    State.LIVE,
    State.CONNECTED,
    State.IDLE,
}  # may be on its interface, or will be in a moment


# As SQL, since they are asked at each enrolment over the API: see ``GatewayStatus.is_silent`` and ``_live``.
REPORTS = f"""EXISTS (
    SELECT FROM peers_gatewaystatus report WHERE report.interface_id = {{interface}} AND report.attached
    AND report.heartbeat_at >= now() - interval '{GATEWAY_SILENT_AFTER.total_seconds()} seconds')"""

READ_BACK = """
SELECT status.latest_handshake >= now() - interval %s
FROM peers_peerstatus status JOIN peers_gatewaystatus report ON report.gateway = status.gateway
JOIN peers_peer ON peers_peer.id = status.peer_id AND peers_peer.revoked_at IS NULL
WHERE status.peer_id = %s AND status.public_key = %s AND status.present AND status.problem = ''
    AND report.interface_id = %s AND report.attached AND report.heartbeat_at >= now() - interval %s
ORDER BY status.latest_handshake DESC NULLS LAST LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A peer's state with what stands behind it.

    ``since`` is when the gateway fell silent for ``unknown``, when the peer came on the interface while it is on, else
    None. ``removed_at`` is when the last gateway read it back as gone; None while it is on, or was never seen.
    ``connected_since`` is the first of the handshakes that have followed each other until now; None unless
    ``connected``, or where no gateway has written it down yet.
    """

    state: State
    since: datetime | None = None
    removed_at: datetime | None = None
    latest_handshake: datetime | None = None
    connected_since: datetime | None = None
    endpoint: str = ""
    rx_bytes: int = 0
    tx_bytes: int = 0
    problem: str = ""


def database_now() -> datetime:
    """Return the time to judge by: heartbeats are the database's, and this host's clock may be off by more than silence."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        at: datetime = cursor.fetchone()[0]
        return at


def standing(peer: Peer, at: datetime) -> Standing:
    """Return the standing of one peer at ``at``, which for what stands now is ``database_now()``."""
    return standings(Peer.objects.filter(pk=peer.pk), at)[peer.pk]


def first_state(peer: Peer) -> State:
    """Return the state of a machine's peer that was enrolled this moment, and that no gateway has looked at."""
    reported = peer.interface.reported
    if not (_reports(peer.interface_id) if reported is None else reported):
        return State.UNKNOWN
    return State.IDLE if peer.interface.on_demand else State.PENDING


def _reports(interface: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {REPORTS.format(interface='%s')}", [interface])
        return bool(cursor.fetchone()[0])


def read_back(peer: Peer, public_key: str) -> State | None:
    """Return the state of a peer that gateways put on as soon as it is entitled; None while none has read this key back."""
    within, silent = str(CONNECTED_WITHIN), str(GATEWAY_SILENT_AFTER)
    with connection.cursor() as cursor:
        cursor.execute(READ_BACK, [within, peer.pk, public_key, peer.interface_id, silent])
        row = cursor.fetchone()
    if row is None:
        return None
    return State.CONNECTED if row[0] else State.LIVE


def standings(peers: QuerySet[Peer], at: datetime) -> dict[object, Standing]:
    """Return the standing of each peer by its id, in a number of queries that does not grow with the peers."""
    is_held = Case(When(held_loss(), then=Value(True)), default=Value(False))
    entitled = dict(peers.entitled(at).order_by().values_list("pk", is_held))  # type: ignore[attr-defined]
    rows = list(
        peers.select_related("interface", "owner", "service_account").prefetch_related("statuses", "keys")
    )
    gateways: dict[int, list[GatewayStatus]] = {}
    for gateway in GatewayStatus.objects.filter(interface__in={row.interface_id for row in rows}):
        gateways.setdefault(gateway.interface_id, []).append(gateway)
    return {row.pk: judge(row, entitled.get(row.pk), gateways.get(row.interface_id, []), at) for row in rows}


def judge(peer: Peer, loss_held: bool | None, gateways: Iterable[GatewayStatus], at: datetime) -> Standing:  # noqa: FBT001
    """Return the standing that ``peer.statuses``, its keys and its interface's gateways add up to at ``at``.

    ``loss_held`` says of an entitled peer whether the identity brake alone keeps it so; None: it is not entitled.
    """
    heard = [gateway for gateway in gateways if gateway.attached]
    silent = [gateway for gateway in heard if gateway.is_silent(at)]
    fresh = {gateway.gateway: gateway for gateway in heard if not gateway.is_silent(at)}
    statuses = list(peer.statuses.all())
    on = [status for status in statuses if status.present]
    if loss_held is None:
        state = _barred_state(peer, on, fresh, silent, at)
    else:
        state = _entitled_state(peer, loss_held, on, statuses, fresh, at)
    # Of who is connected, what a silent gateway last said, or one of a replaced key, is not part of that.
    told = _live(peer, on, fresh) if state == State.CONNECTED else on or statuses
    best = max(told, key=PeerStatus.recency, default=None)
    return Standing(
        state=state,
        since=_since(state, best, silent),
        removed_at=None
        if on
        else max((status.since for status in statuses if status.public_key), default=None),
        latest_handshake=best.latest_handshake if best else None,
        connected_since=best.connected_since if best and state == State.CONNECTED else None,
        endpoint=best.endpoint if best else "",
        rx_bytes=best.rx_bytes if best else 0,
        tx_bytes=best.tx_bytes if best else 0,
        problem=next((status.problem for status in statuses if status.problem), ""),
    )


def _entitled_state(
    peer: Peer,
    loss_held: bool,  # noqa: FBT001
    on: list[PeerStatus],
    statuses: list[PeerStatus],
    fresh: dict[str, GatewayStatus],
    at: datetime,
) -> State:
    if not fresh:
        return State.UNKNOWN
    if any(status.problem for status in statuses if status.gateway in fresh):
        return State.INVALID
    if loss_held:
        return State.HELD
    live = _live(peer, on, fresh)
    if any(status.latest_handshake and at - status.latest_handshake < CONNECTED_WITHIN for status in live):
        return State.CONNECTED
    if live:
        return State.LIVE
    return State.IDLE if peer.interface.on_demand else State.PENDING


def _live(peer: Peer, on: list[PeerStatus], fresh: dict[str, GatewayStatus]) -> list[PeerStatus]:
    """Return what gateways that report say of the peer's current key."""
    current = {key.public_key for key in peer.keys.all() if key.retired_at is None}
    return [status for status in on if status.gateway in fresh and status.public_key in current]


def _barred_state(
    peer: Peer,
    on: list[PeerStatus],
    fresh: dict[str, GatewayStatus],
    silent: list[GatewayStatus],
    at: datetime,
) -> State:
    """Say that it is off only when every gateway that had it has read it back as gone."""
    if any(status.gateway not in fresh for status in on):
        return State.UNKNOWN
    # A gateway that dies between putting a peer on and writing it down leaves no trace of it.
    if not fresh and silent and not any(_passed_since(gateway, _ended_at(peer, at)) for gateway in silent):
        return State.UNKNOWN
    if any(status.held for status in on):
        return State.HELD
    if on or not all(_has_seen_the_end(gateway, peer, at) for gateway in fresh.values()):
        return State.REVOKING
    return _reason(peer, at)


def _has_seen_the_end(gateway: GatewayStatus, peer: Peer, at: datetime) -> bool:
    """Return whether this gateway has looked since: it may have put the peer on and not yet written that down."""
    ended_at = _ended_at(peer, at)
    gone = [status.since for status in peer.statuses.all() if status.gateway == gateway.gateway]
    return _passed_since(gateway, ended_at) or any(since >= ended_at for since in gone if ended_at)


def _ended_at(peer: Peer, at: datetime) -> datetime | None:
    """Return when the peer was last cut off by its row, its owner's access or its account; None when something else bars it."""
    ends = (peer.revoked_at, peer.expires_at, peer.suspended_at, peer.holder_ended_at)
    return min((end for end in ends if end and end <= at), default=None)


def _passed_since(gateway: GatewayStatus, ended_at: datetime | None) -> bool:
    return ended_at is None or (gateway.last_pass_at is not None and gateway.last_pass_at >= ended_at)


def _reason(peer: Peer, at: datetime) -> State:
    if peer.revoked_at:
        return State.REVOKED
    if peer.expires_at and peer.expires_at <= at:
        return State.EXPIRED
    if peer.suspended_at or not peer.holder_is_active:
        return State.SUSPENDED
    return State.SIGNED_OUT


def _since(state: State, best: PeerStatus | None, silent: list[GatewayStatus]) -> datetime | None:
    if state == State.UNKNOWN:
        return max((gateway.heartbeat_at for gateway in silent), default=None)
    return best.since if best and best.present else None
