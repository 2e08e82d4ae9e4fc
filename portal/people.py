"""What may be done to a person here; who they are is the provider's word."""

from django.db import transaction

from peers import audit
from portal.models import User


@transaction.atomic
def set_active(user: User, *, active: bool, actor: User | None, source: str | None) -> None:
    """Open or close the portal to ``user``; closing cuts their sessions and every peer, which are judged by the row."""
    before = User.objects.select_for_update().get(pk=user.pk).is_active
    if before == active:
        return
    user.is_active = active
    user.save(update_fields=["is_active"])
    audit.record(
        "activate" if active else "deactivate",
        actor=actor,
        source=source,
        target=user,
        old={"is_active": before},
        new={"is_active": active},
    )
