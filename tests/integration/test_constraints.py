"""What the database itself refuses, whatever the code does: every statement here is the owner's."""

from datetime import timedelta

import psycopg2
import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from peers.models import ApiToken, EnrolLink, GatewayStatus, ServiceAccount
from tests import rows
from tests.conftest import OWNER
from tests.integration.test_services import revoke

KEY, OTHER_KEY = rows.public_key(), rows.public_key()


def interface(**columns):
    """Return the statement that inserts an interface as it should be, but for ``columns``."""
    values = {
        "name": "wg9", "endpoint": "vpn.example.com:1", "listen_port": 51820, "host": 1, "ipv4_pool": "172.16.0.0/24",
        "ipv6_pool": None, "dns": "{}", "client_allowed_ips": "{}", "mtu": 1420, "persistent_keepalive": 25,
        "use_preshared_keys": False, "mode": "push", "lease": "7 days", "address_rest": "1 day", "device_limit": 10,
        "enrol_groups": "{}", "next_host": 1, "public_key": None, **columns,
    }  # fmt: skip
    return insert("peers_interface", values)


def peer(**columns):
    values = {
        "id": "00000000-0000-0000-0000-000000000001", "interface_id": "$interface", "owner_id": "$owner", "name": "x",
        "platform": "linux", "host": 99, "preshared_key": "", "enrolled_at": "now", "revoke_reason": "", **columns,
    }  # fmt: skip
    return insert("peers_peer", values)


def account(**columns):
    values = {
        "name": "builders-2", "team": "builders", "device_limit": 100, "default_ttl": "1 hour", "max_ttl": "1 day",
        "idle_after": None, "source_networks": "{}", **columns,
    }  # fmt: skip
    return insert("peers_serviceaccount", values)


def token(**columns):
    values = {
        "name": "x", "beginning": "latchkey_abcdefgh", "token_hash": "c" * 64, "service_account_id": "$account",
        "owner_id": None, "scopes": "{peers:enrol,peers:read}", "made_at": "2026-01-01 12:00Z",
        "expires_at": "2026-01-02 12:00Z", "use_limit": None, "enrolments": 0, **columns,
    }  # fmt: skip
    return insert("peers_apitoken", values)


def key(**columns):
    return insert(
        "peers_peerkey", {"peer_id": "$peer", "public_key": OTHER_KEY, "enrolled_at": "now", **columns}
    )


def audit(**columns):
    values = {
        "actor_kind": "person",
        "gateway": "",
        "action": "x",
        "old": "{}",
        "new": "{}",
        "reason": "",
        **columns,
    }
    return insert("peers_auditevent", values)


def user(**columns):
    values = {
        "password": "!", "is_superuser": False, "issuer": "https://a", "sub": "b", "email": "", "name": "",
        "groups_claim": "{}", "is_active": True, "is_staff": False, "date_joined": "now", **columns,
    }  # fmt: skip
    return insert("portal_user", values)


def refresh_token(**columns):
    values = {
        "person_id": "$owner", "provider": "corp", "token": "x", "obtained_at": "now", "due_at": "now", "failures": 0,
        "unsure": "false", "trouble": "", **columns,
    }  # fmt: skip
    return insert("portal_refreshtoken", values)


def held(**columns):
    return insert(
        "portal_heldloss", {"person_id": "$owner", "reason": "refused", "found_at": "now", **columns}
    )


def seal(**columns):
    return insert("peers_auditseal", {"previous": r"\x00", "digest": r"\x01", "events": 1, **columns})


def link(**columns):
    values = {
        "id": "00000000-0000-0000-0000-000000000003", "token_hash": "b" * 64, "owner_id": "$owner",
        "interface_id": "$interface", "session_id": "$session", "made_at": "2026-01-01 12:00Z",
        "expires_at": "2026-01-01 12:10Z", "used_at": None, "peer_id": None, **columns,
    }  # fmt: skip
    return insert("peers_enrollink", values)


def sample(**columns):
    values = {
        "gateway_id": "$gateway", "peer_id": "$peer", "at": "2026-01-01 12:00Z", "rx_bytes": 1, "tx_bytes": 1, **columns,
    }  # fmt: skip
    return insert("peers_trafficsample", values)


