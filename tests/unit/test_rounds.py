"""What is done again and again: a failure is on record and tried again, a signal ends it between two rounds."""

import signal
import threading

import pytest

from portal import rounds


@pytest.fixture
def _signals(monkeypatch):
    monkeypatch.setattr(rounds, "PAUSE_AFTER_FAILURE", 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("_signals")
def test_a_round_that_fails_is_on_record_and_the_next_one_comes(caplog):
    done = []

    def work():
        done.append(rounds.must_stop())
        if len(done) == 1:
            raise RuntimeError("nobody thought of that")
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        done.append(rounds.must_stop())

    rounds.go_round(work, pause=0)
    assert done == [False, False, True]
    assert [record.msg for record in caplog.records] == ["round_failed"]
