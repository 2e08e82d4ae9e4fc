"""What lists of devices and of people can be narrowed down to."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from peers.models import Peer, PeerStatus
from peers.presentation import WORDS
from peers.state_queries import in_state
from peers.states import State, database_now
from portal.models import User

Choices = list[tuple[str, Any]]  # a value and its word, which may be translated later
NEVER = "never"
SINCE = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
SINCE_WORDS: Choices = [
    ("hour", _("in the last hour")),
    ("day", _("in the last day")),
    ("week", _("in the last week")),
    (NEVER, _("never")),
]


class Filter(admin.SimpleListFilter):
    """A filter that refuses a value which it does not offer."""

    def chosen(self) -> str | None:
        value = self.value()
        if value is not None and value not in {str(known) for known, _label in self.lookup_choices}:
            raise IncorrectLookupParameters
        return value


class StateFilter(Filter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(state.value, WORDS[state].label) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Peer]) -> QuerySet[Peer]:
        chosen = self.chosen()
        return queryset if chosen is None else in_state(queryset, State(chosen), database_now())


class HandshakeFilter(Filter):
    """By the latest handshake that any gateway has read back."""

    title = _("latest handshake")
    parameter_name = "handshake"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return SINCE_WORDS

    def queryset(self, request: HttpRequest, queryset: QuerySet[Peer]) -> QuerySet[Peer]:
        chosen = self.chosen()
        seen = PeerStatus.objects.filter(peer=OuterRef("pk"))
        if chosen is None:
            return queryset
        if chosen == NEVER:
            return queryset.filter(~Exists(seen.exclude(latest_handshake=None)))
        return queryset.filter(Exists(seen.filter(latest_handshake__gt=_since(chosen))))


class OwnerFilter(Filter):
    """The devices of one person, to whom their page links: there are too many people for a list."""

    title = _("owner")
    parameter_name = "owner__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value()
        if value is None:
            return []
        known = User.objects.filter(pk=value).first() if value.isdecimal() and len(value) < 19 else None
        return [(value, str(known))] if known else []

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Peer]) -> QuerySet[Peer]:
        chosen = self.chosen()
        return queryset if chosen is None else queryset.filter(owner=int(chosen))


class GroupFilter(Filter):
    """The people with access in a group of one provider, to whom the page of groups links; its value is "issuer group"."""

    title = _("group")
    parameter_name = "group"

    @classmethod
    def query(cls, issuer: str, group: str) -> str:
        return urlencode({cls.parameter_name: f"{issuer} {group}"})

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value() or ""
        issuer, _space, group = value.partition(" ")
        if not group or "\0" in value:  # which no text of PostgreSQL's holds
            return []
        names = {known.issuer: known.group_names for known in settings.OIDC_PROVIDERS}
        return [(value, names.get(issuer, {}).get(group, group))]

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        chosen = self.chosen()
        if chosen is None:
            return queryset
        issuer, _space, group = chosen.partition(" ")
        return queryset.filter(
            is_active=True, access_ended_at=None, issuer=issuer, groups_claim__contains=[group]
        )


class SignedInFilter(Filter):
    title = _("last signed in")
    parameter_name = "signed_in"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return SINCE_WORDS

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        chosen = self.chosen()
        if chosen is None:
            return queryset
        return (
            queryset.filter(signed_in_at=None)
            if chosen == NEVER
            else queryset.filter(signed_in_at__gt=_since(chosen))
        )


def _since(chosen: str) -> datetime:
    return database_now() - SINCE[chosen]