def freed(**columns):
    return insert("peers_freednumber", {"interface_id": "$interface", "host": 99, **columns})


def mail(**columns):
    values = {
        '"to"': "a@example.com", "subject": "x", "body": "x\ny", "queued_at": "now", "due_at": "now", "tries": 0, **columns,
    }  # fmt: skip
    return insert("portal_mail", values)


def bar(public_key="$key"):
    return f"INSERT INTO peers_barredkey SELECT sha256(convert_to('{public_key}', 'UTF8'))"


def insert(table, values):
    texts = ("NULL" if value is None else f"'{value}'" for value in values.values())
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(texts)})"


STATUS = insert(
    "peers_peerstatus",
    {"gateway": "gw", "peer_id": "$peer", "public_key": "", "present": True, "since": "now", "endpoint": "",
     "rx_bytes": 0, "tx_bytes": 0, "held": False, "problem": ""},
)  # fmt: skip
GATEWAY_STATUS = insert(
    "peers_gatewaystatus",
    {"gateway": "gw", "interface_id": "$interface", "version": "1", "attached": True, "started_at": "now",
     "heartbeat_at": "now", "drift_found": 0, "left_alone": "{}", "unexplained": 0, "held": 0, "problem": ""},
)  # fmt: skip

ALLOW = insert(
    "peers_serviceaccount_interfaces", {"serviceaccount_id": "$account", "interface_id": "$interface"}
)

