"""Say why a peer is not connected: every condition in order, and the first that is not met. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from peers import handshakes
from peers.facts import Facts, Finding, moment
from peers.models import GatewayStatus, ServiceAccount


@dataclass(frozen=True, slots=True)
class Step:
    """A condition; ``passed`` is None when it was not reached, because an earlier one is not met."""

    name: str
    title: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The conditions in order, and in ``answer`` the sentence of the first that is not met.

    ``refused`` says how often its handshakes were refused; empty when none ever was.
    """

    steps: tuple[Step, ...]
    connected: bool
    answer: str
    remedy: str
    refused: str


def diagnose(facts: Facts) -> Diagnosis:
    """Return what the facts say of each condition, up to the first that is not met."""
    steps: list[Step] = []
    failed: Finding | None = None
    for name, title, look in _looks():
        if failed:
            steps.append(Step(name, title, None, _("An earlier condition is not met.")))
            continue
        found = look(facts)
        failed = None if found.passed else found
        steps.append(Step(name, title, found.passed, found.sentence))
    answer = failed.sentence if failed else _("It is connected.")
    return Diagnosis(
        tuple(steps), failed is None, answer, failed.remedy if failed else "", handshakes.refused(facts)
    )


def _looks() -> Iterable[tuple[str, str, Callable[[Facts], Finding]]]:
    return (
        ("row", _("The device's own entry"), _row),
        ("entitlement", _("Its owner's access"), _entitlement),
        ("gateway", _("The gateway"), _gateway),
        ("interface", _("On the interface"), _interface),
        ("handshake", _("A handshake"), handshakes.latest),
        ("endpoint", _("Where it was seen from"), handshakes.endpoint),
    )


def _row(facts: Facts) -> Finding:
    peer, enrol_again = facts.peer, _("Enrol the device again.")
    if not facts.met["not_revoked"]:
        sentence = _("It was revoked at %(at)s%(why)s.") % _said(peer.revoked_at, peer.revoke_reason)
        return Finding(False, sentence + _still_on(facts), enrol_again)
    if not facts.met["not_expired"]:
        sentence = _("It expired at %(at)s.") % {"at": moment(peer.expires_at)}
        return Finding(False, sentence + _still_on(facts), enrol_again)
    if not facts.met["not_suspended"]:
        sentence = _("It was suspended at %(at)s%(why)s.") % _said(peer.suspended_at, peer.suspend_reason)
        return Finding(False, sentence + _still_on(facts), _("Restore the device."))
    return Finding(True, _("It is neither revoked, expired nor suspended."))


def _entitlement(facts: Facts) -> Finding:
    owner, interface = facts.peer.owner, facts.peer.interface
    if owner is None:
        return _of_account(facts, facts.peer.holder)
    if not facts.met["owner_active"]:
        sentence = _("Its owner was suspended at %(at)s%(why)s.") % _said(
            owner.suspended_at, owner.suspend_reason
        )
        return Finding(False, sentence + _still_on(facts), _("Restore the person."))
    if not facts.met["access_lasts"]:
        values = {
            "at": moment(owner.access_ended_at),
            "why": owner.get_access_end_reason_display().rstrip("."),
        }
        sentence = _("Its owner's access ended at %(at)s: %(why)s.") % values
        remedy = _("The owner signs in to the portal again; the identity provider has to let them in.")
        return Finding(False, sentence + _still_on(facts), remedy)
    if not facts.met["signed_in"]:
        over = _("Its owner's sign-in ran out at %(at)s.") % {"at": moment(facts.lease_until)}
        sentence = over if owner.signed_in_at else _("Its owner has never signed in.")
        remedy = _(
            "The owner signs in to the portal again; with everything routed through the tunnel, with it switched off."
        )
        return Finding(False, sentence + _still_on(facts), remedy)
    if not facts.met["admitted"]:
        groups = ", ".join(interface.enrol_groups)
        sentence = _("Its owner is in none of the groups that %(interface)s admits: %(groups)s.")
        remedy = _(
            "Put the owner into one at the identity provider and let them sign in again, or admit another group."
        )
        values = {"interface": interface.name, "groups": groups}
        return Finding(False, sentence % values + _still_on(facts), remedy)
    return _lease(facts)


def _of_account(facts: Facts, account: ServiceAccount) -> Finding:
    names = {"account": account, "interface": facts.peer.interface}
    if not facts.met["owner_active"]:
        said = _said(account.suspended_at, account.suspend_reason)
        sentence = _("Its service account was suspended at %(at)s%(why)s.") % said
        return Finding(False, sentence + _still_on(facts), _("Restore the service account."))
    if not facts.met["admitted"]:
        sentence = _("Its service account %(account)s may no longer use %(interface)s.") % names
        return Finding(False, sentence + _still_on(facts), _("Allow the account the interface again."))
    return Finding(True, _("Its service account %(account)s is active and may use %(interface)s.") % names)


