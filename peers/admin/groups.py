"""Which groups let whom do what: of the providers in the settings and of the interfaces, with the people in each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from peers.admin.filters import GroupFilter
from peers.models import Interface
from portal.models import User

NAMED = 50  # people of a group
MEMBERS = """
SELECT issuer, value, count(*), (array_agg(id ORDER BY name, id))[1:%(named)s], (array_agg(name ORDER BY name, id))[1:%(named)s]
FROM (SELECT id, issuer, unnest(groups_claim) AS value, coalesce(nullif(name, ''), nullif(email, ''), sub) AS name
      FROM portal_user WHERE is_active AND access_ended_at IS NULL AND groups_claim && %(values)s::varchar[]) AS member
WHERE value = ANY(%(values)s) GROUP BY issuer, value
"""


class Person(NamedTuple):
    """Who stands on the page, by the id of their row."""

    pk: int
    name: str


class Right(NamedTuple):
    """What a group opens, in words; ``page`` is that of the interface which says so, empty where none does."""

    words: str
    page: str = ""


Rights = dict[str, list[Right]]  # by the group's value


@dataclass(slots=True)
class Group:
    """A group of one provider: what it is called, what it opens, and who is in it now; ``people`` are the first few."""

    issuer: str
    provider: str
    value: str
    name: str
    opens: list[Right]
    count: int = 0
    people: list[Person] = field(default_factory=list)

    @property
    def more(self) -> int:
        return self.count - len(self.people)

    @property
    def query(self) -> str:
        """What narrows the list of people down to the group."""
        return GroupFilter.query(self.issuer, self.value)


def view(site: AdminSite) -> Callable[[HttpRequest], HttpResponse]:
    """Return the page of ``site`` that shows the groups."""

    def groups(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("portal.view_user"):
            raise PermissionDenied
        interfaces = list(Interface.objects.order_by("name"))
        found = _groups(_admitting(interfaces, linked=request.user.has_perm("peers.view_interface")))
        context = {
            **site.each_context(request),
            "title": _("Groups"),
            "opts": User._meta,  # noqa: SLF001  # Django's documented API
            "groups": found,
            "several": len({group.issuer for group in found}) > 1,
            "open_providers": [
                known.name for known in settings.OIDC_PROVIDERS if known.allowed_groups is None
            ],
            "open_interfaces": [interface.name for interface in interfaces if not interface.enrol_groups],
        }
        return render(request, "admin/portal/user/groups.html", context)

    return groups


def _groups(admitting: Rights) -> list[Group]:
    """Return the groups that a provider's settings or an interface names, by value, with their people.

    A value means one provider's group in that provider's settings, but every provider's on an interface.
    """
    found = {(group.issuer, group.value): group for group in _asked_for(admitting)}
    known = {issuer for issuer, _value in found}
    values = sorted({value for _issuer, value in found})
    for issuer, value, count, people in _members(values):
        if issuer not in known and value in admitting:  # the settings know their provider no more
            found[issuer, value] = Group(issuer, issuer, value, "", admitting[value])
        if group := found.get((issuer, value)):
            group.count, group.people = count, people
    return sorted(found.values(), key=lambda group: group.value)


def _asked_for(admitting: Rights) -> Iterable[Group]:
    """Yield each provider's groups that open something there or on an interface."""
    for provider in settings.OIDC_PROVIDERS:
        own = _own_rights(provider)
        for value in {**own, **admitting}:
            opens = [*own.get(value, ()), *admitting.get(value, ())]
            name = provider.group_names.get(value, "")
            yield Group(provider.issuer, provider.name, value, name, opens)
    if not settings.OIDC_PROVIDERS:
        yield from (Group("", "", value, "", opens) for value, opens in admitting.items())


def _own_rights(provider: Any) -> Rights:
    """Return what the provider's settings say of its groups."""
    rights: Rights = {}
    named = {"provider": provider.name}
    for value in provider.allowed_groups or ():
        rights.setdefault(value, []).append(Right(_("Sign in at %(provider)s") % named))
    for value in provider.admin_groups:
        rights.setdefault(value, []).append(Right(_("Administer, from %(provider)s") % named))
    return rights


def _admitting(interfaces: Iterable[Interface], *, linked: bool) -> Rights:
    """Return on which interfaces each group may enrol; ``linked``: with the way to their pages."""
    rights: Rights = {}
    for interface in interfaces:
        page = reverse("admin:peers_interface_change", args=[interface.pk]) if linked else ""
        right = Right(_("Enrol on %(interface)s") % {"interface": interface.name}, page)
        for value in interface.enrol_groups:
            rights.setdefault(value, []).append(right)
    return rights


def _members(values: list[str]) -> Iterable[tuple[str, str, int, list[Person]]]:
    """Yield issuer, group, how many of its people have access now, and the first of them by name."""
    with connection.cursor() as cursor:
        cursor.execute(MEMBERS, {"values": values, "named": NAMED})
        for issuer, value, count, ids, names in cursor.fetchall():
            yield issuer, value, count, list(map(Person, ids, names))
