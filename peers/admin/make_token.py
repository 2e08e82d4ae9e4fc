"""Make a token for a service account: the answer to the form shows it, and nothing ever does again."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from peers import services
from peers.admin.read_only import actor
from peers.models import ServiceAccount
from peers.token_forms import AccountTokenForm
from portal.confirmation import begins_act

USUAL_DAYS = 90


def view(site: AdminSite) -> Callable[..., HttpResponse]:
    """Return the page of ``site`` on which a token is made."""

    @begins_act
    def make_token(request: HttpRequest, pk: int) -> HttpResponse:
        if not request.user.has_perm("peers.add_apitoken"):
            raise PermissionDenied
        account = get_object_or_404(ServiceAccount, pk=pk)
        sent = request.POST if request.method == "POST" else None
        form = AccountTokenForm(sent, holder=account, at=timezone.now(), initial={"days": USUAL_DAYS})
        if form.is_valid():
            try:
                token, text = services.make_token(actor=actor(request), **form.wanted())
            except services.TokenNameTaken as refused:
                form.add_error("name", str(refused))
            else:
                return _page(site, request, "made", account, {"token": token, "text": text})
        return _page(site, request, "make", account, {"form": form}, status=400 if form.is_bound else 200)

    return make_token


def _page(
    site: AdminSite,
    request: HttpRequest,
    name: str,
    account: ServiceAccount,
    known: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    sees_account = request.user.has_perm("peers.view_serviceaccount")
    back = reverse("admin:peers_serviceaccount_change", args=[account.pk])
    context = {
        **site.each_context(request),
        "title": _("The new token") if name == "made" else _("Make a token"),
        "opts": ServiceAccount._meta,  # noqa: SLF001  # Django's documented API
        "account": account,
        "back": back if sees_account else reverse("admin:index"),
        **known,
    }
    return render(request, f"admin/peers/apitoken/{name}.html", context, status=status)
