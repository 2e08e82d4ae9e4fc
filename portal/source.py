"""Where a request comes from, behind as many proxies as are trusted."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def source(request: HttpRequest) -> str | None:
    """Return the client's IP address as text, None when it cannot be known (a UNIX socket, a forged header)."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return address(request.META.get("REMOTE_ADDR", ""), forwarded, hops=settings.LATCHKEY_TRUSTED_PROXY_HOPS)


def address(remote: str, forwarded: str, *, hops: int) -> str | None:
    """Return the address that ``hops`` trusted proxies vouch for, given X-Forwarded-For as it came.

    It is the one at that place from the right: each proxy appends whom it heard, and what stands further left is the
    client's own claim. A header that is too short did not come through the proxies, so the connection's end counts.
    """
    claimed = forwarded.split(",") if forwarded else []
    text = claimed[-hops] if 0 < hops <= len(claimed) else remote
    try:
        found = ip_address(text.strip())
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)
