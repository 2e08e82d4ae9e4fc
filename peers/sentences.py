"""The sentences of ``peers.wireguard`` that people see: it knows no language, so they stand here again to be translated."""

from django.utils.translation import gettext, gettext_noop

SENTENCES = (
    gettext_noop(
        "This looks like a whole configuration. Give only the public key; a private key stays on its device."
    ),
    gettext_noop("A public key is 44 characters long: letters, digits, + and /, ending in =."),
    gettext_noop("This key cannot work: it is not a public key that WireGuard makes. Generate a new one."),
    gettext_noop("An endpoint is host:port, as vpn.example.com:51820 or [2001:db8::1]:51820."),
    gettext_noop("An endpoint's port is a number from 1 to 65535."),
    gettext_noop("An endpoint's host is a name, an IPv4 address, or an IPv6 address in brackets."),
)


def in_words(error: ValueError) -> str:
    """Return what the error says, in the active language."""
    return gettext(str(error))
