"""Devices, as administrators see them; one changes here through the services alone."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from peers.admin import links, search
from peers.admin.acts import RESTORE, REVOKE, SUSPEND, Act, perform
from peers.admin.filters import AccountFilter, HandshakeFilter, OwnerFilter, StateFilter, TokenFilter
from peers.admin.read_only import ReadOnlyAdmin, origin
from peers.diagnosis import diagnose
from peers.facts import gather
from peers.models import Peer
from peers.presentation import WORDS
from peers.receipt_words import told
from peers.receipts import receipts
from peers.states import Standing, State, database_now, standing, standings
from portal.confirmation import begins_act

HOLDERS = ("owner", "service_account", "interface")  # what is said of a device beside its name


class PeerChangeList(ChangeList):
    """The page's peers, each with its standing, in a fixed number of queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = list(self.result_list)
        found = standings(Peer.objects.filter(pk__in=[peer.pk for peer in shown]), database_now())
        for peer in shown:
            peer.standing = found[peer.pk]
        self.result_list = shown


@admin.register(Peer)
class PeerAdmin(ReadOnlyAdmin):
    list_display = [
        "name", "held_by", "interface", "platform", "state", "first_address", "latest_handshake", "enrolled_at", "why_link",
    ]  # fmt: skip
    list_filter = [
        StateFilter,
        "interface",
        "platform",
        HandshakeFilter,
        AccountFilter,
        OwnerFilter,
        TokenFilter,
    ]
    list_select_related = ["owner", "service_account", "token", "interface"]
    search_fields = ["name"]  # for Django to show the box; ``search`` says what is found
    search_help_text = gettext_lazy(
        "Name, owner, service account, address, or public key (whole or its first 8 characters)"
    )
    ordering = ["-enrolled_at", "pk"]
    sortable_by = ["name", "interface", "platform", "enrolled_at"]
    actions = ["revoke_selected", "suspend_selected", "restore_selected"]
    fields = [
        "name", "holder", "token_link", "interface", "platform", "state", "problem", "all_addresses", "public_key", "latest_handshake", "endpoint",
        "traffic", "enrolled_at", "expires_at", "suspended_at", "suspend_reason", "revoked_at", "revoked_by", "revoke_reason", "taken_off",
    ]  # fmt: skip
    readonly_fields = [str(name) for name in fields]

    def get_changelist(self, request: HttpRequest, **_options: Any) -> type[ChangeList]:
        return PeerChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Peer], search_term: str
    ) -> tuple[QuerySet[Peer], bool]:
        return search.found(queryset, search_term), False

    def get_urls(self) -> list[URLPattern]:
        pages = {"revoke": self.revoke, "suspend": self.suspend, "restore": self.restore, "why": self.why}
        own = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"peers_peer_{name}")
            for name, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("peers.revoke_peer")

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("peers.suspend_peer")

    # --- Acts ---

    @admin.action(description=gettext_lazy("Revoke the selected devices"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Peer]) -> HttpResponse | None:
        return self._of_selected(request, REVOKE, queryset)

    @admin.action(description=gettext_lazy("Suspend the selected devices"), permissions=["suspend"])
    def suspend_selected(self, request: HttpRequest, queryset: QuerySet[Peer]) -> HttpResponse | None:
        return self._of_selected(request, SUSPEND, queryset)

    @admin.action(description=gettext_lazy("Restore the selected devices"), permissions=["suspend"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet[Peer]) -> HttpResponse | None:
        return self._of_selected(request, RESTORE, queryset)

    @begins_act
    def revoke(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return self._of_one(request, REVOKE, pk, allowed=self.has_revoke_permission(request))

    @begins_act
    def suspend(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return self._of_one(request, SUSPEND, pk, allowed=self.has_suspend_permission(request))

    @begins_act
    def restore(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return self._of_one(request, RESTORE, pk, allowed=self.has_suspend_permission(request))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Peer], *rest: Any
    ) -> HttpResponse | None:
        try:
            return super().response_action(request, queryset, *rest)
        except ValidationError:  # an id that no device could have
            raise BadRequest from None

    def _of_selected(self, request: HttpRequest, act: Act, queryset: QuerySet[Peer]) -> HttpResponse | None:
        peers = list(queryset.select_related(*HOLDERS))
        if len(peers) > self.list_max_show_all:
            sentence = _("Select at most %(count)d devices at a time.") % {"count": self.list_max_show_all}
            self.message_user(request, sentence, "ERROR")
            return None
        return self._ask_or_act(request, act, peers, request.get_full_path(), sent="apply" in request.POST)

    def _of_one(self, request: HttpRequest, act: Act, pk: UUID, *, allowed: bool) -> HttpResponse:
        if not allowed:
            raise PermissionDenied
        peer = get_object_or_404(Peer.objects.select_related(*HOLDERS), pk=pk)
        back = origin(
            request, _page_of(peer) if self.has_view_permission(request) else reverse("admin:index")
        )
        asked = self._ask_or_act(request, act, [peer], back, sent=request.method == "POST")
        return asked or HttpResponseRedirect(back)

    def _ask_or_act(
        self, request: HttpRequest, act: Act, peers: list[Peer], back: str, *, sent: bool
    ) -> HttpResponse | None:
        """Return the page that asks for the reason; None once it was given and the act is done."""
        form = act.form(request.POST if sent else None)
        if form.is_valid():
            perform(request, act, peers, form.cleaned_data["reason"])
            return None
        context = {
            **self.admin_site.each_context(request), "title": act.title, "opts": self.opts, "peers": peers, "form": form,
            "selected": ACTION_CHECKBOX_NAME, "action": f"{act.name}_selected", "back": back,
        }  # fmt: skip
        return render(request, f"admin/peers/peer/{act.name}.html", context, status=400 if sent else 200)

    # --- Pages ---

    def why(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say why the device is not connected, one condition after another."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        peer = get_object_or_404(Peer.objects.select_related(*HOLDERS), pk=pk)
        at = database_now()
        context = {
            **self.admin_site.each_context(request), "title": _("Why is it not connected?"), "opts": self.opts, "peer": peer,
            "diagnosis": diagnose(gather(peer, at)), "at": at,
        }  # fmt: skip
        return render(request, "admin/peers/peer/why.html", context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        context["may"] = {
            "revoke": self.has_revoke_permission(request),
            "suspend": self.has_suspend_permission(request),
        }
        return super().render_change_form(request, context, *rest, **options)

    # --- Columns ---

    @admin.display(description=gettext_lazy("belongs to"))
    def held_by(self, peer: Peer) -> str:
        if peer.token is None:
            return str(peer.holder)
        return format_html("{}<br><small>{}…</small>", peer.holder, peer.token.beginning)

    @admin.display(description=gettext_lazy("belongs to"))
    def holder(self, peer: Peer) -> str:
        return links.to(peer.holder)

    @admin.display(description=gettext_lazy("enrolled with the token"))
    def token_link(self, peer: Peer) -> str:
        return links.to(peer.token) if peer.token else "–"

    @admin.display(description=gettext_lazy("state"))
    def state(self, peer: Peer) -> str:
        return str(WORDS[_standing(peer).state].label)

    @admin.display(description=gettext_lazy("address"))
    def first_address(self, peer: Peer) -> str:
        return str(peer.addresses[0].ip) if peer.addresses else "–"

    @admin.display(description=gettext_lazy("why?"))
    def why_link(self, peer: Peer) -> str:
        if _standing(peer).state == State.CONNECTED:
            return "–"
        address = reverse("admin:peers_peer_why", args=[peer.pk])
        return format_html('<a href="{}" aria-label="{}">{}</a>', address, _why(peer), _("why?"))

    @admin.display(description=gettext_lazy("put aside because"))
    def problem(self, peer: Peer) -> str:
        return _standing(peer).problem or "–"

    @admin.display(description=gettext_lazy("addresses"))
    def all_addresses(self, peer: Peer) -> str:
        return ", ".join(map(str, peer.addresses)) or _("given to another device since")

    @admin.display(description=gettext_lazy("public key"))
    def public_key(self, peer: Peer) -> str:
        retired = _("(retired)")
        return ", ".join(
            f"{key.public_key} {retired}" if key.retired_at else str(key.public_key)
            for key in peer.keys.order_by("-enrolled_at")
        )

    @admin.display(description=gettext_lazy("latest handshake"))
    def latest_handshake(self, peer: Peer) -> str:
        latest = _standing(peer).latest_handshake
        return localize(localtime(latest)) if latest else _("never")

    @admin.display(description=gettext_lazy("endpoint"))
    def endpoint(self, peer: Peer) -> str:
        return _standing(peer).endpoint or "–"

    @admin.display(description=gettext_lazy("off the interface (UTC)"))
    def taken_off(self, peer: Peer) -> str:
        rows = ((one.gateway, told(one, peer)) for one in receipts(peer))
        return format_html_join(mark_safe("<br>"), "{}: {}", rows) or "–"

    @admin.display(description=gettext_lazy("received / sent, bytes"))
    def traffic(self, peer: Peer) -> str:
        found = _standing(peer)
        return f"{found.rx_bytes} / {found.tx_bytes}"


def _page_of(peer: Peer) -> str:
    return reverse("admin:peers_peer_change", args=[peer.pk])


def _why(peer: Peer) -> str:
    return _("Why is %(name)s not connected?") % {"name": peer.name}


def _standing(peer: Peer) -> Standing:
    """Return the standing that the list found, or find it for one peer's page."""
    if not hasattr(peer, "standing"):
        peer.standing = standing(peer, database_now())  # type: ignore[attr-defined]
    return peer.standing  # type: ignore[attr-defined,no-any-return]
