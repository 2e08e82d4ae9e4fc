"""The route of interfaces."""

from django.http import HttpResponse, JsonResponse
from ninja import Router

from peers.api.bearer import Bearer
from peers.api.enrolling import interfaces_of
from peers.api.peers import AuthenticatedRequest
from peers.api.rows import interface_out
from peers.api.schemas import InterfacesOut, errors
from peers.models import Scope

router = Router(tags=["interfaces"])


@router.get(
    "/interfaces",
    auth=Bearer(Scope.READ),
    response={200: InterfacesOut, **errors()},
    summary="List interfaces",
)
def list_interfaces(request: AuthenticatedRequest) -> HttpResponse:
    """Return the interfaces on which you may enrol."""
    return JsonResponse({"items": [interface_out(row) for row in interfaces_of(request.auth)]})
