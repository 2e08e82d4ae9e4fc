"""What the admin calls models and their columns. In the models themselves each word would be a migration."""

from typing import Any

from django.db.models import Model
from django.utils.translation import gettext_lazy as _

from peers.models import ApiToken, AuditEvent, GatewayStatus, Interface, Peer, ServiceAccount
from portal.models import User

# To the type checker a lazy translation is neither a text nor django.utils.functional.Promise.
MODELS: dict[type[Model], tuple[Any, Any]] = {
    ApiToken: (_("token"), _("tokens")),
    AuditEvent: (_("audit event"), _("audit events")),
    GatewayStatus: (_("gateway status"), _("gateway statuses")),
    Interface: (_("interface"), _("interfaces")),
    Peer: (_("peer"), _("peers")),
    ServiceAccount: (_("service account"), _("service accounts")),
    User: (_("user"), _("users")),
}
COLUMNS: dict[type[Model], dict[str, Any]] = {
    ApiToken: {
        "name": _("name"),
        "made_at": _("made at"),
        "made_by": _("made by"),
        "expires_at": _("expires at"),
        "revoked_at": _("revoked at"),
        "revoked_by": _("revoked by"),
    },
    AuditEvent: {
        "actor_kind": _("actor kind"),
        "interface": _("interface"),
        "reason": _("reason"),
        "source": _("source"),
    },
    GatewayStatus: {
        "gateway": _("gateway"),
        "interface": _("interface"),
        "version": _("version"),
        "attached": _("attached"),
        "started_at": _("started at"),
        "heartbeat_at": _("heartbeat at"),
        "last_pass_at": _("last pass at"),
        "drift_found": _("drift found"),
        "first_contact_at": _("first contact at"),
        "left_alone": _("left alone"),
        "unexplained": _("unexplained"),
        "brake_at": _("brake at"),
        "released_at": _("released at"),
        "held": _("held"),
        "problem": _("problem"),
    },
    Interface: {
        "name": _("name"),
        "public_key": _("public key"),
        "endpoint": _("endpoint"),
        "listen_port": _("listen port"),
        "ipv4_pool": _("IPv4 pool"),
        "ipv6_pool": _("IPv6 pool"),
        "dns": _("DNS"),
        "client_allowed_ips": _("client allowed IPs"),
        "mtu": _("MTU"),
        "persistent_keepalive": _("persistent keepalive"),
        "use_preshared_keys": _("use preshared keys"),
        "mode": _("mode"),
        "idle_minutes": _("idle minutes"),
        "lease": _("lease"),
        "address_rest": _("address rest"),
        "device_limit": _("device limit"),
        "enrol_groups": _("enrol groups"),
    },
    Peer: {
        "name": _("name"),
        "owner": _("owner"),
        "interface": _("interface"),
        "platform": _("platform"),
        "enrolled_at": _("enrolled at"),
        "expires_at": _("expires at"),
        "suspended_at": _("suspended at"),
        "suspend_reason": _("suspend reason"),
        "revoked_at": _("revoked at"),
        "revoked_by": _("revoked by"),
        "revoke_reason": _("revoke reason"),
    },
    ServiceAccount: {
        "name": _("name"),
        "team": _("team"),
        "interfaces": _("interfaces"),
        "device_limit": _("device limit"),
        "default_ttl": _("a machine stays for"),
        "max_ttl": _("longest stay"),
        "idle_after": _("idle after"),
        "source_networks": _("source networks"),
        "suspended_at": _("suspended at"),
        "suspend_reason": _("suspend reason"),
    },
    User: {
        "is_active": _("is active"),
        "suspended_at": _("suspended at"),
        "suspend_reason": _("suspend reason"),
        "name": _("name"),
        "email": _("e-mail"),
        "issuer": _("issuer"),
        "sub": _("subject"),
        "groups_claim": _("groups"),
        "is_staff": _("is staff"),
        "signed_in_at": _("signed in at"),
        "date_joined": _("date joined"),
    },
}


def apply() -> None:
    """Give each model and column its words."""
    for model, (one, many) in MODELS.items():
        model._meta.verbose_name, model._meta.verbose_name_plural = one, many  # noqa: SLF001 - documented by Django
    for model, words in COLUMNS.items():
        for name, label in words.items():
            model._meta.get_field(name).verbose_name = label  # type: ignore[union-attr]  # noqa: SLF001
