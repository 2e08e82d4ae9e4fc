"""The admin's front door: people come in through the portal's sign-in and see the portal's own models."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from portal import accounts, errors
from portal.confirmation import administers
from portal.http import View

OWN_APPS = {"portal", "peers"}
# Passwords are the provider's; the redirect to an object's page would tell anyone on the staff that it exists.
UNWANTED_VIEWS = {"password_change", "password_change_done", "view_on_site"}


class Site(AdminSite):
    site_header = _("Latchkey administration")
    site_title = "Latchkey"
    index_title = _("Administration")
    # What stands above the list of models; whoever knows what the models are about sets it.
    overview: Callable[[HttpRequest], object] | None = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        found = self.overview(request) if self.overview else None
        return super().index(request, {"overview": found, **(extra_context or {})})

    def admin_view(self, view: View, cacheable: bool = False) -> View:  # noqa: FBT001, FBT002  # Django's
        """Put every page, and every act on one, behind what it takes; signing out takes nothing."""
        return super().admin_view(view if view == self.logout else administers(view), cacheable)

    def logout(  # type: ignore[override]  # the stubs know one page alone
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign out as on every other page."""
        del extra_context
        return accounts.logout(request)

    @method_decorator([never_cache, login_not_required])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send an anonymous person to the sign-in; refuse one who is signed in and lacks the right."""
        del extra_context
        index = reverse("admin:index", current_app=self.name)
        if self.has_permission(request):
            return redirect(index)
        if request.user.is_authenticated:
            return errors.forbidden(request)
        return redirect_to_login(request.GET.get("next") or index)

    def register(
        self, model_or_iterable: type[Model] | Iterable[type[Model]], admin_class: Any = None, **options: Any
    ) -> None:
        """Leave out what Django and allauth register: groups and rights come from the provider, identities from User."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        own = [model for model in models if model.__module__.partition(".")[0] in OWN_APPS]
        super().register(own, admin_class, **options)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        return [url for url in super().get_urls() if getattr(url, "name", None) not in UNWANTED_VIEWS]
