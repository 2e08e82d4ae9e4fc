"""Deadlines hold on the real interface, whatever becomes of the database, the network and the clock."""

import time
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from django.test import Client as Browser
from django.utils import timezone

from peers.models import AuditEvent
from peers.receipts import DUE, receipts
from peers.states import State
from portal.models import User
from tests import rows
from tests.conftest import GATEWAY, ROOT
from tests.gateway.acting import database_away, database_back, key_of, revoke, state
from tests.gateway.black_hole import BlackHole
from tests.gateway.conftest import FAKETIME, INSIDE, require
from tests.gateway.running import last_reply
from tests.integration.conftest import use_providers
from tests.integration.provider_double import Double


def test_a_peer_leaves_within_two_seconds_of_its_expiry(running, enrol):
    expires_at = timezone.now() + timedelta(seconds=5)
    peer, client = enrol(expires_at=expires_at)
    running.eventually(lambda: client.ping(INSIDE).received)
    last = last_reply(client, INSIDE, lambda: time.sleep(max(0, expires_at.timestamp() - time.time())))
    print(f"last reply {last:.3f} s after the deadline")
    assert last <= 2
    running.eventually(lambda: state(peer) == State.EXPIRED)
    assert AuditEvent.objects.filter(action="removed", peer=peer).count() == 1
    (found,) = receipts(peer)
    print(f"by its receipt {found.milliseconds} ms after the deadline")
    assert (found.after, found.at) == (DUE, expires_at)
    assert found.milliseconds <= 2000
    assert peer.statuses.get().since == found.removed_at


@pytest.fixture
def double(settings, uncollected):
    """Let people sign in at a provider of the test's own."""
    made = Double()
    use_providers(settings, (made.provider(),))
    yield made
    made.close()


def test_deadlines_hold_with_the_database_gone_and_after_signing_in_again_the_same_client_is_back(
    running, enrol, pinging, wg0, database, double
):
    wg0.lease = timedelta(seconds=5)
    wg0.save(update_fields=["lease"])
    assert double.sign_in(Browser()).status_code == 302
    bob = User.objects.get(issuer=double.issuer)
    expires_at = bob.signed_in_at + timedelta(seconds=4)
    leased, client = enrol(bob)
    expiring, other_client = enrol(rows.person("dave"), expires_at=expires_at)
    pings, of_expiring = pinging(client), pinging(other_client)
    running.eventually(lambda: pings.times() and of_expiring.times())
    carol = rows.person(
        "carol", lease_limit=timedelta(seconds=2)
    )  # a sign-in that counts for less than the lease
    limited = rows.peer(carol, wg0)
    key, limited_key = key_of(leased), key_of(limited)
    running.eventually(lambda: {key, limited_key} <= running.on())
    database_away(database)

    running.eventually(lambda: limited_key not in running.on())
    late = (timezone.now() - carol.signed_in_at - carol.lease_limit).total_seconds()
    print(f"off {late:.3f} s after the sign-in counted for no more")
    assert 0 <= late <= 2
    running.eventually(lambda: key not in running.on())
    over = bob.signed_in_at + wg0.lease
    time.sleep(max(0, 2.1 - (timezone.now() - over).total_seconds()))  # until no reply may come any more
    for replies, deadline in ((pings, over), (of_expiring, expires_at)):
        last = replies.times()[-1] - deadline.timestamp()
        print(f"last reply {last:.3f} s after the deadline")
        assert last <= 2

    database_back(database)
    running.eventually(lambda: state(leased) == State.SIGNED_OUT)
    running.eventually(lambda: state(expiring) == State.EXPIRED)
    receipt = AuditEvent.objects.get(action="removed", peer=expiring)
    (found,) = receipts(expiring)  # written down once the database was back, it tells of before
    assert receipt.at - found.removed_at > timedelta(seconds=1)
    signed_in_at = time.time()
    assert double.sign_in(Browser()).status_code == 302
    running.eventually(lambda: key in running.on(), 2)
    back = time.time() - signed_in_at
    wg0.lease = timedelta(days=7)
    wg0.save(update_fields=["lease"])
    running.eventually(lambda: pings.times()[-1] > signed_in_at)
    first = next(at for at in pings.times() if at > signed_in_at) - signed_in_at
    print(f"on the interface {back:.3f} s after signing in again, first reply after {first:.3f} s")
    assert first < 17  # a client shakes hands again once nobody has answered it for 15 s


