from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest

from portal import people
from portal.models import User
from portal.source import source

FIELDS = [
    "id",
    "is_active",
    "name",
    "email",
    "issuer",
    "sub",
    "groups_claim",
    "is_staff",
    "is_superuser",
    "signed_in_at",
    "date_joined",
]


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes none at run time
    """People, as the provider describes them; whether they may use the portal is the one thing to change."""

    list_display = ["name", "email", "sub", "is_active", "is_superuser", "signed_in_at"]
    list_filter = ["is_active", "is_superuser"]
    search_fields = ["name", "email", "sub"]
    ordering = ["name", "pk"]
    show_full_result_count = False
    fields = tuple(FIELDS)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Return everything but is_active; and that as well for oneself, lest the last administrator lock up."""
        own = obj is not None and obj.pk == request.user.pk
        return [name for name in FIELDS if own or name != "is_active"]

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, *_change: Any) -> None:
        if "is_active" in form.changed_data:
            admin_user = cast("User", request.user)  # the site lets nobody else in
            people.set_active(obj, active=obj.is_active, actor=admin_user, source=source(request))
