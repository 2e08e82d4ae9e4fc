"""Which groups let whom do what: of the providers in the settings and of the interfaces, with the people in each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from peers.models import Interface
from portal.models import User

NAMED = 20  # people of a group
MEMBERS = """
SELECT value, count(*), (array_agg(id ORDER BY name, id))[1:%(named)s], (array_agg(name ORDER BY name, id))[1:%(named)s]
FROM (SELECT id, unnest(groups_claim) AS value, coalesce(nullif(name, ''), nullif(email, ''), sub) AS name FROM portal_user
      WHERE is_active AND access_ended_at IS NULL AND groups_claim && %(values)s::varchar[]) AS member
WHERE value = ANY(%(values)s) GROUP BY value
"""


class Person(NamedTuple):
    """Who stands on the page, by the id of their row."""

    pk: int
    name: str


@dataclass(slots=True)
class Group:
    """A value of the group claim: what it is called, what it opens, and who is in it now; ``people`` are the first few."""

    value: str
    name: str = ""
    opens: list[str] = field(default_factory=list)
    count: int = 0
    people: list[Person] = field(default_factory=list)

    @property
    def more(self) -> int:
        return self.count - len(self.people)


def view(site: AdminSite) -> Callable[[HttpRequest], HttpResponse]:
    """Return the page of ``site`` that shows the groups."""

    def groups(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("portal.view_user"):
            raise PermissionDenied
        interfaces = list(Interface.objects.order_by("name"))
        found = _asked_for(interfaces)
        _fill(found)
        context = {
            **site.each_context(request),
            "title": _("Groups"),
            "opts": User._meta,  # noqa: SLF001  # Django's documented API
            "groups": found.values(),
            "open_providers": [
                known.name for known in settings.OIDC_PROVIDERS if known.allowed_groups is None
            ],
            "open_interfaces": [interface.name for interface in interfaces if not interface.enrol_groups],
        }
        return render(request, "admin/portal/user/groups.html", context)

    return groups


def _asked_for(interfaces: Iterable[Interface]) -> dict[str, Group]:
    """Return the groups that a provider's settings or an interface names, by value, in order."""
    opens: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for provider in settings.OIDC_PROVIDERS:
        names |= provider.group_names
        for value in sorted(provider.allowed_groups or ()):
            opens.setdefault(value, []).append(_("Sign in at %(provider)s") % {"provider": provider.name})
        for value in sorted(provider.admin_groups):
            opens.setdefault(value, []).append(
                _("Administer, from %(provider)s") % {"provider": provider.name}
            )
    for interface in interfaces:
        for value in interface.enrol_groups:
            opens.setdefault(value, []).append(_("Enrol on %(interface)s") % {"interface": interface.name})
    return {value: Group(value, names.get(value, ""), opens[value]) for value in sorted(opens)}


def _fill(groups: dict[str, Group]) -> None:
    """Add how many people are in each group and have access now, and the first of them by name."""
    with connection.cursor() as cursor:
        cursor.execute(MEMBERS, {"values": list(groups), "named": NAMED})
        for value, count, ids, names in cursor.fetchall():
            groups[value].count = count
            groups[value].people = list(map(Person, ids, names))
