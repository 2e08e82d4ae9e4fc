"""The audit in the admin: narrowed down, asked about an address, taken away as a file."""

import ast
import csv
import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import chain

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from hypothesis import given
from hypothesis import strategies as st

from peers import services
from peers.admin import audit_export, audit_filters
from peers.admin.audit_export import COLUMNS, as_csv, as_jsonl, neutralised
from peers.admin.audit_words import ACTIONS
from peers.models import AuditEvent, Peer
from tests import rows
from tests.conftest import ROOT

AUDIT = "/admin/peers/auditevent/"
ADDRESS = f"{AUDIT}address/"
DOCUMENT = (ROOT / "docs" / "audit.md").read_text()
HOSTILE = "<script>alert(1)</script>"
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.77.0.0/24", ipv6_pool="fd00::/64", address_rest=timedelta(0))


@pytest.fixture
def alice(wg0):
    return rows.person("alice", email="alice@example.com")


@pytest.fixture
def laptop(alice, wg0):
    return rows.peer(alice, wg0, "Alice's laptop")


@pytest.fixture
def phone(wg0, laptop):
    return rows.peer(rows.person("bob"), wg0, "Bob's phone")


@pytest.fixture
def root(wg0):
    return rows.person("root", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(root):
    return signed_in(root)


def signed_in(user):
    browser = Client(REMOTE_ADDR="203.0.113.9")
    browser.force_login(user)
    return browser


def staff(*rights):
    """Return the browser of one who may enter the admin and has only ``rights`` there."""
    user = rows.person(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return signed_in(user)


def by(person):
    return services.Actor(user=person, source="198.51.100.7")


def text(answer):
    """Return the words of a page, without its tags and the lists of choices beside it."""
    assert answer.status_code in (200, 400)
    page = re.sub(r"(?s)<nav .*?</nav>|<script.*?</script>|<style.*?</style>", "", answer.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page)).replace("&#x27;", "'")


def acts(admin, **query):
    """Return the actions in the list, the latest first."""
    answer = admin.get(AUDIT, query)
    assert answer.status_code == 200
    return re.findall(r'class="field-act">([^<]*)<', answer.content.decode())


def write_event(database, at, action, peer, **columns):
    """Insert one event as it was written at ``at``; the web role writes none but its own, now."""
    values = {
        "at": at.isoformat(), "action": action, "actor_kind": "command", "peer_id": str(peer.pk), "gateway": "",
        "interface_id": peer.interface_id, "person_id": peer.owner_id, "old": "{}", "new": "{}", "reason": "", **columns,
    }  # fmt: skip
    quoted = ", ".join("'" + str(value).replace("'", "''") + "'" for value in values.values())
    database.sql(f"INSERT INTO peers_auditevent ({', '.join(values)}) VALUES ({quoted})")


def receipt(database, at, peer):
    write_event(database, at, "removed", peer, actor_kind="gateway", gateway="gw")


def on_the_interface(database, peer, since):
    database.sql(
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, endpoint, rx_bytes, tx_bytes, held,"
        f" problem) VALUES ('gw', '{peer.pk}', '{peer.key.public_key}', true, '{since.isoformat()}', '', 0, 0, false, '')"
    )


def pruned(database, at):
    done = database.manage("prune", "--older-than", "0")
    assert done.returncode == 0, done.stderr
    return at


# --- The list ---


def test_an_event_reads_as_who_did_what_to_what_from_where_and_what_changed(admin, alice, laptop):
    services.rename(actor=by(alice), peer=laptop, name="Work laptop")
    line = text(admin.get(AUDIT))
    for words in (
        "Device renamed", "Alice", "Work laptop", "wg0", "198.51.100.7", "name: Alice's laptop → Work laptop",
        f"{AuditEvent.objects.latest('pk').at:%Y-%m-%d %H:%M:%S}", "when (UTC)",
    ):  # fmt: skip
        assert words.lower() in line.lower(), words


def test_a_command_and_a_gateway_are_named_as_who_did_it(admin, database, laptop):
    services.revoke(actor=services.Actor(), peer=laptop, at=timezone.now())
    receipt(database, timezone.now(), laptop)
    cells = re.findall(r'class="field-who">(.*?)</td>', admin.get(AUDIT).content.decode())
    assert cells[0] == "gw"
    assert cells[1] == "Command"
    assert "Alice" in cells[2]


def test_a_long_change_is_short_in_the_list_and_whole_on_its_page(admin, alice, laptop, wg0):
    wg0.dns = [f"10.77.0.{number}" for number in range(2, 30)]
    wg0.mtu, wg0.listen_port, wg0.persistent_keepalive, wg0.device_limit = 1400, 51821, 0, 3
    services.save_interface(actor=by(alice), interface=wg0)
    event = AuditEvent.objects.latest("pk")
    assert "10.77.0.29" not in text(admin.get(AUDIT))
    assert "…" in text(admin.get(AUDIT))
    page = text(admin.get(f"{AUDIT}{event.pk}/change/"))
    for name, value in event.new.items():
        assert name in page
        assert value in page


def test_a_value_on_the_events_page_stands_in_the_column_it_belongs_to(admin, alice, laptop):
    services.rename(actor=by(alice), peer=laptop, name="New")
    event = AuditEvent.objects.latest("pk")
    page = admin.get(f"{AUDIT}{event.pk}/change/").content.decode()
    cells = f"<th>name</th><td><bdi>{escape(laptop.name)}</bdi></td><td><bdi>New</bdi></td>"
    assert cells in page


def test_the_audit_is_narrowed_down(admin, alice, root, laptop, phone, subtests):
    services.rename(actor=by(root), peer=laptop, name="Renamed")
    services.revoke(actor=services.Actor(), peer=phone, at=timezone.now())
    other = rows.interface("wg1")
    rows.peer(alice, other, "Elsewhere")
    everything = ["Device enrolled", "Device revoked", "Device renamed", "Device enrolled", "Device enrolled"]
    for query, expected in (
        ({}, everything),
        ({"action": "rename"}, ["Device renamed"]),
        ({"action": "nonsense"}, everything),
        ({"actor_kind__exact": "command"}, ["Device revoked"]),
        ({"interface__id__exact": other.pk}, ["Device enrolled"]),
        ({"person__id__exact": alice.pk}, ["Device enrolled", "Device renamed", "Device enrolled"]),
        ({"person__id__exact": root.pk}, []),
        ({"actor__id__exact": root.pk}, ["Device renamed"]),
        ({"peer__id__exact": phone.pk}, ["Device revoked", "Device enrolled"]),
        ({"peer__id__exact": laptop.pk, "action": "rename"}, ["Device renamed"]),
    ):
        with subtests.test(str(query)):
            assert acts(admin, **query) == expected


def test_what_is_no_id_finds_nothing_and_breaks_nothing(admin, laptop, subtests):
    for name in ("person__id__exact", "actor__id__exact", "peer__id__exact"):
        for value in ("", "x", "-1", "9" * 30, "9" * 5000, "1 OR 1=1", "\x00", str(laptop.pk)[:-1], "１"):
            with subtests.test(f"{name}={value[:40]!r}"):
                assert acts(admin, **{name: value}) == []


def test_no_other_look_up_is_allowed(admin, laptop, subtests):
    for name in (
        "person__email", "person__password__startswith", "person__issuer", "actor__is_superuser__exact",
        "peer__preshared_key__startswith", "peer__name", "new__has_key", "new__addresses__contains", "old__public_key",
        "reason__regex", "source", "gateway__startswith", "id__gt", "peer__keys__public_key", "interface__public_key",
        "person__id", "person__id__gt", "at__gte", "at__year",
    ):  # fmt: skip
        with subtests.test(name):
            assert admin.get(AUDIT, {name: "1"}).status_code == 400
            assert admin.post(f"{AUDIT}export.csv?{name}=1").status_code == 400


def test_the_audit_is_narrowed_down_by_time_from_then_until_just_before(admin, database, laptop, subtests):
    noon = datetime(2026, 8, 3, 12, tzinfo=UTC)
    write_event(database, noon, "rename", laptop)
    write_event(database, noon + HOUR, "suspend", laptop)
    for query, expected in (
        ({"from": "2026-08-03T12:00", "to": "2026-08-03T13:00"}, ["Device renamed"]),
        ({"from": "2026-08-03T12:00:01", "to": "2026-08-03T13:00:01"}, ["Suspended"]),
        ({"to": "2026-08-03T13:00:01"}, ["Suspended", "Device renamed"]),
        ({"to": "2026-08-03T13:00+01:00"}, []),
        ({"from": "2026-08-03T13:00"}, ["Device enrolled", "Suspended"]),
        ({"from": "", "to": ""}, ["Device enrolled", "Suspended", "Device renamed"]),
        ({"from": "2026-08-03T12:00", "to": "2026-08-03T14:00", "action": "suspend"}, ["Suspended"]),
    ):
        with subtests.test(str(query)):
            assert acts(admin, **query) == expected


def test_what_is_no_time_gets_a_sentence_and_no_events(admin, laptop, subtests):
    for value in (
        "yesterday",
        "2026-13-45T99:99",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-14:00",
        "\x00",
        HOSTILE,
    ):
        with subtests.test(value):
            answer = admin.get(AUDIT, {"from": value})
            assert (
                "This is not a time" in answer.content.decode()
                or "Null characters" in answer.content.decode()
            )
            assert HOSTILE not in answer.content.decode()
            assert acts(admin, **{"from": value}) == []


def test_the_other_filters_stay_when_a_time_is_set(admin, laptop):
    page = admin.get(AUDIT, {"action": "enrol", "q": "laptop", "from": "2026-01-01T00:00"}).content.decode()
    form = re.search(r'(?s)<form method="get" class="audit-time">.*?</form>', page)[0]
    kept = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form))
    assert kept == {"action": "enrol", "q": "laptop"}
    assert 'value="2026-01-01T00:00"' in form


