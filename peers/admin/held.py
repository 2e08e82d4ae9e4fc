"""What the identity brake holds: show it, and carry it out or drop it once an administrator has agreed to how much it is."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from peers.admin import losses
from portal.access.changes import By, MoreHeld, discard, release
from portal.confirmation import begins_act
from portal.models import HeldLoss, User
from portal.source import source

SHOWN = 100


class WordForm(forms.Form):
    """What is to happen, and how many people the administrator was shown: what is held beyond was never agreed to."""

    word = forms.ChoiceField(choices=[("release", ""), ("discard", "")])
    held = forms.IntegerField(min_value=1)


def view(site: AdminSite) -> Callable[[HttpRequest], HttpResponse]:
    """Return the page of ``site`` on which an administrator says what becomes of what is held."""

    @begins_act
    def held_losses(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("portal.change_user"):
            raise PermissionDenied
        held = HeldLoss.objects.count()
        if request.method != "POST":
            return _page(site, request, held, HTTPStatus.OK)
        form = WordForm(request.POST)
        if not form.is_valid():
            return _page(site, request, held, HTTPStatus.BAD_REQUEST)
        try:
            _carry_out(request, **form.cleaned_data)
        except MoreHeld:
            return _page(site, request, HeldLoss.objects.count(), HTTPStatus.CONFLICT)
        return HttpResponseRedirect(reverse("admin:index"))

    return held_losses


def _carry_out(request: HttpRequest, word: str, held: int) -> None:
    """Do what was decided about at most ``held`` people; raise MoreHeld."""
    by = By(request.user if isinstance(request.user, User) else None, source(request))
    if word == "release":
        providers = {provider.issuer: provider for provider in settings.OIDC_PROVIDERS}
        count = release(providers, agreed=held, by=by, at=timezone.now())
        words = ngettext("Access ended: %d person.", "Access ended: %d people.", count)
    else:
        count = discard(agreed=held, by=by)
        words = ngettext("Kept: %d person.", "Kept: %d people.", count)
    messages.success(request, words % count)


def _page(site: AdminSite, request: HttpRequest, held: int, status: HTTPStatus) -> HttpResponse:
    rows = _rows()
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Access held back"),
        "opts": User._meta,  # noqa: SLF001  # Django's documented API
        "held": held,
        "losses": losses.described(rows[:SHOWN]),
        "sees_devices": request.user.has_perm("peers.view_peer"),
        "more": max(0, held - SHOWN),
        "grown": status == HTTPStatus.CONFLICT,
    }
    return render(request, "admin/portal/user/held.html", context, status=status)


def _rows() -> QuerySet[HeldLoss]:
    """Return the losses, the oldest first."""
    return HeldLoss.objects.select_related("person").order_by("found_at", "person")
