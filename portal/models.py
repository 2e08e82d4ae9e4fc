"""Who may sign in: a person as the identity provider knows them."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models

# Beyond it the database could not add a lease, nor the driver read the date: one such row would stop every query.
FAR = datetime(2200, 1, 1, tzinfo=UTC)


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, issuer: str, sub: str, **fields: Any) -> "User":
        user = self.model(issuer=issuer, sub=sub, **fields)
        user.set_unusable_password()
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by the pair (issuer, sub) alone; name and e-mail are for display.

    ``signed_in_at`` is the last sign-in through the provider: an interface's lease counts from it.
    ``groups_claim`` holds the values of the provider's group claim at that sign-in. ``is_active`` says whether they are
    suspended, which is what Django asks; ``suspended_at`` says since when.
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
        ]

    def __str__(self) -> str:
        return self.name or self.email or self.sub

    def get_short_name(self) -> str:
        """Return what the admin greets by; without it, that is the row's number."""
        return str(self)


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