def test_the_audit_is_searched(admin, alice, root, laptop, phone, subtests):
    old = laptop.key.public_key
    services.replace_key(actor=by(alice), peer=laptop, public_key=rows.public_key(), at=timezone.now())
    of_alice, of_bob = ["Key replaced", "Device enrolled"], ["Device enrolled"]
    for term, expected in {
        "alice": of_alice, "ALICE@EXAMPLE.COM": of_alice, "bob": of_bob, "bob's phone": of_bob,
        str(laptop.addresses[0].ip): of_alice, str(phone.addresses[0]): of_bob, f" {phone.addresses[1].ip} ": of_bob,
        laptop.addresses[1].ip.exploded.upper(): of_alice, old: of_alice, laptop.key.public_key: of_alice,
        str(phone.pk): of_bob, "198.51.100.7": ["Key replaced"], old[:20]: [], "10.77.0.99": [], "nobody": [], "%": [],
        HOSTILE: [], "": [*of_alice[:1], *of_bob, *of_bob],
    }.items():  # fmt: skip
        with subtests.test(term):
            assert acts(admin, q=term) == expected


def test_an_event_of_a_pruned_device_shows_its_id_everywhere(admin, database, alice, laptop):
    services.revoke(actor=by(alice), peer=laptop, at=timezone.now() - SECOND)
    pruned(database, timezone.now())
    assert not Peer.objects.exists()
    assert str(laptop.pk) in text(admin.get(AUDIT))
    assert acts(admin, peer__id__exact=laptop.pk) == ["Device revoked", "Device enrolled"]
    assert acts(admin, q=str(laptop.pk)) == ["Device revoked", "Device enrolled"]
    assert acts(admin, q=str(laptop.addresses[0].ip)) == ["Device revoked", "Device enrolled"]
    for event in AuditEvent.objects.all():
        page = admin.get(f"{AUDIT}{event.pk}/change/")
        assert page.status_code == 200
        assert event.peer_id is None or str(laptop.pk) in text(page)
    for query in ({}, {"peer__id__exact": laptop.pk}):
        found = exported(admin, "csv", **query, actor__id__exact=alice.pk)
        assert [(row["action"], row["peer_id"], row["peer"]) for row in found] == [
            ("revoke", str(laptop.pk), ""), ("enrol", str(laptop.pk), ""),
        ]  # fmt: skip


