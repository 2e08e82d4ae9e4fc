"""What the two database roles may do, table by table from the catalogue, and that everything else is refused."""

from contextlib import closing

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, InsufficientPrivilege, RestrictViolation

from deploy.demo.postgres import ROLES_SQL
from peers import services
from tests import rows
from tests.conftest import GATEWAY, WEB
from tests.integration.test_services import revoke

OWN = {"SELECT": "*", "INSERT": "*", "UPDATE": "*", "DELETE": "*"}
READ = {"SELECT": "*"}
NOTHING: dict[str, str] = {}

# Each table with what the portal and what a gateway may do there; "*" is the whole table, otherwise the columns. A new
# table needs a line here. TRUNCATE, REFERENCES and TRIGGER are nobody's.
TABLES = {
    "account_emailaddress": (OWN, NOTHING),
    "account_emailconfirmation": (OWN, NOTHING),
    "auth_group": (OWN, NOTHING),
    "auth_group_permissions": (OWN, NOTHING),
    "auth_permission": (READ, NOTHING),
    "django_admin_log": (OWN, NOTHING),
    "django_content_type": (READ, NOTHING),
    "django_migrations": (READ, NOTHING),
    "django_session": (OWN, NOTHING),
    "peers_apitoken": (
        {"SELECT": "*", "INSERT": "*", "UPDATE": "enrolments last_used_at last_used_from revoked_at revoked_by_id"},
        NOTHING,
    ),
    "peers_auditevent": ({"SELECT": "*", "INSERT": "*"}, {"SELECT": "at id", "INSERT": "*"}),
    "peers_auditseal": ({"SELECT": "*", "INSERT": "*"}, NOTHING),
    "peers_barredkey": (READ, NOTHING),
    "peers_enrollink": ({"SELECT": "*", "INSERT": "*", "UPDATE": "peer_id used_at", "DELETE": "*"}, NOTHING),
    "peers_freednumber": ({"SELECT": "*", "INSERT": "*", "UPDATE": "id", "DELETE": "*"}, NOTHING),
    "peers_gatewaystatus": (READ, {"SELECT": "*", "INSERT": "*", "UPDATE": "*"}),
    "peers_handshaketimestamp": (NOTHING, {"SELECT": "*", "INSERT": "*", "UPDATE": "seen_at tai64n"}),
    "peers_interface": (
        {
            "SELECT": "*",
            "INSERT": "*",
            "UPDATE": "address_rest brake_released_at client_allowed_ips device_limit dns endpoint enrol_groups idle_minutes "
            "ipv4_pool ipv6_pool lease listen_port mode mtu next_host persistent_keepalive use_preshared_keys",
        },
        {"SELECT": "*", "UPDATE": "public_key"},
    ),
    "peers_peer": (
        {
            "SELECT": "*",
            "INSERT": "*",
            "UPDATE": "configured expires_at host name platform preshared_key revoke_reason revoked_at revoked_by_id "
            "suspend_reason suspended_at token_id",
        },
        {"SELECT": "expires_at host id interface_id owner_id preshared_key revoked_at service_account_id suspended_at"},
    ),
    "peers_peerkey": (
        {"SELECT": "*", "INSERT": "*", "UPDATE": "retired_at"},
        {"SELECT": "id peer_id public_key retired_at"},
    ),
    "peers_peerstatus": (READ, {"SELECT": "*", "INSERT": "*", "UPDATE": "*"}),
    "peers_refusedhandshake": (
        {"SELECT": "*", "UPDATE": "told_at"},
        {"SELECT": "*", "INSERT": "count first_at latest_at peer_id", "UPDATE": "count first_at latest_at"},
    ),
    "peers_sealedevent": ({"SELECT": "*", "INSERT": "*"}, NOTHING),
    "peers_serviceaccount": (
        {
            "SELECT": "*",
            "INSERT": "*",
            "UPDATE": "default_ttl device_limit idle_after max_ttl name source_networks suspend_reason suspended_at team",
        },
        {"SELECT": "id suspended_at"},
    ),
    "peers_serviceaccount_interfaces": ({"SELECT": "*", "INSERT": "*", "DELETE": "*"}, READ),
    "peers_trafficsample": (READ, {"SELECT": "*", "INSERT": "*", "DELETE": "*"}),
    "portal_breakglasslink": ({"SELECT": "*", "INSERT": "*", "UPDATE": "*"}, NOTHING),
    "portal_cache": (OWN, NOTHING),
    "portal_count": (OWN, NOTHING),
    "portal_heldloss": (OWN, NOTHING),
    "portal_mail": (OWN, NOTHING),
    "portal_refreshtoken": (OWN, NOTHING),
    "portal_user": (
        {"SELECT": "*", "INSERT": "*", "UPDATE": "*"},
        {"SELECT": "access_ended_at groups_claim id is_active lease_limit signed_in_at"},
    ),
    "portal_user_groups": (OWN, NOTHING),
    "portal_user_user_permissions": (OWN, NOTHING),
    "socialaccount_socialaccount": (OWN, NOTHING),
    "socialaccount_socialapp": (OWN, NOTHING),
    "socialaccount_socialtoken": (OWN, NOTHING),
    "usersessions_usersession": (OWN, NOTHING),
}  # fmt: skip
EXPECTED = {
    (role, table): line[at] for table, line in TABLES.items() for at, role in enumerate((WEB, GATEWAY))
}