def test_who_was_off_and_may_be_on_again_before_the_gateway_can_say_so_has_a_receipt_all_the_same(
    running, wg0, database
):
    wg0.lease = timedelta(seconds=3)
    wg0.save(update_fields=["lease"])
    bob = rows.person("bob")
    peer = rows.peer(bob, wg0)
    running.eventually(lambda: running.on() == {key_of(peer)})
    running.eventually(lambda: state(peer) == State.LIVE)
    on_since = peer.statuses.get().since
    database.sql(
        f"REVOKE CONNECT ON DATABASE {database.name} FROM {GATEWAY};"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{GATEWAY}'"
    )
    running.eventually(lambda: running.on() == set())
    over, bob.signed_in_at = bob.signed_in_at + wg0.lease, timezone.now()
    bob.save(update_fields=["signed_in_at"])
    wg0.lease = timedelta(hours=1)
    wg0.save(update_fields=["lease"])
    database.sql(f"GRANT CONNECT ON DATABASE {database.name} TO {GATEWAY}")
    running.eventually(lambda: running.on() == {key_of(peer)})
    running.eventually(lambda: AuditEvent.objects.filter(action="removed").exists())
    off_at = datetime.fromisoformat(AuditEvent.objects.get(action="removed", peer=peer).new["read_back_at"])
    assert over <= off_at <= over + timedelta(seconds=2)
    assert on_since < off_at < peer.statuses.get().since
    assert receipts(peer) == []
    revoke(peer)  # which has a receipt of its own, and the one before is not written again
    running.eventually(lambda: state(peer) == State.REVOKED)
    assert [one.after for one in receipts(peer)] == ["revoke"]
    assert AuditEvent.objects.filter(action="removed").count() == 2


@pytest.mark.parametrize("years", [10, -10])
def test_a_clock_that_jumps_ten_years_changes_nothing(run, alice, wg0, tmp_path, years):
    require(FAKETIME, "needs libfaketime: Debian's package libfaketime")
    jump = tmp_path / "jump"
    jump.write_text("+0")
    running = run(
        "--create", LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(jump), FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1", PYTHONPATH=str(ROOT / "tests/gateway/under_faketime"),
    )  # fmt: skip
    stays = rows.peer(alice, wg0)
    expires_at = timezone.now() + timedelta(seconds=6)
    goes = rows.peer(alice, wg0, expires_at=expires_at)
    running.eventually(lambda: running.on() == {key_of(stays), key_of(goes)})
    jump.write_text(f"{years:+d}y")
    running.eventually(lambda: running.on() == {key_of(stays)})
    late = (timezone.now() - expires_at).total_seconds()
    assert 0 <= late <= 2
    assert not running.said("pass_failed"), "the deadline was kept by a pass that did not fail"
    assert any(said["time"][:4] != str(timezone.now().year) for said in running.events()), (
        "the clock never jumped"
    )


def test_a_deadline_is_kept_within_two_seconds_while_the_network_swallows_everything(
    run, alice, wg0, database, tmp_path_factory
):
    hole = BlackHole(tmp_path_factory.mktemp("hole"), database.cluster.socket / ".s.PGSQL.5432")
    url = f"postgresql://{GATEWAY}@{quote(str(hole.directory), safe='')}/{database.name}"
    running = run("--create", DATABASE_URL=url)
    deadlines = [timezone.now() + timedelta(seconds=seconds) for seconds in (4, 9)]
    found = [key_of(rows.peer(alice, wg0, expires_at=at)) for at in deadlines]
    running.eventually(lambda: running.on() == set(found))
    hole.swallow(new_ones=True)
    for at, key in zip(deadlines, found, strict=True):
        running.eventually(lambda key=key: key not in running.on())
        late = (timezone.now() - at).total_seconds()
        print(f"off {late:.2f} s after the deadline")
        assert 0 <= late <= 2
    running.stop()
    hole.close()