def _lease(facts: Facts) -> Finding:
    if facts.loss_held:
        sentence = _(
            "By the identity provider's word its owner has lost access; so many have at once that the loss is held back."
        )
        return Finding(False, sentence, _("Decide under “Access held back” on the overview."))
    if facts.lease_until is None:
        return Finding(True, _("Its owner is active, in an admitted group, and signed in without an end."))
    sentence = _("Its owner is active, in an admitted group, and signed in until %(at)s.")
    return Finding(True, sentence % {"at": moment(facts.lease_until)})


def _gateway(facts: Facts) -> Finding:
    values = {"interface": facts.peer.interface.name}
    attached = [gateway for gateway in facts.gateways if gateway.attached]
    if not facts.gateways:
        sentence = _("No gateway has ever reported on %(interface)s.") % values
        return Finding(False, sentence, _("Start one: manage.py run_gateway %(interface)s.") % values)
    if not attached:
        sentence = _(
            "No gateway that reports on %(interface)s has an interface: it only shows what it would do."
        )
        return Finding(False, sentence % values, _("Run the gateway where it may hold the interface."))
    if not facts.fresh:
        last = max(attached, key=lambda gateway: gateway.heartbeat_at)
        values = {"gateway": last.gateway, "at": moment(last.heartbeat_at)}
        said = _(" It said: %(problem)s") % {"problem": last.problem} if last.problem else ""
        sentence = _("Gateway %(gateway)s has been silent since %(at)s.") % values + said
        return Finding(False, sentence, _("Look at the gateway's host and its log."))
    return Finding(True, " ".join(map(_of_gateway, facts.fresh)))


def _of_gateway(gateway: GatewayStatus) -> str:
    values = {"gateway": gateway.gateway, "at": moment(gateway.last_pass_at)}
    if gateway.last_pass_at is None:
        sentence = _("Gateway %(gateway)s reports and has not yet finished a pass.") % values
    else:
        sentence = _("Gateway %(gateway)s reports; its last good pass was at %(at)s.") % values
    if gateway.flood_at is not None:
        flood = _(
            "Since %(at)s a flood of handshakes that lead to nothing comes in: this device's may be lost among them."
        )
        sentence = f"{sentence} {flood % {'at': moment(gateway.flood_at)}}"
    if gateway.brake_at is None:
        return sentence
    held = ngettext("The brake holds %(count)d removal.", "The brake holds %(count)d removals.", gateway.held)
    return f"{sentence} {held % {'count': gateway.held}}"


def _interface(facts: Facts) -> Finding:
    name = facts.peer.interface.name
    if aside := next((status for status in facts.reported if status.problem), None):
        sentence = _("Gateway %(gateway)s has put its entry aside: %(problem)s")
        remedy = _("Put right what it names; if that cannot be, revoke it and enrol it again.")
        return Finding(False, sentence % {"gateway": aside.gateway, "problem": aside.problem}, remedy)
    if facts.on:
        on = facts.on[0]
        sentence = _("It is on %(interface)s at gateway %(gateway)s since %(at)s.")
        return Finding(True, sentence % {"interface": name, "gateway": on.gateway, "at": moment(on.since)})
    if facts.key is None:
        return Finding(
            False, _("It has no key in use."), _("Its owner replaces the key, or enrols the device again.")
        )
    if any(status.present for status in facts.reported):
        sentence = _("It is on %(interface)s with a key that was replaced since.")
    elif facts.peer.interface.on_demand:
        return Finding(True, handshakes.awaited(facts))
    else:
        sentence = _("No gateway that reports has it on %(interface)s yet.")
    remedy = _(
        "A gateway looks every few seconds. If this stays, read its log: what it cannot do stands there."
    )
    return Finding(False, sentence % {"interface": name}, remedy)


def _still_on(facts: Facts) -> str:
    """Return the sentence that a gateway still has what may not be on, with a space before it; mostly nothing."""
    on = [status for status in facts.statuses if status.present]
    if not on:
        return ""
    if any(status.held for status in on):
        return " " + _("The brake holds its removal from the interface.")
    return " " + _("It was still on the interface when gateway %(gateway)s last reported.") % {
        "gateway": on[0].gateway
    }


def _said(at: datetime | None, reason: str) -> dict[str, str]:
    return {"at": moment(at), "why": f": {reason.rstrip('.')}" if reason else ""}
