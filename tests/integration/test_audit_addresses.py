"""Who had this address: the audit asked about an address and a time."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Peer
from tests import rows
from tests.integration.audit import ADDRESS, DAY, HOUR, SECOND, by, pruned, receipt, text, write_event
from tests.integration.pages import AUDIT, HOSTILE

T0 = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
ONE = ["10.77.0.9/32", "fd00::9/128"]


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.77.0.0/24", ipv6_pool="fd00::/64", address_rest=timedelta(0))


def asked(admin, address, at=None):
    """Return what the page says of the address: the sentences above the table, and the rows of the table."""
    answer = admin.get(ADDRESS, {"address": address, **({"at": at.isoformat()} if at else {})})
    page = text(answer)
    assert answer.status_code == 200, page
    above = page.partition(" UTC ")[2].partition("Everybody who ever had it")[0]
    body = re.search(r"(?s)<tbody>.*</tbody>", answer.content.decode())
    lines = re.findall(r"(?s)<tr>.*?</tr>", body[0]) if body else []
    cells = [re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    return above, [
        [re.sub(r"<[^>]*>", "", cell).replace("&#x27;", "'").strip() for cell in line] for line in cells
    ]


def written(moment):
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def enrolled(database, owner, wg0, name, at, addresses, **fields):
    """Enrol a device and tell the audit that it was at ``at``, with ``addresses``."""
    peer = rows.peer(owner, wg0, name, **fields)
    forget(database, peer)
    new = {"name": name, "public_key": peer.key.public_key, "addresses": addresses}
    write_event(database, at, "enrol", peer, new=json.dumps(new))
    return peer


def forget(database, peer):
    """Take away what the audit says of a peer, as only the superuser of a test's database can."""
    database.sql(
        f"SET session_replication_role = replica;DELETE FROM peers_auditevent WHERE peer_id = '{peer.pk}'"
    )


def test_a_device_that_has_the_address_now_is_found_by_either_of_its_addresses(admin, laptop):
    for address in laptop.addresses:
        said, table = asked(admin, str(address.ip))
        assert said.strip().startswith("Alice's laptop, a device of Alice on wg0")
        assert "and has it still" in said
        since = written(AuditEvent.objects.get().at)
        assert table == [["Alice's laptop", "Alice", "wg0", since, "–", "nothing: it has it still", "–"]]
    assert (
        "Nobody had it." in asked(admin, str(laptop.addresses[0].ip), AuditEvent.objects.get().at - SECOND)[0]
    )


@pytest.mark.parametrize(
    "spelt",
    [
        "10.77.0.9",
        " 10.77.0.9 ",
        "10.77.0.9/32",
        "::ffff:10.77.0.9",
        "fd00::9",
        "FD00:0:0:0::9",
        "fd00::9/128",
    ],
)
def test_an_address_is_found_however_it_is_spelt(admin, database, alice, wg0, spelt):
    enrolled(database, alice, wg0, "laptop", T0, ONE)
    assert "laptop" in asked(admin, spelt, T0 + DAY)[0]


def test_of_two_devices_one_after_the_other_the_borders_belong_to_the_later(
    admin, database, alice, wg0, subtests
):
    first = enrolled(database, alice, wg0, "first", T0, ONE)
    write_event(database, T0 + HOUR, "revoke", first)
    enrolled(database, rows.person("bob"), wg0, "second", T0 + DAY, ONE)
    for at, holder in (
        (T0 - SECOND, "Nobody"), (T0, "first"), (T0 + HOUR - SECOND, "first"), (T0 + HOUR, "Nobody"),
        (T0 + DAY - SECOND, "Nobody"), (T0 + DAY, "second"), (T0 + 3 * DAY, "second"),
    ):  # fmt: skip
        for address in ("10.77.0.9", "fd00::9"):
            with subtests.test(f"{address} {at}"):
                said, table = asked(admin, address, at)
                assert said.strip().startswith(holder)
                assert [line[0] for line in table] == ["second", "first"]
                assert table[1][3:6] == [written(T0), written(T0 + HOUR), "revoked"]


def test_what_really_happens_to_an_address_is_what_the_page_says(admin, alice, laptop, wg0):
    address = str(laptop.addresses[0].ip)
    services.revoke(actor=by(alice), peer=laptop, at=timezone.now() - SECOND)
    tablet = rows.peer(alice, wg0, "tablet")
    assert str(tablet.addresses[0].ip) == address
    _, table = asked(admin, address)
    assert [(line[0], line[5]) for line in table] == [
        ("tablet", "nothing: it has it still"),
        ("Alice's laptop", "revoked"),
    ]
    events = {event.action: event for event in AuditEvent.objects.filter(peer=laptop)}
    assert asked(admin, address, events["revoke"].at)[0].strip().startswith("Nobody")
    assert (
        asked(admin, address, events["revoke"].at - timedelta(microseconds=1))[0]
        .strip()
        .startswith("Alice's laptop")
    )


