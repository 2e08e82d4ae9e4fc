"""Every change of a peer: one transaction, its audit row with it; the only code that changes one."""

from peers.audit import Actor
from peers.services.accounts import ACCOUNT_SETTINGS, restore_account, save_account, suspend_account
from peers.services.changes import configure, rename, restore, revoke, suspend
from peers.services.enrolment import Enrolled, enrol, replace_key
from peers.services.handshakes import note_told
from peers.services.interfaces import SETTINGS, release_brake, save_interface
from peers.services.leases import warn_of_leases
from peers.services.links import make_link, owner_of_link, redeem
from peers.services.machines import end_of, expire_unused, renew
from peers.services.people import away_too_long, restore_person, suspend_person
from peers.services.pruning import prunable, prune
from peers.services.refused import (
    Expired,
    InterfaceNotAllowed,
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
    TokenInvalid,
    TokenLimit,
    TokenNameTaken,
    TokenTooLong,
    TtlMissing,
    TtlTooLong,
    UseLimit,
)
from peers.services.rotation import Rotated, rotate_encryption_keys
from peers.services.tokens import MOST_OF_PERSON, longest_of, make_token, note_use, revoke_token

__all__ = [
    "ACCOUNT_SETTINGS",
    "MOST_OF_PERSON",
    "SETTINGS",
    "Actor",
    "Enrolled",
    "Expired",
    "InterfaceNotAllowed",
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
    "TokenInvalid",
    "TokenLimit",
    "TokenNameTaken",
    "TokenTooLong",
    "TtlMissing",
    "TtlTooLong",
    "UseLimit",
    "away_too_long",
    "configure",
    "end_of",
    "enrol",
    "expire_unused",
    "longest_of",
    "make_link",
    "make_token",
    "note_told",
    "note_use",
    "owner_of_link",
    "prunable",
    "prune",
    "redeem",
    "release_brake",
    "rename",
    "renew",
    "replace_key",
    "restore",
    "restore_account",
    "restore_person",
    "revoke",
    "revoke_token",
    "rotate_encryption_keys",
    "save_account",
    "save_interface",
    "suspend",
    "suspend_account",
    "suspend_person",
    "warn_of_leases",
]
