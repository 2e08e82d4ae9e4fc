"""Keep what went through: each connected peer's counters, once a quarter of an hour, for two days."""

from datetime import UTC, datetime, timedelta

from django.db import connection

from peers.models import CONNECTED_WITHIN, SAMPLES_KEPT, GatewayStatus

QUARTER = timedelta(minutes=15)
AT_ONCE = 1000  # rows a statement: a revocation waits for no more than two of them
SOME_QUARTER = datetime(2000, 1, 1, tzinfo=UTC)

CONNECTED = """
SELECT %(gateway)s, status.peer_id, %(quarter)s, status.rx_bytes, status.tx_bytes
FROM peers_peerstatus status JOIN peers_peer peer ON peer.id = status.peer_id
WHERE status.gateway = %(name)s AND peer.interface_id = %(interface)s
  AND status.present AND status.latest_handshake > %(connected_after)s
  AND NOT EXISTS (SELECT FROM peers_trafficsample WHERE peer_id = status.peer_id AND at = %(quarter)s
                  AND gateway_id = %(gateway)s)
LIMIT %(at_once)s
"""
TAKE = f"""
INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes) {CONNECTED} ON CONFLICT DO NOTHING
"""
DROP = """
DELETE FROM peers_trafficsample WHERE id IN (
    SELECT id FROM peers_trafficsample WHERE at < %(kept_from)s AND gateway_id = %(gateway)s
    ORDER BY at LIMIT %(at_once)s)
"""


class Samples:
    """The TrafficSample rows of one gateway and interface, taken from the PeerStatus rows that it has written."""

    def __init__(self, row: GatewayStatus) -> None:
        self.row = row
        self._done: datetime | None = None

    def take(self, at: datetime) -> None:
        """Write up to a thousand of the samples of the quarter that ``at`` is in, and drop as many that are too old.

        Call it often: it asks the database for nothing once the quarter is done. A peer that connects after that is
        sampled in the next one.
        """
        quarter = begin_of_quarter(at)
        if quarter == self._done:
            return
        taken = self._execute(TAKE, quarter=quarter, connected_after=at - CONNECTED_WITHIN)
        dropped = self._execute(DROP, kept_from=at - SAMPLES_KEPT)
        if max(taken, dropped) < AT_ONCE:
            self._done = quarter

    def _execute(self, sql: str, **values: datetime) -> int:
        """Return how many rows it wrote or deleted."""
        row = self.row
        with connection.cursor() as cursor:
            cursor.execute(
                sql,
                {
                    "gateway": row.pk,
                    "name": row.gateway,
                    "interface": row.interface_id,
                    "at_once": AT_ONCE,
                    **values,
                },
            )
            count: int = cursor.rowcount
        return count


def begin_of_quarter(at: datetime) -> datetime:
    """Return when the quarter of an hour that ``at`` is in began."""
    return at - (at - SOME_QUARTER) % QUARTER