def test_hostile_names_and_reasons_are_shown_as_text(admin, alice, laptop, subtests):
    alice.name = HOSTILE
    alice.save(update_fields=["name"])
    services.rename(actor=by(alice), peer=laptop, name=HOSTILE)
    services.suspend(actor=by(alice), peer=laptop, at=timezone.now(), reason=HOSTILE)
    event = AuditEvent.objects.get(action="rename")
    for path in (
        AUDIT, f"{AUDIT}?q={HOSTILE}", f"{AUDIT}?person__id__exact={alice.pk}", f"{AUDIT}?peer__id__exact={laptop.pk}",
        f"{AUDIT}?action={HOSTILE}", f"{AUDIT}{event.pk}/change/", f"{ADDRESS}?address={laptop.addresses[0].ip}",
        f"{ADDRESS}?address={HOSTILE}", f"{ADDRESS}?address=10.0.0.1&at={HOSTILE}",
    ):  # fmt: skip
        with subtests.test(path):
            page = admin.get(path).content.decode()
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page


def test_no_preshared_key_stands_in_the_audit(admin, alice, wg0):
    wg0.use_preshared_keys = True
    services.save_interface(actor=by(alice), interface=wg0)
    peer = rows.peer(alice, wg0)
    found = {peer.preshared_key}
    peer = services.replace_key(actor=by(alice), peer=peer, public_key=rows.public_key(), at=timezone.now())
    found.add(peer.preshared_key)
    services.revoke(actor=by(alice), peer=peer, at=timezone.now())
    assert len(found) == 2 and "" not in found
    exported = b"".join(admin.post(f"{AUDIT}export.jsonl").streaming_content).decode()
    assert peer.key is None and "replace_key" in exported
    assert not [secret for secret in found if secret in exported]


