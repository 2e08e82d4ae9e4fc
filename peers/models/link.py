"""A link that opens one enrolment on another device."""

import uuid

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models
from django.db.models import F, Q

from peers.models.interface import Interface
from peers.models.peer import Peer


class EnrolLink(models.Model):
    """A single-use link with which its owner's other device enrols itself, without a session of its own.

    Only the token's hash is kept. It dies with the session that made it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256, in hexadecimal.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="enrol_links")
    interface = models.ForeignKey(Interface, models.PROTECT, related_name="+")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    peer = models.ForeignKey(Peer, models.PROTECT, null=True, related_name="+", help_text="What it enrolled.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(used_at=None, peer=None)
                | Q(used_at__isnull=False, used_at__lt=F("expires_at"), peer__isnull=False),
                name="enrollink_used",
            ),
        ]

    def __str__(self) -> str:
        return f"link {self.pk}"
