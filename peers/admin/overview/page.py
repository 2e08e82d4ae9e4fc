"""What stands above the list of models at /admin/: gateways, pools, what went wrong, and how it went of late."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext

from peers import plots
from peers.admin.overview import figures
from peers.admin.overview.judgement import Access, Counts, GatewayLine, InterfaceLine, troubles
from peers.models import Interface, PeerStatus
from peers.states import database_now
from portal.access.revalidation import unanswered

DAYS = 30
HOURS = 48


@dataclass(frozen=True, slots=True)
class Overview:
    """What one administrator may see; None in the place of what they may not.

    ``aside`` counts the rows put aside, of which ``put_aside`` lists the first. ``troubles`` is what is wrong, the
    worst first.
    """

    gateways: list[GatewayLine] | None
    interfaces: list[InterfaceLine] | None
    put_aside: list[PeerStatus] | None
    aside: int
    plots: tuple[plots.Plot, ...]
    troubles: list[str]
    may_release: bool
    access: Access
    may_decide: bool
    may_see_people: bool

    @property
    def is_empty(self) -> bool:
        return self.gateways is None and self.interfaces is None and self.put_aside is None

    @property
    def more_aside(self) -> int:
        return self.aside - len(self.put_aside or ())

    @property
    def title(self) -> str:
        """What the page's title says is wrong; empty when nothing is."""
        return ", ".join(self.troubles[:2])


def overview(request: HttpRequest) -> Overview:
    """Return what the administrator who asks may see, in a number of queries that does not grow with the peers."""
    may_see_peers = request.user.has_perm("peers.view_peer")
    may_see_people = request.user.has_perm("portal.view_user")
    at = database_now()
    held = figures.holdings(at)
    gateways = figures.gateway_lines(at) if request.user.has_perm("peers.view_gatewaystatus") else None
    interfaces = interface_lines(at, held) if request.user.has_perm("peers.view_interface") else None
    access = _access(at) if may_see_people else Access()
    put_aside, aside = figures.put_aside() if may_see_peers else (None, 0)
    return Overview(
        gateways=gateways,
        interfaces=interfaces,
        put_aside=put_aside,
        aside=aside,
        plots=history(at, shared=figures.shared(held)) if may_see_peers else (),
        troubles=troubles(gateways or (), interfaces or (), aside, access),
        may_release=request.user.has_perm("peers.change_interface"),
        access=access,
        may_decide=request.user.has_perm("portal.change_user"),
        may_see_people=may_see_people,
    )


def _access(at: datetime) -> Access:
    return Access(held=figures.losses_held(), unanswered=_by_provider(unanswered(at)))


def _by_provider(counts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Return ``counts``, by provider's id, by its name, the most first; one that the settings know no more has its id."""
    names = {provider.id: provider.name for provider in settings.OIDC_PROVIDERS}
    if len(names.keys() | counts.keys()) == 1:
        return tuple(("", count) for count in counts.values())
    most_first = sorted(counts, key=lambda one: (-counts[one], one))
    return tuple((names.get(one, one), counts[one]) for one in most_first)


def interface_lines(at: datetime, held: list[figures.Holding]) -> list[InterfaceLine]:
    found = figures.counts(at, held)
    heard = {
        pk: any(one.fresh for one in held if one.interface == pk) for pk in {one.interface for one in held}
    }
    return [
        InterfaceLine(row, found.get(row.pk, Counts()), heard.get(row.pk))
        for row in Interface.objects.order_by("name")
    ]


def history(at: datetime, *, shared: bool) -> tuple[plots.Plot, ...]:
    """Return the plots of the last days' enrolments and the last hours' connected devices."""
    enrolments = figures.enrolments(at - timedelta(days=DAYS))
    enrolled = plots.days(enrolments, until=at, count=DAYS, label=_enrolled)
    samples = figures.connected(at - timedelta(hours=HOURS), at, shared=shared)
    connected = plots.quarters(samples, until=at, count=HOURS * 4, label=_devices)
    return (
        plots.plot(gettext("Devices enrolled a day, last %d days") % DAYS, enrolled),
        plots.plot(gettext("Devices connected, last %d hours") % HOURS, connected),
    )


def _enrolled(value: float) -> str:
    return ngettext("%d device enrolled", "%d devices enrolled", int(value)) % value


def _devices(value: float) -> str:
    return ngettext("%d device", "%d devices", int(value)) % value


admin.site.overview = overview  # type: ignore[attr-defined]  # our Site, which does not know what a peer is
