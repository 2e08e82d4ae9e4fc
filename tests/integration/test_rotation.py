"""A new encryption key: everything is encrypted with it, while everything runs, and nothing is lost or overwritten."""

import threading
from collections import Counter
from contextlib import closing

import psycopg2
import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from peers import services
from peers.gateway import gather
from peers.models import AuditEvent, Peer
from portal.models import RefreshToken
from tests import rows
from tests.conftest import WEB
from tests.integration.test_leases import heard, listening

AT = timezone.now()
KINDS = ("preshared_keys", "refresh_tokens", "unreadable")
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def use(settings):
    """Give a function that gives the process these keys, as a restart would."""

    def used(*keys):
        settings.ENCRYPTION_KEYS = list(keys)
        gather.forget()

    used(OLD)
    yield used
    gather.forget()


@pytest.fixture
def wg0(database, use):
    return rows.interface(use_preshared_keys=True)


@pytest.fixture
def alice(wg0):
    made = rows.person("alice")
    RefreshToken.objects.create(person=made, provider="demo", token="a-token", obtained_at=AT, due_at=AT)
    return made


@pytest.fixture
def devices(alice, wg0, monkeypatch):
    """Return five devices, the first of them revoked, that are gone through two at a time."""
    monkeypatch.setattr("peers.services.rotation.AT_ONCE", 2)
    made = [rows.peer(alice, wg0) for _ in range(5)]
    services.revoke(actor=services.Actor(), peer=made[0], at=timezone.now())
    rows.peer(alice, rows.interface("wg1"))  # it has no preshared key
    return made


def rotate(**options):
    return services.rotate_encryption_keys(actor=services.Actor(), **options)


def texts():
    """Return every secret as it is read now."""
    preshared_keys = dict(Peer.objects.values_list("pk", "preshared_key"))
    return preshared_keys, dict(RefreshToken.objects.values_list("pk", "token"))


def stored(database):
    """Return every value as it stands in the database."""
    kept = "SELECT id::text, preshared_key FROM peers_peer UNION SELECT person_id::text, token FROM portal_refreshtoken"
    return dict(line.split("|") for line in database.sql(kept).splitlines())


def audited():
    """Return what every batch came to, and all of them together."""
    batches = [event.new for event in AuditEvent.objects.filter(action="rotate_encryption_keys")]
    return len(batches), Counter({key: sum(batch[key] for batch in batches) for key in KINDS})


def test_with_the_old_key_gone_everything_decrypts_and_a_second_run_changes_nothing(
    devices, database, use, capsys
):
    before = texts()
    assert len([text for text in before[0].values() if text]) == 5 and set(before[1].values()) == {"a-token"}
    use(NEW, OLD)
    call_command("rotate_encryption_keys")
    said = capsys.readouterr().out
    assert "5 preshared keys and 1 refresh tokens were encrypted anew. 0 values cannot be decrypted" in said
    assert said.endswith("Once every process has it, take the others out of LATCHKEY_ENCRYPTION_KEYS.\n")
    use(NEW)
    assert texts() == before
    kept = stored(database)
    use(NEW, OLD)
    with closing(psycopg2.connect(database.url(WEB))) as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2 s'")
        other.cursor().execute(
            "SELECT id FROM peers_peer FOR UPDATE"
        )  # what is current is not even waited for
        call_command("rotate_encryption_keys")
    assert "0 preshared keys and 0 refresh tokens" in capsys.readouterr().out
    assert stored(database) == kept
    assert audited() == (4, {"preshared_keys": 5, "refresh_tokens": 1, "unreadable": 0})


def test_a_process_that_has_read_a_token_does_not_keep_it_in_clear(alice):
    first, second = RefreshToken.objects.get().token, RefreshToken.objects.get().token
    assert first == second == "a-token"
    assert first is not second


def test_for_a_gateway_nothing_changes_and_it_is_not_even_woken(devices, wg0, database, use):
    use(NEW, OLD)
    before = gather.gather(wg0)
    listener = listening(database)
    assert rotate().renewed.total() == 6
    assert heard(listener) == []
    after = gather.gather(wg0)
    assert len(after.peers) == 4
    assert after == before


