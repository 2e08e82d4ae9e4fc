"""Service accounts: made and changed here, suspended and restored with what that does to their machines said first."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from peers import services
from peers.admin import make_token
from peers.admin.acts import ForTheAuditForm, RestoreForm
from peers.admin.asking import AsksFirst
from peers.admin.filters import SuspendedFilter
from peers.admin.newest import newest
from peers.admin.newest_tokens import newest_tokens
from peers.admin.read_only import NarrowAdmin, actor
from peers.durations import DurationField, in_units
from peers.forms import name_of
from peers.models import Peer, ServiceAccount
from peers.states import database_now
from portal.confirmation import begins_act


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in django-stubs alone
    class Meta:
        model = ServiceAccount
        fields = (
            "name", "team", "interfaces", "device_limit", "default_ttl", "max_ttl", "idle_after", "source_networks",
        )  # fmt: skip
        widgets = {"interfaces": forms.CheckboxSelectMultiple}
        help_texts = {
            "name": gettext_lazy("What its machines are, such as “build runners”."),
            "source_networks": gettext_lazy(
                "Networks that its tokens are taken from, such as 10.0.0.0/8, with commas between them; empty: all."
            ),
        }

    def clean_name(self) -> str:
        return name_of(self.cleaned_data["name"], missing=_("Give the service account a name."))

    def clean_team(self) -> str:
        return name_of(self.cleaned_data["team"], missing=_("Name the team."))


@admin.register(ServiceAccount)
class ServiceAccountAdmin(AsksFirst, NarrowAdmin):
    called = "account"
    form = AccountForm
    formfield_overrides = {models.DurationField: {"form_class": DurationField}}
    list_display = ["name", "team", "machines", "where", "lasts", "suspended_at"]
    list_filter = ["interfaces", SuspendedFilter]
    search_fields = ["name", "team"]
    search_help_text = gettext_lazy("Name or team")
    ordering = ["name"]
    sortable_by = ["name", "team", "suspended_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceAccount]:
        held = Peer.objects.filter(service_account=OuterRef("pk")).holding(Now())
        counted = held.order_by().values("service_account").annotate(count=Count("*")).values("count")
        found: Any = super().get_queryset(request).annotate(held=Coalesce(Subquery(counted), 0))
        return found.prefetch_related("interfaces")  # type: ignore[no-any-return]  # no stubs know annotate's columns

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "suspend": self.suspend,
            "restore": self.restore,
            "make-token": make_token.view(self.admin_site),
        }
        own = [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"peers_serviceaccount_{name.replace('-', '_')}",
            )
            for name, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {}  # an address fills in no form

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("peers.suspend_serviceaccount")

    @begins_act
    def add_view(self, request: HttpRequest, *rest: Any, **options: Any) -> HttpResponse:
        return super().add_view(request, *rest, **options)

    @begins_act
    def change_view(self, request: HttpRequest, object_id: str, *rest: Any, **options: Any) -> HttpResponse:
        return super().change_view(request, object_id, *rest, **options)

    def save_model(self, request: HttpRequest, obj: ServiceAccount, form: Any, change: bool) -> None:  # noqa: FBT001
        interfaces = form.cleaned_data["interfaces"]
        services.save_account(actor=actor(request), account=obj, interfaces=interfaces)

    def save_related(self, *_: Any) -> None:
        """Leave the interfaces alone: ``save_model`` had them saved with the rest."""

    @begins_act
    def suspend(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the reason, having said how many machines it cuts, then suspend."""
        account = self._account(request, pk)
        if account.suspended_at:
            return self.answer(request, account, messages.WARNING, _("%(account)s is suspended already."))
        form = ForTheAuditForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            cut = Peer.objects.filter(service_account=account).entitled(database_now()).count()
            return self.ask(request, "suspend", account, form, title=_("Suspend a service account"), cut=cut)
        reason = form.cleaned_data["reason"]
        services.suspend_account(actor=actor(request), account=account, at=timezone.now(), reason=reason)
        return self.answer(request, account, messages.SUCCESS, _("Suspended: %(account)s."))

    @begins_act
    def restore(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what comes back, then restore."""
        account = self._account(request, pk)
        if account.suspended_at is None:
            return self.answer(request, account, messages.WARNING, _("%(account)s is not suspended."))
        form = RestoreForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            count = Peer.objects.filter(service_account=account).holding(database_now()).count()
            return self.ask(
                request, "restore", account, form, title=_("Restore a service account"), count=count
            )
        services.restore_account(actor=actor(request), account=account, reason=form.cleaned_data["reason"])
        return self.answer(request, account, messages.SUCCESS, _("Restored: %(account)s."))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        if (obj := options.get("obj")) is not None:
            context["may_suspend"] = self.has_suspend_permission(request)
            context["may_make_token"] = request.user.has_perm("peers.add_apitoken")
            own = Peer.objects.filter(service_account=obj)
            context["newest"] = newest(request, own, f"service_account={obj.pk}")
            context["tokens"] = newest_tokens(request, obj)
        return super().render_change_form(request, context, *rest, **options)

    # --- Columns ---

    @admin.display(description=gettext_lazy("machines"))
    def machines(self, account: Any) -> str:
        return _("%(held)d of %(limit)d") % {"held": account.held, "limit": account.device_limit}

    @admin.display(description=gettext_lazy("interfaces"))
    def where(self, account: ServiceAccount) -> str:
        return ", ".join(sorted(map(str, account.interfaces.all()))) or "–"

    @admin.display(description=gettext_lazy("a machine stays for"))
    def lasts(self, account: ServiceAccount) -> str:
        return in_units(account.default_ttl) if account.default_ttl else _("until it is revoked")

    # --- Acts ---

    def _account(self, request: HttpRequest, pk: int) -> ServiceAccount:
        if not self.has_suspend_permission(request):
            raise PermissionDenied
        return get_object_or_404(ServiceAccount, pk=pk)