# What is tried, and the constraint or the trigger's sentence that refuses it. $interface, $owner, $peer and $key are
# those of an enrolled peer on 10.0.0.0/24 and fd00::/64 with number 2.
REFUSED = {
    "an interface's name with a slash": (interface(name="a/b"), "interface_name"),
    "an interface's name that is an option": (interface(name="-h"), "interface_name"),
    "an empty interface's name": (interface(name=""), "interface_name"),
    "an interface's name with a line after it": (interface(name="wg1\nx"), "interface_name"),
    "two interfaces of one name": (interface(name="wg0"), "peers_interface_name_key"),
    "two interfaces of one key": (interface(public_key="$key of wg0"), "peers_interface_public_key_key"),
    "a public key that is no key": (interface(public_key="x" * 44), "interface_public_key"),
    "an interface without a pool": (interface(ipv4_pool=None), "interface_has_a_pool"),
    "port 0": (interface(listen_port=0), "interface_listen_port"),
    "port 65536": (interface(listen_port=65536), "interface_listen_port"),
    "an MTU below IPv6's least": (interface(mtu=1279), "interface_mtu"),
    "a keepalive beyond wg(8)'s": (interface(persistent_keepalive=65536), "interface_persistent_keepalive"),
    "a mode that nobody knows": (interface(mode="pull"), "interface_mode"),
    "so soon idle that its client is left blind": (interface(idle_minutes=3), "interface_idle_minutes"),
    "a handshake's timestamp cut short": (
        "INSERT INTO peers_handshaketimestamp (key_id, tai64n, seen_at) SELECT id, '\\x40000000', now() FROM peers_peerkey",
        "handshaketimestamp_tai64n",
    ),
    "handshakes refused before the first of them": (
        "INSERT INTO peers_refusedhandshake (peer_id, count, first_at, latest_at) VALUES ('$peer', 1, 'now', 'yesterday')",
        "refusedhandshake_order",
    ),
    "the pool's own address as the interface's": (interface(host=0), "interface_host"),
    "a mark below the first number": (interface(next_host=0), "interface_host"),
    "a lease of no time": (interface(lease="0"), "interface_durations"),
    "a rest that is negative": (interface(address_rest="-1 s"), "interface_durations"),
    "the same IPv4 pool": (interface(ipv4_pool="10.0.0.0/24"), "interface_ipv4_pool_overlaps"),
    "an IPv4 pool within another": (interface(ipv4_pool="10.0.0.128/25"), "interface_ipv4_pool_overlaps"),
    "an IPv4 pool around another": (interface(ipv4_pool="10.0.0.0/8"), "interface_ipv4_pool_overlaps"),
    "an IPv6 pool within another": (interface(ipv6_pool="fd00::/96"), "interface_ipv6_pool_overlaps"),
    "a number that another peer has": (peer(host=2), "peer_host"),
    "number 0": (peer(host=0), "peer_host_positive"),
    "an expiry that no calendar holds": (peer(expires_at="20000-01-01"), "peer_expires_at"),
    "an expiry without end": (peer(expires_at="infinity"), "peer_expires_at"),
    "a peer without a name": (peer(name=""), "peer_name"),
    "a name of two lines": (peer(name="a\nPostUp = rm -rf /"), "peer_name"),
    "a platform that nobody knows": (peer(platform="amiga"), "peer_platform"),
    "a reason without a revocation": (peer(revoke_reason="why"), "peer_revoked"),
    "a revoker without a revocation": (peer(revoked_by_id="$owner"), "peer_revoked"),
    "a reason without a suspension": (peer(suspend_reason="why"), "peer_suspended"),
    "a suspension that no calendar holds": (peer(suspended_at="20000-01-01"), "peer_suspended"),
    "a peer of nobody": (peer(owner_id="999999"), "peers_peer_owner_id"),
    "a peer of no account": (peer(owner_id=None, service_account_id="999999"), "peers_peer_service_account_id"),
    "a peer that is nobody's": (peer(owner_id=None), "peer_one_holder"),
    "a peer of a person and of an account": (peer(service_account_id="$account"), "peer_one_holder"),
    "a peer by no token": (peer(token_id="999999"), "peers_peer_token_id"),
    "a peer nowhere": (peer(interface_id="999999"), "peers_peer_interface_id"),
    "a key that was enrolled before": (key(public_key="$key"), "peers_peerkey_public_key_key"),
    "a second key in use": (key(), "peerkey_one_in_use"),
    "a key that is no key": (key(public_key="y" * 44), "peerkey_public_key"),
    "a key that an interface has": (key(public_key="$key of wg0", retired_at="now"), "peerkey_not_an_interfaces"),
    "an account without a name": (account(name=""), "serviceaccount_name"),
    "an account's name of two lines": (account(name="a\nb"), "serviceaccount_name"),
    "an account's team of two lines": (account(team="a\nb"), "serviceaccount_name"),
    "an interface allowed twice": (
        f"{ALLOW}; {ALLOW}", "peers_serviceaccount_int_serviceaccount_id_interf_400792ed_uniq",
    ),
    "two accounts of one name": (account(name="builders"), "peers_serviceaccount_name_key"),
    "a time shorter than a minute": (account(default_ttl="59 s"), "serviceaccount_ttl"),
    "a longest time shorter than a minute": (account(default_ttl="59 s", max_ttl="59 s"), "serviceaccount_ttl"),
    "a usual time beyond the longest": (account(default_ttl="2 days"), "serviceaccount_ttl"),
    "a longest time without a usual one": (account(default_ttl=None), "serviceaccount_ttl"),
    "a usual time beyond ten years": (account(default_ttl="11 years", max_ttl=None), "serviceaccount_ttl"),
    "a longest time beyond ten years": (account(max_ttl="11 years"), "serviceaccount_ttl"),
    "idle before a session in use shakes hands": (account(idle_after="299 s"), "serviceaccount_idle_after"),
    "a reason for an account that is not suspended": (account(suspend_reason="why"), "serviceaccount_suspended"),
    "an account suspended beyond all time": (account(suspended_at="20000-01-01"), "serviceaccount_suspended"),
    "a token that is nobody's": (token(service_account_id=None), "apitoken_one_holder"),
    "a token of a person and of an account": (token(owner_id="$owner"), "apitoken_one_holder"),
    "a token that is good for nothing": (token(scopes="{}"), "apitoken_scopes"),
    "a token that is good for what nobody knows": (token(scopes="{peers:read,root}"), "apitoken_scopes"),
    "a token without a name": (token(name=""), "apitoken_name"),
    "a token's name of two lines": (token(name="a\nb"), "apitoken_name"),
    "a token that is over before it is made": (token(expires_at="2026-01-01 12:00Z"), "apitoken_expires_at"),
    "a token without end": (token(expires_at="infinity"), "apitoken_expires_at"),
    "a token for no device": (token(use_limit=0), "apitoken_use_limit"),
    "a token that made more than it may": (token(use_limit=1, enrolments=2), "apitoken_use_limit"),
    "a revoker of a token that is not revoked": (token(revoked_by_id="$owner"), "apitoken_revoked"),
    "one hash of two tokens": (f"{token()}; {token()}", "peers_apitoken_token_hash_key"),
    "a token's secret changed": ("UPDATE peers_apitoken SET token_hash = ''", "stays as it was made"),
    "a token given to another": ("UPDATE peers_apitoken SET service_account_id = 7", "stays as it was made"),
    "a token good for more": ("UPDATE peers_apitoken SET scopes = '{peers:revoke}'", "stays as it was made"),
    "a token prolonged": ("UPDATE peers_apitoken SET expires_at = expires_at + interval '1 y'", "stays as it was made"),
    "a token good for more devices": ("UPDATE peers_apitoken SET use_limit = NULL", "stays as it was made"),
    "a revoked token taken into use": (
        f"{token(revoked_at='now')}; UPDATE peers_apitoken SET revoked_at = NULL", "a revoked token stays revoked",
    ),
    "a token revoked at another time": (
        f"{token(revoked_at='now')}; UPDATE peers_apitoken SET revoked_at = now() + interval '1 day'",
        "a revoked token stays revoked",
    ),
    "a count twice": ("INSERT INTO portal_count VALUES ('a', 1, now()), ('a', 1, now())", "portal_count_pkey"),
    "a key with a bit too many": (key(public_key="A" * 42 + "B="), "peerkey_public_key"),
    "a link used for nothing": (link(used_at="2026-01-01 12:01Z"), "enrollink_used"),
    "what a link enrolled before its use": (link(peer_id="$peer"), "enrollink_used"),
    "a link used too late": (link(used_at="2026-01-01 12:10Z", peer_id="$peer"), "enrollink_used"),
    "two links of one token": (link(token_hash="a" * 64), "peers_enrollink_token_hash_key"),
    "a link of no session": (link(session_id="x"), "peers_enrollink_session_id"),
    "a freed number twice": (f"{freed()}; {freed()}", "freednumber_host"),
    "number 0 freed": (freed(host=0), "freednumber_host_positive"),
    "a quarter of an hour twice": (f"{sample()}; {sample()}", "trafficsample_once"),
    "a letter's subject of two lines": (mail(subject="x\nBcc: everyone@example.com"), "mail_subject"),
    "a status twice": (f"{STATUS}; {STATUS}", "peerstatus_gateway_peer"),
    "a gateway twice": (f"{GATEWAY_STATUS}; {GATEWAY_STATUS}", "gatewaystatus_gateway_interface"),
    "a person's act by a gateway": (audit(gateway="gw"), "auditevent_actor"),
    "a gateway's act by a person": (audit(actor_kind="gateway", gateway="gw", actor_id="$owner"), "auditevent_actor"),
    "an account's act without a token": (audit(actor_kind="machine"), "auditevent_actor"),
    "an account's act by a person": (
        audit(actor_kind="machine", token_id="$token", actor_id="$owner"), "auditevent_actor",
    ),
    "an account's act by a gateway": (
        audit(actor_kind="machine", token_id="$token", gateway="gw"), "auditevent_actor",
    ),
    "a command's act with a token": (audit(actor_kind="command", token_id="$token"), "auditevent_actor"),
    "a gateway's act with a token": (
        audit(actor_kind="gateway", gateway="gw", token_id="$token"), "auditevent_actor",
    ),
    "an act with a revoked token": (
        f"UPDATE peers_apitoken SET revoked_at = now(); {audit(actor_kind='machine', token_id='$token')}", "auditevent_token",
    ),
    "an act of nobody known": (audit(actor_kind="ghost"), "auditevent_actor"),
    "one identity twice": (f"{user()}; {user()}", "user_identity"),
    "a sign-in that no calendar holds": (user(signed_in_at="294276-12-31"), "user_signed_in_at"),
    "a person without an issuer": (user(issuer=""), "user_has_identity"),
    "a person without a subject": (user(sub=""), "user_has_identity"),
    "a reason for a person who is not suspended": (user(suspend_reason="why", is_active=False), "user_suspended"),
    "an active person who is suspended": (user(suspended_at="now"), "user_suspended"),
    "a person suspended beyond all time": (user(suspended_at="20000-01-01", is_active=False), "user_suspended"),
    "a sign-in that counts for no time": (user(lease_limit="0"), "user_lease_limit"),
    "a sign-in that counts for ever": (user(lease_limit="20 years"), "user_lease_limit"),
    "access that ended for no reason": (user(access_ended_at="now"), "user_access_ended"),
    "a reason for access that lasts": (user(access_end_reason="refused"), "user_access_ended"),
    "access that ended for a reason that nobody knows": (
        user(access_ended_at="now", access_end_reason="mood"), "user_access_ended",
    ),
    "access that ended beyond all time": (
        user(access_ended_at="20000-01-01", access_end_reason="refused"), "user_access_ended",
    ),
    "a refresh token that is none": (refresh_token(token=""), "refreshtoken_not_empty"),
    "a person with two refresh tokens": (f"{refresh_token()}; {refresh_token()}", "portal_refreshtoken_pkey"),
    "a loss that is held for a reason that nobody knows": (held(reason="mood"), "heldloss_reason"),
    "a loss that is released by nobody": (held(released_at="now"), "heldloss_released"),
    "a loss that somebody released at no time": (held(released_by_id="$owner"), "heldloss_released"),
    "a person with two losses that are held": (f"{held()}; {held()}", "portal_heldloss_pkey"),
    "a seal of nothing": (seal(events=0), "auditseal_events"),
    "two seals after one": (f"{seal()}; {seal(digest='x')}", "peers_auditseal_previous_key"),
    "a seal twice": (f"{seal()}; {seal(previous='x')}", "peers_auditseal_digest_key"),
    "a seal changed": (f"{seal()}; UPDATE peers_auditseal SET events = 2", "a seal of the audit stays"),
    "all seals broken": ("TRUNCATE peers_sealedevent", "a seal of the audit stays"),
    "a seal broken": (f"{seal()}; DELETE FROM peers_auditseal", "a seal of the audit stays"),
    "an audit row changed": ("UPDATE peers_auditevent SET reason = 'x'", "the audit is append-only"),
    "an audit row deleted": ("DELETE FROM peers_auditevent", "the audit is append-only"),
    "the audit emptied": ("TRUNCATE peers_auditevent CASCADE", "the audit is append-only"),
    "everything emptied": ("TRUNCATE portal_user CASCADE", "the audit is append-only"),
    "a key changed": (f"UPDATE peers_peerkey SET public_key = '{OTHER_KEY}'", "a key is retired once"),
    "a key given to another peer": ("UPDATE peers_peerkey SET peer_id = gen_random_uuid()", "a key is retired once"),
    "a key deleted": ("DELETE FROM peers_peerkey", "a key is never deleted before it is barred"),
    "a key that was barred": (f"{bar(OTHER_KEY)}; {key(retired_at='now')}", "peerkey_barred"),
    "a key barred twice": (f"{bar()}; {bar()}", "peers_barredkey_pkey"),
    "a barred key let in again": (f"{bar()}; DELETE FROM peers_barredkey", "a barred key stays barred"),
    "a barred key's fingerprint changed": (
        f"{bar()}; UPDATE peers_barredkey SET fingerprint = ''", "a barred key stays barred",
    ),
    "all barred keys let in again": ("TRUNCATE peers_barredkey", "a barred key stays barred"),
    "a peer given away": ("UPDATE peers_peer SET owner_id = owner_id + 1", "a peer stays its owner's"),
    "a person's peer given to an account": (
        "UPDATE peers_peer SET owner_id = NULL, service_account_id = $account", "a peer stays its owner's",
    ),
    "a peer moved": ("UPDATE peers_peer SET interface_id = interface_id + 1", "a peer stays its owner's"),
    "a peer's id changed": ("UPDATE peers_peer SET id = gen_random_uuid()", "a peer stays its owner's"),
    "the mark of given numbers put back": ("UPDATE peers_interface SET next_host = 1", "never given again"),
    "a published key changed": (f"UPDATE peers_interface SET public_key = '{KEY}'", "every client would fail"),
    "a published key withdrawn": ("UPDATE peers_interface SET public_key = NULL", "every client would fail"),
    "a pool moved under its peers": ("UPDATE peers_interface SET ipv4_pool = '10.1.0.0/24'", "every address would change"),
    "a pool dropped under its peers": ("UPDATE peers_interface SET ipv6_pool = NULL", "every address would change"),
    "the interface's number moved": ("UPDATE peers_interface SET host = 9", "every address would change"),
}  # fmt: skip
REFUSED_ONCE_REVOKED = {
    "restored": (
        "UPDATE peers_peer SET revoked_at = NULL, revoked_by_id = NULL, revoke_reason = ''",
        "stays revoked",
    ),
    "revoked at another time": ("UPDATE peers_peer SET revoked_at = now() - interval '1 y'", "stays revoked"),
    "its key in use again": ("UPDATE peers_peerkey SET retired_at = NULL", "a key is retired once"),
    "its key retired again": ("UPDATE peers_peerkey SET retired_at = now()", "a key is retired once"),
}
TAKEN = {
    "an interface": interface(),
    "one with both pools": interface(ipv6_pool="fd01::/64"),
    "a peer": peer(),
    "a machine": peer(owner_id=None, service_account_id="$account", token_id="$token"),
    "an account": account(),
    "an account whose machines never end": account(default_ttl=None, max_ttl=None),
    "an account whose machines may stay for ten years": account(max_ttl=None),
    "an account of whose machines the idle ones end": account(idle_after="5 minutes"),
    "a suspended account": account(suspended_at="now", suspend_reason="why"),
    "an account that calls from two networks": account(source_networks="{10.0.0.0/8,fd00::/8}"),
    "a token of an account": token(),
    "a token of a person": token(service_account_id=None, owner_id="$owner"),
    "a revoked token": token(revoked_at="now", revoked_by_id="$owner"),
    "a token that made all that it may": token(use_limit=2, enrolments=2),
    "a token in use": "UPDATE peers_apitoken SET last_used_at = now(), last_used_from = '::1', enrolments = 1",
    "a token revoked": "UPDATE peers_apitoken SET revoked_at = now(), revoked_by_id = $owner",
    "an act of an account": audit(actor_kind="machine", token_id="$token", service_account_id="$account"),
    "an act of a person by a program": audit(actor_id="$owner", token_id="$token"),
    "a peer without a number": f"{peer(host=None)}; {peer(host=None, id='00000000-0000-0000-0000-000000000002')}",
    "a revoked peer": peer(revoked_at="now", revoke_reason="why", revoked_by_id="$owner"),
    "a suspended peer": peer(suspended_at="now", suspend_reason="why"),
    "a peer suspended without a word": peer(suspended_at="now"),
    "a link": link(),
    "a used link": link(used_at="2026-01-01 12:09:59Z", peer_id="$peer"),
    "a freed number": freed(),
    "a sample": sample(),
    "a letter": mail(),
    "a seal": seal(),
    "a refresh token": refresh_token(),
    "a loss that is held": held(groups="{staff}"),
    "a person whose access has ended": user(access_ended_at="now", access_end_reason="group_lost"),
    "a person whose sign-in counts for a day": user(lease_limit="1 day"),
    "a key that goes once it is barred": f"{bar()}; DELETE FROM peers_peerkey",
    "an event of a peer that is gone": audit(peer_id="00000000-0000-0000-0000-000000000009"),
    "a suspended person": user(is_active=False, suspended_at="now", suspend_reason="why"),
    "a person suspended before anybody wrote down when": user(is_active=False),
    "a status": STATUS,
    "a gateway's status": GATEWAY_STATUS,
    "a person": user(),
    "an act of a gateway": audit(actor_kind="gateway", gateway="gw"),
    "an act of a command": audit(actor_kind="command"),
}


