"""A sign-in for a purpose comes back: it proves what the purpose requires, or it is refused and nothing changes."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from peers import audit
from portal.assurance import Purpose, of_sign_in, required, suffices
from portal.models import User
from portal.oidc import refusals
from portal.oidc.identity import Identity, Proof
from portal.oidc_config import Provider
from portal.source import source


def confirms(provider: Provider, proof: Proof, purpose: Purpose, *, at: datetime) -> bool:
    """Say whether the sign-in is what was asked for; a provider may do less, and a browser may ask for less."""
    return suffices(of_sign_in(provider, proof), required(provider, purpose), at=at)


def refuse(
    request: HttpRequest,
    provider: Provider,
    person: Identity,
    purpose: Purpose,
    next_url: str,
    *,
    reference: str,
) -> HttpResponse:
    """Put the refusal on record and say so; whoever is signed in stays so, as they were."""
    user = User.objects.filter(issuer=person.issuer, sub=person.sub).first()
    new = {"provider": provider.id, "purpose": purpose, "reference": reference}
    if user is None:
        new |= {"issuer": person.issuer, "sub": person.sub}
    reason = "does not meet the requirement"
    actor = audit.Actor(user=user, source=source(request), stranger=user is None)
    audit.record("sign_in_refused", actor, user, new=new, reason=reason)
    again = f"{reverse('confirm')}?{urlencode({'purpose': purpose, 'next': next_url})}"
    refusal = refusals.INSUFFICIENT
    return refusals.refuse(request, provider, refusal, reason, reference=reference, again=again)
