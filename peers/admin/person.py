"""People, as the identity provider describes them; whether they may use the portal is decided here."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from peers import services
from peers.admin import asked, groups, held
from peers.admin.acts import ReasonForm, RestoreForm
from peers.admin.asking import AsksFirst
from peers.admin.filters import GroupFilter, SignedInFilter
from peers.admin.newest import newest
from peers.admin.read_only import ReadOnlyAdmin, actor
from peers.models import Peer
from peers.states import database_now
from portal.confirmation import begins_act
from portal.models import HeldLoss, User


@admin.register(User)
class UserAdmin(AsksFirst, ReadOnlyAdmin):
    """People, as the provider describes them; suspending and restoring them is the one thing to do here."""

    called = "person"

    list_display = ["name", "email", "sub", "is_active", "is_superuser", "signed_in_at"]
    list_filter = ["is_active", "is_superuser", SignedInFilter, GroupFilter]
    search_fields = ["name", "email", "sub"]
    search_help_text = gettext_lazy("Name, e-mail address or subject")
    ordering = ["name", "pk"]
    fields = [
        "id", "is_active", "suspended_at", "suspend_reason", "name", "email", "issuer", "sub", "groups_claim", "is_staff",
        "is_superuser", "signed_in_at", "access_ended_at", "access_end_reason", "asked", "date_joined",
    ]  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        pages = {"suspend": self.suspend, "restore": self.restore}
        pages_of_all = [
            path("held/", self.admin_site.admin_view(held.view(self.admin_site)), name="portal_user_held"),
            path(
                "groups/", self.admin_site.admin_view(groups.view(self.admin_site)), name="portal_user_groups"
            ),
        ]
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"portal_user_{name}")
            for name, view in pages.items()
        ]
        return [*pages_of_all, *own, *super().get_urls()]

    readonly_fields = ["asked"]

    @admin.display(description=gettext_lazy("the identity provider"))
    def asked(self, person: User) -> str:
        """What the provider last answered about the person, and when it is asked next."""
        return asked.in_words(person, timezone.now())

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("portal.change_user")

    @begins_act
    def suspend(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the reason, then suspend; never oneself, lest the last administrator lock up."""
        person = self._person(request, pk)
        if person.pk == request.user.pk:
            return self.answer(request, person, messages.ERROR, _("You cannot suspend yourself."))
        if not person.is_active:
            return self.answer(request, person, messages.WARNING, _("%(person)s is suspended already."))
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            at = database_now()
            cut = Peer.objects.filter(owner=person).entitled(at).count()
            return self.ask(request, "suspend", person, form, title=_("Suspend a person"), cut=cut)
        reason = form.cleaned_data["reason"]
        services.suspend_person(actor=actor(request), person=person, at=timezone.now(), reason=reason)
        return self.answer(request, person, messages.SUCCESS, _("Suspended: %(person)s."))

    @begins_act
    def restore(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what comes back, then restore."""
        person = self._person(request, pk)
        if person.is_active:
            return self.answer(request, person, messages.WARNING, _("%(person)s is not suspended."))
        form = RestoreForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            count = Peer.objects.filter(owner=person, revoked_at=None).count()
            return self.ask(
                request, "restore", person, form, title=_("Restore a person"), count=count,
                lost=services.away_too_long(person, timezone.now()), days=settings.LATCHKEY_RESTORE_DEVICES_WITHIN,
            )  # fmt: skip
        reason = form.cleaned_data["reason"]
        services.restore_person(actor=actor(request), person=person, at=timezone.now(), reason=reason)
        return self.answer(request, person, messages.SUCCESS, _("Restored: %(person)s."))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        obj = options.get("obj")
        if obj is not None:
            decides = self.has_suspend_permission(request)
            context["loss_held"] = decides and HeldLoss.objects.filter(person=obj).exists()
            context["may_suspend"] = decides and obj.pk != request.user.pk
            context["newest"] = newest(request, Peer.objects.filter(owner=obj), f"owner__id__exact={obj.pk}")
        return super().render_change_form(request, context, *rest, **options)

    def _person(self, request: HttpRequest, pk: int) -> User:
        if not self.has_suspend_permission(request):
            raise PermissionDenied
        return get_object_or_404(User, pk=pk)
