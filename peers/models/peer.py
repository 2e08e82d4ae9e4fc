"""A peer, the keys it ever had, and who is entitled now."""

import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Least
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from peers.fields import PUBLIC_KEY, PublicKeyField
from peers.models.account import ApiToken, ServiceAccount
from peers.models.interface import Address, Interface
from portal.encryption import EncryptedField
from portal.models import FAR, HeldLoss

# How long a sign-in keeps its owner's peer entitled; null without a lease. LEAST leaves out what is null.
LEASE = Least(F("interface__lease"), F("owner__lease_limit"))
# When the sign-in that a person's peers stand on runs out; null without a lease.
LEASE_UNTIL = models.ExpressionWrapper(F("owner__signed_in_at") + LEASE, output_field=models.DateTimeField())


def entitlement(at: datetime | models.Expression) -> dict[str, Q]:
    """Return every condition, by its name, under which a peer may be on its interface at ``at``.

    They are about peers with the alias ``lease_until``, which is ``LEASE_UNTIL``.
    """
    return {
        "not_expired": Q(expires_at=None) | Q(expires_at__gt=at),
        "signed_in": Q(owner=None)
        | Q(interface__lease=None, owner__lease_limit=None)
        | Q(lease_until__gt=at),
        "access_lasts": Q(owner__access_ended_at=None),
        "admitted": Q(owner__isnull=False) & _groups_admit() | Q(Exists(_account_admits())),
        "not_revoked": Q(revoked_at=None),
        "not_suspended": Q(suspended_at=None),
        "owner_active": Q(owner__is_active=True) | Q(owner=None, service_account__suspended_at=None),
    }


def _groups_admit() -> Q:
    return Q(interface__enrol_groups=[]) | Q(interface__enrol_groups__overlap=F("owner__groups_claim"))


def _account_admits() -> models.QuerySet[Any]:
    """Return that the outer peer's service account may be on its interface; nothing for a person's."""
    may = ServiceAccount.interfaces.through.objects
    return may.filter(serviceaccount=OuterRef("service_account"), interface=OuterRef("interface"))


def lease_warning_from() -> models.Expression:
    """Return the moment from which the end of a lease is near enough to say so; null without a lease."""
    quarter = models.ExpressionWrapper(LEASE / 4, output_field=models.DurationField())
    warning = Least(Value(settings.LATCHKEY_LEASE_WARNING, models.DurationField()), quarter)
    return models.ExpressionWrapper(LEASE_UNTIL - warning, output_field=models.DateTimeField())


def held_loss() -> Q:
    """Return the condition that the identity brake holds what would bar the peer: its owner's access, or the group."""
    losses = HeldLoss.objects.filter(person=OuterRef("owner"))
    admitted = Q(groups__overlap=OuterRef("interface__enrol_groups"))
    lost_group = Q(Exists(losses.filter(groups__isnull=False).exclude(admitted))) & ~Q(
        interface__enrol_groups=[]
    )
    return Q(Exists(losses.filter(groups=None))) | lost_group