PRIVILEGES = """
SELECT r, t.relname, p, has_table_privilege(r, t.oid, p),
       (SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped
          AND p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_column_privilege(r, t.oid, attnum, p))
FROM pg_class t, unnest(ARRAY['latchkey_web', 'latchkey_gateway']) r,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
WHERE t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  AND t.relkind IN ('r', 'p', 'v', 'm', 'f') AND t.relname NOT LIKE 'pg\\_toast%'
"""


def privileges(database):
    """Return what each role may do in each table, from the catalogue."""
    found = {}
    for line in database.sql(PRIVILEGES).splitlines():
        role, table, privilege, whole, columns = line.split("|")
        may = found.setdefault((role, table), {})
        if whole == "t" or columns:
            may[privilege] = "*" if whole == "t" else columns
    return found


def refused(database, role, statement, error=InsufficientPrivilege):
    """Try ``statement`` as ``role`` and see it refused."""
    with (
        closing(psycopg2.connect(database.url(role))) as session,
        session.cursor() as cursor,
        pytest.raises(error),
    ):
        cursor.execute(statement)


def done(database, role, statement):
    """Carry out ``statement`` as ``role``; return how many rows it touched."""
    with closing(psycopg2.connect(database.url(role))) as session, session, session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.rowcount


@pytest.fixture
def laptop(database):
    """Return a peer of an interface with one of everything around it."""
    made = rows.peer(rows.person("alice"), rows.interface())
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, drift_found,"
        f" left_alone, unexplained, held, problem) VALUES ('gw', {made.interface_id}, '1', true, now(), now(), 0, '{{}}',"
        " 0, 0, ''); INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes,"
        f" tx_bytes, held, problem) VALUES ('gw', '{made.pk}', '', true, now(), '', 0, 0, false, '')"
    )
    return made


def audit(kind, gateway=""):
    return (
        "INSERT INTO peers_auditevent (actor_kind, gateway, action, old, new, reason)"
        f" VALUES ('{kind}', '{gateway}', 'x', '{{}}', '{{}}', '')"
    )


# --- The catalogue ---


def test_each_role_has_in_each_table_what_is_written_here_and_nothing_else(database):
    assert privileges(database) == EXPECTED


def test_the_roles_are_granted_twice_as_they_are_once(database):
    for _ in range(2):
        database.sql(ROLES_SQL.read_text())
        assert privileges(database) == EXPECTED


def test_what_was_granted_by_hand_is_taken_back_by_the_next_run(database):
    database.sql(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC, latchkey_web, latchkey_gateway;"
        "GRANT UPDATE (public_key) ON peers_peerkey TO latchkey_web"
    )
    database.sql(ROLES_SQL.read_text())
    assert privileges(database) == EXPECTED


def test_neither_role_has_a_power_of_the_clusters_or_anothers_rights(database):
    powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    assert (
        database.sql(
            f"SELECT count(*), bool_or({powers}) FROM pg_roles WHERE rolname ~ 'latchkey_(web|gateway)'"
        )
        == "2|f"
    )
    member = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname ~ '(web|gateway)$'"
    assert database.sql(member) == "0"
    owned = "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname ~ '_(web|gateway)$'"
    assert database.sql(owned) == "0"


CALLED = {WEB: ["latchkey_addresses", "latchkey_admit", "latchkey_take_number"], GATEWAY: []}


def test_neither_role_may_use_a_sequence_backwards_or_call_more_functions_than_it_needs(database):
    for role in (WEB, GATEWAY):
        assert database.sql(
            f"SELECT count(*) FROM pg_sequence WHERE has_sequence_privilege('{role}', seqrelid, 'UPDATE')"
        ) == "0"  # fmt: skip
        called = database.sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            f" AND has_function_privilege('{role}', oid, 'EXECUTE') ORDER BY proname"
        )  # fmt: skip
        assert called.split() == CALLED[role]


# --- The attempts that matter ---

