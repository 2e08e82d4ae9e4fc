"""One JSON object a log line: time, level, logger, event, and the fields that the caller names."""

import logging
import re
from datetime import UTC, datetime
from typing import Any

from django.db.utils import InterfaceError, OperationalError
from pythonjsonlogger.json import JsonFormatter
from redis import RedisError

# A break-glass link's token stands in the path: it is as good as a password until it is used.
_SECRET_PATH = re.compile(r"(/break-glass/)[^/\s?]+")
_QUERY = re.compile(r"\?\S*")
# Django hangs the whole request on its records: cookies, body and query come with it.
_UNWANTED = {"request", "color_message", "server_time", "taskName"}


def without_token(text: str) -> str:
    """Return ``text`` with the token of a break-glass link blotted out, wherever it stands."""
    return _SECRET_PATH.sub(r"\1[redacted]", text)


def public_path(path: str) -> str:
    """Return ``path`` without its query and without a break-glass token."""
    return without_token(_QUERY.sub("", path))


class Formatter(JsonFormatter):
    def __init__(self, *_args: Any, **_options: Any) -> None:
        super().__init__("%(message)s", rename_fields={"message": "event"}, json_ensure_ascii=True)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the trace; for a database or a cache that is away one line, since every request would bring the same trace."""
        if isinstance(ei[1], OperationalError | InterfaceError | RedisError):
            return f"{type(ei[1]).__name__}: {ei[1]}".strip()
        return str(super().formatException(ei))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        for name in _UNWANTED & log_data.keys():
            del log_data[name]
        log_data |= {name: without_token(value) for name, value in log_data.items() if isinstance(value, str)}
        log_data["event"] = public_path(str(log_data.get("event", "")))
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