class PeerQuerySet(models.QuerySet["Peer"]):
    def entitled(self, at: datetime | models.Expression) -> Self:
        """Return the peers that may be on their interface at ``at``: an aware datetime or the database's Now()."""
        return self.alias(lease_until=LEASE_UNTIL).filter(*entitlement(at).values())

    def with_lease(self) -> Self:
        """Return the peers with ``signed_in_until``: when their owner's sign-in runs out; None where none does."""
        return self.annotate(signed_in_until=LEASE_UNTIL)

    def lease_ending(self, at: datetime) -> Self:
        """Return, with ``signed_in_until`` and ``warning_from``, the peers that the end of a lease takes off soon.

        A peer whose own time is over before that is none of them: signing in again would not keep it.
        """
        near = self.entitled(at).with_lease().annotate(warning_from=lease_warning_from())
        return near.filter(
            Q(expires_at=None) | Q(expires_at__gt=F("signed_in_until")), warning_from__lte=at
        ).order_by("signed_in_until", "name", "pk")

    def holding(self, at: datetime | models.Expression) -> Self:
        """Return the peers that count towards the device limit at ``at``: neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)

    def enrolled_with(self, token: ApiToken) -> Self:
        """Return the peers that were last enrolled with ``token``, but for revoked ones."""
        return self.filter(token=token, revoked_at=None)


class Peer(models.Model):
    """One device's place on an interface, with its name and its host number. Deleted by ``prune`` alone.

    It belongs to a person, its ``owner``, or to a service account; ``token`` is what it was last enrolled with, if any.
    """

    class Platform(models.TextChoices):
        WINDOWS = "windows", "Windows"
        MACOS = "macos", "macOS"
        LINUX = "linux", "Linux"
        IOS = "ios", _("iPhone or iPad")
        ANDROID = "android", "Android"
        OTHER = "other", _("something else")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    interface = models.ForeignKey(Interface, models.PROTECT, related_name="peers")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="peers"
    )
    # Without the usual index, for they have one of their own, of machines alone.
    service_account = models.ForeignKey(
        ServiceAccount, models.PROTECT, null=True, blank=True, related_name="peers", db_index=False
    )
    token = models.ForeignKey(
        ApiToken, models.PROTECT, null=True, blank=True, related_name="peers", db_index=False
    )
    name = models.CharField(max_length=64)
    platform = models.CharField(max_length=7, choices=Platform.choices, default=Platform.OTHER)
    host = models.BigIntegerField(null=True, help_text="Null once the number was given to another peer.")
    preshared_key = EncryptedField(blank=True, default="")
    enrolled_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspend_reason = models.CharField(max_length=200, blank=True, db_default="")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    revoke_reason = models.CharField(max_length=200, blank=True)
    configured = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="The settings that the device was last given; empty: not known.",
    )
    released_at = models.GeneratedField(
        expression=Least("revoked_at", "expires_at"), output_field=models.DateTimeField(), db_persist=True
    )

    signed_in_until: datetime | None  # of what ``with_lease`` found

    objects = PeerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["interface", "host"], name="peer_host"),
            models.CheckConstraint(
                condition=Q(owner=None, service_account__isnull=False)
                | Q(owner__isnull=False, service_account=None),
                name="peer_one_holder",
            ),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__lt=FAR), name="peer_expires_at"
            ),
            models.CheckConstraint(condition=Q(host=None) | Q(host__gte=1), name="peer_host_positive"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(name__regex="[[:cntrl:]]"), name="peer_name"),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revoked_by=None, revoke_reason=""),
                name="peer_revoked",
            ),
            models.CheckConstraint(
                condition=Q(suspended_at__isnull=False, suspended_at__lt=FAR)
                | Q(suspended_at=None, suspend_reason=""),
                name="peer_suspended",
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
            models.Index(
                fields=["interface", "service_account", "released_at"],
                condition=Q(service_account__isnull=False, host__isnull=False, released_at__isnull=False),
                name="peer_released_by_account",
            ),
            models.Index(
                fields=["interface", "service_account", "released_at"],
                condition=Q(service_account__isnull=False, host__isnull=False, revoked_at__isnull=False),
                name="peer_revoked_by_account",
            ),
            models.Index(
                fields=["service_account", "-enrolled_at"],
                condition=Q(service_account__isnull=False),
                name="peer_service_account",
            ),
            models.Index(
                fields=["service_account", "expires_at"],
                condition=Q(service_account__isnull=False, revoked_at=None),
                name="peer_held_by_account",
            ),
            models.Index(fields=["token"], condition=Q(token__isnull=False), name="peer_token"),
        ]
        permissions = [
            ("revoke_peer", "Can revoke devices"),
            ("suspend_peer", "Can suspend and restore devices"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return str(reverse("device", args=[self.pk]))

    @property
    def holder(self) -> Any:
        """The person or the service account that it belongs to."""
        return self.owner or self.service_account

    @property
    def holder_is_active(self) -> bool:
        """Whether neither the person nor the service account is suspended."""
        return bool(self.holder.suspended_at is None and getattr(self.holder, "is_active", True))

    @property
    def holder_ended_at(self) -> datetime | None:
        """When the provider ended the person's access, or an administrator suspended the service account."""
        ended_at: datetime | None = self.owner.access_ended_at if self.owner else self.holder.suspended_at
        return ended_at

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The peer's addresses as /32 and /128; empty once its number went to another."""
        if self.host is None or self.host > self.interface.last_host:
            return ()
        return self.interface.addresses_of(self.host)

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


class BarredKey(models.Model):
    """The fingerprint (SHA-256) of a public key whose row was pruned: it can never be enrolled again."""

    fingerprint = models.BinaryField(max_length=32, primary_key=True)

    def __str__(self) -> str:
        return bytes(self.fingerprint).hex()[:8]


class FreedNumber(models.Model):
    """A host number that is free: its former holder was pruned, or it is set aside for one of the next peers."""

    interface = models.ForeignKey(Interface, models.PROTECT, related_name="+")
    host = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["interface", "host"], name="freednumber_host"),
            models.CheckConstraint(condition=Q(host__gte=1), name="freednumber_host_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.host} on {self.interface_id}"