DDL = {
    "a table": "CREATE TABLE mine (x int)",
    "a temporary table": "CREATE TEMPORARY TABLE mine (x int)",
    "a temporary table by selecting": "SELECT 1 INTO TEMPORARY mine",
    "a schema": "CREATE SCHEMA mine",
    "a view": "CREATE VIEW mine AS SELECT 1",
    "a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a role": "CREATE ROLE mine",
    "a column": "ALTER TABLE peers_peer ADD private_key text",
    "a trigger gone": "DROP TRIGGER peer_stays_revoked ON peers_peer",
    "triggers off": "ALTER TABLE peers_peer DISABLE TRIGGER ALL",
    "triggers off in the session": "SET session_replication_role = replica",
    "row security off": "ALTER TABLE peers_auditevent DISABLE ROW LEVEL SECURITY",
    "a table gone": "DROP TABLE peers_auditevent",
    "a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "a file": "COPY portal_user FROM '/etc/passwd'",
    "the owner's role": "SET ROLE latchkey_owner",
}
KEPT = (
    "peers_peer",
    "peers_peerkey",
    "peers_barredkey",
    "peers_auditevent",
    "peers_interface",
    "peers_serviceaccount",
    "peers_apitoken",
    "portal_user",
)
STATUSES = ("peers_peerstatus", "peers_gatewaystatus")


def test_neither_role_may_change_what_the_database_is(database, subtests):
    for role in (WEB, GATEWAY):
        for what, statement in DDL.items():
            with subtests.test(f"{role}: {what}"):
                refused(database, role, statement)


def test_neither_role_may_delete_or_truncate_what_is_kept(database, laptop, subtests):
    for role in (WEB, GATEWAY):
        for table in (*KEPT, *STATUSES):
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
                with subtests.test(f"{role}: {statement}"):
                    refused(database, role, statement)


WEB_MAY_NOT = {
    "rewrite the audit": "UPDATE peers_auditevent SET reason = 'x'",
    "write a gateway's receipt": (audit("gateway", "gw"), InsufficientPrivilege),
    "change a key": f"UPDATE peers_peerkey SET public_key = '{rows.public_key()}'",
    "give a key to another peer": "UPDATE peers_peerkey SET peer_id = gen_random_uuid()",
    "give a peer to another person": "UPDATE peers_peer SET owner_id = owner_id",
    "give a peer to an account": "UPDATE peers_peer SET service_account_id = service_account_id",
    "give a token another secret": "UPDATE peers_apitoken SET token_hash = ''",
    "give a token to another": "UPDATE peers_apitoken SET service_account_id = service_account_id",
    "make a token good for more": "UPDATE peers_apitoken SET scopes = '{peers:revoke}'",
    "prolong a token": "UPDATE peers_apitoken SET expires_at = now()",
    "make a token good for more devices": "UPDATE peers_apitoken SET use_limit = NULL",
    "say when an account was made": "UPDATE peers_serviceaccount SET made_at = now()",
    "move what an account may to another": "UPDATE peers_serviceaccount_interfaces SET serviceaccount_id = 1",
    "move a peer to another interface": "UPDATE peers_peer SET interface_id = interface_id",
    "publish an interface's key": "UPDATE peers_interface SET public_key = NULL",
    "say what is on the interface": "UPDATE peers_peerstatus SET present = true",
    "invent what is on the interface": "INSERT INTO peers_peerstatus SELECT * FROM peers_peerstatus",
    "invent what went through a tunnel": "INSERT INTO peers_trafficsample SELECT * FROM peers_trafficsample",
    "forget what went through a tunnel": "DELETE FROM peers_trafficsample",
    "bar a key of somebody's": "INSERT INTO peers_barredkey VALUES ('')",
    "let a barred key in again": "UPDATE peers_barredkey SET fingerprint = ''",
    "choose which number is free": "UPDATE peers_freednumber SET host = 7",
    "prolong a link": "UPDATE peers_enrollink SET expires_at = now()",
    "give a link to another person": "UPDATE peers_enrollink SET owner_id = owner_id",
    "give a link to another session": "UPDATE peers_enrollink SET session_id = session_id",
    "give a link another token": "UPDATE peers_enrollink SET token_hash = ''",
    "speak for a gateway": "UPDATE peers_gatewaystatus SET heartbeat_at = now()",
}
GATEWAY_MAY_NOT = {
    "read names": "SELECT name FROM portal_user",
    "read e-mails": "SELECT email FROM portal_user",
    "read subjects": "SELECT sub FROM portal_user",
    "read passwords": "SELECT password FROM portal_user",
    "read what devices are called": "SELECT name FROM peers_peer",
    "read why devices were revoked": "SELECT revoke_reason FROM peers_peer",
    "read why devices were suspended": "SELECT suspend_reason FROM peers_peer",
    "read why people were suspended": "SELECT suspend_reason FROM portal_user",
    "read what accounts are called": "SELECT name FROM peers_serviceaccount",
    "read why accounts were suspended": "SELECT suspend_reason FROM peers_serviceaccount",
    "read tokens": "SELECT token_hash FROM peers_apitoken",
    "read who calls how often": "SELECT key FROM portal_count",
    "restore an account": "UPDATE peers_serviceaccount SET suspended_at = NULL",
    "let an account in": "INSERT INTO peers_serviceaccount_interfaces (serviceaccount_id, interface_id) VALUES (1, 1)",
    "write as an account": (audit("machine"), InsufficientPrivilege),
    "read links": "SELECT token_hash FROM peers_enrollink",
    "read letters": 'SELECT "to" FROM portal_mail',
    "read barred keys": "SELECT fingerprint FROM peers_barredkey",
    "change what went through a tunnel": "UPDATE peers_trafficsample SET rx_bytes = 0",
    "take a freed number": "DELETE FROM peers_freednumber",
    "read everything of a peer": "SELECT * FROM peers_peer",
    "read sessions": "SELECT * FROM django_session",
    "read tokens of the provider": "SELECT * FROM socialaccount_socialtoken",
    "read who did what": "SELECT actor_id FROM peers_auditevent",
    "rewrite the audit": "UPDATE peers_auditevent SET reason = 'x'",
    "write as a person": (audit("person"), InsufficientPrivilege),
    "write as a command": (audit("command"), InsufficientPrivilege),
    "enrol": "INSERT INTO peers_peer (id) VALUES (gen_random_uuid())",
    "revoke": "UPDATE peers_peer SET revoked_at = now()",
    "restore": "UPDATE peers_peer SET suspended_at = NULL",
    "retire a key": "UPDATE peers_peerkey SET retired_at = now()",
    "enrol a key": (
        f"INSERT INTO peers_peerkey (peer_id, public_key, enrolled_at) SELECT id, '{rows.public_key()}', now() FROM peers_peer"
    ),
    "let a person in": "UPDATE portal_user SET is_active = true",
    "prolong a lease": "UPDATE portal_user SET signed_in_at = now()",
    "make an interface": "INSERT INTO peers_interface (name) VALUES ('wg9')",
    "move an interface": "UPDATE peers_interface SET endpoint = 'evil.example:1'",
    "let go its own brake": "UPDATE peers_interface SET brake_released_at = now()",
    "publish another key": (
        f"UPDATE peers_interface SET public_key = '{rows.public_key()}'",
        RestrictViolation,
    ),
    "withdraw a published key": ("UPDATE peers_interface SET public_key = NULL", RestrictViolation),
}