def test_a_replaced_key_and_a_suspension_keep_the_address(admin, alice, laptop):
    services.replace_key(actor=by(alice), peer=laptop, public_key=rows.public_key(), at=timezone.now())
    services.suspend(actor=by(alice), peer=laptop, at=timezone.now(), reason="lost")
    services.rename(actor=by(alice), peer=laptop, name="Found")
    suspended = AuditEvent.objects.get(action="suspend").at
    services.restore(actor=by(alice), peer=laptop)
    for at in (suspended, None):
        said, table = asked(admin, str(laptop.addresses[0].ip), at)
        assert said.strip().startswith("Found")
        assert len(table) == 1


def test_an_expired_device_loses_the_address_and_may_come_back(admin, database, alice, wg0, subtests):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE, expires_at=T0.replace(year=2100))
    renewal = {"expires_at": (T0 + 4 * HOUR).isoformat(), "addresses": ONE}
    write_event(
        database, T0 + 3 * HOUR, "renew", peer,
        old=json.dumps({"expires_at": (T0 + HOUR).isoformat()}), new=json.dumps(renewal),
    )  # fmt: skip
    for at, holder in (
        (T0, "runner"), (T0 + HOUR - SECOND, "runner"), (T0 + HOUR, "Nobody"), (T0 + 3 * HOUR - SECOND, "Nobody"),
        (T0 + 3 * HOUR, "runner"), (T0 + 4 * HOUR - SECOND, "runner"), (T0 + 4 * HOUR, "Nobody"),
    ):  # fmt: skip
        with subtests.test(str(at)):
            said, table = asked(admin, "fd00::9", at)
            assert said.strip().startswith(holder)
            assert [line[3:6] for line in table] == [
                [written(T0 + 3 * HOUR), written(T0 + 4 * HOUR), "expired"],
                [written(T0), written(T0 + HOUR), "expired"],
            ]


def test_an_expired_device_that_comes_back_by_itself_is_told_so(admin, alice, wg0):
    key, at = rows.public_key(), timezone.now()
    peer = rows.peer(alice, wg0, "runner", public_key=key, at=at - HOUR, expires_at=at + SECOND / 2)
    soon = {"actor": by(alice), "owner": alice, "interface": wg0, "public_key": key, "name": "runner"}
    assert "will until" in asked(admin, str(peer.addresses[0].ip))[0]
    services.enrol(**soon, at=at + SECOND, expires_at=at + HOUR)
    _, table = asked(admin, str(peer.addresses[0].ip))
    assert len(table) in (1, 2)
    assert table[0][5] == "will expire then"