def queries(browser, path, method="get"):
    with CaptureQueriesContext(connection) as seen:
        answer = getattr(browser, method)(path)
        if answer.streaming:
            b"".join(answer.streaming_content)
    assert answer.status_code == 200
    return len(seen)


def test_no_page_of_the_audit_costs_more_queries_for_more_events(admin, wg0, alice, subtests):
    def fill(count):
        for _ in range(count):
            peer = rows.peer(rows.person(), wg0)
            services.revoke(actor=by(alice), peer=peer, at=timezone.now() - SECOND)

    fill(3)
    address = AuditEvent.objects.filter(action="enrol").first().new["addresses"][0].split("/")[0]
    asked = {
        "the list": (AUDIT, "get"), "a search": (f"{AUDIT}?q=person", "get"), "an address": (f"{ADDRESS}?address={address}", "get"),
        "one person": (f"{AUDIT}?actor__id__exact={alice.pk}", "get"), "an export": (f"{AUDIT}export.csv", "post"),
    }  # fmt: skip
    few = {name: queries(admin, *request) for name, request in asked.items()}
    fill(25)
    for name, request in asked.items():
        with subtests.test(name):
            assert queries(admin, *request) == few[name]


def test_the_list_counts_no_further_than_it_lists_and_says_so(admin, wg0, monkeypatch):
    monkeypatch.setattr(audit_filters, "MOST", 4)
    for _ in range(4):
        rows.peer(rows.person(), wg0)
    assert "There are more" not in text(admin.get(AUDIT))
    rows.peer(rows.person(), wg0)
    page = text(admin.get(AUDIT))
    assert "There are more: these are the newest 4." in page
    counts = re.findall(r"(?i)select count.*", "\n".join(query["sql"] for query in captured(admin)))
    assert counts and all("LIMIT 5" in count for count in counts)
    assert "ORDER BY" not in "".join(counts)


