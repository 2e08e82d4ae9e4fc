"""Who machines are: service accounts, and the tokens with which programs act for an account or for a person."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Least, Now
from django.utils.translation import gettext_lazy as _
from netfields import CidrAddressField, NetManager

from peers.models.interface import LONGEST, Interface
from portal.models import FAR

SHORTEST_TTL = timedelta(seconds=60)
# A session in use shakes hands every two minutes, so an earlier end would cut what is in use.
SHORTEST_IDLE = timedelta(minutes=5)
MOST_USES = 1_000_000


class ServiceAccount(models.Model):
    """Machines that enrol by themselves, and what they may: their devices belong to the account, not to a person."""

    name = models.CharField(max_length=64, unique=True)
    team = models.CharField(max_length=64, help_text=_("Who answers for it."))
    interfaces = models.ManyToManyField(
        Interface, related_name="service_accounts", help_text=_("Where its machines may be.")
    )
    device_limit = models.PositiveIntegerField(default=100, help_text=_("Machines at a time."))
    default_ttl = models.DurationField(
        null=True,
        blank=True,
        default=timedelta(hours=1),
        help_text=_("How long a machine stays that does not say; empty: until it is revoked."),
    )
    max_ttl = models.DurationField(
        null=True,
        blank=True,
        default=timedelta(days=1),
        help_text=_("The longest that a machine may ask for; empty: ten years."),
    )
    idle_after = models.DurationField(
        null=True,
        blank=True,
        help_text=_("A machine without a handshake for so long ends; empty: none does."),
    )
    source_networks = ArrayField(
        CidrAddressField(),
        default=list,
        blank=True,
        help_text=_("Networks that its tokens are taken from; empty: all."),
    )
    made_at = models.DateTimeField(db_default=Now(), editable=False)
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspend_reason = models.CharField(max_length=200, blank=True, db_default="", editable=False)

    objects = NetManager()  # type: ignore[django-manager-missing]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(name__regex="[[:cntrl:]]") & ~Q(team__regex="[[:cntrl:]]"),
                name="serviceaccount_name",
            ),
            models.CheckConstraint(
                condition=(Q(default_ttl=None) | Q(default_ttl__range=(SHORTEST_TTL, LONGEST)))
                & (Q(max_ttl=None) | Q(max_ttl__range=(SHORTEST_TTL, LONGEST)))
                & (Q(max_ttl=None) | Q(default_ttl__isnull=False, default_ttl__lte=F("max_ttl"))),
                name="serviceaccount_ttl",
                violation_error_message=_(
                    "A time is a minute to ten years; with a longest time there is a usual one, and it is no longer."
                ),
            ),
            models.CheckConstraint(
                condition=Q(idle_after=None) | Q(idle_after__range=(SHORTEST_IDLE, LONGEST)),
                name="serviceaccount_idle_after",
                violation_error_message=_("A machine is idle after five minutes at the earliest."),
            ),
            models.CheckConstraint(
                condition=Q(suspended_at__isnull=False, suspended_at__lt=FAR)
                | Q(suspended_at=None, suspend_reason=""),
                name="serviceaccount_suspended",
            ),
        ]
        permissions = [("suspend_serviceaccount", "Can suspend and restore service accounts")]

    def __str__(self) -> str:
        return self.name


class Scope(models.TextChoices):
    """What a token is good for."""

    ENROL = "peers:enrol", _("enrol, renew and rename")
    READ = "peers:read", _("read")
    REVOKE = "peers:revoke", _("revoke")


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, at: datetime) -> Self:
        """Return the tokens that act at ``at``: neither revoked nor over, and of an account or a person with access.

        A person's token lasts as long as their sign-in would keep a device on any interface.
        """
        of_account = Q(service_account__isnull=False, service_account__suspended_at=None)
        of_person = Q(owner__is_active=True, owner__access_ended_at=None) & _signed_in(at)
        return self.filter(of_account | of_person, revoked_at=None, expires_at__gt=at)

    def of(self, holder: Any) -> Self:
        """Return the tokens of a service account or of a person."""
        return self.filter(**{"service_account" if isinstance(holder, ServiceAccount) else "owner": holder})

    def usable_first(self) -> Self:
        """Return what ``with_usable`` found, the newest first: those that act, then those not revoked, then the others."""
        return self.order_by("-is_usable", F("revoked_at").desc(nulls_first=True), "-made_at", "-pk")

    def with_usable(self, at: datetime) -> Self:
        """Return the tokens with ``is_usable``: whether each acts at ``at``, which is kept with it as ``seen_at``."""
        usable = Exists(ApiToken.objects.usable(at).filter(pk=OuterRef("pk")))
        return self.annotate(is_usable=usable, seen_at=models.Value(at, models.DateTimeField()))


def _signed_in(at: datetime) -> Q:
    """Return the condition that the sign-in of a token's owner would keep a device on some interface at ``at``."""
    ends = models.ExpressionWrapper(
        OuterRef("owner__signed_in_at") + Least(F("lease"), OuterRef("owner__lease_limit")),
        output_field=models.DateTimeField(),
    )
    endless = Q(Exists(Interface.objects.filter(lease=None)), owner__lease_limit=None)
    return endless | Q(Exists(Interface.objects.alias(ends=ends).filter(ends__gt=at)))


class ApiToken(models.Model):
    """A secret with which a program acts, for a service account or for a person; of itself only its hash is kept.

    ``enrolments`` counts the devices made with a token that has a ``use_limit``.
    """

    name = models.CharField(max_length=64, help_text=_("What it is for."))
    beginning = models.CharField(max_length=24, help_text="By which it is known.")
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256, in hexadecimal.")
    service_account = models.ForeignKey(ServiceAccount, models.PROTECT, null=True, related_name="tokens")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="api_tokens")
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices))
    made_at = models.DateTimeField()
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    expires_at = models.DateTimeField()
    use_limit = models.PositiveIntegerField(
        null=True, help_text=_("Devices that it may enrol; empty: any number.")
    )
    enrolments = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")
    last_used_from = models.GenericIPAddressField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    is_usable: bool  # of what ``with_usable`` found
    seen_at: datetime

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(owner=None, service_account__isnull=False)
                | Q(owner__isnull=False, service_account=None),
                name="apitoken_one_holder",
            ),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values) & ~Q(scopes=[]), name="apitoken_scopes"
            ),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(name__regex="[[:cntrl:]]"), name="apitoken_name"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at"), expires_at__lt=FAR), name="apitoken_expires_at"
            ),
            models.CheckConstraint(
                condition=Q(use_limit=None) | Q(use_limit__gte=1, enrolments__lte=F("use_limit")),
                name="apitoken_use_limit",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revoked_by=None), name="apitoken_revoked"
            ),
        ]
        permissions = [("revoke_apitoken", "Can revoke tokens")]

    def __str__(self) -> str:
        return f"{self.name} ({self.beginning}…)"

    @property
    def holder(self) -> Any:
        """The service account or the person that it acts for."""
        return self.service_account or self.owner

    @property
    def may(self) -> str:
        """What it is good for, in words."""
        return "; ".join(str(scope.label) for scope in Scope if scope in self.scopes)

    def acts_for_account(self, at: datetime) -> bool:
        """Say what ``usable`` says of a token of a service account; its row and the account's are all that takes."""
        account = self.service_account
        over = self.revoked_at is not None or self.expires_at <= at
        return account is not None and account.suspended_at is None and not over
