"""What the audit's actions are called on a page; docs/audit.md says what each means."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from peers.receipts import DUE

ACTIONS: dict[str, str | Promise] = {
    "enrol": _("Device enrolled"),
    "renew": _("Device renewed"),
    "rename": _("Device renamed"),
    "replace_key": _("Key replaced"),
    "configure": _("Configuration given again"),
    "revoke": _("Device revoked"),
    "expire": _("Unused machine ended"),
    "suspend": _("Suspended"),
    "restore": _("Restored"),
    "make_link": _("Link for a phone made"),
    "use_link": _("Link for a phone used"),
    "removed": _("Off the interface"),
    "drift_repaired": _("Drift repaired"),
    "first_contact": _("Unknown peers left alone"),
    "brake_engaged": _("Brake engaged"),
    "release_brake": _("Brake released"),
    "create_interface": _("Interface created"),
    "change_interface": _("Interface changed"),
    "create_account": _("Service account created"),
    "change_account": _("Service account changed"),
    "make_token": _("Token made"),
    "revoke_token": _("Token revoked"),
    "lease_warned": _("Told that the sign-in ends"),
    "token_forgone": _("Refresh token given up"),
    "access_ended": _("Access ended by the provider"),
    "groups_changed": _("Groups changed by the provider"),
    "rights_changed": _("Administrator's rights changed"),
    "loss_held": _("Loss of access held back"),
    "loss_withdrawn": _("Held loss of access dropped"),
    "release_access": _("Held losses of access released"),
    "discard_access": _("Held losses of access discarded"),
    "sign_in": _("Signed in"),
    "sign_in_refused": _("Sign-in refused"),
    "end_session": _("Session ended"),
    "break_glass_issued": _("Break-glass link issued"),
    "break_glass_used": _("Break-glass link used"),
    "create_admin": _("Administrator created"),
    "prune": _("Old devices pruned"),
    "rotate_encryption_keys": _("Encryption keys rotated"),
    "export_audit": _("Audit exported"),
}


# What takes a device off the interface without anybody's act, and so without an event of its own.
DEADLINE = _("Time over")


def words(action: str) -> str:
    """Return the action in words; an action of another release is shown as it is."""
    return str(DEADLINE if action == DUE else ACTIONS.get(action, action))
