"""The audit, and the chain of seals that shows whether anybody rewrote it."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from peers.models.account import ApiToken, ServiceAccount
from peers.models.interface import Interface
from peers.models.peer import Peer


class AuditEvent(models.Model):
    """Who did what, to what, from where; append-only for everyone."""

    class ActorKind(models.TextChoices):
        PERSON = "person", _("Person")
        COMMAND = "command", _("Command")
        GATEWAY = "gateway", _("Gateway")
        MACHINE = "machine", _("Service account")

    at = models.DateTimeField(db_default=Now(), editable=False)
    actor_kind = models.CharField(max_length=7, choices=ActorKind.choices)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="acts")
    gateway = models.CharField(max_length=255, blank=True)
    token = models.ForeignKey(
        ApiToken, models.PROTECT, null=True, related_name="acts", help_text="With which a program acted."
    )
    action = models.CharField(max_length=32)
    # Without a constraint: an event outlives the row that it tells of, when that is pruned.
    peer = models.ForeignKey(Peer, models.DO_NOTHING, null=True, related_name="events", db_constraint=False)
    interface = models.ForeignKey(Interface, models.PROTECT, null=True, related_name="events")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="events")
    service_account = models.ForeignKey(ServiceAccount, models.PROTECT, null=True, related_name="events")
    source = models.GenericIPAddressField(null=True)
    old = models.JSONField(default=dict)
    new = models.JSONField(default=dict)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(actor_kind="gateway", actor=None, token=None)
                | Q(actor_kind="command", gateway="", token=None)
                | Q(actor_kind="person", gateway="")
                | Q(actor_kind="machine", gateway="", actor=None, token__isnull=False),
                name="auditevent_actor",
            )
        ]
        indexes = [
            models.Index(fields=["-at"], name="auditevent_at"),
            GinIndex(
                KeyTransform("addresses", "new"),
                name="auditevent_addresses",
                condition=Q(new__has_key="addresses"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"


class AuditSeal(models.Model):
    """A batch of audit events, bound by its digest to the seal before it: nothing can be changed, left out or put in.

    Both digests are SHA-256. No two seals follow the same one, so the chain cannot fork.
    """

    previous = models.BinaryField(
        max_length=32, unique=True, help_text="The digest before; zeros for the first."
    )
    digest = models.BinaryField(max_length=32, unique=True)
    events = models.PositiveIntegerField(help_text="How many it seals.")
    sealed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(events__gte=1), name="auditseal_events")]

    def __str__(self) -> str:
        return f"seal {self.pk}"


class SealedEvent(models.Model):
    """Which seal an event is under. A table of its own, since the event's row never changes."""

    event = models.OneToOneField(AuditEvent, models.PROTECT, primary_key=True, related_name="sealed")
    seal = models.ForeignKey(AuditSeal, models.PROTECT, related_name="sealed")

    def __str__(self) -> str:
        return f"event {self.event_id} under seal {self.seal_id}"