def captured(admin):
    with CaptureQueriesContext(connection) as seen:
        admin.get(AUDIT)
    return list(seen)


def test_the_list_leads_to_the_addresses_and_to_exports_that_keep_its_filters(admin, laptop):
    page = admin.get(AUDIT, {"action": "enrol", "q": "a&b"}).content.decode()
    assert f'href="{ADDRESS}"' in page
    for kind in ("csv", "jsonl"):
        assert f'formaction="{AUDIT}export.{kind}?action=enrol&amp;q=a%26b"' in page


# --- Who had this address ---


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


T0 = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
ONE = ["10.77.0.9/32", "fd00::9/128"]


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


def test_a_pruned_device_is_still_found_by_the_name_it_had_last(admin, database, alice, laptop):
    services.rename(actor=by(alice), peer=laptop, name="Old laptop")
    services.revoke(actor=by(alice), peer=laptop, at=timezone.now() - SECOND)
    before = AuditEvent.objects.get(action="revoke").at - timedelta(microseconds=1)
    pruned(database, timezone.now())
    said, table = asked(admin, str(laptop.addresses[1].ip), before)
    assert said.strip().startswith("Old laptop, a device of Alice on wg0 (pruned since)")
    assert table[0][0] == "Old laptop (pruned since)"
    assert table[0][5] == "revoked"


def test_where_nobody_wrote_down_when_a_pruned_device_expired_the_page_says_so(admin, database, alice, wg0):
    peer = enrolled(database, alice, wg0, "runner", T0, ONE)
    Peer.objects.filter(pk=peer.pk).update(expires_at=T0 + HOUR)
    pruned(database, timezone.now())
    said, table = asked(admin, "10.77.0.9", T0 + 2 * HOUR)
    assert "When that ended was not recorded." in said
    assert table[0][4:6] == ["–", "not recorded"]
    enrolled(database, rows.person("bob"), wg0, "second", T0 + DAY, ONE)
    said, table = asked(admin, "10.77.0.9", T0 + 2 * HOUR)
    assert f"at {written(T0 + DAY)} UTC another device was given it" in said
    assert table[1][4:6] == [written(T0 + DAY), "not recorded"]
    assert asked(admin, "10.77.0.9", T0 + DAY)[0].strip().startswith("second")


def test_the_page_says_whether_a_gateway_had_it_on_the_interface_then(admin, database, alice, wg0, subtests):
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
    on_the_interface(database, peer, T0 + 6 * HOUR)
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


# --- The export ---


def exported(admin, kind, **query):
    from urllib.parse import urlencode

    answer = admin.post(f"{AUDIT}export.{kind}?{urlencode(query)}")
    assert answer.status_code == 200
    assert answer.streaming
    content = b"".join(answer.streaming_content).decode()
    if kind == "jsonl":
        return [json.loads(line) for line in content.split("\n")[:-1]]
    return list(csv.DictReader(StringIO(content, newline="")))


def test_an_export_holds_every_event_that_the_filters_leave_the_latest_first(admin, alice, laptop, phone):
    services.rename(actor=by(alice), peer=laptop, name="Renamed")
    for kind in ("csv", "jsonl"):
        assert [row["action"] for row in exported(admin, kind, peer__id__exact=laptop.pk)] == [
            "rename",
            "enrol",
        ]
        assert [row["peer"] for row in exported(admin, kind, q="bob")] == ["Bob's phone"]
        assert [row["action"] for row in exported(admin, kind, to="2020-01-01T00:00")] == []
        assert len(exported(admin, kind)) == AuditEvent.objects.count()


def test_an_export_goes_on_where_the_list_stops(admin, wg0, monkeypatch):
    monkeypatch.setattr(audit_filters, "MOST", 2)
    monkeypatch.setattr(audit_export, "AT_ONCE", 2)
    for _ in range(5):
        rows.peer(rows.person(), wg0)
    assert len(exported(admin, "csv", action="enrol")) == 5
    assert len(exported(admin, "jsonl", action="enrol")) == 5


