"""The routes of peers: enrol, list, read, rename, renew, revoke."""

from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Path, Query, Router
from pydantic import Field

from peers import services
from peers.api import waiting
from peers.api.bearer import Bearer, Caller
from peers.api.cursor import after, cursor_of
from peers.api.enrolling import chosen, enrol, preshared_key
from peers.api.errors import ApiError
from peers.api.openapi import ENROLLED, LISTED
from peers.api.rows import latest_key, peer_out
from peers.api.schemas import (
    CURSOR,
    PEER,
    EnrolledOut,
    EnrolRequest,
    Name,
    PeerOut,
    PeersOut,
    RenameRequest,
    RenewRequest,
    errors,
)
from peers.models import Peer, PeerQuerySet, Scope
from peers.state_queries import in_state
from peers.states import State, database_now, first_state, standing, standings

MOST, USUAL = 200, 50  # of a page
LONGEST_WAIT = 30  # seconds

router = Router(tags=["peers"])
Wait = Annotated[
    int | None,
    Query(
        ge=0,
        le=LONGEST_WAIT,
        description="Seconds to wait at most until it is on its interface.",
        example=10,
    ),
]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Peers a page.", example=USUAL)]
Cursor = Annotated[
    str,
    Field(
        max_length=100,
        description="What the page before named as its next.",
        examples=[CURSOR],
        json_schema_extra={"format": "cursor"},
    ),
]
Id = Annotated[UUID, Path(description="The peer's id.", example=PEER)]


class AuthenticatedRequest(HttpRequest):
    auth: Caller


@router.post(
    "/peers",
    auth=Bearer(Scope.ENROL),
    response={200: EnrolledOut, 201: EnrolledOut, 202: EnrolledOut, **errors(404, 409)},
    summary="Enrol",
    openapi_extra=ENROLLED,
)
def enrol_peer(request: AuthenticatedRequest, wanted: EnrolRequest, wait: Wait = None) -> HttpResponse:
    """Give a public key a place on an interface.

    201: made; 200: it was yours already; 202: it is not on its interface within `wait`, and stays until its ttl.
    """
    if wait:
        with waiting.place():
            return _enrol(request.auth, wanted, wait)
    return _enrol(request.auth, wanted, 0)


def _enrol(caller: Caller, wanted: EnrolRequest, wait: int) -> HttpResponse:
    interface = chosen(caller, wanted.interface, wanted.public_key)
    enrolled = enrol(
        caller,
        public_key=wanted.public_key,
        interface=interface,
        name=wanted.name,
        ttl=wanted.ttl,
        at=timezone.now(),
    )
    peer = enrolled.peer
    status = HTTPStatus.CREATED if enrolled.created else HTTPStatus.OK
    if wait:
        state = waiting.until_on(enrolled, wanted.public_key, wait)
        status = status if state in waiting.REACHED else HTTPStatus.ACCEPTED
    else:
        state = first_state(peer) if enrolled.created else standing(peer, database_now()).state
    return JsonResponse(peer_out(peer, state, wanted.public_key) | preshared_key(peer), status=status)


@router.get(
    "/peers",
    auth=Bearer(Scope.READ),
    response={200: PeersOut, **errors()},
    summary="List",
    openapi_extra=LISTED,
)
def list_peers(
    request: AuthenticatedRequest,
    limit: Limit = USUAL,
    cursor: Cursor | None = None,
    state: Annotated[State | None, Query(example=State.LIVE)] = None,
    name: Name | None = None,
) -> HttpResponse:
    """Return your peers, the newest first; revoked ones only when `state` asks for them."""
    at = database_now()
    found = _asked(request.auth.peers, state, name, at)
    page = list(after(found, cursor).values_list("pk", flat=True)[: limit + 1])
    more = len(page) > limit
    items = _shown(page[:limit], at)
    return JsonResponse(
        {"items": [row for _, row in items], "next": cursor_of(items[-1][0]) if more else None}
    )


def _asked(own: PeerQuerySet, state: State | None, name: str | None, at: datetime) -> Any:
    found = in_state(own, state, at) if state else own.filter(revoked_at=None)
    return found.filter(name=name) if name else found


def _shown(ids: list[UUID], at: datetime) -> list[tuple[Peer, dict[str, Any]]]:
    """Return the peers in the order of ``ids``, each as it is shown."""
    rows = Peer.objects.filter(pk__in=ids)
    found = standings(rows, at)
    peers = rows.select_related("interface").prefetch_related("keys").in_bulk()
    return [(peers[pk], peer_out(peers[pk], found[pk].state, latest_key(peers[pk]))) for pk in ids]


@router.get(
    "/peers/{uuid:peer_id}", auth=Bearer(Scope.READ), response={200: PeerOut, **errors(404)}, summary="Read"
)
def read_peer(request: AuthenticatedRequest, peer_id: Id) -> HttpResponse:
    """Return one of your peers, revoked ones too."""
    return _answer(_own(request.auth, peer_id))


@router.patch(
    "/peers/{uuid:peer_id}",
    auth=Bearer(Scope.ENROL),
    response={200: PeerOut, **errors(404, 409)},
    summary="Rename",
)
def rename_peer(request: AuthenticatedRequest, peer_id: Id, wanted: RenameRequest) -> HttpResponse:
    """Give one of your peers another name."""
    peer = _own(request.auth, peer_id)
    return _answer(services.rename(actor=request.auth.actor, peer=peer, name=wanted.name))


@router.post(
    "/peers/{uuid:peer_id}/renew",
    auth=Bearer(Scope.ENROL),
    response={200: PeerOut, **errors(404, 409)},
    summary="Renew",
)
def renew_peer(
    request: AuthenticatedRequest, peer_id: Id, wanted: RenewRequest | None = None
) -> HttpResponse:
    """Let one of your peers end later, counted from now. Once it has expired, enrol its key again."""
    ttl = wanted.ttl if wanted else None
    renewed = services.renew(
        actor=request.auth.actor,
        peer=_own(request.auth, peer_id),
        ttl=timedelta(seconds=ttl) if ttl else None,
        at=timezone.now(),
    )
    return _answer(renewed)


@router.delete(
    "/peers/{uuid:peer_id}", auth=Bearer(Scope.REVOKE), response={204: None, **errors(404)}, summary="Revoke"
)
def revoke_peer(request: AuthenticatedRequest, peer_id: Id) -> HttpResponse:
    """Take one of your peers off for ever; its key can never be enrolled again. Doing so again changes nothing."""
    peer = _own(request.auth, peer_id)
    with suppress(services.NotActive):  # it was forgotten just now
        services.revoke(actor=request.auth.actor, peer=peer, at=timezone.now())
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def _own(caller: Caller, pk: UUID) -> Peer:
    """Return the caller's peer; another's is one that is not there."""
    peer = caller.peers.select_related("interface").prefetch_related("keys").filter(pk=pk).first()
    if peer is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", _("There is no such device."))
    return peer


def _answer(peer: Peer) -> HttpResponse:
    return JsonResponse(peer_out(peer, standing(peer, database_now()).state, latest_key(peer)))
