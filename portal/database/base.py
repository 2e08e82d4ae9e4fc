"""Ask a session whether it still lives only when it has rested for a moment, not at the beginning of each request."""

from time import monotonic
from typing import Any

from django.db.backends.postgresql import base

RESTED = 1.0  # seconds


class DatabaseWrapper(base.DatabaseWrapper):
    """What CONN_HEALTH_CHECKS does, but for a session that answered within the last second.

    ``prepared`` holds the names of the statements that the session knows, see ``portal.database.prepared``.
    """

    _answered_at = 0.0
    prepared: set[str]

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.prepared = set()
        return super().get_new_connection(conn_params)

    def close_if_unusable_or_obsolete(self) -> None:
        """Note that the session rests from now on; Django calls this at both ends of a request."""
        if self.connection is not None and not self.errors_occurred and self.health_check_done:
            self._answered_at = monotonic()
        super().close_if_unusable_or_obsolete()

    def close_if_health_check_failed(self) -> None:
        if monotonic() - self._answered_at < RESTED:
            self.health_check_done = True
        super().close_if_health_check_failed()
