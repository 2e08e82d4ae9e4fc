"""What lists of devices and of people can be narrowed down to."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from peers.models import ApiToken, Peer, PeerStatus, ServiceAccount
from peers.presentation import WORDS
from peers.state_queries import in_state
from peers.states import State, database_now
from portal.models import User

Choices = list[tuple[str, Any]]  # a value and its word, which may be translated later
LISTED = 50  # service accounts to choose from
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


class LinkedFilter(Filter):
    """The rows of one other, to whom its page links: there are too many of those for a list."""

    row: type[Model]
    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value()
        if value is None:
            return []
        rows = self.row._default_manager  # noqa: SLF001  # Django's documented API
        known = rows.filter(pk=value).first() if value.isdecimal() and len(value) < 19 else None
        return [(value, str(known))] if known else []

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.chosen()
        return queryset if chosen is None else queryset.filter(**{self.column: int(chosen)})


class OwnerFilter(LinkedFilter):
    title = _("owner")
    parameter_name = "owner__id__exact"
    row, column = User, "owner"


class TokenFilter(LinkedFilter):
    """The devices that were last enrolled with one token."""

    title = _("token")
    parameter_name = "token__id__exact"
    row, column = ApiToken, "token"


class AccountFilter(Filter):
    """The machines of one service account, of any, or none of them."""

    title = _("service account")
    parameter_name = "service_account"
    ANY, NONE = "any", "none"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        accounts = ServiceAccount.objects.order_by("name")
        shown = list(accounts.values_list("pk", "name")[:LISTED])
        value = self.value() or ""
        if value.isdecimal() and len(value) < 19 and int(value) not in dict(shown):
            shown += accounts.filter(pk=value).values_list("pk", "name")
        if not shown:
            return []
        kinds: Choices = [(self.ANY, _("any")), (self.NONE, _("none"))]
        return [*kinds, *((str(pk), name) for pk, name in shown)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.chosen()
        if chosen is None:
            return queryset
        if chosen in (self.ANY, self.NONE):
            return queryset.filter(service_account__isnull=chosen == self.NONE)
        return queryset.filter(service_account=int(chosen))


class SuspendedFilter(Filter):
    title = _("suspended")
    parameter_name = "suspended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", _("yes")), ("no", _("no"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.chosen()
        return queryset if chosen is None else queryset.filter(suspended_at__isnull=chosen == "no")


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
