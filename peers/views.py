"""The pages of a person's devices. Each look-up asks for the owner too: another's device is one that does not exist."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.db.models import F
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from peers import services
from peers.configuration import configuration
from peers.forms import EnrolForm, KeyForm, RenameForm, errors_of
from peers.models import Peer
from peers.presentation import WORDS, Device, guess
from peers.states import standing, standings
from peers.wireguard.config import file_name
from portal.models import User
from portal.source import source

LISTED = 100
STATUSES = {
    services.NotEntitled.code: HTTPStatus.FORBIDDEN,
    services.NotReady.code: HTTPStatus.SERVICE_UNAVAILABLE,
}
FIELDS = {services.KeyInUse.code: "public_key", services.KeyRevoked.code: "public_key"}


class PersonRequest(HttpRequest):
    """A request that the sign-in middleware has let through."""

    user: User


class SeeOther(HttpResponseRedirect):
    status_code = HTTPStatus.SEE_OTHER


@require_http_methods(["GET", "HEAD", "POST"])
def devices(request: PersonRequest) -> HttpResponse:
    if request.method != "POST":
        return _devices_page(request, EnrolForm(owner=request.user))
    form = EnrolForm(request.POST, owner=request.user)
    if not form.is_valid():
        return _errors(request, form, HTTPStatus.BAD_REQUEST, _devices_page)
    try:
        enrolled = _enrol(request, form.cleaned_data)
    except services.Refused as refusal:
        return _refusal(request, form, refusal, _devices_page)
    return _new_configuration(
        request, enrolled.peer, HTTPStatus.CREATED if enrolled.created else HTTPStatus.OK
    )


@require_safe
def device(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = _own_peer(request, pk)
    return _device_page(request, RenameForm({"name": peer.name}), peer)


@require_safe
def config(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Return the configuration for a device that keeps its own private key; 404 once there is nothing to connect to."""
    peer = _own_peer(request, pk, revoked_at=None, host__isnull=False)
    response = HttpResponse(configuration(peer), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{file_name(peer.name)}"'
    return response


@login_not_required  # polled by the pages: an answer they can read, in the place of a redirect to a page
@require_safe
def status(request: PersonRequest, pk: UUID) -> HttpResponse:
    if not request.user.is_authenticated:
        return _json_error("unauthenticated", "Sign in to see this device.", HTTPStatus.UNAUTHORIZED)
    peer = _own_peer(request, pk)
    now = standing(peer, timezone.now())
    return JsonResponse(
        {
            "state": now.state,
            "addresses": [str(address) for address in peer.addresses],
            "latest_handshake": now.latest_handshake,
            "rx_bytes": now.rx_bytes,
            "tx_bytes": now.tx_bytes,
            "revoked_at": peer.revoked_at,
            "removed_at": now.removed_at,
        }
    )


@require_POST
def rename(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = _own_peer(request, pk)
    form = RenameForm(request.POST)
    if not form.is_valid():
        return _errors(request, form, HTTPStatus.BAD_REQUEST, _device_page, peer)
    try:
        services.rename(actor=_actor(request), peer=peer, name=form.cleaned_data["name"])
    except services.Refused as refusal:
        return _refusal(request, form, refusal, _device_page, peer)
    return SeeOther(peer.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
def replace_key(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = _own_peer(request, pk, host__isnull=False)
    if request.method != "POST":
        return SeeOther(peer.get_absolute_url()) if peer.revoked_at else _key_page(request, KeyForm(), peer)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _errors(request, form, HTTPStatus.BAD_REQUEST, _key_page, peer)
    key = form.cleaned_data["public_key"]
    try:
        peer = services.replace_key(actor=_actor(request), peer=peer, public_key=key, at=timezone.now())
    except services.Refused as refusal:
        return _refusal(request, form, refusal, _key_page, peer)
    return _new_configuration(request, peer, HTTPStatus.OK)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: PersonRequest, pk: UUID) -> HttpResponse:
    peer = _own_peer(request, pk)
    if request.method == "POST":
        services.revoke(actor=_actor(request), peer=peer, at=timezone.now())
    elif peer.revoked_at is None:
        return render(request, "peers/revoke.html", {"peer": peer})
    return SeeOther(peer.get_absolute_url())


def _own_peer(request: PersonRequest, pk: UUID, **also: Any) -> Peer:
    return get_object_or_404(
        Peer.objects.select_related("interface", "owner"), pk=pk, owner=request.user, **also
    )


def _actor(request: PersonRequest) -> services.Actor:
    return services.Actor(user=request.user, source=source(request))


def _enrol(request: PersonRequest, wanted: dict[str, Any]) -> services.Enrolled:
    if wanted["interface"] is None:
        raise services.NotEntitled
    return services.enrol(actor=_actor(request), owner=request.user, at=timezone.now(), **wanted)


def _devices_page(request: PersonRequest, form: EnrolForm) -> HttpResponse:
    latest = F("revoked_at").desc(nulls_first=True)
    peers = (
        Peer.objects.filter(owner=request.user).select_related("interface").order_by(latest, "-enrolled_at")
    )
    rows = {peer.pk: peer for peer in peers[:LISTED]}
    found = standings(Peer.objects.filter(pk__in=list(rows)), timezone.now())
    listed = [Device(peer, found[pk]) for pk, peer in rows.items()]
    context = {
        "devices": [row for row in listed if not row.peer.revoked_at],
        "revoked": [row for row in listed if row.peer.revoked_at],
        "form": form,
        "platforms": Peer.Platform.choices,
        "guess": guess(request.headers.get("User-Agent", ""), (row.peer.name for row in listed)),
        "words": WORDS,
    }
    return render(request, "peers/devices.html", context)


def _device_page(request: PersonRequest, form: RenameForm, peer: Peer) -> HttpResponse:
    context = {
        "device": Device(peer, standing(peer, timezone.now())),
        "peer": peer,
        "form": form,
        "words": WORDS,
    }
    return render(request, "peers/device.html", context)


def _key_page(request: PersonRequest, form: KeyForm, peer: Peer) -> HttpResponse:
    return render(request, "peers/replace_key.html", {"peer": peer, "form": form, "words": WORDS})


def _new_configuration(request: PersonRequest, peer: Peer, status: HTTPStatus) -> HttpResponse:
    """Return what the page needs to put its private key in; without JavaScript, send on to the device's page."""
    if not _asks_for_json(request):
        return SeeOther(peer.get_absolute_url())
    answer = {
        "id": peer.pk,
        "url": peer.get_absolute_url(),
        "status_url": reverse("status", args=[peer.pk]),
        "file_name": file_name(peer.name),
        "config": configuration(peer),
    }
    return JsonResponse(answer, status=status)


def _refusal(
    request: PersonRequest,
    form: Form,
    refusal: services.Refused,
    page: Callable[..., HttpResponse],
    *rows: Peer,
) -> HttpResponse:
    form.add_error(FIELDS.get(refusal.code), ValidationError(str(refusal), code=refusal.code))
    return _errors(request, form, STATUSES.get(refusal.code, HTTPStatus.CONFLICT), page, *rows)


def _errors(
    request: PersonRequest, form: Form, status: HTTPStatus, page: Callable[..., HttpResponse], *rows: Peer
) -> HttpResponse:
    """Return the page again with its sentences, or the first of them as JSON."""
    if _asks_for_json(request):
        field, code, message = next(errors_of(form))
        return _json_error(code, message, status, field if field in form.fields else None)
    response = page(request, form, *rows)
    response.status_code = status
    return response


def _json_error(code: str, message: str, status: HTTPStatus, field: str | None = None) -> JsonResponse:
    error = {"code": code, "message": message} | ({"field": field} if field else {})
    return JsonResponse({"error": error}, status=status)


def _asks_for_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")
