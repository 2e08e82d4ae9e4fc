"""What the identity brake holds: show it, and carry it out or drop it once an administrator has agreed to how much it is."""

import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from peers.admin import losses
from peers.admin.read_only import actor
from portal.access.decision import MoreHeld, carry_out, discard, release
from portal.confirmation import begins_act
from portal.models import HeldLoss, User

SHOWN = 100
AT_ONCE = 5  # seconds that releasing may take; what is left then goes on without the request


class WordForm(forms.Form):
    """What is to happen, and until when what is held was shown to the administrator: they never agreed to anything later."""

    word = forms.ChoiceField(choices=[("release", ""), ("discard", "")])
    seen = forms.DateTimeField()


def view(site: AdminSite) -> Callable[[HttpRequest], HttpResponse]:
    """Return the page of ``site`` on which an administrator says what becomes of what is held."""

    @begins_act
    def held_losses(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("portal.change_user"):
            raise PermissionDenied
        if request.method != "POST":
            return _page(site, request, HTTPStatus.OK)
        form = WordForm(request.POST)
        if not form.is_valid():
            return _page(site, request, HTTPStatus.BAD_REQUEST)
        try:
            _carry_out(request, **form.cleaned_data)
        except MoreHeld:
            return _page(site, request, HTTPStatus.CONFLICT)
        return HttpResponseRedirect(reverse("admin:index"))

    return held_losses


def _carry_out(request: HttpRequest, word: str, seen: datetime) -> None:
    """Do what was decided about what is held since ``seen`` at the latest; raise MoreHeld."""
    if word == "release":
        return _release(request, seen)
    count = discard(seen=seen, actor=actor(request))
    messages.success(request, ngettext("Kept: %d person.", "Kept: %d people.", count) % count)
    return None


def _release(request: HttpRequest, seen: datetime) -> None:
    """Have it carried out, as much of it as can be at once."""
    at, until = timezone.now(), time.monotonic() + AT_ONCE
    count = release(seen=seen, actor=actor(request), at=at)
    carry_out(at, stopped=lambda: time.monotonic() > until)
    left = HeldLoss.objects.filter(released_at=at).count()
    words = ngettext("Access ended: %d person.", "Access ended: %d people.", count - left)
    messages.success(request, words % (count - left))
    if left:
        words = ngettext("It is being ended: %d person.", "It is being ended: %d people.", left)
        messages.warning(request, words % left)


def _page(site: AdminSite, request: HttpRequest, status: HTTPStatus) -> HttpResponse:
    rows = _rows()
    held, seen = HeldLoss.objects.undecided().aggregate(Count("pk"), Max("found_at")).values()
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Access held back"),
        "opts": User._meta,  # noqa: SLF001  # Django's documented API
        "held": held,
        "seen": seen.isoformat() if seen else "",
        "losses": losses.described(rows[:SHOWN]),
        "sees_devices": request.user.has_perm("peers.view_peer"),
        "more": max(0, held - SHOWN),
        "ending": HeldLoss.objects.released().count(),
        "grown": status == HTTPStatus.CONFLICT,
    }
    return render(request, "admin/portal/user/held.html", context, status=status)


def _rows() -> QuerySet[HeldLoss]:
    """Return the losses that wait for a word, the oldest first."""
    return HeldLoss.objects.undecided().select_related("person").order_by("found_at", "person")
