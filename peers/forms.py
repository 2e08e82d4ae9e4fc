"""What a person may send, checked: a name, a platform, an interface, a public key. No other field is ever read."""

import unicodedata
from collections.abc import Iterator
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from peers.models import Interface, Peer
from peers.sentences import in_words
from peers.wireguard import keys
from portal.models import User

NAME_LENGTH = 64
NAME_CATEGORIES = ("L", "M", "Nd")
NAME_SIGNS = frozenset(" -_.'()+#&")
# Letters and marks that draw nothing: the fillers of Hangul and Khmer, the grapheme joiner.
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")


def peer_name(text: str) -> str:
    """Return ``text`` as a peer's name, in NFC and trimmed; raise ValidationError when it cannot be one."""
    return name_of(text, missing=_("Give the device a name."))


def name_of(text: str, *, missing: str) -> str:
    """Return ``text`` as a name, in NFC and trimmed; raise ValidationError, which says ``missing`` when nothing is there."""
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValidationError(missing, code="required")
    if len(name) > NAME_LENGTH:
        sentence = ngettext(
            "A name is at most %(most)d character long.",
            "A name is at most %(most)d characters long.",
            NAME_LENGTH,
        )
        raise ValidationError(sentence % {"most": NAME_LENGTH}, code="too_long")
    if not all(map(_may_be_in_a_name, name)):
        raise ValidationError(
            _("A name is made of letters, digits, spaces and - _ . ' ( ) + # &."), code="characters"
        )
    return name


def made_name(text: str, *, most: int) -> str:
    """Return what of ``text`` may be in a name, of at most ``most`` characters; nothing may be left of it."""
    return "".join(filter(_may_be_in_a_name, unicodedata.normalize("NFC", text)))[:most].strip()


def _may_be_in_a_name(character: str) -> bool:
    if character in INVISIBLE:
        return False
    return character in NAME_SIGNS or unicodedata.category(character).startswith(NAME_CATEGORIES)


class NameField(forms.CharField):
    def __init__(self) -> None:
        super().__init__(strip=False, required=False)

    def clean(self, value: Any) -> str:
        return peer_name(super().clean(value))


class PlatformField(forms.ChoiceField):
    """A kind of device; "other" when none is named."""

    def __init__(self) -> None:
        super().__init__(choices=Peer.Platform.choices, required=False)

    def clean(self, value: Any) -> str:
        return super().clean(value) or Peer.Platform.OTHER


class PublicKeyField(forms.CharField):
    """A pasted key. White space around it is the clipboard's and is dropped; templates never print its value."""

    def __init__(self) -> None:
        super().__init__(error_messages={"required": gettext_lazy("Paste the device's public key.")})

    def clean(self, value: Any) -> str:
        try:
            return keys.public_key(super().clean(value))
        except keys.InvalidKey as error:
            raise ValidationError(in_words(error), code="invalid_key") from None


class EnrolForm(forms.Form):
    name = NameField()
    platform = PlatformField()
    interface: "forms.ModelChoiceField[Interface]" = forms.ModelChoiceField(
        Interface.objects.none(),
        to_field_name="name",
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the networks in the list.")},
    )
    public_key = PublicKeyField()
    in_place_of: "forms.ModelChoiceField[Peer]" = forms.ModelChoiceField(
        Peer.objects.none(),
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the devices in the list.")},
    )

    def __init__(self, *args: Any, owner: User, **options: Any) -> None:
        super().__init__(*args, **options)
        self.interfaces = interfaces_open_to(owner)
        self.fields["interface"].queryset = Interface.objects.filter(  # type: ignore[attr-defined]
            pk__in=[interface.pk for interface in self.interfaces]
        )
        if "in_place_of" in self.fields:
            # Revoked ones too: who asks again for a lost answer names a device that the first try has revoked.
            self.fields["in_place_of"].queryset = Peer.objects.filter(owner=owner)  # type: ignore[attr-defined]

    @property
    def chosen(self) -> Interface | None:
        """The interface that the form stands on, else the first that is open to the person; None without any."""
        name = self["interface"].value()
        named = (interface for interface in self.interfaces if interface.name == name)
        return next(named, next(iter(self.interfaces), None))

    def clean_interface(self) -> Interface | None:
        """Return the interface asked for, else the first that is open to the person; None without any."""
        return self.cleaned_data["interface"] or next(iter(self.interfaces), None)

    def clean(self) -> None:
        """Refuse to replace a device that would make no room: one of another interface."""
        wanted = self.cleaned_data
        replaced, interface = wanted.get("in_place_of"), wanted.get("interface")
        if replaced and interface and replaced.interface_id != interface.pk:
            self.add_error(
                "in_place_of",
                ValidationError(_("Choose one of the devices in the list."), code="invalid_choice"),
            )


class LinkForm(EnrolForm):
    """The network on which a link enrols; the rest comes from the device that uses it."""

    name = platform = public_key = in_place_of = None  # type: ignore[assignment]  # Django's way of leaving a field out


class RedeemForm(forms.Form):
    name = NameField()
    platform = PlatformField()
    public_key = PublicKeyField()


class RenameForm(forms.Form):
    name = NameField()


class KeyForm(forms.Form):
    public_key = PublicKeyField()


def interfaces_open_to(person: User) -> list[Interface]:
    """Return the interfaces on which ``person`` may enrol, the default one first."""
    open_to = Q(enrol_groups=[]) | Q(enrol_groups__overlap=person.groups_claim)
    default = settings.LATCHKEY_DEFAULT_INTERFACE
    return sorted(Interface.objects.filter(open_to), key=lambda row: (row.name != default, row.name))


def errors_of(form: forms.Form) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the code and the sentence of each error."""
    for field, errors in form.errors.as_data().items():
        for error in errors:
            yield field, error.code or "invalid", error.messages[0]
