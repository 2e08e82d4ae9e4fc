"""Narrow the audit down, in ways that stay fast at a million events."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from peers.address_history import holders
from peers.admin.audit.forms import TimeForm, parsed
from peers.admin.audit.words import ACTIONS, words
from peers.models import ApiToken, AuditEvent, Peer, PeerKey, ServiceAccount
from peers.tokens import PREFIX, beginning
from portal.models import User

MOST = 10_000  # events that the list goes back
FEW = 1000  # people, or devices, that a search looks up one by one
PARAMETERS = {
    "action", "actor_kind__exact", "interface__id__exact", "interface__isnull", "person__id__exact", "peer__id__exact",
    "service_account__id__exact", "token__id__exact", "actor__id__exact", "from", "to",
}  # fmt: skip


class NewestPaginator(Paginator):  # type: ignore[type-arg]
    """Pages over the first ten thousand rows: to count a million would take longer than to show a page of them."""

    @cached_property
    def _found(self) -> int:
        rows: QuerySet[AuditEvent] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._found, MOST)

    @property
    def is_cut(self) -> bool:
        return self._found > MOST


class ActionFilter(admin.SimpleListFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return sorted(((action, words(action)) for action in ACTIONS), key=lambda choice: choice[1])

    def queryset(self, _request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() in ACTIONS else queryset


class TimeFilter(admin.ListFilter):
    """From one time until just before another, either of them open."""

    title = _("time (UTC)")
    template = "admin/peers/auditevent/time_filter.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.form: Any = TimeForm({name: params.pop(name)[-1] for name in ("from", "to") if name in params})

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return ["from", "to"]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Give the other filters, which a form that is sent must bring along."""
        kept = changelist.params.items()
        return ({"name": name, "value": value} for name, value in kept if name not in ("from", "to"))

    def queryset(self, _request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        """Return the events of that time; none at all for what is no time, lest it look like an answer."""
        if not self.form.is_valid():
            return queryset.none()
        bounds = {"at__gte": self.form.cleaned_data["from"], "at__lt": self.form.cleaned_data["to"]}
        return queryset.filter(**{name: at for name, at in bounds.items() if at})


class _LinkedFilter(admin.SimpleListFilter):
    """Events of one row that another page links to; shown only while it is used."""

    row: type[Model]
    column: str
    as_key: Any = int

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        if (value := self.value()) is None:
            return []
        key = self._key()
        found = self.row._default_manager.filter(pk=key).first() if key is not None else None  # noqa: SLF001
        return [(value, str(found or value))]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        key = self._key()
        return queryset.none() if key is None else queryset.filter(**{self.column: key})

    def _key(self) -> Any:
        try:
            return self.as_key(self.value())
        except ValueError:
            return None


class PersonFilter(_LinkedFilter):
    title = _("person")
    parameter_name = "person__id__exact"
    row, column = User, "person"


class ActorFilter(_LinkedFilter):
    title = _("who did it")
    parameter_name = "actor__id__exact"
    row, column = User, "actor"


class AccountFilter(_LinkedFilter):
    title = _("service account")
    parameter_name = "service_account__id__exact"
    row, column = ServiceAccount, "service_account"


class TokenFilter(_LinkedFilter):
    """What programs did with one token."""

    title = _("token")
    parameter_name = "token__id__exact"
    row, column = ApiToken, "token"


class PeerFilter(_LinkedFilter):
    title = _("device")
    parameter_name = "peer__id__exact"
    row, column, as_key = Peer, "peer", UUID


def search(queryset: QuerySet[AuditEvent], text: str) -> QuerySet[AuditEvent]:
    """Return the events of whom or what ``text`` names: a person, an account, a device, a token, an address, a whole public key, an id.

    An address is that of a device; where none ever had it, the one that requests came from.
    """
    if (address := parsed(text)) is not None:
        had_it = set(holders(address).exclude(peer=None).values_list("peer", flat=True))
        return queryset.filter(peer__in=had_it) if had_it else queryset.filter(source=str(address))
    if (peer := _uuid(text)) is not None:
        return queryset.filter(peer=peer)
    if text.startswith(PREFIX):
        return queryset.filter(token__in=_ids(ApiToken.objects.filter(beginning__startswith=beginning(text))))
    people = _ids(User.objects.filter(Q(name__icontains=text) | Q(email__icontains=text)))
    key = PeerKey.objects.filter(public_key=text).values("peer")
    peers = _ids(Peer.objects.filter(Q(name__icontains=text) | Q(pk__in=key)))
    accounts = _ids(ServiceAccount.objects.filter(name__icontains=text))
    about = Q(person__in=people) | Q(service_account__in=accounts) | Q(peer__in=peers)
    return queryset.filter(Q(actor__in=people) | about)


def _ids(found: QuerySet[Any]) -> Any:
    """Return the ids when they are few, which indexes then find; else the query: so many turn up without searching for long."""
    ids = list(found.values_list("pk", flat=True)[: FEW + 1])
    return found.values("pk") if len(ids) > FEW else ids


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
