"""How often who may ask: counted by the token, the account, the person and the address, with LATCHKEY_RATE_LIMITS a minute."""

import logging
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings

from peers.models import ApiToken
from portal.counters import Away, count
from portal.models import User

logger = logging.getLogger(__name__)

SITE = 64  # bits of an IPv6 address that one household or host is given


class TooMany(Exception):
    """More than allowed within a minute, which is over in ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


def of_enrolling(token: ApiToken, source: str | None) -> None:
    """Count a request that changes something but takes nothing off; raise TooMany, or Away: what cannot be counted is refused."""
    holder = {"account": token.service_account_id} if token.service_account_id else {"person": token.owner_id}
    _check(token=token.pk, **holder, address=_place(source))


def of_person(person: User, source: str | None) -> None:
    """Count an enrolment on the pages; as ``of_enrolling``."""
    _check(person=person.pk, address=_place(source))


def of_reading(token: ApiToken) -> None:
    """Count a request that only reads; raise TooMany. While the store is away none is refused."""
    _check_if_possible(read=token.pk)


def of_revoking(token: ApiToken) -> None:
    """Count a revocation, which nothing else is counted with; raise TooMany. While the store is away none is refused."""
    _check_if_possible(revoke=token.pk)


def of_bad_token(source: str | None) -> None:
    """Count a token that is none; raise TooMany. Who has a good one is never refused for the sake of another's bad ones."""
    _check_if_possible(bad_token=_place(source))


def _check_if_possible(**subjects: object) -> None:
    try:
        _check(**subjects)
    except Away:
        logger.warning("not_counted", extra={"rates": sorted(subjects)})


def _check(**subjects: object) -> None:
    """Count one of each subject, whose name is that of its rate; raise TooMany for the last of those that are over.

    They go from the narrow to the wide: who asks too often uses up nothing of what others share with them.
    """
    rates = {f"{rate}:{who}": settings.LATCHKEY_RATE_LIMITS[rate] for rate, who in subjects.items()}
    limited = {key: most for key, most in rates.items() if most}
    over = [found.seconds_left for key, found in count(limited).items() if found.number > limited[key]]
    if over:
        raise TooMany(max(1, *over))


def _place(source: str | None) -> str:
    """Return what stands for an address: of IPv6 the network that its host chooses addresses from."""
    if source is None:
        return "unknown"
    address = ip_address(source)
    return str(ip_network((address, SITE), strict=False) if isinstance(address, IPv6Address) else address)
