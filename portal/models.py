"""Who may sign in: a person as the identity provider knows them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from portal.encryption import EncryptedField

# Beyond it the database could not add a lease, nor the driver read the date: one such row would stop every query.
FAR = datetime(2200, 1, 1, tzinfo=UTC)
LONGEST_LEASE = timedelta(days=3650)


class LossReason(models.TextChoices):
    """What a provider's answer says against a person."""

    REFUSED = "refused", _("The identity provider no longer renews their sign-in.")
    DISABLED = "disabled", _("The identity provider says that their account is disabled.")
    GROUP_LOST = "group_lost", _("The identity provider no longer names them in a group that lets them in.")


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, issuer: str, sub: str, **fields: Any) -> "User":
        user = self.model(issuer=issuer, sub=sub, **fields)
        user.set_unusable_password()
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by the pair (issuer, sub) alone; name and e-mail are for display.

    ``signed_in_at`` is the last sign-in through the provider: an interface's lease counts from it.
    ``lease_limit`` is the longest that this sign-in counts for, whatever the interface says; null: the interface says.
    ``access_ended_at`` is when the provider's word ended their access before that; a new sign-in clears it.
    ``groups_claim`` holds the values of the provider's group claim when it last named them. ``is_active`` says whether
    they are suspended, which is what Django asks; ``suspended_at`` says since when.
    """

    issuer = models.CharField(max_length=255)
    sub = models.CharField(max_length=255)
    email = models.EmailField(blank=True)
    name = models.CharField(max_length=255, blank=True)
    groups_claim = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspend_reason = models.CharField(max_length=200, blank=True, db_default="")
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(auto_now_add=True)
    signed_in_at = models.DateTimeField(null=True, blank=True)
    lease_limit = models.DurationField(null=True, blank=True)
    lease_warned_at = models.DateTimeField(
        null=True, blank=True, help_text="When they were told that it ends."
    )
    access_ended_at = models.DateTimeField(null=True, blank=True)
    access_end_reason = models.CharField(max_length=12, choices=LossReason.choices, blank=True, db_default="")

    objects = UserManager()

    USERNAME_FIELD = "id"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["issuer", "sub"]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["issuer", "sub"], name="user_identity"),
            models.CheckConstraint(
                condition=models.Q(signed_in_at=None) | models.Q(signed_in_at__lt=FAR),
                name="user_signed_in_at",
            ),
            models.CheckConstraint(
                condition=~models.Q(issuer="") & ~models.Q(sub=""), name="user_has_identity"
            ),
            models.CheckConstraint(
                condition=models.Q(suspended_at=None, suspend_reason="")
                | models.Q(is_active=False, suspended_at__isnull=False, suspended_at__lt=FAR),
                name="user_suspended",
            ),
            models.CheckConstraint(
                condition=models.Q(lease_limit=None)
                | models.Q(lease_limit__gt=timedelta(0), lease_limit__lte=LONGEST_LEASE),
                name="user_lease_limit",
            ),
            models.CheckConstraint(
                condition=models.Q(access_ended_at=None, access_end_reason="")
                | models.Q(
                    access_ended_at__isnull=False,
                    access_ended_at__lt=FAR,
                    access_end_reason__in=LossReason.values,
                ),
                name="user_access_ended",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.email or self.sub

    def get_short_name(self) -> str:
        """Return what the admin greets by; without it, that is the row's number."""
        return str(self)


class RefreshToken(models.Model):
    """What the provider is asked with whether a person's access lasts; a new sign-in or a rotation replaces it.

    ``obtained_at`` names this token: an answer to an earlier one says nothing. ``unsure``: an answer to it may have been
    lost, and with it the token that takes its place. ``failing_since`` is when the provider first gave no answer that can
    be believed, null since it last gave one; ``trouble`` is the latest failure's word.
    """

    person = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="refresh_token")
    provider = models.CharField(max_length=40, help_text="The provider's id in the settings.")
    token = EncryptedField()
    obtained_at = models.DateTimeField()
    due_at = models.DateTimeField(
        help_text="Not to be asked before; while it is being asked, not by another."
    )
    answered_at = models.DateTimeField(null=True, help_text="When the provider last answered for the person.")
    unsure = models.BooleanField(default=False)
    failing_since = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    trouble = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(token=""), name="refreshtoken_not_empty")]
        indexes = [models.Index(fields=["due_at"], name="refreshtoken_due")]

    def __str__(self) -> str:
        return f"refresh token of {self.person_id}"


class HeldLossQuerySet(models.QuerySet["HeldLoss"]):
    def undecided(self) -> Self:
        """Return those that wait for an administrator's word."""
        return self.filter(released_at=None)

    def released(self) -> Self:
        """Return those that are to be carried out."""
        return self.filter(released_at__isnull=False)


class HeldLoss(models.Model):
    """A loss of access that the identity brake holds until an administrator's word or a better answer.

    ``groups`` are those that the person would be left with; null: they would be out altogether. ``released_at`` is when
    an administrator let it be carried out, which goes on in small steps.
    """

    person = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="held_loss")
    reason = models.CharField(max_length=12, choices=LossReason.choices)
    groups = ArrayField(models.CharField(max_length=255), null=True)
    found_at = models.DateTimeField(
        db_default=Now()
    )  # by one clock: what came later is told from what was seen
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    objects = HeldLossQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(reason__in=LossReason.values), name="heldloss_reason"),
            models.CheckConstraint(
                condition=models.Q(released_at=None, released_by=None)
                | models.Q(released_at__isnull=False, released_by__isnull=False),
                name="heldloss_released",
            ),
        ]
        verbose_name_plural = "held losses"

    def __str__(self) -> str:
        return f"held loss of {self.person_id}"


class BreakGlassLink(models.Model):
    """A single-use link that signs an administrator in without the provider; only its token's hash is kept."""

    user = models.ForeignKey(User, models.PROTECT, related_name="break_glass_links")
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256, in hexadecimal.")
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"link {self.pk} for {self.user_id}"


class Mail(models.Model):
    """A letter that waits to be sent: written in the transaction of what it tells of, deleted once it is delivered."""

    to = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    queued_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="Not to be tried before.")
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(subject__regex="[[:cntrl:]]"), name="mail_subject"),
        ]
        indexes = [models.Index(fields=["due_at"], name="mail_due")]

    def __str__(self) -> str:
        return f"mail {self.pk}"
