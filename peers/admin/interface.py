"""Interfaces: their settings, but for what would change every address or what every client believes; and the brake."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext

from peers import services
from peers.admin.overview.figures import gateway_lines
from peers.admin.read_only import actor
from peers.durations import DurationField
from peers.models import GatewayStatus, Interface, PeerStatus
from peers.states import database_now
from portal.confirmation import begins_act

SAMPLE = 20  # of the devices whose removal is held


class ReleaseForm(forms.Form):
    """The number of removals that the operator was shown: what is held beyond it was never agreed to."""

    held = forms.IntegerField(min_value=1)


@admin.register(Interface)
class InterfaceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "endpoint", "listen_port", "ipv4_pool", "ipv6_pool", "mode", "public_key"]
    search_fields = ["name", "endpoint", "public_key"]
    fields = [
        "name", "public_key", "endpoint", "listen_port", "ipv4_pool", "ipv6_pool", "dns", "client_allowed_ips", "mtu",
        "persistent_keepalive", "use_preshared_keys", "mode", "idle_minutes", "lease", "address_rest", "device_limit", "enrol_groups",
    ]  # fmt: skip
    formfield_overrides = {models.DurationField: {"form_class": DurationField}}
    # Others would change every address, or what every client believes.
    readonly_fields = ["name", "public_key", "ipv4_pool", "ipv6_pool"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return False  # no filter is offered; of its own accord Django would take an expression that PostgreSQL cannot read

    @begins_act
    def change_view(self, request: HttpRequest, object_id: str, *rest: Any, **options: Any) -> HttpResponse:
        return super().change_view(request, object_id, *rest, **options)

    def save_model(self, request: HttpRequest, obj: Interface, form: Any, change: bool) -> None:  # noqa: FBT001
        services.save_interface(actor=actor(request), interface=obj)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        obj = options.get("obj")
        if obj and obj.on_demand and request.user.has_perm("peers.view_gatewaystatus"):
            context["gateways"] = gateway_lines(database_now(), obj)
        return super().render_change_form(request, context, *rest, **options)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.release_brake)
        return [
            path("<int:pk>/release-brake/", view, name="peers_interface_release_brake"),
            *super().get_urls(),
        ]

    @begins_act
    def release_brake(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how much the brake holds, and release it once that number is agreed to."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        interface = get_object_or_404(Interface, pk=pk)
        held = _held(interface)
        if request.method != "POST":
            return self._release_page(request, interface, held, HTTPStatus.OK)
        form = ReleaseForm(request.POST)
        if not form.is_valid():
            return self._release_page(request, interface, held, HTTPStatus.BAD_REQUEST)
        if held > form.cleaned_data["held"]:
            return self._release_page(request, interface, held, HTTPStatus.CONFLICT)
        services.release_brake(actor=actor(request), interface=interface)
        words = ngettext("Released: %d removal was held.", "Released: %d removals were held.", held)
        messages.success(request, words % held)
        return HttpResponseRedirect(reverse("admin:index"))

    def _release_page(
        self, request: HttpRequest, interface: Interface, held: int, status: HTTPStatus
    ) -> HttpResponse:
        statuses = PeerStatus.objects.filter(held=True, peer__interface=interface)
        may_see_peers = request.user.has_perm("peers.view_peer")
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Release the brake"),
            "opts": self.opts,
            "interface": interface,
            "held": held,
            "grown": status == HTTPStatus.CONFLICT,
            "sample": statuses.select_related("peer__owner", "peer__service_account").order_by("pk")[:SAMPLE]
            if may_see_peers
            else (),
            "unknown": max(0, held - statuses.count()),
        }
        return render(request, "admin/peers/interface/release_brake.html", context, status=status)


def _held(interface: Interface) -> int:
    """Return how many removals the gateways of the interface say that they hold."""
    return GatewayStatus.objects.filter(interface=interface).aggregate(held=Sum("held"))["held"] or 0
