"""What the pages of devices share: who asks, whose device it is, and how a refusal is told, as a page or as JSON."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from peers import services
from peers.configuration import configuration
from peers.forms import errors_of
from peers.models import Peer
from peers.wireguard.config import file_name
from portal.http import PersonRequest, SeeOther, asks_for_json
from portal.oidc_config import by_issuer
from portal.source import source

STATUSES = {
    services.NotEntitled.code: HTTPStatus.FORBIDDEN,
    services.NotReady.code: HTTPStatus.SERVICE_UNAVAILABLE,
}
FIELDS = {
    services.KeyInUse.code: "public_key",
    services.KeyRevoked.code: "public_key",
    services.TokenNameTaken.code: "name",
}


def own_peer(request: PersonRequest, pk: UUID, **also: Any) -> Peer:
    peers = Peer.objects.with_lease().select_related("interface", "owner", "refused_handshake")
    return get_object_or_404(peers, pk=pk, owner=request.user, **also)


def provider_id(request: PersonRequest) -> str | None:
    """Return the provider that the person signs in again at; None when the settings know it no more."""
    provider = by_issuer(request.user.issuer)
    return provider.id if provider else None


def actor(request: PersonRequest) -> services.Actor:
    return services.Actor(user=request.user, source=source(request))


def new_configuration(request: HttpRequest, peer: Peer, status: HTTPStatus, *, done: str) -> HttpResponse:
    """Return what the page needs to put its private key in.

    Without JavaScript, send on to the device's page, which then begins with ``done`` and what a device with a key of its
    own needs now.
    """
    if asks_for_json(request):
        status_url = reverse("status", args=[peer.pk])
        return JsonResponse(configuration_answer(peer) | {"status_url": status_url}, status=status)
    link = (done, reverse("config", args=[peer.pk]), _("Download configuration"))
    messages.success(request, format_html('{} <a href="{}" download>{}</a>', *link))
    return SeeOther(peer.get_absolute_url())


def configuration_answer(peer: Peer) -> dict[str, Any]:
    return {
        "id": peer.pk,
        "url": peer.get_absolute_url(),
        "file_name": file_name(peer.name),
        "config": configuration(peer),
    }


def refusal(
    request: PersonRequest,
    form: Form,
    refusal: services.Refused,
    page: Callable[..., HttpResponse],
    *rows: Peer,
) -> HttpResponse:
    form.add_error(FIELDS.get(refusal.code), ValidationError(str(refusal), code=refusal.code))
    return errors(request, form, STATUSES.get(refusal.code, HTTPStatus.CONFLICT), page, *rows)


def errors(
    request: PersonRequest, form: Form, status: HTTPStatus, page: Callable[..., HttpResponse], *rows: Peer
) -> HttpResponse:
    """Return the page again with its sentences, or the first of them as JSON."""
    if asks_for_json(request):
        field, code, message = next(errors_of(form))
        return json_error(code, message, status, field if field in form.fields else None)
    response = page(request, form, *rows)
    response.status_code = status
    return response


def json_error(code: str, message: str, status: HTTPStatus, field: str | None = None) -> JsonResponse:
    error = {"code": code, "message": message} | ({"field": field} if field else {})
    return JsonResponse({"error": error}, status=status)
