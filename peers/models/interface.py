"""A WireGuard interface and what its peers are given."""

from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from netfields import CidrAddressField, InetAddressField, NetManager

from peers.fields import PUBLIC_KEY, PublicKeyField
from peers.sentences import in_words
from peers.wireguard.config import InvalidEndpoint, endpoint
from portal.models import LONGEST_LEASE

INTERFACE_NAME = r"^(?!\.{1,2}$)[a-zA-Z0-9_=+.][a-zA-Z0-9_=+.-]{0,14}$"
SMALLEST_POOL = 4
LONGEST = LONGEST_LEASE  # beyond it the database could not add it to a date

Address = IPv4Interface | IPv6Interface


class Interface(models.Model):
    """A WireGuard interface and what its peers are given; its private key is on the gateway's host alone."""

    class Mode(models.TextChoices):
        PUSH = "push", _("push: every entitled peer is on the interface")
        ON_DEMAND = "on_demand", _("on demand: a peer is put on at its first handshake")

    name = models.CharField(max_length=15, unique=True)
    public_key = PublicKeyField(null=True, blank=True, unique=True, help_text=_("Published by the gateway."))
    endpoint = models.CharField(max_length=261, help_text=_("host:port that clients send to; [IPv6]:port."))
    listen_port = models.PositiveIntegerField(default=51820)
    host = models.BigIntegerField(default=1, help_text="The interface's own number in its pools.")
    ipv4_pool = CidrAddressField(null=True, blank=True)
    ipv6_pool = CidrAddressField(null=True, blank=True)
    dns = ArrayField(InetAddressField(store_prefix_length=False), default=list, blank=True)
    client_allowed_ips = ArrayField(
        CidrAddressField(),
        default=list,
        blank=True,
        help_text=_("Networks that clients send here; empty: the pools."),
    )
    mtu = models.PositiveIntegerField(default=1420)
    persistent_keepalive = models.PositiveIntegerField(default=25, help_text=_("Seconds; 0 turns it off."))
    use_preshared_keys = models.BooleanField(default=False)
    mode = models.CharField(max_length=9, choices=Mode.choices, default=Mode.PUSH)
    idle_minutes = models.PositiveIntegerField(
        default=15,
        db_default=15,
        help_text=_("On demand: minutes without a packet after which a peer is taken off; 4 or more."),
    )
    lease = models.DurationField(
        null=True,
        blank=True,
        default=timedelta(days=7),
        help_text=_("How long a sign-in lasts; empty: for ever."),
    )
    address_rest = models.DurationField(default=timedelta(hours=24))
    device_limit = models.PositiveIntegerField(default=10, help_text=_("Devices a person."))
    enrol_groups = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text=_("Groups that may enrol; empty: everyone."),
    )
    next_host = models.BigIntegerField(
        default=1, editable=False, help_text="No number from here on was ever given."
    )
    brake_released_at = models.DateTimeField(null=True, editable=False, help_text="An operator's last word.")

    reported: bool | None = None  # whether a gateway did, of what was asked together with it

    objects = NetManager()  # type: ignore[django-manager-missing]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=INTERFACE_NAME),
                name="interface_name",
                violation_error_message=_(
                    "A name is at most 15 letters, digits and _ = + . - and does not begin with -."
                ),
            ),
            models.CheckConstraint(
                condition=Q(public_key=None) | Q(public_key__regex=PUBLIC_KEY), name="interface_public_key"
            ),
            models.CheckConstraint(
                condition=Q(ipv4_pool__isnull=False) | Q(ipv6_pool__isnull=False),
                name="interface_has_a_pool",
                violation_error_message=_("An interface has an IPv4 pool, an IPv6 pool or both."),
            ),
            models.CheckConstraint(
                condition=Q(listen_port__range=(1, 65535)),
                name="interface_listen_port",
                violation_error_message=_("A listen port is a number from 1 to 65535."),
            ),
            models.CheckConstraint(
                condition=Q(mtu__range=(1280, 65535)),
                name="interface_mtu",
                violation_error_message=_("An MTU is a number from 1280 to 65535."),
            ),
            models.CheckConstraint(
                condition=Q(persistent_keepalive__range=(0, 65535)),
                name="interface_persistent_keepalive",
                violation_error_message=_("A persistent keepalive is 0 to 65535 seconds."),
            ),
            models.CheckConstraint(condition=Q(mode__in=["push", "on_demand"]), name="interface_mode"),
            # A client whose peer goes within 185 s of its handshake is blind for 15 s: it still believes in its session.
            models.CheckConstraint(
                condition=Q(idle_minutes__range=(4, 525_600)),
                name="interface_idle_minutes",
                violation_error_message=_("Idle minutes are a number from 4 to 525600, which is a year."),
            ),
            models.CheckConstraint(condition=Q(host__gte=1) & Q(next_host__gte=1), name="interface_host"),
            models.CheckConstraint(
                condition=(Q(lease=None) | Q(lease__gt=timedelta(0), lease__lte=LONGEST))
                & Q(address_rest__gte=timedelta(0), address_rest__lte=LONGEST),
                name="interface_durations",
                violation_error_message=_(
                    "A lease is longer than nothing, a rest is not negative, and neither is beyond ten years."
                ),
            ),
            *(
                ExclusionConstraint(
                    name=f"interface_{pool}_overlaps",
                    index_type="GIST",
                    violation_error_message=_("This pool overlaps another interface's."),
                    expressions=[(OpClass(F(pool), name="inet_ops"), "&&")],
                )
                for pool in ("ipv4_pool", "ipv6_pool")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError for an endpoint that no client could use and pools too small to share."""
        try:
            endpoint(self.endpoint)
        except InvalidEndpoint as error:
            raise ValidationError({"endpoint": in_words(error)}) from None
        for name in ("ipv4_pool", "ipv6_pool"):
            pool = getattr(self, name)
            if not isinstance(pool, IPv4Network | IPv6Network):
                continue  # absent, or refused already
            if pool.num_addresses < SMALLEST_POOL:
                sentence = _("A pool has at least %(least)d addresses.") % {"least": SMALLEST_POOL}
                raise ValidationError({name: sentence})
            if pool.version != int(name[3]):
                raise ValidationError(
                    {name: _("This is not an IPv%(version)s network.") % {"version": name[3]}}
                )

    @property
    def on_demand(self) -> bool:
        """Whether its peers are on it only while they are used."""
        return bool(self.mode == self.Mode.ON_DEMAND)

    @property
    def last_host(self) -> int:
        """The highest number that both pools hold; an IPv4 pool's broadcast address is not one."""
        sizes = []
        if self.ipv4_pool is not None:
            sizes.append(self.ipv4_pool.num_addresses - 2)
        if self.ipv6_pool is not None:
            sizes.append(self.ipv6_pool.num_addresses - 1)
        return int(min(*sizes, 1 << 62))

    @property
    def own_addresses(self) -> tuple[Address, ...]:
        """The interface's own addresses, with their pools' prefix length."""
        return tuple(ip_interface(f"{pool[self.host]}/{pool.prefixlen}") for pool in self.pools)

    @property
    def pools(self) -> tuple:  # type: ignore[type-arg]
        return tuple(pool for pool in (self.ipv4_pool, self.ipv6_pool) if pool is not None)

    @property
    def routes(self) -> tuple:  # type: ignore[type-arg]
        """The networks that clients send through the tunnel."""
        return tuple(self.client_allowed_ips) or self.pools

    @property
    def full_tunnel(self) -> bool:
        """Whether clients send everything of an address family through the tunnel, the way to the portal included."""
        return any(network.prefixlen == 0 for network in self.routes)

    def addresses_of(self, host: int) -> tuple[Address, ...]:
        """Return the addresses that a host number stands for, one for each pool, IPv4 first."""
        return _addresses_of(self.pools, host)


@lru_cache(maxsize=1024)
def _addresses_of(pools: tuple[Any, ...], host: int) -> tuple[Address, ...]:
    return tuple(ip_interface(pool[host]) for pool in pools)