def test_a_device_renewed_in_time_had_the_address_all_along(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    for hour in (1, 2):
        write_event(
            database, T0 + hour * HOUR, "renew", peer,
            old=json.dumps({"expires_at": (T0 + hour * HOUR + SECOND).isoformat()}),
            new=json.dumps({"expires_at": (T0 + (hour + 1) * HOUR + SECOND).isoformat(), "addresses": ONE}),
        )  # fmt: skip
    _, table = asked(admin, "10.77.0.9")
    assert [line[3:6] for line in table] == [[written(T0), written(T0 + 3 * HOUR + SECOND), "expired"]]


def test_a_device_that_came_back_with_another_address_had_each_in_its_time(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    write_event(
        database, T0 + 2 * HOUR, "renew", peer, old=json.dumps({"expires_at": (T0 + HOUR).isoformat()}),
        new=json.dumps({"expires_at": None, "addresses": ["10.77.0.10/32"]}),
    )  # fmt: skip
    assert [line[3:6] for line in asked(admin, "10.77.0.9")[1]] == [
        [written(T0), written(T0 + HOUR), "expired"]
    ]
    assert [line[3:6] for line in asked(admin, "10.77.0.10")[1]] == [
        [written(T0 + 2 * HOUR), "–", "nothing: it has it still"]
    ]


def test_a_device_that_expired_before_it_was_revoked_had_it_until_it_expired(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    Peer.objects.filter(pk=peer.pk).update(expires_at=T0 + HOUR)
    write_event(database, T0 + DAY, "revoke", peer)
    assert [line[4:6] for line in asked(admin, "10.77.0.9")[1]] == [[written(T0 + HOUR), "expired"]]


def test_a_machines_address_is_told_with_its_service_account(admin, wg0, database, subtests):
    runner = rows.account(wg0, name="ci runner")
    peer = rows.machine(runner, wg0, "build-1")
    address = str(peer.addresses[0].ip)
    with subtests.test("while it has it"):
        said, table = asked(admin, address)
        assert said.strip().startswith("build-1, a machine of the service account ci runner on wg0")
        assert table[0][:3] == ["build-1", "ci runner", "wg0"]
        linked = f'href="{AUDIT}?service_account__id__exact={runner.pk}"'
        assert admin.get(ADDRESS, {"address": address}).content.decode().count(linked) == 2
    services.revoke(actor=services.Actor(), peer=peer, at=timezone.now() - SECOND)
    pruned(database)
    with subtests.test("once it is pruned"):
        _, table = asked(admin, address)
        assert table[0][:3] == ["build-1 (pruned since)", "ci runner", "wg0"]


def test_a_machine_has_its_address_until_its_last_renewal_ends_or_it_is_ended(admin, database, wg0, subtests):
    runner = rows.account(wg0)
    peer = rows.machine(runner, wg0, "build-1", expires_at=T0.replace(year=2100))
    forget(database, peer)
    new = {"name": "build-1", "addresses": ONE, "expires_at": (T0 + HOUR).isoformat()}
    write_event(database, T0, "enrol", peer, new=json.dumps(new))
    for hour in (1, 2, 3):
        moved = {"expires_at": (T0 + (hour + 1) * HOUR / 2).isoformat()}
        write_event(database, T0 + hour * HOUR / 2, "renew", peer, new=json.dumps(moved))
    with subtests.test("renewed, and let go"):
        assert [line[3:6] for line in asked(admin, "10.77.0.9")[1]] == [
            [written(T0), written(T0 + 2 * HOUR), "expired"]
        ]
    old = {"expires_at": (T0 + 2 * HOUR).isoformat(), "addresses": ONE}
    write_event(database, T0 + 1.9 * HOUR, "expire", peer, old=json.dumps(old))
    with subtests.test("ended for want of use"):
        assert asked(admin, "10.77.0.9")[1][0][3:6] == [written(T0), written(T0 + 1.9 * HOUR), "expired"]
    back = {"addresses": ONE, "expires_at": (T0 + 9 * HOUR).isoformat()}
    ended = {"expires_at": (T0 + 1.9 * HOUR).isoformat()}
    write_event(database, T0 + 8 * HOUR, "renew", peer, old=json.dumps(ended), new=json.dumps(back))
    with subtests.test("and back"):
        assert [line[3:5] for line in asked(admin, "10.77.0.9")[1]] == [
            [written(T0 + 8 * HOUR), written(T0 + 9 * HOUR)],
            [written(T0), written(T0 + 1.9 * HOUR)],
        ]


def test_a_pruned_device_is_still_found_by_the_name_it_had_last(admin, database, alice, laptop):
    services.rename(actor=by(alice), peer=laptop, name="Old laptop")
    services.revoke(actor=by(alice), peer=laptop, at=timezone.now() - SECOND)
    before = AuditEvent.objects.get(action="revoke").at - timedelta(microseconds=1)
    pruned(database)
    said, table = asked(admin, str(laptop.addresses[1].ip), before)
    assert said.strip().startswith("Old laptop, a device of Alice on wg0 (pruned since)")
    assert table[0][0] == "Old laptop (pruned since)"
    assert table[0][5] == "revoked"


def test_where_nobody_wrote_down_when_a_pruned_device_expired_the_page_says_so(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    Peer.objects.filter(pk=peer.pk).update(expires_at=T0 + HOUR)
    pruned(database)
    said, table = asked(admin, "10.77.0.9", T0 + 2 * HOUR)
    assert "When that ended was not recorded." in said
    assert table[0][4:6] == ["–", "not recorded"]
    enrolled(database, rows.person("bob"), wg0, "second", T0 + DAY, ONE)
    said, table = asked(admin, "10.77.0.9", T0 + 2 * HOUR)
    assert f"at {written(T0 + DAY)} UTC another device was given it" in said
    assert table[1][4:6] == [written(T0 + DAY), "not recorded"]
    assert asked(admin, "10.77.0.9", T0 + DAY)[0].strip().startswith("second")


def test_the_page_says_whether_a_gateway_had_it_on_the_interface_then(
    admin, database, alice, wg0, status, subtests
):
    peer = enrolled(database, alice, wg0, "laptop", T0, ONE)
    assert "No gateway has said" in asked(admin, "10.77.0.9", T0 + HOUR)[0]
    receipt(database, T0 + 2 * HOUR, peer)
    receipt(database, T0 + 4 * HOUR, peer)
    for at, sentence in (
        (T0 + HOUR, f"It was on the interface until {written(T0 + 2 * HOUR)} UTC"),
        (T0 + 2 * HOUR, f"taken it off the interface at {written(T0 + 2 * HOUR)} UTC and took it off again at {written(T0 + 4 * HOUR)}"),
        (T0 + 5 * HOUR, f"a gateway had read it back as gone at {written(T0 + 4 * HOUR)} UTC"),
    ):  # fmt: skip
        with subtests.test(str(at)):
            said, table = asked(admin, "10.77.0.9", at)
            assert sentence in said
            assert table[0][6] == f"{written(T0 + 2 * HOUR)}, {written(T0 + 4 * HOUR)}"
    status(peer, "gw", since=f"'{T0 + 6 * HOUR}'")
    for at, sentence in (
        (T0 + 5 * HOUR, f"back on since {written(T0 + 6 * HOUR)} UTC"),
        (T0 + 6 * HOUR, f"without a break since {written(T0 + 6 * HOUR)} UTC"),
    ):
        with subtests.test(str(at)):
            assert sentence in asked(admin, "10.77.0.9", at)[0]


def test_a_receipt_just_after_the_end_belongs_to_that_time_and_not_to_the_next(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    write_event(
        database, T0 + 3 * HOUR, "renew", peer, old=json.dumps({"expires_at": (T0 + HOUR).isoformat()}),
        new=json.dumps({"expires_at": (T0 + 4 * HOUR).isoformat(), "addresses": ONE}),
    )  # fmt: skip
    receipt(database, T0 + HOUR + SECOND, peer)
    receipt(database, T0 + 4 * HOUR + SECOND, peer)
    assert [line[6] for line in asked(admin, "10.77.0.9")[1]] == [
        written(T0 + 4 * HOUR + SECOND), written(T0 + HOUR + SECOND),
    ]  # fmt: skip


def test_what_is_no_address_or_no_time_gets_a_sentence(admin, wg0, subtests):
    for address in (
        "",
        "  ",
        "10.77.0",
        "10.77.0.256",
        "10.77.0.0/24",
        "fe80::1%eth0",
        "laptop",
        "9" * 65,
        HOSTILE,
    ):
        with subtests.test(address):
            answer = admin.get(ADDRESS, {"address": address})
            assert answer.status_code == 400
            assert "errorlist" in answer.content.decode()
    for at, sentence in (
        ("nonsense", "This is not a time"),
        ("2999-01-01T00:00", "still to come"),
        ("0001-01-01T00:00+14:00", "not a time"),
    ):
        with subtests.test(at):
            answer = admin.get(ADDRESS, {"address": "10.77.0.9", "at": at})
            assert answer.status_code == 400
            assert sentence in text(answer)
    assert "No device was ever given this address." in text(admin.get(ADDRESS, {"address": "192.0.2.1"}))
    assert "Everybody" not in text(admin.get(ADDRESS))


def test_an_address_that_was_given_very_often_is_told_up_to_the_time_asked(
    admin, database, alice, wg0, monkeypatch
):
    monkeypatch.setattr("peers.address_history.MOST", 2)
    for number in range(4):
        peer = enrolled(database, alice, wg0, f"runner {number}", T0 + number * HOUR, ONE)
        write_event(database, T0 + number * HOUR + HOUR / 2, "revoke", peer)
    said, table = asked(admin, "10.77.0.9", T0 + HOUR)
    assert said.strip().startswith("runner 1")
    assert [line[0] for line in table] == ["runner 1", "runner 0"]
    assert "more often than this page can list" in text(admin.get(ADDRESS, {"address": "10.77.0.9"}))
    assert [line[0] for line in asked(admin, "10.77.0.9")[1]] == ["runner 3", "runner 2"]


def test_the_index_of_addresses_is_what_finds_them(database, alice, wg0):
    peer = rows.peer(alice, wg0)
    database.sql(
        "INSERT INTO peers_auditevent (actor_kind, action, gateway, reason, old, new, peer_id)"
        " SELECT 'command', 'enrol', '', '', '{}', jsonb_build_object('addresses', jsonb_build_array('10.'||n/65536||'.'||n/256%256"
        f"||'.'||n%256||'/32')), '{peer.pk}' FROM generate_series(1, 20000) AS n; ANALYZE peers_auditevent"
    )
    from peers.address_history import holders

    plan = holders(peer.addresses[0].ip).order_by("-at", "-pk").explain()
    assert "auditevent_addresses" in plan, plan
