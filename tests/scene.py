"""What long runs and benchmarks start from: a database and an interface with many peers."""

from peers.models import Interface
from peers.wireguard import keys
from tests import rows


def made_up_key(number: int) -> str:
    """Return a valid public key fast: a small u-coordinate beyond those of low order."""
    return keys._encoded((number + 2).to_bytes(32, "little"))


def fill(database, wg0: Interface, count: int, first_host: int = 1000) -> None:
    """Enrol many devices of one person at once, straight into the tables: nobody is notified."""
    values = ",".join(f"('{made_up_key(number)}', {number + first_host})" for number in range(count))
    owner = rows.person("many").pk
    database.sql(
        f"""WITH given(key, host) AS (VALUES {values}), made AS (
            INSERT INTO peers_peer (id, interface_id, owner_id, name, platform, host, preshared_key, enrolled_at, revoke_reason)
            SELECT gen_random_uuid(), {wg0.pk}, {owner}, 'many', 'other', host, '', now(), '' FROM given RETURNING id, host)
        INSERT INTO peers_peerkey (public_key, peer_id, enrolled_at)
        SELECT key, made.id, now() FROM made JOIN given USING (host); ANALYZE"""
    )


def crowd(database, wg0: Interface, people: int, peers: int, gateway: str = "gateway") -> None:
    """Give ``people`` their share of ``peers``, nearly all of them on the interface, a third of them connected now."""
    database.sql(
        f"""INSERT INTO portal_user (password, is_superuser, issuer, sub, email, name, groups_claim, is_active, is_staff,
                date_joined, signed_in_at)
            SELECT '!', false, 'http://127.0.0.1:8001', 'sub-' || n, 'person' || n || '@example.com', 'Person ' || n,
                '{{}}', true, false, now(), now() - n % 6 * interval '1 day' FROM generate_series(1, {people}) AS n;
        CREATE TEMPORARY TABLE owners AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM portal_user
            WHERE sub LIKE 'sub-%';
        CREATE TEMPORARY TABLE made AS
            SELECT gen_random_uuid() AS id, n AS host, owners.id AS owner
            FROM generate_series(1, {peers}) AS n JOIN owners ON place = n % {people};
        INSERT INTO peers_peer (id, interface_id, owner_id, name, platform, host, preshared_key, enrolled_at, revoked_at,
                revoke_reason)
            SELECT id, {wg0.pk}, owner, 'Laptop ' || host, 'linux', host + 1, '', now() - host % 60 * interval '1 day',
                CASE WHEN host % 20 = 0 THEN now() END, '' FROM made;
        INSERT INTO peers_peerkey (public_key, peer_id, enrolled_at, retired_at)
            SELECT encode(sha256(host::text::bytea), 'base64'), id, now(), NULL FROM made
            WHERE encode(sha256(host::text::bytea), 'base64') ~ '^[A-Za-z0-9+/]{{42}}[AEIMQUYcgkosw048]=$';
        INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, last_pass_at,
                drift_found, left_alone, unexplained, held, problem)
            VALUES ('{gateway}', {wg0.pk}, '1', true, now(), now() + interval '1 hour', now(), 0, '{{}}', 0, 0, '');
        INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint, rx_bytes,
                tx_bytes, held, problem)
            SELECT '{gateway}', made.id, public_key, true, now(), CASE WHEN host % 3 = 0 THEN now() + interval '1 hour' END,
                '198.51.100.7:51820', host, host, false, '' FROM made JOIN peers_peerkey ON peer_id = made.id;
        INSERT INTO peers_auditevent (at, actor_kind, actor_id, gateway, action, peer_id, interface_id, person_id, old, new,
                reason)
            SELECT now() - host % 60 * interval '1 day', 'person', owner, '', 'enrol', id, {wg0.pk}, owner, '{{}}', '{{}}', ''
            FROM made;
        INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)
            SELECT (SELECT max(id) FROM peers_gatewaystatus), id, date_bin('15 min', now(), '2000-01-01') - q * interval
                '15 min', host, host FROM made, generate_series(0, 3) AS q WHERE host % 3 = 0;
        ANALYZE"""
    )
