"""What is typed for a new token."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from peers import services
from peers.forms import NAME_LENGTH, name_of
from peers.models import MOST_USES, Scope, ServiceAccount
from portal.models import User

USUAL_DAYS = 30


class TokenForm(forms.Form):
    """A new token of ``holder``: what it is for, what it may do, until when."""

    name = forms.CharField(
        max_length=NAME_LENGTH,
        strip=False,
        required=False,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("What it is for, such as the machine or the script that has it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=[
            (Scope.ENROL, gettext_lazy("enrol devices, renew and rename them")),
            (Scope.READ, gettext_lazy("read which devices there are, and their states")),
            (Scope.REVOKE, gettext_lazy("revoke devices")),
        ],
        widget=forms.CheckboxSelectMultiple,
        label=gettext_lazy("It may"),
        initial=[Scope.ENROL],
        error_messages={"required": gettext_lazy("Choose at least one.")},
    )
    days = forms.IntegerField()  # of which the holder says how many

    def __init__(self, *args: Any, holder: ServiceAccount | User, at: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self.holder, self.at = holder, at
        self.fields["days"] = forms.IntegerField(
            min_value=1,
            max_value=services.longest_of(holder).days,
            initial=USUAL_DAYS,
            label=gettext_lazy("Days until it ends"),
        )

    def clean_name(self) -> str:
        return name_of(self.cleaned_data["name"], missing=_("Give the token a name."))

    def wanted(self) -> dict[str, Any]:
        """Return what ``services.make_token`` takes of what was typed."""
        typed = {name: value for name, value in self.cleaned_data.items() if name != "days"}
        ends_at = self.at + timedelta(days=self.cleaned_data["days"])
        return {**typed, "holder": self.holder, "at": self.at, "expires_at": ends_at}


class AccountTokenForm(TokenForm):
    use_limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_USES,
        label=gettext_lazy("Devices that it may enrol"),
        help_text=gettext_lazy("Empty: any number, as far as its service account may."),
    )
