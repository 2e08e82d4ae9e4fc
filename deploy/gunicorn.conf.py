# ruff: noqa: N999  # gunicorn itself names the file
"""How gunicorn runs the portal: JSON logs in which no query string and no break-glass token appears."""

import logging
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from portal import environment
from portal.logs import Formatter, public_path
from portal.source import address

_hops = environment.number("LATCHKEY_TRUSTED_PROXY_HOPS", 0)

bind = environment.text("LATCHKEY_BIND", "127.0.0.1:8000")
workers = environment.number("LATCHKEY_WORKERS", 4, least=1)
# Threads, since a request may wait for the gateway, and others must be answered meanwhile.
worker_class = "portal.worker.Worker"
threads = environment.number("LATCHKEY_THREADS", 12, least=1)
timeout = 35  # seconds; the API's longest wait is 30
graceful_timeout = 30
max_requests = 20_000
max_requests_jitter = 2_000
limit_request_line = 4094
limit_request_fields = 60
accesslog = "-"
# Without this gunicorn 27 opens a control socket in its user's home folder.
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # heartbeat off the disk


class Logger(GunicornLogger):
    """gunicorn's logger with our formatter, and an access record of named fields in place of a line of text."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                handler.setFormatter(Formatter())

    def access(self, resp: Any, _req: Any, environ: dict[str, Any], request_time: Any) -> None:
        if not self.access_log.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": environ.get("REQUEST_METHOD"),
            "path": public_path(environ.get("PATH_INFO", "")),
            "status_code": int(str(resp.status).split(maxsplit=1)[0]),
            "bytes": resp.sent,
            "milliseconds": round(request_time.total_seconds() * 1000),
            "source": address(
                environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), hops=_hops
            ),
        }
        self.access_log.info("request", extra=fields)


logger_class = Logger
