"""Let an administrator in while the identity provider is away: a single-use link that a command prints.

The token stands in the path, because a fragment would need JavaScript. So that it leaks nowhere, the access log and
the application's log redact it, no page of the portal refers to another site, and ten minutes later it is worthless.
"""

import hashlib
import secrets
from datetime import datetime, timedelta

from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from peers import audit
from portal import errors, sessions
from portal.assurance import of_link
from portal.models import BreakGlassLink, User
from portal.source import source

LIFETIME = timedelta(minutes=10)
LOCAL_ISSUER = "latchkey:break-glass"


class NotAllowedError(Exception):
    """No link is issued; the text says why and what to do."""


@transaction.atomic
def issue(user: User, *, at: datetime) -> str:
    """Return the token of a new link for ``user``; raise NotAllowedError unless they are an active administrator."""
    if not (user.is_active and user.is_superuser):
        raise NotAllowedError(f"{user} is not an active administrator, so no link is issued.")
    token = secrets.token_urlsafe(32)
    BreakGlassLink.objects.create(user=user, token_hash=_hash(token), issued_at=at, expires_at=at + LIFETIME)
    audit.record("break_glass_issued", audit.Actor(), user)
    return token


@transaction.atomic
def create_first_admin(name: str) -> User:
    """Return a new local administrator; raise NotAllowedError once the portal has one, who may be given a link instead."""
    if User.objects.filter(is_superuser=True, is_active=True).exists():
        raise NotAllowedError("There is an administrator already: issue the link for them.")
    user, _ = User.objects.get_or_create(
        issuer=LOCAL_ISSUER, sub=name, defaults={"name": name, "password": make_password(None)}
    )
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])
    audit.record("create_admin", audit.Actor(), user)
    return user


@transaction.atomic
def redeem(token: str, *, address: str | None, at: datetime) -> User | None:
    """Return whom the link signs in, and spend it; None when it is spent, too old, or its person no administrator."""
    links = BreakGlassLink.objects.filter(token_hash=_hash(token))
    # Conditions on this table alone: with a join the UPDATE would select in a subquery, which PostgreSQL does not
    # judge again for whoever waited on the row, and the link would work for all of them.
    if not links.filter(used_at=None, expires_at__gt=at).update(used_at=at):
        return None
    user = links.select_related("user").get().user
    if not (user.is_active and user.is_superuser):
        return None
    audit.record("break_glass_used", audit.Actor(user=user, source=address), user)
    return user


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def view(request: HttpRequest, token: str) -> HttpResponse:
    """Show a button; only pressing it spends the link, so that a preview of the address does not.

    ``signed_in_at`` stays as it is: a lease comes from the provider alone.
    """
    if request.method != "POST":
        return render(request, "account/break_glass.html")
    if not ratelimit.consume(request, action="break_glass"):
        return errors.too_many_requests(request)
    at = timezone.now()
    user = redeem(token, address=source(request), at=at)
    if user is None:
        return errors.page(
            request, 403, gettext("This link was used already, or it is older than ten minutes.")
        )
    sessions.begin(request, user, of_link(at), at=at)
    return redirect(settings.LOGIN_REDIRECT_URL)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