@pytest.fixture
def laptop(database):
    on = rows.interface(ipv4_pool="10.0.0.0/24", ipv6_pool="fd00::/64")
    made = rows.peer(rows.person("alice"), on)
    at = timezone.now()
    Session.objects.create(session_key="of-alice", session_data="", expire_date=at + timedelta(days=1))
    EnrolLink.objects.create(
        token_hash="a" * 64, owner=made.owner, interface=on, session_id="of-alice", made_at=at, expires_at=at,
    )  # fmt: skip
    database.sql(GATEWAY_STATUS.replace("$interface", str(on.pk)).replace("'gw'", "'first'"))
    rows.token(rows.account(name="builders"), use_limit=5)
    return made


@pytest.fixture
def attempt(database, laptop):
    """Give a function that carries out a statement as the owner, checks it to the end and undoes it."""
    names = {
        "$key of wg0": laptop.interface.public_key, "$key": laptop.key.public_key, "$interface": laptop.interface_id,
        "$owner": laptop.owner_id, "$peer": laptop.pk, "$session": "of-alice",
        "$gateway": GatewayStatus.objects.get().pk, "$account": ServiceAccount.objects.get().pk,
        "$token": ApiToken.objects.get().pk,
    }  # fmt: skip
    session = psycopg2.connect(database.url(OWNER))

    def tried(statement):
        for name, value in names.items():
            statement = statement.replace(name, str(value))
        try:
            with session.cursor() as cursor:
                cursor.execute(statement)
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            session.rollback()

    yield tried
    session.close()


