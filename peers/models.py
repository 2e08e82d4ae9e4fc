"""What a peer is: the data, the constraints that guard it, and who is entitled now."""

import uuid
from datetime import datetime, timedelta
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import Self

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least, Now
from django.urls import reverse
from netfields import CidrAddressField, InetAddressField, NetManager

from peers.fields import EncryptedField
from peers.wireguard.config import InvalidEndpoint, endpoint

PUBLIC_KEY = r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"
INTERFACE_NAME = r"^[a-zA-Z0-9_=+.][a-zA-Z0-9_=+.-]{0,14}$"
GATEWAY_SILENT_AFTER = timedelta(seconds=15)
SMALLEST_POOL = 4
CONNECTED_WITHIN = timedelta(minutes=3)

Address = IPv4Interface | IPv6Interface


class PublicKeyField(models.CharField):  # type: ignore[type-arg]
    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_length": 44, **options})  # type: ignore[arg-type]


class Interface(models.Model):
    """A WireGuard interface and what its peers are given; its private key is on the gateway's host alone."""

    class Mode(models.TextChoices):
        PUSH = "push", "push: every entitled peer is on the interface"
        ON_DEMAND = "on_demand", "on demand: a peer is put on at its first handshake"

    name = models.CharField(max_length=15, unique=True)
    public_key = PublicKeyField(null=True, blank=True, unique=True, help_text="Published by the gateway.")
    endpoint = models.CharField(max_length=261, help_text="host:port that clients send to; [IPv6]:port.")
    listen_port = models.PositiveIntegerField(default=51820)
    host = models.BigIntegerField(default=1, help_text="The interface's own number in its pools.")
    ipv4_pool = CidrAddressField(null=True, blank=True)
    ipv6_pool = CidrAddressField(null=True, blank=True)
    dns = ArrayField(InetAddressField(store_prefix_length=False), default=list, blank=True)
    client_allowed_ips = ArrayField(
        CidrAddressField(),
        default=list,
        blank=True,
        help_text="Networks that clients send here; empty: the pools.",
    )
    mtu = models.PositiveIntegerField(default=1420)
    persistent_keepalive = models.PositiveIntegerField(default=25, help_text="Seconds; 0 turns it off.")
    use_preshared_keys = models.BooleanField(default=False)
    mode = models.CharField(max_length=9, choices=Mode.choices, default=Mode.PUSH)
    lease = models.DurationField(
        null=True,
        blank=True,
        default=timedelta(days=7),
        help_text="How long a sign-in lasts; empty: for ever.",
    )
    address_rest = models.DurationField(default=timedelta(hours=24))
    device_limit = models.PositiveIntegerField(default=10, help_text="Devices a person.")
    enrol_groups = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Groups that may enrol; empty: everyone.",
    )
    next_host = models.BigIntegerField(
        default=1, editable=False, help_text="No number from here on was ever given."
    )
    brake_released_at = models.DateTimeField(null=True, editable=False, help_text="An operator's last word.")

    objects = NetManager()  # type: ignore[django-manager-missing]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=INTERFACE_NAME),
                name="interface_name",
                violation_error_message="A name is at most 15 letters, digits and _ = + . - and does not begin with -.",
            ),
            models.CheckConstraint(
                condition=Q(public_key=None) | Q(public_key__regex=PUBLIC_KEY), name="interface_public_key"
            ),
            models.CheckConstraint(
                condition=Q(ipv4_pool__isnull=False) | Q(ipv6_pool__isnull=False),
                name="interface_has_a_pool",
                violation_error_message="An interface has an IPv4 pool, an IPv6 pool or both.",
            ),
            models.CheckConstraint(
                condition=Q(listen_port__range=(1, 65535)),
                name="interface_listen_port",
                violation_error_message="A listen port is a number from 1 to 65535.",
            ),
            models.CheckConstraint(
                condition=Q(mtu__range=(1280, 65535)),
                name="interface_mtu",
                violation_error_message="An MTU is a number from 1280 to 65535.",
            ),
            models.CheckConstraint(
                condition=Q(persistent_keepalive__range=(0, 65535)),
                name="interface_persistent_keepalive",
                violation_error_message="A persistent keepalive is 0 to 65535 seconds.",
            ),
            models.CheckConstraint(condition=Q(mode__in=["push", "on_demand"]), name="interface_mode"),
            models.CheckConstraint(condition=Q(host__gte=1) & Q(next_host__gte=1), name="interface_host"),
            models.CheckConstraint(
                condition=(Q(lease=None) | Q(lease__gt=timedelta(0))) & Q(address_rest__gte=timedelta(0)),
                name="interface_durations",
                violation_error_message="A lease is longer than nothing, and a rest is not negative.",
            ),
            *(
                ExclusionConstraint(
                    name=f"interface_{pool}_overlaps",
                    index_type="GIST",
                    violation_error_message="This pool overlaps another interface's.",
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
            raise ValidationError({"endpoint": str(error)}) from None
        for name in ("ipv4_pool", "ipv6_pool"):
            pool = getattr(self, name)
            if not isinstance(pool, IPv4Network | IPv6Network):
                continue  # absent, or refused already
            if pool.num_addresses < SMALLEST_POOL:
                raise ValidationError({name: f"A pool has at least {SMALLEST_POOL} addresses."})
            if pool.version != int(name[3]):
                raise ValidationError({name: f"This is not an IPv{name[3]} network."})

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

    def addresses_of(self, host: int) -> tuple[Address, ...]:
        """Return the addresses that a host number stands for, one for each pool, IPv4 first."""
        return tuple(ip_interface(pool[host]) for pool in self.pools)


# When the sign-in that a person's peers stand on runs out; null without a lease.
LEASE_UNTIL = models.ExpressionWrapper(
    F("owner__signed_in_at") + F("interface__lease"), output_field=models.DateTimeField()
)


class PeerQuerySet(models.QuerySet["Peer"]):
    def entitled(self, at: datetime | models.Expression) -> Self:
        """Return the peers that may be on their interface at ``at``: an aware datetime or the database's Now()."""
        return self.alias(lease_until=LEASE_UNTIL).filter(
            Q(expires_at=None) | Q(expires_at__gt=at),
            Q(interface__lease=None) | Q(lease_until__gt=at),
            Q(interface__enrol_groups=[]) | Q(interface__enrol_groups__overlap=F("owner__groups_claim")),
            revoked_at=None,
            suspended_at=None,
            owner__is_active=True,
        )

    def holding(self, at: datetime) -> Self:
        """Return the peers that count towards the device limit at ``at``: neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)


class Peer(models.Model):
    """One device's place on an interface, with its name and its host number. Never deleted."""

    class Platform(models.TextChoices):
        WINDOWS = "windows", "Windows"
        MACOS = "macos", "macOS"
        LINUX = "linux", "Linux"
        IOS = "ios", "iPhone or iPad"
        ANDROID = "android", "Android"
        OTHER = "other", "something else"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    interface = models.ForeignKey(Interface, models.PROTECT, related_name="peers")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="peers")
    name = models.CharField(max_length=64)
    platform = models.CharField(max_length=7, choices=Platform.choices, default=Platform.OTHER)
    host = models.BigIntegerField(null=True, help_text="Null once the number was given to another peer.")
    preshared_key = EncryptedField(blank=True, default="")
    enrolled_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    revoke_reason = models.CharField(max_length=200, blank=True)
    released_at = models.GeneratedField(
        expression=Least("revoked_at", "expires_at"), output_field=models.DateTimeField(), db_persist=True
    )

    objects = PeerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["interface", "host"], name="peer_host"),
            models.CheckConstraint(condition=Q(host=None) | Q(host__gte=1), name="peer_host_positive"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(name__regex="[[:cntrl:]]"), name="peer_name"),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revoked_by=None, revoke_reason=""),
                name="peer_revoked",
            ),
            models.CheckConstraint(
                condition=Q(platform__in=["windows", "macos", "linux", "ios", "android", "other"]),
                name="peer_platform",
            ),
        ]
        indexes = [
            models.Index(
                fields=["interface", "released_at"],
                condition=Q(host__isnull=False, released_at__isnull=False),
                name="peer_released",
            ),
            models.Index(
                fields=["interface", "owner", "released_at"],
                condition=Q(host__isnull=False, released_at__isnull=False),
                name="peer_released_by_owner",
            ),
            models.Index(fields=["owner", "-enrolled_at"], name="peer_owner"),
        ]
        permissions = [("revoke_peer", "Can revoke devices")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return str(reverse("device", args=[self.pk]))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The peer's addresses as /32 and /128; empty once its number went to another."""
        return self.interface.addresses_of(self.host) if self.host is not None else ()

    @property
    def key(self) -> "PeerKey | None":
        """The key in use, None once revoked."""
        return self.keys.filter(retired_at=None).first()


class PeerKey(models.Model):
    """A public key that was ever enrolled: unique for ever, so a revoked one never comes back."""

    public_key = PublicKeyField(unique=True)
    peer = models.ForeignKey(Peer, models.PROTECT, related_name="keys")
    enrolled_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["peer"], condition=Q(retired_at=None), name="peerkey_one_in_use"),
            models.CheckConstraint(condition=Q(public_key__regex=PUBLIC_KEY), name="peerkey_public_key"),
        ]

    def __str__(self) -> str:
        return str(self.public_key[:8])


