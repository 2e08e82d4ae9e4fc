"""The list of a person's devices, whose empty state is the form that enrols one."""

from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import F
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from peers import services
from peers.forms import EnrolForm
from peers.models import Peer
from peers.presentation import WORDS, Device, guess
from peers.states import State, database_now, standings
from peers.views.answers import actor, errors, new_configuration, provider_id, refusal
from peers.views.counting import counted
from peers.views.telling import page_with_notices
from portal.confirmation import enrols
from portal.http import PersonRequest

LISTED = 100
PHONES = {Peer.Platform.IOS, Peer.Platform.ANDROID}


@enrols
@require_http_methods(["GET", "HEAD", "POST"])
def devices(request: PersonRequest) -> HttpResponse:
    if request.method != "POST":
        asked = {"interface": request.GET.get("interface")}
        return _devices_page(request, EnrolForm(owner=request.user, initial=asked))
    form = EnrolForm(request.POST, owner=request.user)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _devices_page)
    if too_many := counted(request, request.user):
        return too_many
    try:
        enrolled = _enrol(request, form.cleaned_data)
    except services.Refused as refused:
        return refusal(request, form, refused, _devices_page)
    status = HTTPStatus.CREATED if enrolled.created else HTTPStatus.OK
    return new_configuration(request, enrolled.peer, status, done=_("Enrolled."))


def _enrol(request: PersonRequest, wanted: dict[str, Any]) -> services.Enrolled:
    if wanted["interface"] is None:
        raise services.NotEntitled
    return services.enrol(actor=actor(request), owner=request.user, at=timezone.now(), **wanted)


def _devices_page(request: PersonRequest, form: EnrolForm) -> HttpResponse:
    latest = F("revoked_at").desc(nulls_first=True)
    peers = (
        Peer.objects.filter(owner=request.user)
        .with_lease()
        .select_related("interface", "owner", "refused_handshake")
        .order_by(latest, "-enrolled_at")
    )
    rows = {peer.pk: peer for peer in peers[:LISTED]}
    at = database_now()
    found = standings(Peer.objects.filter(pk__in=list(rows)), at)
    listed = [Device(peer, found[pk]) for pk, peer in rows.items()]
    ending = list(Peer.objects.filter(owner=request.user).lease_ending(at).select_related("interface"))
    holders = _holders(request, form, at)
    guessed = guess(request.headers.get("User-Agent", ""), (row.peer.name for row in listed))
    context = {
        "devices": [row for row in listed if not row.peer.revoked_at],
        "revoked": [row for row in listed if row.peer.revoked_at],
        "ending": ending,
        "ending_full_tunnel": any(peer.interface.full_tunnel for peer in ending),
        "provider_id": provider_id(request),
        "connected": sum(row.state == State.CONNECTED for row in listed),
        "full": form.chosen is not None and len(holders) >= form.chosen.device_limit,
        "replaceable": sorted((row for row in listed if row.peer.pk in holders), key=_last_used),
        "form": form,
        "asked": "interface" in request.GET,
        "platforms": Peer.Platform.choices,
        "guess": guessed,
        "on_computer": guessed.platform not in PHONES,
        "words": WORDS,
    }
    return page_with_notices(request, "peers/devices.html", context, listed)


def _holders(request: PersonRequest, form: EnrolForm, at: datetime) -> set[UUID]:
    """Return the person's devices that count towards the limit of the interface that the form stands on."""
    own = Peer.objects.filter(owner=request.user, interface=form.chosen)
    return set(own.holding(at).values_list("pk", flat=True))


def _last_used(device: Device) -> datetime:
    return device.standing.latest_handshake or device.peer.enrolled_at
