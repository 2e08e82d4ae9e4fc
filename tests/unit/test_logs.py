"""One JSON object a log line, with what helps and nothing that must stay secret."""

import json
import logging

import pytest
from django.db import OperationalError
from django.test import RequestFactory

from portal.logs import Formatter, public_path


def line(event, exc_info=None, **fields):
    record = logging.LogRecord("portal.test", logging.INFO, __file__, 1, event, (), exc_info)
    record.__dict__.update(fields)
    return json.loads(Formatter().format(record))


def test_a_line_has_the_event_its_fields_and_where_and_when():
    said = line("sign_in_refused", provider="corp", reason="deactivated")
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "event": "sign_in_refused", "provider": "corp", "reason": "deactivated", "level": "info",
        "logger": "portal.test",
    }  # fmt: skip


def test_djangos_request_is_not_written_out():
    request = RequestFactory().post(
        "/", {"secret": "in-the-body"}, headers={"cookie": "session=in-the-cookie"}
    )
    assert "request" not in line("Forbidden", request=request, status_code=403)


def test_a_newline_stays_inside_its_line():
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "forged\n{}", (), None)
    assert "\n" not in Formatter().format(record)


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/devices/?name=secret", "/devices/"),
        ("/break-glass/abc-DEF_123", "/break-glass/[redacted]"),
        ("/break-glass/abc?x=y", "/break-glass/[redacted]"),
        ("Not Found: /break-glass/abc/def", "Not Found: /break-glass/[redacted]/def"),
    ],
)
def test_a_path_loses_its_query_and_a_break_glass_token(path, public):
    assert public_path(path) == public
    assert line(path)["event"] == public


def test_a_token_is_blotted_out_of_every_field():
    assert (
        line("x", anything="GET /break-glass/abc HTTP/1.1")["anything"]
        == "GET /break-glass/[redacted] HTTP/1.1"
    )


def test_a_fault_keeps_its_trace_and_an_absent_database_does_not():
    def raised(kind):
        with pytest.raises(kind) as caught:
            raise kind("why")
        return caught.type, caught.value, caught.tb

    assert "Traceback" in line("x", exc_info=raised(RuntimeError))["exc_info"]
    assert line("x", exc_info=raised(OperationalError))["exc_info"] == "OperationalError: why"