def refuse(attempt, statement, reason):
    """Try ``statement``; it must be refused by the constraint, or with the sentence, ``reason``."""
    with pytest.raises(psycopg2.IntegrityError) as caught:
        attempt(statement)
    name = caught.value.diag.constraint_name
    assert name.startswith(reason) if name else reason in caught.value.diag.message_primary


def test_the_database_takes_what_is_as_it_should_be(attempt, subtests):
    for what, statement in TAKEN.items():
        with subtests.test(what):
            attempt(statement)


def test_the_database_refuses_what_no_code_should_write(attempt, subtests):
    for what, (statement, reason) in REFUSED.items():
        with subtests.test(what):
            refuse(attempt, statement, reason)


def test_the_database_refuses_to_undo_a_revocation(attempt, laptop, subtests):
    revoke(laptop, laptop.owner)
    for what, (statement, reason) in REFUSED_ONCE_REVOKED.items():
        with subtests.test(what):
            refuse(attempt, statement, reason)


def test_every_constraint_of_our_own_is_tried(database):
    ours = "SELECT conname FROM pg_constraint WHERE conrelid::regclass::text ~ '^(peers_|portal_(user|mail|refreshtoken|heldloss)$)' AND contype IN ('c', 'x')"
    unique = (
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique"
        " AND NOT i.indisprimary AND i.indrelid::regclass::text ~ '^(peers_|portal_(user|mail|refreshtoken|heldloss)$)'"
    )
    tried = {reason for _, reason in REFUSED.values()}
    made_by_django = "_check"  # a PositiveIntegerField's own
    found = {
        name for name in database.sql(f"{ours} UNION {unique}").split() if not name.endswith(made_by_django)
    }
    assert found <= tried


