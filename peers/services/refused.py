"""The changes that are not made, each with a word for programs and a sentence for people."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Refused(Exception):
    """A change that is not made; ``code`` is for programs, the message for people."""

    code = "refused"
    message: str | Promise = _("This cannot be done.")

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


class KeyInUse(Refused):
    code = "key_in_use"
    message = _("This key is already in use. Make a new one.")


class KeyRevoked(Refused):
    code = "key_revoked"
    message = _("This key was revoked or replaced and can never be used again. Make a new one.")


class NoFreeAddress(Refused):
    code = "pool_exhausted"
    message = _("There is no free address. Ask your administrator.")


class PeerLimit(Refused):
    code = "peer_limit"


class NotEntitled(Refused):
    code = "not_entitled"
    message = _(
        "Your account may not enrol devices here, or your sign-in has run out. Sign in again, or ask your administrator."
    )


class NotReady(Refused):
    code = "interface_not_ready"
    message = _("This network is not ready yet: its gateway has never started. Try again later.")


class InterfaceNotAllowed(Refused):
    code = "interface_not_allowed"
    message = _("Your account may not use this network.")


class TtlTooLong(Refused):
    code = "ttl_too_long"


class TtlMissing(Refused):
    code = "ttl_missing"
    message = _("Say for how many seconds: nothing else sets an end.")


class UseLimit(Refused):
    code = "use_limit"
    message = _("This token has enrolled as many devices as it may.")


class TokenInvalid(Refused):
    code = "token_invalid"
    message = _("Send a valid token as “Authorization: Bearer …”.")


class TokenLimit(Refused):
    code = "token_limit"


class TokenNameTaken(Refused):
    code = "name_taken"
    message = _("There is a token of that name already. Give this one another.")


class TokenTooLong(Refused):
    code = "token_too_long"


class Expired(Refused):
    code = "expired"
    message = _("The time of this device is over. Enrol it again.")


class NotActive(Refused):
    code = "not_active"
    message = _("This device is no longer active, so it cannot be changed. Enrol it again.")


class LinkInvalid(Refused):
    """The link was never made, was used, is too old or lost its session: which of them is nobody's business."""

    code = "link_invalid"
    message = _("This link is no longer valid. Make a new one in the portal.")


class NotOwner(Refused):
    code = "not_owner"
    message = _("Only the owner of the database may forget devices: connect as its owner.")
