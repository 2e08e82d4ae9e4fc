"""A device that still has old settings: its owner's word that it now has the new ones."""

from http import HTTPStatus
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from peers import services
from peers.models import Peer
from peers.stale import fingerprint
from peers.views.answers import actor, json_error, own_peer
from portal.http import PersonRequest, SeeOther, asks_for_json


@require_POST
def configured(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Note that the device has the settings that its page showed, unless they have changed again since then."""
    peer = own_peer(request, pk)
    if request.POST.get("settings") != fingerprint(peer):
        message = _("The settings have changed once more. Give the device those that this page shows now.")
        return _not_noted(request, peer, "settings_changed", message)
    try:
        services.configure(actor=actor(request), peer=peer)
    except services.NotActive as refused:
        return _not_noted(request, peer, refused.code, str(refused))
    return HttpResponse(status=HTTPStatus.NO_CONTENT) if asks_for_json(request) else _page(peer)


def _not_noted(request: PersonRequest, peer: Peer, code: str, message: str) -> HttpResponse:
    if asks_for_json(request):
        return json_error(code, message, HTTPStatus.CONFLICT)
    messages.warning(request, message)
    return _page(peer)


def _page(peer: Peer) -> HttpResponse:
    return SeeOther(peer.get_absolute_url())
