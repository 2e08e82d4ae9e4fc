"""Models in the admin: lists that look up no more than they offer, and models that are changed elsewhere."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import ListFilter, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from peers import services
from portal.source import source

EXACTLY = ("", "__exact", "__id__exact", "__isempty")
WITHIN = ("", "__gte", "__lt", "__year", "__month", "__day")


class NarrowAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list to search and filter, and a page a row, none of which is deleted.

    Of what an address can ask for only what the filters themselves offer is looked up: Django would compare any column of
    the model, and a secret one gives itself away letter by letter.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each is a count over the whole table
    list_max_show_all = 100
    view_on_site = False  # the owner's page is the owner's alone

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in set(self._offered())

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        columns = {name + ending for name in self.list_filter if isinstance(name, str) for ending in EXACTLY}
        if any("\0" in value for name in columns for value in request.GET.getlist(name)):
            raise BadRequest  # which no text of PostgreSQL's holds
        return super().get_changelist_instance(request)

    def _offered(self) -> Iterator[str]:
        """Return the names of the parameters that the filters of the list know."""
        for item in self.list_filter:
            name = item[0] if isinstance(item, list | tuple) else item
            if isinstance(name, str):
                yield from (name + ending for ending in EXACTLY)
            elif isinstance(name, type) and issubclass(name, SimpleListFilter):
                yield str(name.parameter_name)
            elif isinstance(name, type) and issubclass(name, ListFilter):
                yield from getattr(name, "parameters", ())
        if self.date_hierarchy:
            yield from (self.date_hierarchy + ending for ending in WITHIN)


class ReadOnlyAdmin(NarrowAdmin):
    """The same of what is looked at in the admin and changed elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def actor(request: HttpRequest) -> services.Actor:
    return services.Actor(user=request.user, source=source(request))  # type: ignore[arg-type]


def origin(request: HttpRequest, otherwise: str) -> str:
    """Return the page of ours that ``?next=`` names, where one goes back to after an act."""
    wanted = request.GET.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours else otherwise
