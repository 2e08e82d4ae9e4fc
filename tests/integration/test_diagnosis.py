"""Why a peer is not connected: each condition really not met, and the sentence that says so first."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from peers import services
from peers.configuration import given
from peers.diagnosis import diagnose
from peers.facts import gather
from peers.models import Interface, Peer
from peers.states import State, standing
from portal.models import User
from tests import rows
from tests.integration import test_state_queries
from tests.integration.pages import signed_in
from tests.integration.test_states import (
    AT,
    HOUR,
    KEY_REPLACED,
    ON_DEMAND,
    SECOND,
    SILENT,
    gateway,
    peer_is,
    seen,
    sql,
)

STEPS = ["row", "entitlement", "gateway", "interface", "handshake", "endpoint"]
ALIVE = (gateway(), seen(handshake=SECOND))
TWO_MINUTES = timedelta(minutes=2)
CURRENT_KEY_READ = sql(
    "UPDATE peers_peerstatus SET public_key = (SELECT public_key FROM peers_peerkey WHERE retired_at IS NULL)"
)

FAILS_AT = {State.REVOKED: 0, State.EXPIRED: 0, State.SIGNED_OUT: 1, State.INVALID: 3}

# What is done to the rows, the step that fails first, and what its sentence and its remedy say.
CASES = {
    "revoked": (
        [peer_is(revoked_at=TWO_MINUTES, revoke_reason="stolen"), *ALIVE], "row", "It was revoked at", ": stolen.",
    ),
    "revoked, and still on": (
        [peer_is(revoked_at=TWO_MINUTES), *ALIVE], "row", "It was revoked at", "still on the interface when gateway gw1",
    ),
    "revoked, and held": (
        [peer_is(revoked_at=TWO_MINUTES), gateway(), seen(held=True)], "row", "revoked", "The brake holds its removal",
    ),
    "revoked, its owner suspended and no gateway": (
        [peer_is(revoked_at=TWO_MINUTES), sql("UPDATE portal_user SET is_active = false")], "row", "revoked", "Enrol",
    ),
    "expired": ([peer_is(expires_at=TWO_MINUTES), *ALIVE], "row", "It expired at", "Enrol"),
    "suspended": (
        [peer_is(suspended_at=TWO_MINUTES, suspend_reason="lost?"), *ALIVE], "row", ": lost?", "Restore the device",
    ),
    "put aside": (
        [gateway(), seen(on=False, key="", problem="Its preshared key cannot be read.")], "interface",
        "Gateway gw1 has put its entry aside", "Its preshared key cannot be read.",
    ),
    "its owner suspended": (
        [sql("UPDATE portal_user SET is_active = false, suspended_at = now(), suspend_reason = 'left us'"), *ALIVE],
        "entitlement", ": left us.", "Restore the person",
    ),
    "the lease over": (
        [sql(f"UPDATE portal_user SET signed_in_at = '{AT - timedelta(days=8)}'"), gateway()], "entitlement",
        f"ran out at {AT - timedelta(days=1):%Y-%m-%d %H:%M:%S} UTC", "signs in",
    ),
    "its owner's access ended": (
        [sql("UPDATE portal_user SET access_ended_at = now(), access_end_reason = 'disabled'"), *ALIVE], "entitlement",
        ": The identity provider says that their account is disabled.", "signs in",
    ),
    "the loss of its owner's access held": (
        [sql("INSERT INTO portal_heldloss (person_id, reason, found_at) SELECT id, 'refused', now() FROM portal_user"), *ALIVE],
        "entitlement", "the loss is held back", "Access held back",
    ),
    "its owner never signed in": (
        [sql("UPDATE portal_user SET signed_in_at = NULL"), gateway()], "entitlement", "never signed in", "signs in",
    ),
    "its owner in no admitted group": (
        [sql("UPDATE peers_interface SET enrol_groups = '{staff,board}'"), gateway()], "entitlement", "staff, board", "Put",
    ),
    "no gateway": ([], "gateway", "No gateway has ever reported on wg0", "run_gateway wg0"),
    "a gateway without an interface": (
        [gateway(attached=False), seen(handshake=SECOND)], "gateway", "only shows", "where it may hold",
    ),
    "a gateway without an interface beside a silent one": (
        [gateway(silent=SILENT), gateway("gw2", attached=False), seen("gw2", handshake=SECOND)], "gateway",
        "gw1 has been silent", "",
    ),
    "a silent gateway": (
        [gateway(silent=SILENT), seen(handshake=SECOND)], "gateway",
        f"gw1 has been silent since {AT - SILENT:%Y-%m-%d %H:%M:%S} UTC", "log",
    ),
    "a silent gateway that said why": (
        [gateway(silent=SILENT), sql("UPDATE peers_gatewaystatus SET problem = 'It is odd.'")], "gateway", "silent",
        "It said: It is odd.",
    ),
    "not yet on": ([gateway()], "interface", "No gateway that reports has it on wg0 yet", "every few seconds"),
    "on at a gateway that is silent": (
        [gateway(), gateway("gw2", SILENT), seen("gw2", handshake=SECOND)], "interface", "No gateway that reports", "",
    ),
    "on with a replaced key": (
        [gateway(), seen(handshake=SECOND), KEY_REPLACED], "interface", "a key that was replaced since", "",
    ),
    "without a key": (
        [gateway(), sql("UPDATE peers_peerkey SET retired_at = now()")], "interface", "no key in use", "replaces the key",
    ),
    "on, and never heard": ([gateway(), seen()], "handshake", "No handshake of it has been seen since it came on", "UDP"),
    "never heard, and its key replaced": (
        [gateway(), KEY_REPLACED, seen(), CURRENT_KEY_READ],
        "handshake", "No handshake", "Its key was replaced at",
    ),
    "on demand, and never heard": ([ON_DEMAND, gateway()], "handshake", "No handshake of it has been seen.", "switched on"),
    "on demand, and off since it was not used": (
        [ON_DEMAND, gateway(), seen(on=False, handshake=HOUR)], "handshake",
        f"Its latest handshake was at {AT - HOUR:%Y-%m-%d %H:%M:%S} UTC, more than three minutes ago.", "off or asleep",
    ),
    "on demand, and off a moment after a handshake": (
        [ON_DEMAND, gateway(), seen(on=False, handshake=SECOND)], "handshake", "and it was taken off since.", "off or asleep",
    ),
    "on demand, and on, and never heard": (
        [ON_DEMAND, gateway(), seen(), gateway("gw2"), seen("gw2", on=False, handshake=HOUR)], "handshake",
        "No handshake of it has been seen since it came on", "UDP",
    ),
    "heard three minutes ago": (
        [gateway(), seen(handshake=180 * SECOND), sql("UPDATE peers_peerstatus SET endpoint = '203.0.113.5:4242'")],
        "handshake", "more than three minutes ago. It was last seen from 203.0.113.5:4242.", "off or asleep",
    ),
}  # fmt: skip


@pytest.fixture
def laptop(database):
    on = rows.interface(endpoint="vpn.example.com:51820")
    made = rows.peer(rows.person("alice", signed_in_at=AT), on, "Alice's laptop", at=AT - timedelta(days=1))
    made.first_key = made.key.public_key
    return made


def diagnosed(peer, at=AT):
    return diagnose(gather(Peer.objects.select_related("owner", "interface").get(pk=peer.pk), at))


def make(database, laptop, makers):
    for maker in makers:
        database.sql(maker(laptop))


@pytest.mark.parametrize("case", CASES)
def test_the_first_condition_that_is_not_met_is_the_answer(database, laptop, case):
    makers, failing, *words = CASES[case]
    make(database, laptop, makers)
    found = diagnosed(laptop)
    reached = STEPS.index(failing)
    assert [step.name for step in found.steps] == STEPS
    assert [step.passed for step in found.steps] == [True] * reached + [False] + [None] * (5 - reached)
    assert found.answer == found.steps[reached].sentence
    assert not found.connected
    for word in words:
        assert word in f"{found.answer} {found.remedy}"


def test_every_step_can_be_the_answer_but_where_it_was_seen_from():
    assert {failing for _, failing, *_ in CASES.values()} == set(STEPS) - {"endpoint"}


def test_a_connected_device_meets_every_condition(database, laptop):
    make(database, laptop, [*ALIVE, sql("UPDATE peers_peerstatus SET endpoint = '[2001:db8::5]:4242'")])
    found = diagnosed(laptop)
    assert (found.answer, found.remedy, found.connected) == ("It is connected.", "", True)
    assert [step.passed for step in found.steps] == [True] * 6
    assert found.steps[-1].sentence == "It was last seen from [2001:db8::5]:4242."
    assert "until" in found.steps[1].sentence


def test_an_owner_without_a_lease_is_signed_in_for_ever(database, laptop):
    make(database, laptop, [*ALIVE, sql("UPDATE peers_interface SET lease = NULL")])
    assert "without an end" in diagnosed(laptop).steps[1].sentence


def test_the_brake_and_a_pass_that_is_not_finished_are_told(database, laptop):
    make(database, laptop, [gateway(passed=None), gateway("gw2"), seen(handshake=SECOND)])
    database.sql("UPDATE peers_gatewaystatus SET brake_at = now(), held = 7 WHERE gateway = 'gw2'")
    sentence = diagnosed(laptop).steps[2].sentence
    assert "gw1 reports and has not yet finished a pass." in sentence
    assert "The brake holds 7 removals." in sentence


def test_an_interface_on_demand_says_since_when_it_does_not_hold_it(database, laptop):
    make(database, laptop, [ON_DEMAND, gateway(), gateway("gw2")])
    assert diagnosed(laptop).steps[3].sentence == "wg0 takes it on at its first handshake."
    make(database, laptop, [seen(on=False, since=HOUR), seen("gw2", on=False, since=2 * HOUR)])
    sentence = f"It is off wg0 since {AT - HOUR:%Y-%m-%d %H:%M:%S} UTC; its next handshake puts it on again."
    assert diagnosed(laptop).steps[3].sentence == sentence


def test_a_flood_is_told(database, laptop):
    make(database, laptop, [ON_DEMAND, gateway()])
    database.sql(f"UPDATE peers_gatewaystatus SET flood_at = '{AT}'")
    assert (
        f"Since {AT:%Y-%m-%d %H:%M:%S} UTC a flood of handshakes that lead to nothing comes in"
        in diagnosed(laptop).steps[2].sentence
    )


def test_a_configuration_that_is_older_than_a_change_is_a_likely_cause(database, laptop):
    services.configure(actor=services.Actor(), peer=laptop)
    make(database, laptop, [gateway(), seen()])
    assert "is older than a change" not in diagnosed(laptop).remedy
    Interface.objects.update(endpoint="vpn2.example.com:51820", dns=["9.9.9.9"])
    assert "is older than a change of: dns, endpoint." in diagnosed(laptop).remedy
    assert given(laptop)["endpoint"] == "vpn.example.com:51820"


def test_every_peer_is_told_connected_when_and_only_when_it_is_judged_so(database):
    test_state_queries.fill(database, peers_an_interface=5)
    for peer in Peer.objects.select_related("owner", "interface"):
        judged = standing(peer, test_state_queries.AT).state
        found = diagnosed(peer, test_state_queries.AT)
        assert found.connected == (judged == State.CONNECTED), (judged, found)
        if judged in FAILS_AT:
            assert found.steps[FAILS_AT[judged]].passed is False, (judged, found)
        if judged in (State.LIVE, State.IDLE, State.PENDING):
            assert [step.passed for step in found.steps[:3]] == [True] * 3, (judged, found)


# --- The page ---


@pytest.fixture
def admin(laptop):
    return signed_in(rows.person("root", is_staff=True, is_superuser=True))


def page(browser, peer):
    answer = browser.get(f"/admin/peers/peer/{peer.pk}/why/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_says_the_answer_first_and_then_every_condition(admin, database, laptop):
    text = page(admin, laptop)
    assert "<h2>No gateway has ever reported on wg0.</h2>" in text
    assert [text.count(word) for word in ("✓ met", "✗ <strong>not met</strong>", "– not reached")] == [
        2,
        1,
        3,
    ]


def test_what_people_wrote_is_text_on_the_page(admin, database, laptop):
    services.suspend(actor=services.Actor(), peer=laptop, at=AT, reason="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page(admin, laptop)
    assert "<script>alert(1)" not in page(admin, laptop)


def test_the_page_is_linked_from_the_device_and_from_the_list_unless_it_is_connected(admin, database, laptop):
    link = f'"/admin/peers/peer/{laptop.pk}/why/"'
    for path in ("/admin/peers/peer/", f"/admin/peers/peer/{laptop.pk}/change/"):
        assert link in admin.get(path).content.decode()
    User.objects.update(signed_in_at=timezone.now())
    key = laptop.first_key
    database.sql(
        "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at, drift_found,"
        f" left_alone, unexplained, held, problem) VALUES ('gw', {laptop.interface_id}, '', true, now(), now(), 0, '{{}}', 0, 0, '');"
        "INSERT INTO peers_peerstatus (gateway, peer_id, public_key, present, since, latest_handshake, endpoint, rx_bytes, tx_bytes,"
        f" held, problem) VALUES ('gw', '{laptop.pk}', '{key}', true, now(), now(), '', 0, 0, false, '')"
    )
    assert link not in admin.get("/admin/peers/peer/").content.decode()
    assert "<h2>It is connected.</h2>" in page(admin, laptop)


def test_the_page_costs_the_same_whatever_is_found(admin, database, laptop):
    page(admin, laptop)
    with CaptureQueriesContext(connection) as bare:
        page(admin, laptop)
    make(database, laptop, [gateway(), gateway("gw2"), seen(), seen("gw2", since=HOUR)])
    for _ in range(3):
        rows.peer(rows.person(), laptop.interface)
    with CaptureQueriesContext(connection) as full:
        page(admin, laptop)
    assert len(full) == len(bare)
