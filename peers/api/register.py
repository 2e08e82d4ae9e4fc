"""`POST /register`: the small contract of scripts that registered with a hand-made service before."""

from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from peers.api import waiting
from peers.api.bearer import Bearer, Caller
from peers.api.body import parsed
from peers.api.enrolling import chosen, enrol
from peers.api.errors import ApiError
from peers.models import Peer, Scope
from peers.wireguard import keys

PATIENCE = 10  # seconds until its peer is on the interface
RETRY_AFTER = 2  # seconds


@csrf_exempt  # no cookie says who calls
@login_not_required
@require_POST
def register(request: HttpRequest) -> HttpResponse:
    """Enrol a public key and answer once it is on its interface, with its IPv4 address."""
    try:
        caller = Bearer(Scope.ENROL)(request)
        public_key = _public_key(parsed(request.body))
        with waiting.place():
            return _register(caller, public_key)
    except ApiError as error:
        return error.with_headers(JsonResponse({"error": error.message}, status=error.status))


def _register(caller: Caller, public_key: str) -> HttpResponse:
    interface = chosen(caller, None, public_key)
    if interface.ipv4_pool is None:
        sentence = _("This network has IPv6 addresses alone, which this call cannot say. Use /api/v1/peers.")
        raise ApiError(HTTPStatus.BAD_REQUEST, "no_ipv4", sentence)
    enrolled = enrol(caller, public_key=public_key, interface=interface, at=timezone.now())
    if waiting.until_on(enrolled, public_key, PATIENCE) not in waiting.REACHED:
        sentence = _("The device is enrolled, but not on the interface yet. Ask again.")
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "pending", sentence, retry_after=RETRY_AFTER)
    status = HTTPStatus.CREATED if enrolled.created else HTTPStatus.OK
    message = "Peer registered" if enrolled.created else "Peer already registered"
    return JsonResponse({"message": message, **_answer(enrolled.peer)}, status=status)


def _answer(peer: Peer) -> dict[str, Any]:
    address = str(peer.addresses[0].ip)
    return {
        "allocated_ip": address,
        "ip_address": address,
        "server_public_key": peer.interface.public_key,
        "server_endpoint": peer.interface.endpoint,
    }


def _public_key(body: dict[str, Any]) -> str:
    if set(body) != {"public_key"} or not isinstance(body["public_key"], str):
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_json", _('Send {"public_key": "…"} and nothing else.'))
    try:
        return keys.public_key(body["public_key"])
    except keys.InvalidKey as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "invalid_key", str(error)) from None