SENTENCES = """
SELECT coalesce(substring(pg_get_triggerdef(t.oid) FROM $x$latchkey_refuse\\('(.*)'\\)$x$),
                substring(p.prosrc FROM $$RAISE EXCEPTION '([^%']*)'$$), tgname)
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT tgisinternal
"""


def test_every_trigger_of_our_own_is_tried(database):
    sentences = [sentence.replace("''", "'") for sentence in database.sql(SENTENCES).splitlines()]
    tried = [reason for _, reason in (*REFUSED.values(), *REFUSED_ONCE_REVOKED.values())]
    assert len(sentences) == int(database.sql("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"))
    assert [sentence for sentence in sentences if not any(reason in sentence for reason in tried)] == []


def test_a_pool_may_move_before_its_first_number_is_given(database):
    on = rows.interface()
    database.sql(f"UPDATE peers_interface SET ipv4_pool = '192.168.7.0/24' WHERE id = {on.pk}")
    on.refresh_from_db()
    assert str(on.ipv4_pool) == "192.168.7.0/24"


def test_no_column_anywhere_could_be_for_a_private_key(database):
    columns = database.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ).split()
    assert "public_key" in columns
    assert not [name for name in columns if "private" in name or "priv_" in name]
    keys = {name for name in columns if "key" in name}
    assert keys == {
        "public_key",
        "preshared_key",
        "use_preshared_keys",
        "session_key",
        "cache_key",
        "key",
        "key_id",
    }


def test_a_number_is_released_when_its_peer_is_revoked(laptop):
    with connection.cursor() as cursor:
        cursor.execute("SELECT released_at FROM peers_peer")
        assert cursor.fetchone() == (None,)
    revoke(laptop, laptop.owner)
    laptop.refresh_from_db()
    assert laptop.released_at == laptop.revoked_at
