"""What a receipt says of the time between two moments, and in which words."""

from datetime import UTC, datetime, timedelta

import pytest

from peers.models import Peer
from peers.receipt_words import delay, taken_off, told
from peers.receipts import DUE, Receipt, read_back_at, receipt

AT = datetime(2026, 8, 3, 14, 2, 11, 250_000, tzinfo=UTC)
LATER = {"read_back_at": "2026-08-03T14:02:11.333400Z"}
REVOKED = {"action": "revoke", "at": "2026-08-03T14:02:11.250000+00:00"}

TOOK = {
    "to the millisecond": (timedelta(microseconds=83_400), 83),
    "rounded": (timedelta(microseconds=83_600), 84),
    "at once": (timedelta(0), 0),
    "before its cause, by the gateway's reckoning": (timedelta(milliseconds=-2), 0),
    "a day": (timedelta(days=1), 86_400_000),
}


@pytest.mark.parametrize(("took", "milliseconds"), TOOK.values(), ids=TOOK)
def test_a_receipt_counts_milliseconds_and_never_fewer_than_none(took, milliseconds):
    assert Receipt("gw", "revoke", AT, AT + took).milliseconds == milliseconds


def test_what_is_not_confirmed_or_has_no_known_cause_took_no_known_time():
    assert Receipt("gw", "revoke", AT).milliseconds is None
    assert Receipt("gw", removed_at=AT).milliseconds is None


def test_the_moment_is_the_one_of_the_read_back_and_not_when_the_event_was_written():
    written = AT + timedelta(hours=3)  # the database was away
    assert receipt("gw", written, LATER, REVOKED).milliseconds == 83
    assert receipt("gw", written, LATER, None) == Receipt("gw", removed_at=read_back_at(written, LATER))


def test_a_deadline_by_which_a_gateway_acted_goes_before_an_act():
    new = {**LATER, "due_at": "2026-08-03T14:02:11.330000Z"}
    found = receipt("gw", AT, new, REVOKED)
    assert (found.after, found.milliseconds) == (DUE, 3)


@pytest.mark.parametrize(
    "text", [None, "", "soon", 7, {}, "2026-08-03T14:02:11.33", "9999999-01-01T00:00Z", "\0"]
)
def test_a_moment_that_makes_no_sense_counts_as_none(text):
    new = {"read_back_at": text, "due_at": text}
    assert receipt("gw", AT, new, None) == Receipt("gw", removed_at=AT)
    assert receipt("gw", AT, {}, None) == Receipt("gw", removed_at=AT)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (83, "83 ms"), (9_999, "9999 ms"), (10_000, "10 s"), (600_000, "10 min"), (86_400_000, "24 h")],
)  # fmt: skip
def test_a_delay_is_told_in_the_unit_that_one_reads_it_in(milliseconds, text):
    assert delay(milliseconds) == text


GONE = AT + timedelta(milliseconds=83)
SENTENCES = {
    "revoked": (Receipt("gw", "revoke", AT, GONE), "Revoked at 14:02:11, off the network at 14:02:11 (83 ms later)"),
    "sign-in over": (Receipt("gw", DUE, AT, GONE), "Sign-in over at 14:02:11, off the network at 14:02:11 (83 ms later)"),
    "no cause": (Receipt("gw", removed_at=GONE), "Off the network at 14:02:11"),
    "an action of another release": (Receipt("gw", "eject", AT, GONE), "Off the network at 14:02:11"),
    "not confirmed": (Receipt("gw"), "Not yet confirmed"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_a_receipt_is_one_sentence(given, sentence):
    assert told(given, Peer()) == sentence


def test_a_time_that_was_the_devices_own_expiry_is_called_so():
    assert told(Receipt("gw", DUE, AT, GONE), Peer(expires_at=AT)).startswith("Expired at 14:02:11, off")


def test_gateways_are_named_only_where_there_are_several():
    one, said = (
        Receipt("gw1", "revoke", AT, GONE),
        "Revoked at 14:02:11, off the network at 14:02:11 (83 ms later)",
    )
    waits = "Not yet confirmed"
    assert taken_off(Peer(), []) == ""
    assert taken_off(Peer(), [one]) == f"3 August 2026 (UTC): {said}"
    assert taken_off(Peer(), [one, Receipt("gw2")]) == f"3 August 2026 (UTC): gw1: {said}; gw2: {waits}"
    assert taken_off(Peer(), [Receipt("gw1"), Receipt("gw2")]) == f"gw1: {waits}; gw2: {waits}"
