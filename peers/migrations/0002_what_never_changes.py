"""Hold in the database what no code may undo: the audit, a revocation, a retired key, a published key."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION latchkey_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
"""

TRIGGERS = [
    ("auditevent_append_only", "peers_auditevent", "UPDATE OR DELETE", "ROW", "", "the audit is append-only"),
    ("auditevent_no_truncate", "peers_auditevent", "TRUNCATE", "STATEMENT", "", "the audit is append-only"),
    (
        "peer_stays_revoked", "peers_peer", "UPDATE", "ROW",
        "WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)",
        "a revoked peer stays revoked",
    ),
    (
        "peer_stays_its_owners", "peers_peer", "UPDATE", "ROW",
        "WHEN ((NEW.id, NEW.interface_id, NEW.owner_id) IS DISTINCT FROM (OLD.id, OLD.interface_id, OLD.owner_id))",
        "a peer stays its owner's, on its interface",
    ),
    (
        "peerkey_stays_retired", "peers_peerkey", "UPDATE", "ROW",
        "WHEN (OLD.retired_at IS NOT NULL OR NEW.public_key <> OLD.public_key OR NEW.peer_id <> OLD.peer_id)",
        "a key is retired once, and otherwise never changed",
    ),
    ("peerkey_is_kept", "peers_peerkey", "DELETE", "ROW", "", "a key is never deleted"),
    (
        "interface_key_is_published_once", "peers_interface", "UPDATE", "ROW",
        "WHEN (OLD.public_key IS NOT NULL AND NEW.public_key IS DISTINCT FROM OLD.public_key)",
        "with another public key every client would fail",
    ),
    (
        "interface_mark_only_rises", "peers_interface", "UPDATE", "ROW",
        "WHEN (NEW.next_host < OLD.next_host)", "a number that was given is never given again by the mark",
    ),
    (
        "interface_pools_stay", "peers_interface", "UPDATE", "ROW",
        "WHEN ((NEW.ipv4_pool, NEW.ipv6_pool, NEW.host) IS DISTINCT FROM (OLD.ipv4_pool, OLD.ipv6_pool, OLD.host)"
        " AND OLD.next_host > 1)",
        "with other pools every address would change",
    ),
]  # fmt: skip


def create(name: str, table: str, events: str, level: str, when: str, message: str) -> str:
    message = message.replace("'", "''")
    return (
        f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH {level} {when} "
        f"EXECUTE FUNCTION latchkey_refuse('{message}');"
    )


class Migration(migrations.Migration):
    dependencies = [("peers", "0001_peers")]

    operations = [
        migrations.RunSQL(REFUSE, "DROP FUNCTION latchkey_refuse();"),
        *(
            migrations.RunSQL(create(*trigger), f"DROP TRIGGER {trigger[0]} ON {trigger[1]};")
            for trigger in TRIGGERS
        ),
    ]
