"""What administrators see; a peer changes here in one way only: it is revoked, through the service."""

from ipaddress import ip_address
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from peers import services
from peers.models import AuditEvent, GatewayStatus, Interface, Peer, PeerKey
from peers.presentation import WORDS
from peers.states import standing, standings
from portal.source import source


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A model that is looked at here and changed elsewhere."""

    show_full_result_count = False
    view_on_site = False  # the owner's page is the owner's alone

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RevokeForm(forms.Form):
    reason = forms.CharField(max_length=200, help_text="For the audit; the owner sees it too.")


class PeerChangeList(ChangeList):
    """The page's peers, each with its standing, in a fixed number of queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = list(self.result_list)
        found = standings(Peer.objects.filter(pk__in=[peer.pk for peer in shown]), timezone.now())
        for peer in shown:
            peer.standing = found[peer.pk]
        self.result_list = shown


@admin.register(Peer)
class PeerAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "owner",
        "interface",
        "platform",
        "state",
        "first_address",
        "latest_handshake",
        "enrolled_at",
    ]
    list_filter = ["interface", "platform", ("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["owner", "interface"]
    search_fields = ["name", "owner__name", "owner__email", "owner__sub"]
    search_help_text = "Name, owner, address or public key"
    ordering = ["-enrolled_at", "pk"]
    actions = ["revoke_selected"]
    fields = [
        "name", "owner", "interface", "platform", "state", "problem", "all_addresses", "public_key", "latest_handshake", "endpoint",
        "traffic", "enrolled_at", "expires_at", "suspended_at", "revoked_at", "revoked_by", "revoke_reason", "revoke_link",
    ]  # fmt: skip
    readonly_fields = [str(name) for name in fields]

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return PeerChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Peer], search_term: str
    ) -> tuple[QuerySet[Peer], bool]:
        """Search also by an address, in any pool, and by a whole public key."""
        term = search_term.strip()
        found, may_repeat = super().get_search_results(request, queryset, term)
        if not term:
            return found, may_repeat
        with_key = PeerKey.objects.filter(public_key=term).values("peer")
        return found | queryset.filter(_by_address(term) | Q(pk__in=with_key)), may_repeat

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke)
        return [path("<uuid:pk>/revoke/", view, name="peers_peer_revoke"), *super().get_urls()]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("peers.revoke_peer")

    @admin.action(description="Revoke the selected devices", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Peer]) -> HttpResponse | None:
        return self._ask_or_revoke(
            request, list(queryset.select_related("owner", "interface")), "apply" in request.POST
        )

    def revoke(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Ask for the reason, then revoke."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        peer = get_object_or_404(Peer.objects.select_related("owner", "interface"), pk=pk)
        return self._ask_or_revoke(request, [peer], request.method == "POST") or HttpResponseRedirect(
            reverse("admin:peers_peer_changelist")
        )

    def _ask_or_revoke(self, request: HttpRequest, peers: list[Peer], sent: bool) -> HttpResponse | None:  # noqa: FBT001
        form = RevokeForm(request.POST if sent else None)
        if not form.is_valid():
            context = {**self.admin_site.each_context(request), "title": "Revoke", "opts": self.opts, "peers": peers,
                       "form": form, "selected": ACTION_CHECKBOX_NAME}  # fmt: skip
            return render(request, "admin/peers/peer/revoke.html", context, status=400 if sent else 200)
        actor = services.Actor(user=request.user, source=source(request))  # type: ignore[arg-type]
        for peer in peers:
            services.revoke(actor=actor, peer=peer, at=timezone.now(), reason=form.cleaned_data["reason"])
        messages.success(request, f"Revoked: {', '.join(peer.name for peer in peers)}.")
        return None

    @admin.display(description="state")
    def state(self, peer: Peer) -> str:
        return WORDS[_standing(peer).state].label

    @admin.display(description="address")
    def first_address(self, peer: Peer) -> str:
        return str(peer.addresses[0].ip) if peer.addresses else "–"

    @admin.display(description="put aside because")
    def problem(self, peer: Peer) -> str:
        return _standing(peer).problem or "–"

    @admin.display(description="addresses")
    def all_addresses(self, peer: Peer) -> str:
        return ", ".join(map(str, peer.addresses)) or "given to another device since"

    @admin.display(description="public key")
    def public_key(self, peer: Peer) -> str:
        return ", ".join(
            key.public_key + (" (retired)" if key.retired_at else "")
            for key in peer.keys.order_by("-enrolled_at")
        )

    @admin.display(description="latest handshake")
    def latest_handshake(self, peer: Peer) -> Any:
        return _standing(peer).latest_handshake or "never"

    @admin.display
    def endpoint(self, peer: Peer) -> str:
        return _standing(peer).endpoint or "–"

    @admin.display(description="received / sent, bytes")
    def traffic(self, peer: Peer) -> str:
        found = _standing(peer)
        return f"{found.rx_bytes} / {found.tx_bytes}"

    @admin.display(description="revoke")
    def revoke_link(self, peer: Peer) -> str:
        if peer.revoked_at:
            return "already revoked"
        return format_html(
            '<a href="{}">Revoke this device…</a>', reverse("admin:peers_peer_revoke", args=[peer.pk])
        )


def _standing(peer: Peer) -> Any:
    """Return the standing that the list found, or find it for one peer's page."""
    if not hasattr(peer, "standing"):
        peer.standing = standing(peer, timezone.now())  # type: ignore[attr-defined]
    return peer.standing  # type: ignore[attr-defined]


def _by_address(text: str) -> Q:
    """Return the condition that a peer has the address ``text``; an empty one when that is no address of a pool."""
    try:
        address = ip_address(text)
    except ValueError:
        return Q()
    found = Q()
    for interface in Interface.objects.all():
        for pool in interface.pools:
            if address in pool:
                found |= Q(interface=interface, host=int(address) - int(pool.network_address))
    return found


@admin.register(Interface)
class InterfaceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "endpoint", "listen_port", "ipv4_pool", "ipv6_pool", "mode", "public_key"]
    search_fields = ["name", "endpoint", "public_key"]
    fields = [
        "name", "public_key", "endpoint", "listen_port", "ipv4_pool", "ipv6_pool", "dns", "client_allowed_ips", "mtu",
        "persistent_keepalive", "use_preshared_keys", "lease", "address_rest", "device_limit", "enrol_groups",
    ]  # fmt: skip
    # Others would change every address, or what every client believes.
    readonly_fields = ["name", "public_key", "ipv4_pool", "ipv6_pool"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Interface, form: Any, change: bool) -> None:  # noqa: FBT001
        actor = services.Actor(user=request.user, source=source(request))  # type: ignore[arg-type]
        services.save_interface(actor=actor, interface=obj)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "actor_kind", "by", "person", "peer", "interface", "source", "reason"]
    list_filter = ["action", "actor_kind", "interface"]
    list_select_related = ["actor", "person", "peer", "interface"]
    search_fields = ["actor__name", "person__name", "person__email", "peer__name", "peer__keys__public_key"]
    date_hierarchy = "at"
    ordering = ["-at", "-pk"]

    @admin.display(description="by")
    def by(self, event: AuditEvent) -> str:
        return str(event.actor or event.gateway or event.actor_kind)


@admin.register(GatewayStatus)
class GatewayStatusAdmin(ReadOnlyAdmin):
    list_display = [
        "gateway",
        "interface",
        "heartbeat_at",
        "last_pass_at",
        "attached",
        "drift_found",
        "held",
        "problem",
    ]
    list_select_related = ["interface"]
