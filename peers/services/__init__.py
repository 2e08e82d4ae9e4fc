"""Every change of a peer: one transaction, its audit row with it; the only code that changes one."""

from peers.audit import Actor
from peers.services.changes import configure, rename, restore, revoke, suspend
from peers.services.enrolment import Enrolled, enrol, replace_key
from peers.services.interfaces import SETTINGS, release_brake, save_interface
from peers.services.leases import warn_of_leases
from peers.services.links import make_link, redeem
from peers.services.people import away_too_long, restore_person, suspend_person
from peers.services.pruning import prunable, prune
from peers.services.refused import (
    KeyInUse,
    KeyRevoked,
    LinkInvalid,
    NoFreeAddress,
    NotActive,
    NotEntitled,
    NotOwner,
    NotReady,
    PeerLimit,
    Refused,
)
from peers.services.rotation import Rotated, rotate_encryption_keys

__all__ = [
    "SETTINGS",
    "Actor",
    "Enrolled",
    "KeyInUse",
    "KeyRevoked",
    "LinkInvalid",
    "NoFreeAddress",
    "NotActive",
    "NotEntitled",
    "NotOwner",
    "NotReady",
    "PeerLimit",
    "Refused",
    "Rotated",
    "away_too_long",
    "configure",
    "enrol",
    "make_link",
    "prunable",
    "prune",
    "redeem",
    "release_brake",
    "rename",
    "replace_key",
    "restore",
    "restore_person",
    "revoke",
    "rotate_encryption_keys",
    "save_interface",
    "suspend",
    "suspend_person",
    "warn_of_leases",
]
