"""Set an interface's settings, and give an operator's word to its gateways."""

from django.db import transaction
from django.db.models.functions import Now

from peers.audit import Actor, difference, record
from peers.models import Interface

# What an administrator sets. Enrolments move next_host meanwhile and the gateway publishes the key: never write those.
SETTINGS = (
    "endpoint", "listen_port", "dns", "client_allowed_ips", "mtu", "persistent_keepalive", "use_preshared_keys", "mode",
    "idle_minutes", "lease", "address_rest", "device_limit", "enrol_groups",
)  # fmt: skip


def release_brake(*, actor: Actor, interface: Interface) -> None:
    """Give the operator's word: the gateways of the interface carry out what their brakes hold and count afresh."""
    with transaction.atomic():
        interface.brake_released_at = Now()  # the clock that gateways go by
        interface.save(update_fields=["brake_released_at"])
        record("release_brake", actor, interface)


def save_interface(*, actor: Actor, interface: Interface) -> Interface:
    """Insert an interface, or update its settings, with what changed in the audit.

    Raise IntegrityError for overlapping pools.
    """
    with transaction.atomic():
        # no_key: enrolments hold a share of the row, and two that wait for each other's would never end.
        before = Interface.objects.select_for_update(no_key=True).filter(pk=interface.pk).first()
        interface.save(update_fields=SETTINGS if before else None)
        interface.refresh_from_db()
        old, new = difference(before, interface)
        if new:
            record("change_interface" if before else "create_interface", actor, interface, old=old, new=new)
    return interface
