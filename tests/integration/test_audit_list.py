"""The list of the audit in the admin, and an event's page: what they say, how they are narrowed down and searched."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from peers import services
from peers.admin.audit import filters
from peers.models import AuditEvent, Peer
from tests import rows
from tests.integration.audit import ADDRESS, HOUR, SECOND, by, exported, pruned, receipt, text, write_event
from tests.integration.pages import AUDIT, HOSTILE


@pytest.fixture
def wg0(database):
    return rows.interface(ipv4_pool="10.77.0.0/24", ipv6_pool="fd00::/64", address_rest=timedelta(0))


def acts(admin, **query):
    """Return the actions in the list, the latest first."""
    answer = admin.get(AUDIT, query)
    assert answer.status_code == 200
    return re.findall(r'class="field-act">([^<]*)<', answer.content.decode())


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


def test_the_audit_can_be_read_and_searched(admin, laptop, phone):
    page = admin.get(AUDIT, {"q": "Alice's laptop"})
    assert page.status_code == 200
    assert len(re.findall(r"field-act\b", page.content.decode())) == 1
    event = AuditEvent.objects.earliest("pk")
    assert laptop.key.public_key in admin.get(f"{AUDIT}{event.pk}/change/").content.decode().replace(
        "&#x2B;", "+"
    )


# --- Narrowed down and searched ---


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


def test_a_search_that_names_many_finds_the_same(admin, laptop, phone, monkeypatch):
    found = {term: acts(admin, q=term) for term in ("bob", "laptop", "example.com", "phone", "o")}
    assert all(found.values())
    monkeypatch.setattr(filters, "FEW", 0)
    assert {term: acts(admin, q=term) for term in found} == found


def test_the_list_leads_to_the_addresses_and_to_exports_that_keep_its_filters(admin, laptop):
    page = admin.get(AUDIT, {"action": "enrol", "q": "a&b"}).content.decode()
    assert f'href="{ADDRESS}"' in page
    for kind in ("csv", "jsonl"):
        assert f'formaction="{AUDIT}export.{kind}?action=enrol&amp;q=a%26b"' in page


# --- What is gone, hostile or secret ---


def test_an_event_of_a_pruned_device_shows_its_id_everywhere(admin, database, alice, laptop):
    services.revoke(actor=by(alice), peer=laptop, at=timezone.now() - SECOND)
    pruned(database)
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


# --- What it costs ---


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
    monkeypatch.setattr(filters, "MOST", 4)
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


def test_the_audit_list_costs_the_same_for_sixty_rows_as_for_ten(admin, wg0):
    for _ in range(10):
        rows.peer(rows.person(), wg0)
    admin.get(AUDIT)
    with CaptureQueriesContext(connection) as ten:
        admin.get(AUDIT)
    for _ in range(50):
        rows.peer(rows.person(), wg0)
    with CaptureQueriesContext(connection) as sixty:
        admin.get(AUDIT)
    assert len(sixty) == len(ten)
