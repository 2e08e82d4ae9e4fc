"""Tokens, by their beginnings: a token itself is shown once, where it is made. Revoked here, with what came of it if need be."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from peers import services
from peers.admin import links
from peers.admin.acts import ReasonForm
from peers.admin.asking import AsksFirst
from peers.admin.filters import AccountFilter, Choices, Filter, OwnerFilter
from peers.admin.read_only import ReadOnlyAdmin, actor
from peers.models import ApiToken, Peer
from peers.presentation import TOKEN_WORDS, TokenState, token_state
from peers.states import database_now
from portal.confirmation import begins_act

NOTHING = "–"


class RevokeTokenForm(ReasonForm):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        help_text=gettext_lazy("For the audit; the owner of a device that goes with it sees it too."),
    )
    with_peers = forms.BooleanField(required=False)

    def __init__(self, data: Any, *, enrolled: int) -> None:
        """``enrolled`` is how many devices would go with it; where there are none, nobody is asked about them."""
        super().__init__(data)
        sentence = ngettext(
            "Also revoke the device that was enrolled with it: it leaves the network at once and for ever",
            "Also revoke the %(count)d devices that were enrolled with it: they leave the network at once and for ever",
            enrolled,
        )
        self.fields["with_peers"].label = sentence % {"count": enrolled}
        if not enrolled:
            del self.fields["with_peers"]


class TokenStateFilter(Filter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(state.value, TOKEN_WORDS[state].label) for state in TokenState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        at = database_now()
        usable, over = Q(pk__in=ApiToken.objects.usable(at).values("pk")), Q(expires_at__lte=at)
        conditions = {
            TokenState.USABLE: usable,
            TokenState.ASLEEP: ~usable & ~over & Q(revoked_at=None),
            TokenState.EXPIRED: over & Q(revoked_at=None),
            TokenState.REVOKED: Q(revoked_at__isnull=False),
        }
        chosen = self.chosen()
        return queryset if chosen is None else queryset.filter(conditions[TokenState(chosen)])


@admin.register(ApiToken)
class ApiTokenAdmin(AsksFirst, ReadOnlyAdmin):
    called = "token"
    list_display = ["name", "held_by", "known_as", "scopes_in_short", "state", "ends", "last_used_on"]
    list_filter = [TokenStateFilter, AccountFilter, OwnerFilter]
    list_select_related = ["service_account", "owner"]
    search_fields = ["name", "beginning", "service_account__name", "owner__name", "owner__email"]
    search_help_text = gettext_lazy(
        "Name, service account, person, or the first characters; never a whole token"
    )
    ordering = ["-made_at", "-pk"]
    sortable_by = ["name", "ends"]
    fields = [
        "name", "known_as", "holder", "may", "state", "made_at", "made_by", "expires_at", "uses", "machines", "last_used",
        "revoked_at", "revoked_by",
    ]  # fmt: skip
    readonly_fields = [str(name) for name in fields]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        found: Any = super().get_queryset(request)
        return found.with_usable(database_now())  # type: ignore[no-any-return]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke)
        return [path("<int:pk>/revoke/", view, name="peers_apitoken_revoke"), *super().get_urls()]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("peers.revoke_apitoken")

    @begins_act
    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the reason, and whether what was enrolled with it goes too, then revoke."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        token = get_object_or_404(ApiToken.objects.select_related("service_account", "owner"), pk=pk)
        # Who may revoke no devices is not asked about them, and cannot do so by the way.
        before = (
            Peer.objects.enrolled_with(token).count() if request.user.has_perm("peers.revoke_peer") else 0
        )
        form = RevokeTokenForm(request.POST if request.method == "POST" else None, enrolled=before)
        if not form.is_valid():
            asked = "with_peers" in form.fields
            return self.ask(request, "revoke", token, form, title=_("Revoke a token"), enrolled=asked)
        services.revoke_token(actor=actor(request), token=token, at=timezone.now(), **form.cleaned_data)
        messages.success(request, _("Revoked: %(token)s.") % {"token": token.name})
        if gone := before - Peer.objects.enrolled_with(token).count():
            sentence = ngettext("%(count)d device was revoked.", "%(count)d devices were revoked.", gone)
            messages.success(request, sentence % {"count": gone})
        return HttpResponseRedirect(self.back(request, token))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        token = options.get("obj")
        if token is not None and self.has_revoke_permission(request):
            context["may_revoke"] = token.revoked_at is None or Peer.objects.enrolled_with(token).exists()
        return super().render_change_form(request, context, *rest, **options)

    # --- Columns ---

    @admin.display(description=gettext_lazy("belongs to"))
    def held_by(self, token: ApiToken) -> str:
        return str(token.holder)

    @admin.display(description=gettext_lazy("belongs to"))
    def holder(self, token: ApiToken) -> str:
        return links.to(token.holder)

    @admin.display(description=gettext_lazy("begins with"))
    def known_as(self, token: ApiToken) -> str:
        return format_html("<code>{}…</code>", token.beginning)

    @admin.display(description=gettext_lazy("scopes"))
    def scopes_in_short(self, token: ApiToken) -> str:
        return ", ".join(token.scopes).replace("peers:", "")

    @admin.display(description=gettext_lazy("ends"), ordering="expires_at")
    def ends(self, token: ApiToken) -> str:
        return format_html('<span class="nowrap">{}</span>', f"{token.expires_at:%Y-%m-%d}")

    @admin.display(description=gettext_lazy("last used"))
    def last_used_on(self, token: ApiToken) -> str:
        if token.last_used_at is None:
            return _("never")
        return format_html('<span class="nowrap">{}</span>', f"{token.last_used_at:%Y-%m-%d}")

    @admin.display(description=gettext_lazy("it may"))
    def may(self, token: ApiToken) -> str:
        return token.may

    @admin.display(description=gettext_lazy("state"))
    def state(self, token: ApiToken) -> str:
        return str(TOKEN_WORDS[token_state(token)].label)

    @admin.display(description=gettext_lazy("use limit"))
    def uses(self, token: ApiToken) -> str:
        if token.use_limit is None:
            return _("no limit")
        return _("%(count)d of %(limit)d used") % {"count": token.enrolments, "limit": token.use_limit}

    @admin.display(description=gettext_lazy("devices that came with it"))
    def machines(self, token: ApiToken) -> str:
        url = reverse("admin:peers_peer_changelist", query={"token__id__exact": token.pk})
        return format_html('<a href="{}">{}</a>', url, Peer.objects.enrolled_with(token).count())

    @admin.display(description=gettext_lazy("last used (UTC)"))
    def last_used(self, token: ApiToken) -> str:
        if token.last_used_at is None:
            return _("never")
        at = f"{token.last_used_at:%Y-%m-%d %H:%M}"
        return f"{at}, {token.last_used_from}" if token.last_used_from else at
