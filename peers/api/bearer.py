"""Who calls: the bearer of a token. A cookie never says so."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from ipaddress import ip_address

from django.http import HttpRequest, UnreadablePostError
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja.security import HttpBearer

from peers import limits, services
from peers.api.errors import ApiError, told
from peers.models import ApiToken, Interface, Peer, PeerQuerySet, Scope, ServiceAccount
from peers.rows import rows_of
from peers.states import REPORTS
from peers.tokens import digest
from portal.counters import Away
from portal.models import User
from portal.source import source

# As SQL, since it is asked at each request: to put a query together takes Django longer than all the rest. One row for each
# interface of the account's, or one without.
SHOWN = f"""
SELECT {{columns}}, {REPORTS.format(interface="peers_interface.id")} FROM peers_apitoken
LEFT JOIN peers_serviceaccount ON peers_serviceaccount.id = peers_apitoken.service_account_id
LEFT JOIN peers_serviceaccount_interfaces allowed ON allowed.serviceaccount_id = peers_serviceaccount.id
LEFT JOIN peers_interface ON peers_interface.id = allowed.interface_id
WHERE peers_apitoken.token_hash = %s ORDER BY peers_interface.name
"""  # noqa: S608 - words of ours
LONGEST = 200  # characters


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of ``token``, who calls from ``source``; a service account may be on its ``interfaces``."""

    token: ApiToken
    source: str | None
    interfaces: tuple[Interface, ...]

    @property
    def holder(self) -> ServiceAccount | User:
        holder: ServiceAccount | User = self.token.holder
        return holder

    @property
    def actor(self) -> services.Actor:
        return services.Actor(user=self.token.owner, token=self.token, source=self.source)

    @property
    def peers(self) -> PeerQuerySet:
        """The peers that the token is about: its account's, or its owner's."""
        return Peer.objects.filter(service_account=self.token.service_account_id, owner=self.token.owner_id)


class Bearer(HttpBearer):
    """Lets in who shows a token that is good for ``scope``, as often as the rates allow."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Caller:
        scheme, _space, text = request.headers.get("Authorization", "").partition(" ")
        return self.authenticate(request, text.strip() if scheme.lower() == "bearer" else "")

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        _read(request)
        caller = _caller(token, source(request))
        _check_source(caller)
        _check_scope(caller, self.scope)
        _check_rate(caller, self.scope)
        services.note_use(caller.token, source=caller.source, at=timezone.now())
        return caller


def _read(request: HttpRequest) -> None:
    """Wait for the body first: a token that ends while it comes is good for nothing."""
    try:
        len(request.body)
    except UnreadablePostError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_json", _("The body did not arrive.")) from None


def _caller(text: str, address: str | None) -> Caller:
    """Return the bearer of a usable token; of one that is none nobody learns why."""
    found = _shown(text, address) if 0 < len(text) <= LONGEST else None
    if found is None or not _acts(found.token, timezone.now()):
        if text:
            _count_bad(address)
        raise told(services.TokenInvalid())
    return found


def _shown(text: str, address: str | None) -> Caller | None:
    """Return who has the token, with the service account and its interfaces; whether it acts is another question."""
    found = rows_of(SHOWN, [digest(text)], ApiToken, ServiceAccount, Interface)
    if not found:
        return None
    token = found[0][0]
    token.service_account = found[0][1]
    for _token, _account, interface, reported in found:
        if interface:
            interface.reported = reported
    return Caller(token, address, tuple(interface for _, _, interface, _ in found if interface))


def _acts(token: ApiToken, at: datetime) -> bool:
    if token.service_account is not None:
        return token.acts_for_account(at)
    return ApiToken.objects.usable(at).filter(pk=token.pk).exists()


def _count_bad(address: str | None) -> None:
    try:
        limits.of_bad_token(address)
    except limits.TooMany as error:
        raise too_many(error) from None


def _check_source(caller: Caller) -> None:
    networks = caller.token.service_account.source_networks if caller.token.service_account else ()
    if networks and not (caller.source and any(ip_address(caller.source) in network for network in networks)):
        _count_bad(caller.source)
        sentence = _("This token may not be used from your address.")
        raise ApiError(HTTPStatus.FORBIDDEN, "source_not_allowed", sentence)


def _check_scope(caller: Caller, scope: Scope) -> None:
    if scope not in caller.token.scopes:
        _count_bad(caller.source)
        sentence = _("This token may not do that: it lacks %(scope)s.") % {"scope": scope.value}
        raise ApiError(HTTPStatus.FORBIDDEN, "scope_missing", sentence)


def _check_rate(caller: Caller, scope: Scope) -> None:
    try:
        if scope == Scope.READ:
            limits.of_reading(caller.token)
        elif scope == Scope.REVOKE:
            limits.of_revoking(caller.token)
        else:
            limits.of_enrolling(caller.token, caller.source)
    except limits.TooMany as error:
        raise too_many(error) from None
    except Away:
        sentence = _("Requests cannot be counted at the moment. Try again later.")
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", sentence, retry_after=10) from None


def too_many(error: limits.TooMany) -> ApiError:
    sentence = _("Too many requests. Try again in %(seconds)d s.") % {"seconds": error.retry_after}
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", sentence, retry_after=error.retry_after
    )
