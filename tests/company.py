"""A large company, straight into the tables: people with devices in every state, for what pages cost at that size."""

from peers.models import Interface
from tests.scene import made_up_key

AT_ONCE = 10_000


def fill(database, wg0: Interface, *, people: int, peers: int) -> None:
    """Make ``people`` and spread ``peers`` over them: one in five revoked, and of the rest one in three connected.

    A gateway called ``gw`` holds ``wg0`` and has just reported, with samples of the last hour; the audit has every enrolment.
    """
    _people(database, people)
    _peers(database, wg0, people, peers)
    _keys(database, peers)
    _reports(database, wg0)
    _past(database, wg0)
    database.sql("VACUUM ANALYZE")


def _people(database, people: int) -> None:
    database.sql(
        f"""INSERT INTO portal_user (password, is_superuser, issuer, sub, email, name, groups_claim, is_active, is_staff,
                date_joined, signed_in_at)
            SELECT '!', false, 'https://idp.example.com', 'sub-' || n, 'person.' || n || '@example.com',
                (ARRAY['Ada','Grace','Linus','Edsger','Barbara','Jason'])[1 + n % 6] || ' ' ||
                (ARRAY['Lovelace','Hopper','Torvalds','Dijkstra','Liskov'])[1 + n % 5] || ' ' || n,
                '{{employees}}', n % 50 > 0, false, now(), now() - n % 9 * interval '1 day'
            FROM generate_series(1, {people}) n"""
    )


def _peers(database, wg0: Interface, people: int, peers: int) -> None:
    database.sql(
        f"""WITH owner AS (SELECT array_agg(id ORDER BY id) ids FROM portal_user WHERE sub LIKE 'sub-%')
            INSERT INTO peers_peer (id, interface_id, owner_id, name, platform, host, preshared_key, enrolled_at, revoked_at,
                revoke_reason)
            SELECT gen_random_uuid(), {wg0.pk}, ids[1 + n % {people}],
                (ARRAY['Windows laptop','iPhone','Android phone','Mac','Linux laptop'])[1 + n % 5] || ' ' || n % 7,
                (ARRAY['windows','ios','android','macos','linux'])[1 + n % 5], n + 1, '', now() - n * interval '1 minute',
                CASE WHEN n % 5 = 0 THEN now() - interval '1 hour' END, ''
            FROM generate_series(1, {peers}) n, owner"""
    )


def _keys(database, peers: int) -> None:
    for first in range(1, peers + 1, AT_ONCE):
        values = ",".join(
            f"('{made_up_key(n)}', {n + 1})" for n in range(first, min(first + AT_ONCE, peers + 1))
        )
        database.sql(
            f"""INSERT INTO peers_peerkey (public_key, peer_id, enrolled_at, retired_at)
                SELECT key, id, enrolled_at, revoked_at FROM (VALUES {values}) given(key, host) JOIN peers_peer USING (host)"""
        )


def _reports(database, wg0: Interface) -> None:
    database.sql(
        f"""INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, last_pass_at,
                drift_found, left_alone, unexplained, held, problem)
            VALUES ('gw', {wg0.pk}, '1', true, now(), now() + interval '1 hour', now(), 0, '{{}}', 0, 0, '');
            INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint, rx_bytes,
                tx_bytes, held, problem)
            SELECT 'gw', peer.id, key.public_key,
                revoked_at IS NULL AND is_active AND signed_in_at > now() - interval '7 days', now() - interval '30 minutes',
                CASE host % 3 WHEN 0 THEN now() WHEN 1 THEN now() - host * interval '1 minute' END, '', 0, 0, false, ''
            FROM peers_peer peer JOIN peers_peerkey key ON key.peer_id = peer.id
                JOIN portal_user owner ON owner.id = peer.owner_id"""
    )


def _past(database, wg0: Interface) -> None:
    most = int(database.sql("SELECT max(host) FROM peers_peer"))
    for first in range(0, most + 1, 10 * AT_ONCE):  # every row of the audit has its triggers
        database.sql(
            f"""INSERT INTO peers_auditevent (at, actor_kind, actor_id, gateway, action, peer_id, interface_id, person_id, old,
                    new, reason)
                SELECT enrolled_at, 'person', owner_id, '', 'enrol', id, {wg0.pk}, owner_id, '{{}}', '{{}}', ''
                FROM peers_peer WHERE host BETWEEN {first} AND {first + 10 * AT_ONCE - 1}"""
        )
    database.sql(
        """INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)
            SELECT gateway.id, peer_id, date_bin('15 min', now(), '2000-01-01') - q * interval '15 min', 1000 - q, 1000 - q
            FROM peers_peerstatus, peers_gatewaystatus gateway, generate_series(0, 3) q
            WHERE present AND latest_handshake > now() - interval '3 minutes'"""
    )