@pytest.mark.parametrize(
    ("role", "table"), [(WEB, WEB_MAY_NOT), (GATEWAY, GATEWAY_MAY_NOT)], ids=[WEB, GATEWAY]
)
def test_a_role_may_not(database, laptop, subtests, role, table):
    for what, attempt in table.items():
        with subtests.test(what):
            refused(database, role, *((attempt,) if isinstance(attempt, str) else attempt))


def test_the_portal_cannot_undo_a_revocation_or_take_a_retired_key_into_use(database, laptop):
    revoke(laptop, laptop.owner)
    for statement in (
        "UPDATE peers_peer SET revoked_at = NULL, revoked_by_id = NULL, revoke_reason = ''",
        "UPDATE peers_peer SET revoked_at = now() + interval '1 day'",
        "UPDATE peers_peerkey SET retired_at = NULL",
        "UPDATE peers_peerkey SET retired_at = now()",
    ):
        refused(database, WEB, statement, RestrictViolation)


def test_a_gateway_cannot_act_in_a_persons_name_even_as_a_gateway(database, laptop):
    as_person = (
        audit("gateway", "gw")
        .replace("(actor_kind", "(actor_id, actor_kind")
        .replace("('", f"({laptop.owner_id}, '", 1)
    )
    refused(database, GATEWAY, as_person, CheckViolation)


def test_each_role_may_do_its_work(database, laptop):
    unpublished = rows.interface("wg1", public_key=None)
    key = rows.public_key()
    publish = (
        f"UPDATE peers_interface SET public_key = '{key}' WHERE id = {unpublished.pk} AND public_key IS NULL"
    )
    assert done(database, GATEWAY, publish) == 1
    assert done(database, GATEWAY, audit("gateway", "gw")) == 1
    assert done(database, GATEWAY, "UPDATE peers_peerstatus SET present = false") == 1
    assert done(database, WEB, audit("person")) == 1
    assert services.rename(actor=services.Actor(), peer=laptop, name="new").name == "new"