def test_an_export_that_would_not_end_in_time_is_refused_with_a_sentence(admin, wg0, monkeypatch):
    monkeypatch.setattr(audit_export, "MOST", 2)
    for _ in range(3):
        rows.peer(rows.person(), wg0)
    answer = admin.post(f"{AUDIT}export.csv?action=enrol&q=person")
    assert (answer.status_code, answer["Location"]) == (302, f"{AUDIT}?action=enrol&q=person")
    assert "more than an export may hold" in text(admin.get(answer["Location"]))
    assert not AuditEvent.objects.filter(action="export_audit").exists()
    monkeypatch.setattr(audit_export, "MOST", 3)
    assert len(exported(admin, "csv", action="enrol")) == 3


def test_a_search_that_names_many_finds_the_same(admin, laptop, phone, monkeypatch):
    found = {term: acts(admin, q=term) for term in ("bob", "laptop", "example.com", "phone", "o")}
    assert all(found.values())
    monkeypatch.setattr(audit_filters, "FEW", 0)
    assert {term: acts(admin, q=term) for term in found} == found


def test_json_lines_are_exact_and_csv_says_the_same(admin, root, alice, laptop):
    services.suspend(
        actor=by(alice), peer=laptop, at=timezone.now(), reason="=cmd|' /C calc'!A0\u2028\n\"x\""
    )
    event = AuditEvent.objects.get(action="suspend")
    expected = {
        "id": event.pk, "at": f"{event.at:%Y-%m-%dT%H:%M:%S.%f}Z", "action": "suspend", "actor_kind": "person",
        "actor_id": alice.pk, "actor": "Alice", "actor_email": "alice@example.com", "gateway": "", "person_id": alice.pk,
        "person": "Alice", "person_email": "alice@example.com", "peer_id": str(laptop.pk), "peer": "Alice's laptop",
        "interface": "wg0", "source": "198.51.100.7", "reason": event.reason, "old": {}, "new": {},
    }  # fmt: skip
    assert exported(admin, "jsonl", action="suspend") == [expected]
    texts = {name: "" if value is None else str(value) for name, value in expected.items()}
    assert exported(admin, "csv", action="suspend") == [{**texts, "reason": f"'{event.reason}"}]
    enrolment = exported(admin, "csv", action="enrol")[0]
    assert json.loads(enrolment["new"]) == AuditEvent.objects.get(action="enrol").new


def test_an_export_is_a_download_with_the_date_in_its_name(admin, laptop):
    for kind, content_type in (
        ("csv", "text/csv; charset=utf-8"),
        ("jsonl", "application/jsonl; charset=utf-8"),
    ):
        answer = admin.post(f"{AUDIT}export.{kind}")
        name = f"latchkey-audit-{timezone.now():%Y-%m-%d}.{kind}"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
        assert answer["Content-Type"] == content_type
        assert answer["Cache-Control"] == "no-store" or "no-store" in answer["Cache-Control"]
        b"".join(answer.streaming_content)


def test_an_export_is_written_down_before_its_first_row(admin, root, laptop):
    answer = admin.post(f"{AUDIT}export.csv?q=laptop&action=enrol")
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.source) == ("export_audit", root, "203.0.113.9")
    assert event.new == {"format": "csv", "filter": {"q": "laptop", "action": "enrol"}}
    answer.close()


def test_nothing_is_exported_by_get_without_the_right_or_without_the_token(admin, root, laptop):
    before = AuditEvent.objects.count()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(root)
    for kind in ("csv", "jsonl"):
        assert admin.get(f"{AUDIT}export.{kind}").status_code == 405
        assert staff("view_peer").post(f"{AUDIT}export.{kind}").status_code == 403
        assert strict.post(f"{AUDIT}export.{kind}").status_code == 403
    assert staff("view_peer").get(ADDRESS, {"address": "10.0.0.1"}).status_code == 403
    assert AuditEvent.objects.count() == before
    assert len(exported(staff("view_auditevent"), "csv")) == before + 1


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def dangerous(cell):
    """Say, in other words than the code's, whether a spreadsheet could take the cell for a formula."""
    return (
        re.match(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠﹢﹣﹦﹫]|[\t\r\n]", cell)
        is not None
    )


