"""What both ways of enrolling share: on which interface, for how long, and what comes of it."""

from datetime import datetime, timedelta
from http import HTTPStatus

from django.conf import settings
from django.utils.translation import gettext as _

from peers import services
from peers.api.bearer import Caller
from peers.api.errors import ApiError, told
from peers.forms import NAME_LENGTH, interfaces_open_to, made_name
from peers.models import Interface, Peer, ServiceAccount
from peers.tokens import digest
from portal.models import User

SHOWN = 8  # characters of the key's digest


def interfaces_of(caller: Caller) -> list[Interface]:
    """Return the interfaces on which the caller may enrol."""
    owner = caller.token.owner
    return interfaces_open_to(owner) if owner else list(caller.interfaces)


def chosen(caller: Caller, name: str | None, public_key: str) -> Interface:
    """Return the interface that is asked for. Raise ApiError.

    By default it is the caller's only one, else where the key is already, else the default one.
    """
    allowed = {interface.name: interface for interface in interfaces_of(caller)}
    if name is None and len(allowed) == 1:
        return next(iter(allowed.values()))
    if name is None:
        name = (
            caller.peers.filter(keys__public_key=public_key).values_list("interface__name", flat=True).first()
        )
    wanted = settings.LATCHKEY_DEFAULT_INTERFACE if name is None else name
    if wanted in allowed:
        return allowed[wanted]
    if name is None:
        sentence = _("Say on which interface: there is more than one, or none, that you may use.")
        raise ApiError(HTTPStatus.BAD_REQUEST, "interface_missing", sentence, field="interface")
    if not Interface.objects.filter(name=name).exists():
        sentence = _("There is no such interface.")
        raise ApiError(HTTPStatus.NOT_FOUND, "interface_unknown", sentence, field="interface")
    raise told(services.InterfaceNotAllowed())


def enrol(
    caller: Caller,
    *,
    public_key: str,
    interface: Interface,
    at: datetime,
    name: str | None = None,
    ttl: int | None = None,
) -> services.Enrolled:
    """Return what the service made of it; raise ApiError for a refusal."""
    try:
        ends_at = services.end_of(caller.holder, timedelta(seconds=ttl) if ttl else None, at)
        return services.enrol(
            actor=caller.actor, owner=caller.holder, interface=interface, public_key=public_key,
            name=name or _name(caller.holder, public_key), at=at, expires_at=ends_at,
        )  # fmt: skip
    except services.Refused as refused:
        raise told(refused) from None


def _name(holder: ServiceAccount | User, public_key: str) -> str:
    """Return a name that tells a device from the holder's others, and is the same each time its key comes."""
    own = digest(public_key)[:SHOWN]
    return f"{made_name(str(holder), most=NAME_LENGTH - SHOWN - 1)} {own}".strip()


def preshared_key(peer: Peer) -> dict[str, str]:
    return {"preshared_key": peer.preshared_key} if peer.preshared_key else {}