class PeerStatus(models.Model):
    """What a gateway read back of a peer; written by the gateway alone."""

    gateway = models.CharField(max_length=255)
    peer = models.ForeignKey(Peer, models.PROTECT, related_name="statuses")
    public_key = PublicKeyField(blank=True, help_text="The key that was read back.")
    present = models.BooleanField(default=False)
    since = models.DateTimeField(help_text="When it came on, or went off, the interface.")
    latest_handshake = models.DateTimeField(null=True)
    endpoint = models.CharField(max_length=64, blank=True)
    rx_bytes = models.BigIntegerField(default=0)
    tx_bytes = models.BigIntegerField(default=0)
    held = models.BooleanField(default=False, help_text="The brake holds its removal.")
    problem = models.CharField(max_length=200, blank=True, help_text="Why its row was put aside.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gateway", "peer"], name="peerstatus_gateway_peer")]
        verbose_name_plural = "peer statuses"

    def __str__(self) -> str:
        return f"{self.peer_id} on {self.gateway}"


class GatewayStatus(models.Model):
    """What a gateway says of itself and of an interface it holds; written by the gateway alone."""

    gateway = models.CharField(max_length=255)
    interface = models.ForeignKey(Interface, models.PROTECT, related_name="gateways")
    version = models.CharField(max_length=32)
    attached = models.BooleanField(default=True, help_text="False: no interface, changes are only shown.")
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    last_pass_at = models.DateTimeField(null=True)
    drift_found = models.BigIntegerField(default=0, help_text="Peers put right that nobody had changed here.")
    first_contact_at = models.DateTimeField(null=True)
    foreign_keys = ArrayField(
        PublicKeyField(),
        default=list,
        help_text="Unknown peers that stood there at first contact: left alone.",
    )
    unexplained = models.IntegerField(
        default=0, help_text="Unexplained removals since an operator's last word."
    )
    brake_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True, help_text="The operator's word that it last acted on.")
    held = models.IntegerField(default=0, help_text="Removals that the brake holds.")
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gateway", "interface"], name="gatewaystatus_gateway_interface")
        ]
        verbose_name_plural = "gateway statuses"

    def __str__(self) -> str:
        return f"{self.interface} on {self.gateway}"


class AuditEvent(models.Model):
    """Who did what, to what, from where; append-only for everyone."""

    class ActorKind(models.TextChoices):
        PERSON = "person"
        COMMAND = "command"
        GATEWAY = "gateway"

    at = models.DateTimeField(db_default=Now(), editable=False)
    actor_kind = models.CharField(max_length=7, choices=ActorKind.choices)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="acts")
    gateway = models.CharField(max_length=255, blank=True)
    action = models.CharField(max_length=32)
    peer = models.ForeignKey(Peer, models.PROTECT, null=True, related_name="events")
    interface = models.ForeignKey(Interface, models.PROTECT, null=True, related_name="events")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="events")
    source = models.GenericIPAddressField(null=True)
    old = models.JSONField(default=dict)
    new = models.JSONField(default=dict)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(actor_kind="gateway", actor=None)
                | Q(actor_kind="command", gateway="")
                | Q(actor_kind="person", gateway=""),
                name="auditevent_actor",
            )
        ]
        indexes = [models.Index(fields=["-at"], name="auditevent_at")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"
