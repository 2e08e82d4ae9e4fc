"""What the pages of devices share: who asks, whose device it is, and how a refusal is told, as a page or as JSON."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from peers import services
from peers.configuration import configuration
from peers.forms import errors_of
from peers.models import Peer
from peers.wireguard.config import file_name
from portal.models import User
from portal.source import source

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


def own_peer(request: PersonRequest, pk: UUID, **also: Any) -> Peer:
    return get_object_or_404(
        Peer.objects.select_related("interface", "owner"), pk=pk, owner=request.user, **also
    )


def actor(request: PersonRequest) -> services.Actor:
    return services.Actor(user=request.user, source=source(request))


def new_configuration(request: PersonRequest, peer: Peer, status: HTTPStatus) -> HttpResponse:
    """Return what the page needs to put its private key in; without JavaScript, send on to the device's page."""
    if not asks_for_json(request):
        return SeeOther(peer.get_absolute_url())
    answer = {
        "id": peer.pk,
        "url": peer.get_absolute_url(),
        "status_url": reverse("status", args=[peer.pk]),
        "file_name": file_name(peer.name),
        "config": configuration(peer),
    }
    return JsonResponse(answer, status=status)


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


def asks_for_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")
