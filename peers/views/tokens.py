"""A person's own tokens, with which programs of theirs act: made, shown once, revoked."""

from datetime import datetime
from http import HTTPStatus

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from peers import services
from peers.models import ApiToken, Peer
from peers.presentation import TokenLine, TokenState, token_lines
from peers.states import database_now
from peers.token_forms import TokenForm
from peers.views.answers import actor, errors, refusal
from peers.views.counting import counted
from portal.confirmation import enrols
from portal.http import PersonRequest, SeeOther

LISTED = 100


@enrols
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: PersonRequest) -> HttpResponse:
    """Show the tokens; the answer to the form shows the new one itself, and no address leads to it again."""
    at = timezone.now()
    if request.method != "POST":
        return _tokens_page(request, _empty(request, at))
    form = TokenForm(request.POST, holder=request.user, at=at)
    if not form.is_valid():
        return errors(request, form, HTTPStatus.BAD_REQUEST, _tokens_page)
    if too_many := counted(request, request.user):
        return too_many
    try:
        token, text = services.make_token(actor=actor(request), **form.wanted())
    except services.Refused as refused:
        return refusal(request, form, refused, _tokens_page)
    return _tokens_page(request, _empty(request, at), made=token, text=text)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke_token(request: PersonRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=pk, owner=request.user)
    if request.method == "POST":
        with_peers = "with_peers" in request.POST
        services.revoke_token(actor=actor(request), token=token, at=timezone.now(), with_peers=with_peers)
    elif token.revoked_at is None:
        enrolled = Peer.objects.enrolled_with(token).count()
        return render(request, "peers/revoke_token.html", {"token": token, "enrolled": enrolled})
    return SeeOther(reverse("tokens"))


def _empty(request: PersonRequest, at: datetime) -> TokenForm:
    return TokenForm(holder=request.user, at=at)


def _tokens_page(
    request: PersonRequest, form: TokenForm, *, made: ApiToken | None = None, text: str = ""
) -> HttpResponse:
    own = ApiToken.objects.of(request.user).with_usable(database_now()).usable_first()
    lines = token_lines(own[:LISTED])
    usable = [line for line in lines if line.state == TokenState.USABLE]
    context = {
        "lines": [line for line in lines if _may_act_again(line)],
        "former": [line for line in lines if not _may_act_again(line)],
        "full": len(usable) >= services.MOST_OF_PERSON,
        "limit": services.MOST_OF_PERSON,
        "form": form,
        "made": made,
        "text": text,
    }
    return render(request, "peers/tokens.html", context)


def _may_act_again(line: TokenLine) -> bool:
    return line.state in (TokenState.USABLE, TokenState.ASLEEP)
