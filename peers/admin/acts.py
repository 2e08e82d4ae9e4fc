"""Revoke, suspend and restore devices: ask first, then do it and say what became of each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from peers import services
from peers.admin.read_only import actor
from peers.models import Peer

Text = str | Promise


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"), max_length=200, help_text=_("For the audit; the owner sees it too.")
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if not reason.isprintable():
            raise ValidationError(_("This holds characters that cannot be seen."))
        return reason


class ForTheAuditForm(ReasonForm):
    """Of what has no owner who would read it."""

    reason = forms.CharField(label=_("Reason"), max_length=200, help_text=_("For the audit."))


class RestoreForm(ReasonForm):
    reason = forms.CharField(label=_("Reason"), max_length=200, required=False, help_text=_("For the audit."))


@dataclass(frozen=True, slots=True)
class Act:
    """What can be done to devices; ``name`` is that of its page's template and of its address."""

    name: str
    title: Text
    form: type[ReasonForm]
    due: Callable[[Peer], bool]  # whether it would change anything
    do: Callable[[services.Actor, Peer, datetime, str], object]
    done: Text
    unchanged: Text
    refused: Text


REVOKE = Act(
    name="revoke",
    title=_("Revoke devices"),
    form=ReasonForm,
    due=lambda peer: peer.revoked_at is None,
    do=lambda actor, peer, at, reason: services.revoke(actor=actor, peer=peer, at=at, reason=reason),
    done=_("Revoked: %(names)s."),
    unchanged=_("Revoked already: %(names)s."),
    refused=_("Not revoked: %(names)s."),
)
SUSPEND = Act(
    name="suspend",
    title=_("Suspend devices"),
    form=ReasonForm,
    due=lambda peer: peer.suspended_at is None or peer.revoked_at is not None,
    do=lambda actor, peer, at, reason: services.suspend(actor=actor, peer=peer, at=at, reason=reason),
    done=_("Suspended: %(names)s."),
    unchanged=_("Suspended already: %(names)s."),
    refused=_("Revoked, and so it cannot be suspended any more: %(names)s."),
)
RESTORE = Act(
    name="restore",
    title=_("Restore devices"),
    form=RestoreForm,
    due=lambda peer: peer.suspended_at is not None or peer.revoked_at is not None,
    do=lambda actor, peer, _at, reason: services.restore(actor=actor, peer=peer, reason=reason),
    done=_("Restored: %(names)s."),
    unchanged=_("Not suspended, and so left as it was: %(names)s."),
    refused=_("Revoked, and so it cannot be restored: %(names)s."),
)


def perform(request: HttpRequest, act: Act, peers: Iterable[Peer], reason: str) -> None:
    """Do it to each of ``peers`` that it would change, and leave messages that name them by what came of it."""
    done, unchanged, refused = [], [], []
    for peer in peers:
        if not act.due(peer):
            unchanged.append(peer.name)
            continue
        try:
            act.do(actor(request), peer, timezone.now(), reason)
        except services.Refused:
            refused.append(peer.name)
        else:
            done.append(peer.name)
    for names, sentence, level in (
        (done, act.done, messages.SUCCESS),
        (unchanged, act.unchanged, messages.WARNING),
        (refused, act.refused, messages.ERROR),
    ):
        if names:
            messages.add_message(request, level, sentence % {"names": ", ".join(names)})