@pytest.mark.parametrize(
    "blank", ["", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\ufeff", "\u200b", "\x00", "\x0b"]
)
def test_a_cell_that_could_begin_a_formula_gets_an_apostrophe(blank):
    for sign in SIGNS:
        assert neutralised(f"{blank}{sign}1+1") == f"'{blank}{sign}1+1"
    for harmless in ("1+1", "a=b", "'=1", "", "ä", '"=1"', "2026-01-01", "::1", "{}"):
        assert neutralised(harmless) == harmless


texts = st.text(st.characters(codec="utf-8")) | st.builds(
    "{}{}{}".format,
    st.text(" \t\r\n\u3000\u200b,;\"'", max_size=3),
    st.sampled_from(SIGNS),
    st.text(st.characters(codec="utf-8")),
)


@given(st.lists(st.lists(texts, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=3))
def test_any_text_comes_back_from_csv_but_for_the_apostrophe_and_begins_no_formula(given_rows):
    content = "".join(as_csv(map(tuple, given_rows))).encode()
    head, *found = csv.reader(StringIO(content.decode(), newline=""))
    assert head == list(COLUMNS)
    assert len(found) == len(given_rows)
    for cell, text_given in zip(chain(*found), chain(*given_rows), strict=True):
        assert cell in (text_given, f"'{text_given}")
        assert not dangerous(cell)
        assert (cell != text_given) == dangerous(text_given) or not dangerous(text_given)


@given(st.lists(st.lists(texts, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=3))
def test_any_text_comes_back_from_json_lines_exactly_and_a_line_is_an_event(given_rows):
    lines = "".join(as_jsonl(map(tuple, given_rows))).splitlines()
    assert [list(json.loads(line).values()) for line in lines] == given_rows


def test_an_export_takes_its_rows_as_they_are_asked_for():
    """A million rows need no more memory than a thousand."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield ("x",) * len(COLUMNS)

    for export in (as_csv, as_jsonl):
        taken.clear()
        pieces = export(endless())
        for _ in range(3):
            next(pieces)
        assert len(taken) <= 3 * audit_export.AT_ONCE


# --- The document ---


def constants(node):
    return {
        found.value
        for found in ast.walk(node)
        if isinstance(found, ast.Constant) and isinstance(found.value, str)
    }


def actions_in(path):
    """Return every action that a file records: the first argument of ``record`` and the like, or ``action=``."""
    tree = ast.parse(path.read_text())
    held = {
        target.id: constants(node.value)
        for node in ast.walk(tree) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in ("record", "_audit") and call.args:
            first = call.args[0]
            yield from held.get(first.id, ()) if isinstance(first, ast.Name) else branches(first)
        if name == "AuditEvent":
            yield from chain(*(constants(word.value) for word in call.keywords if word.arg == "action"))


def branches(node):
    return branches(node.body) | branches(node.orelse) if isinstance(node, ast.IfExp) else constants(node)


def recorded():
    files = chain((ROOT / "peers").rglob("*.py"), (ROOT / "portal").rglob("*.py"))
    return set(chain(*(actions_in(path) for path in files if "migrations" not in path.parts)))


def documented(heading):
    section = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_action_that_is_recorded_has_its_words_and_its_line_in_the_document():
    found = recorded()
    assert {
        "enrol",
        "removed",
        "sign_in",
        "sign_in_refused",
        "create_interface",
        "export_audit",
        "drift_repaired",
    } <= found
    assert sorted(found) == sorted(ACTIONS)
    assert sorted(found) == sorted(documented("Actions"))


def test_every_column_of_an_export_has_its_line_in_the_document_in_order():
    assert documented("Columns of an export") == list(COLUMNS)
