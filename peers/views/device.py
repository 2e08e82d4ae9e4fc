"""One device: what it is doing, and what its owner may do to it."""

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from peers import services
from peers.configuration import configuration
from peers.forms import KeyForm, RenameForm
from peers.models import Peer
from peers.plots import Plot, plot, quarters
from peers.presentation import WORDS, Device
from peers.receipt_words import taken_off
from peers.receipts import receipts
from peers.states import ON, State, database_now, standing
from peers.traffic import last_day
from peers.views.answers import (
    actor,
    errors,
    json_error,
    new_configuration,
    own_peer,
    provider_id,
    refusal,
)
from peers.views.counting import counted
from peers.views.telling import page_with_notices
from peers.wireguard.config import file_name
from portal.confirmation import enrols
from portal.http import PersonRequest, SeeOther, polled

QUARTERS_A_DAY = 96


@require_safe
def device(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = own_peer(request, pk)
    return _device_page(request, RenameForm({"name": peer.name}), peer)


@require_safe
def config(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Return the configuration for a device that keeps its own private key; 404 once there is nothing to connect to."""
    peer = own_peer(request, pk, revoked_at=None, host__isnull=False)
    response = HttpResponse(configuration(peer), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{file_name(peer.name)}"'
    return response


@polled
@login_not_required  # an answer that the page can read, in the place of a redirect to a page
@require_safe
def status(request: PersonRequest, pk: UUID) -> HttpResponse:
    if not request.user.is_authenticated:
        return json_error("unauthenticated", _("Sign in to see this device."), HTTPStatus.UNAUTHORIZED)
    peer = own_peer(request, pk)
    now = standing(peer, database_now())
    return JsonResponse(
        {
            "state": now.state,
            "explanation": Device(peer, now).explanation,
            "addresses": [str(address) for address in peer.addresses],
            "connected_since": now.connected_since,
            "latest_handshake": now.latest_handshake,
            "rx_bytes": now.rx_bytes,
            "tx_bytes": now.tx_bytes,
            "revoked_at": peer.revoked_at,
            "removed_at": now.removed_at,
            "receipt": _receipt(peer, now.state),
        }
    )


@require_POST
def rename(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = own_peer(request, pk)
    form = RenameForm(request.POST)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _device_page, peer)
    try:
        services.rename(actor=actor(request), peer=peer, name=form.cleaned_data["name"])
    except services.Refused as refused:
        return refusal(request, form, refused, _device_page, peer)
    return SeeOther(peer.get_absolute_url())


@enrols
@require_http_methods(["GET", "HEAD", "POST"])
def replace_key(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = own_peer(request, pk, host__isnull=False)
    if request.method != "POST":
        return SeeOther(peer.get_absolute_url()) if peer.revoked_at else _key_page(request, KeyForm(), peer)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _key_page, peer)
    if too_many := counted(request, request.user):
        return too_many
    key = form.cleaned_data["public_key"]
    try:
        peer = services.replace_key(actor=actor(request), peer=peer, public_key=key, at=timezone.now())
    except services.Refused as refused:
        return refusal(request, form, refused, _key_page, peer)
    return new_configuration(request, peer, HTTPStatus.OK, done=_("The key is replaced."))


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = own_peer(request, pk)
    if request.method == "POST":
        services.revoke(actor=actor(request), peer=peer, at=timezone.now())
    elif peer.revoked_at is None:
        return render(request, "peers/revoke.html", {"peer": peer})
    return SeeOther(peer.get_absolute_url())


def _receipt(peer: Peer, state: State) -> str:
    """Return when the device went off the network; "" while it may be on."""
    return "" if state in ON else taken_off(peer, receipts(peer))


def _device_page(request: PersonRequest, form: RenameForm, peer: Peer) -> HttpResponse:
    at = database_now()
    now = standing(peer, at)
    shown = Device(peer, now)
    context = {
        "device": shown,
        "receipt": _receipt(peer, now.state),
        "peer": peer,
        "form": form,
        "words": WORDS,
        "traffic": _traffic(peer, at),
        "ending": Peer.objects.filter(pk=peer.pk).lease_ending(at).exists(),
        "provider_id": provider_id(request),
    }
    return page_with_notices(request, "peers/device.html", context, [shown])


def _traffic(peer: Peer, at: datetime) -> Plot:
    columns = quarters(last_day(peer, at), until=at, count=QUARTERS_A_DAY, label=filesizeformat)
    return plot(_("Traffic in the last 24 hours"), columns)


def _key_page(request: PersonRequest, form: KeyForm, peer: Peer) -> HttpResponse:
    return render(request, "peers/replace_key.html", {"peer": peer, "form": form, "words": WORDS})
