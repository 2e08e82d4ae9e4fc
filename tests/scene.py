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
