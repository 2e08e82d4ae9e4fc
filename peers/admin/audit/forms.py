"""What an administrator asks the audit: for a time, and for an address."""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from peers.states import database_now

NO_TIME = _("This is not a time, such as 2026-08-31T09:30 (UTC).")


class UtcField(forms.DateTimeField):
    """An aware datetime in UTC, from a text that says its offset or means UTC."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")
    default_error_messages = {"invalid": NO_TIME}

    def clean(self, value: Any) -> datetime | None:
        at = super().clean(value)
        try:
            return at.astimezone(UTC) if at else None
        except OverflowError:  # at either end of the calendar
            raise ValidationError(NO_TIME) from None


# "from" is no name that a class body could hold.
TimeForm = type(
    "TimeForm",
    (forms.Form,),
    {"from": UtcField(required=False, label=_("From")), "to": UtcField(required=False, label=_("To"))},
)


class AddressForm(forms.Form):
    """An address, and a time that is not ahead; without one it is now."""

    address = forms.CharField(
        max_length=64,
        label=_("Address"),
        widget=forms.TextInput(attrs={"autocapitalize": "off", "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("IPv4 or IPv6, as 10.77.0.2 or fd00::2."),
    )
    at = UtcField(required=False, label=_("Time (UTC)"), help_text=_("Empty: now."))

    def clean_address(self) -> IPv4Address | IPv6Address:
        found = parsed(self.cleaned_data["address"])
        if found is None:
            raise ValidationError(_("This is not an IP address, such as 10.77.0.2 or fd00::2."))
        return found

    def clean_at(self) -> datetime:
        now = database_now()
        at: datetime = self.cleaned_data["at"] or now
        if at > now:
            raise ValidationError(_("That time is still to come: nobody knows who will have the address."))
        return at


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``text`` is, also with the length of a single address; None when it is none."""
    try:
        found = ip_address(text.strip().removesuffix("/32").removesuffix("/128"))
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return None if found.scope_id else found.ipv4_mapped or found