def test_a_value_that_no_key_opens_is_named_and_left_and_the_others_are_done(
    devices, alice, database, use, capsys
):
    foreign = Fernet(OTHER.encode()).encrypt(b"x").decode()
    database.sql(f"UPDATE peers_peer SET preshared_key = '{foreign}' WHERE id = '{devices[1].pk}'")
    database.sql("UPDATE portal_refreshtoken SET token = 'no token at all'")
    use(NEW, OLD)
    with pytest.raises(CommandError) as caught:
        call_command("rotate_encryption_keys")
    assert f"device {devices[1].pk}, person {alice.pk}." in str(caught.value)
    printed = capsys.readouterr().out
    assert (
        "4 preshared keys and 0 refresh tokens were encrypted anew. 2 values cannot be decrypted" in printed
    )
    assert "take the others out" not in printed
    kept = stored(database)
    assert (kept[str(devices[1].pk)], kept[str(alice.pk)]) == (foreign, "no token at all")
    assert audited() == (4, {"preshared_keys": 4, "refresh_tokens": 0, "unreadable": 2})


def test_an_interrupted_run_is_on_record_and_the_next_goes_on_where_it_was(devices, use):
    def interrupt(count):
        if count == 4:
            raise KeyboardInterrupt

    use(NEW, OLD)
    with pytest.raises(KeyboardInterrupt):
        rotate(progress=interrupt)
    assert audited() == (2, {"preshared_keys": 4, "refresh_tokens": 0, "unreadable": 0})
    assert dict(rotate().renewed) == {"preshared_keys": 1, "refresh_tokens": 1}
    assert audited() == (4, {"preshared_keys": 5, "refresh_tokens": 1, "unreadable": 0})


def test_what_is_encrypted_anew_is_on_record_by_then_and_without_a_record_nothing_is(
    devices, use, database, monkeypatch
):
    def fails(*_arguments, **_values):
        raise RuntimeError("no record")

    use(NEW, OLD)
    kept = stored(database)
    with monkeypatch.context() as patch:
        patch.setattr("peers.services.rotation.record", fails)
        with pytest.raises(RuntimeError):
            rotate()
    assert stored(database) == kept
    seen = []
    rotate(progress=lambda count: seen.append((count, audited()[1].total())))
    assert seen == [(2, 2), (4, 4), (5, 5), (6, 6)]


def test_a_key_that_is_replaced_at_this_moment_is_passed_over_waited_for_and_not_overwritten(devices, use):
    found, seen = [], []
    use(NEW, OLD)

    def run():
        found.append(rotate(progress=seen.append))
        connection.close()

    other = threading.Thread(target=run)
    with transaction.atomic():
        peer = services.replace_key(
            actor=services.Actor(), peer=devices[1], public_key=rows.public_key(), at=timezone.now()
        )
        other.start()
        for _ in range(1000):  # until all but this one are done, and it waits
            if 4 in seen:
                break
            other.join(0.01)
        assert 4 in seen and other.is_alive()
    other.join(20)
    assert found[0].renewed["preshared_keys"] == 4
    use(NEW)
    assert Peer.objects.get(pk=peer.pk).preshared_key == peer.preshared_key != ""


def test_a_value_that_an_older_process_writes_meanwhile_is_encrypted_anew_too(devices, use):
    use(NEW, OLD)
    old = Fernet(OLD.encode()).encrypt(b"written meanwhile").decode()
    found = []
    other = threading.Thread(target=lambda: (found.append(rotate()), connection.close()))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE portal_refreshtoken SET token = %s", [old])
        other.start()
        other.join(0.3)
    other.join(20)
    use(NEW)
    assert found[0].renewed["refresh_tokens"] == 1
    assert RefreshToken.objects.get().token == "written meanwhile"


def test_it_runs_as_the_web_role(devices, database, use, monkeypatch):
    monkeypatch.setenv("LATCHKEY_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    done = database.manage("rotate_encryption_keys", role=WEB)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 preshared keys and 1 refresh tokens" in done.stdout
    assert not [secret for secret in (NEW, OLD, "a-token") if secret in done.stdout]
