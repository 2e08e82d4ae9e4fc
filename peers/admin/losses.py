"""What people whose loss of access is held would lose by it: devices that are entitled now, and groups."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Window
from django.db.models.functions import Now, RowNumber

from peers.models import Peer, held_loss
from portal.models import HeldLoss

NAMED = 3  # devices of a person
GROUPS = 5


class Device(NamedTuple):
    pk: Any
    name: str


@dataclass(frozen=True, slots=True)
class Some:
    """The first few of ``count``."""

    shown: Sequence[Any] = ()
    count: int = 0

    @property
    def more(self) -> int:
        return self.count - len(self.shown)


@dataclass(frozen=True, slots=True)
class Loss:
    """A held loss as it is shown; ``going`` and ``staying`` are groups as they are called, None where all access goes."""

    row: HeldLoss
    devices: Some
    going: Some | None
    staying: Some | None


def described(rows: Iterable[HeldLoss]) -> list[Loss]:
    """Return what each row means; one query more than that of ``rows``, however many there are."""
    held = list(rows)
    devices = _devices([row.person_id for row in held])
    names = {provider.issuer: provider.group_names for provider in settings.OIDC_PROVIDERS}
    return [
        Loss(row, devices.get(row.person_id, Some()), *_groups(row, names.get(row.person.issuer, {})))
        for row in held
    ]


def _groups(row: HeldLoss, names: Mapping[str, str]) -> tuple[Some | None, Some | None]:
    if row.groups is None:
        return None, None
    going = set(row.person.groups_claim) - set(row.groups)
    return _called(going, names), _called(row.groups, names)


def _called(groups: Iterable[str], names: Mapping[str, str]) -> Some:
    found = sorted(names.get(group, group) for group in groups)
    return Some(found[:GROUPS], len(found))


def _devices(people: list[int]) -> dict[int, Some]:
    """Return by person the first of the devices that go off."""
    going = Peer.objects.entitled(Now()).filter(held_loss(), owner__in=people)
    ranked = going.annotate(
        total=Window(Count("*"), partition_by="owner"),
        place=Window(RowNumber(), partition_by="owner", order_by=["name", "pk"]),
    )
    rows = ranked.filter(place__lte=NAMED).order_by("owner", "place")
    shown: dict[int, list[Device]] = defaultdict(list)
    total: dict[int, int] = {}
    for owner, pk, name, count in rows.values_list("owner", "pk", "name", "total"):
        shown[owner].append(Device(pk, name))
        total[owner] = count
    return {owner: Some(found, total[owner]) for owner, found in shown.items()}
