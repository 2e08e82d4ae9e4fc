"""Write down who did what, in the transaction of the change itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models

from peers.models import ApiToken, AuditEvent, EnrolLink, Interface, Peer, ServiceAccount
from portal.models import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and from where: a person (``user``, or a ``stranger`` without a row), a ``gateway`` by its name, a program by its ``token`` or else a command.

    A program acts for the token's service account, or for its owner, who is then the ``user``. ``source`` is the client's IP address as text.
    """

    user: User | None = None
    stranger: bool = False
    gateway: str = ""
    token: ApiToken | None = None
    source: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of an audit event that tell of the actor."""
        return {
            "actor_kind": self._kind(),
            "actor": self.user,
            "gateway": self.gateway,
            "token": self.token,
            "source": self.source,
        }

    def _kind(self) -> AuditEvent.ActorKind:
        if self.user or self.stranger:
            return AuditEvent.ActorKind.PERSON
        if self.token:
            return AuditEvent.ActorKind.MACHINE
        return AuditEvent.ActorKind.GATEWAY if self.gateway else AuditEvent.ActorKind.COMMAND


def record(
    action: str,
    actor: Actor,
    target: models.Model | None,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    reason: str = "",
) -> AuditEvent:
    """Insert one audit event; ``target`` is the row that the act is on, None where it is no one row.

    Call it inside the transaction of the change: no audit row, no change.
    """
    return AuditEvent.objects.bulk_create([event(action, actor, target, old=old, new=new, reason=reason)])[0]


def event(
    action: str,
    actor: Actor,
    target: models.Model | None,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    reason: str = "",
) -> AuditEvent:
    """Return the event of ``record``, for whoever inserts it with the change itself."""
    values = {"old": old or {}, "new": new or {}, "reason": reason}
    return AuditEvent(action=action, **values, **actor.columns(), **_columns(target))


def record_each(action: str, actor: Actor, people: Iterable[User]) -> None:
    """Insert an audit event for each of the people, in as few statements as that takes; else as ``record`` does."""
    AuditEvent.objects.bulk_create(
        AuditEvent(action=action, **actor.columns(), **_columns(person)) for person in people
    )


def difference(before: Interface | None, after: Interface) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns that differ as text, old and new; without ``before`` every column is new. None is a secret."""
    old, new = _texts(before), _texts(after)
    changed = [name for name in new if old.get(name) != new[name]]
    return {name: old[name] for name in changed if name in old}, {name: new[name] for name in changed}


def addresses(peer: Peer) -> list[str]:
    """Return the peer's addresses as the audit writes them."""
    return [str(address) for address in peer.addresses]


def _texts(interface: Interface | None) -> dict[str, str]:
    if interface is None:
        return {}
    values = {field.name: getattr(interface, field.name) for field in interface._meta.concrete_fields}  # noqa: SLF001
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values.items()
    }


def _columns(target: models.Model | None) -> dict[str, Any]:
    """Return the columns that say what an event is on."""
    if isinstance(target, Peer):
        return {"peer": target, "interface": target.interface, **_holder(target)}
    if isinstance(target, EnrolLink):
        return {"interface": target.interface, "person": target.owner}
    if isinstance(target, ApiToken):
        return _holder(target)
    kinds = {Interface: "interface", User: "person", ServiceAccount: "service_account"}
    return {name: target for kind, name in kinds.items() if isinstance(target, kind)}


def _holder(row: Peer | ApiToken) -> dict[str, Any]:
    return {"person": row.owner, "service_account": row.service_account}
